"""emulated_benchmark: a C artifact on a microcontroller that is not there: outputs compared, memory and instructions counted."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

import runtimes
from device_benchmarks.fault_status import explain_fault
from device_benchmarks.firmware import CompilerName, FirmwareImage, build_firmware
from device_benchmarks.instruction_counts import InstructionCounts
from device_benchmarks.output_difference import output_difference
from device_benchmarks.qemu_emulator import QemuEmulator, is_installed
from device_benchmarks.serial_protocol import Board, Result
from device_benchmarks.target import Target
from device_benchmarks.unicorn_emulator import UnicornEmulator
from runtimes import Runtime
from runtimes.c_interface import STATUS
from toolchain.artifact import Artifact
from toolchain.errors import DoesNotFit, InvalidInput, MeasurementError, MissingDependency
from toolchain.inputs import GraphInputs

Engine = Literal["unicorn", "qemu"]
Emulator = UnicornEmulator | QemuEmulator
EMULATORS: dict[Engine, type[UnicornEmulator] | type[QemuEmulator]] = {"unicorn": UnicornEmulator, "qemu": QemuEmulator}


@dataclass(frozen=True, slots=True)
class EmulatedBenchmark:
    """What one artifact takes on one target.

    Attributes:
        engine: what executed the image.
        nodes, edges: of the graph whose inference was counted; edges as given.
        prepare, run: instructions of checking and sorting the edges, and of the model.
        stack_bytes: the most that was used while all graphs were computed.
        compared: graphs that were computed here and by the host; refused: of them, those that both refused.
        differences: what differs, by the position of the graph.
    """

    artifact: Artifact
    image: FirmwareImage
    engine: Engine
    nodes: int
    edges: int
    prepare: InstructionCounts
    run: InstructionCounts
    stack_bytes: int
    compared: int
    refused: int
    differences: Mapping[int, str]

    @property
    def instructions(self) -> int:
        """Instructions of an inference, from edges and features to outputs."""
        return self.prepare.total + self.run.total

    @property
    def ram_bytes(self) -> int:
        """Data, arena and the stack that was used."""
        return self.image.elf.ram_bytes + self.stack_bytes

    @property
    def estimated_us(self) -> float:
        """What the instructions might take; nothing measured it."""
        return self.image.target.estimated_us(self.instructions)

    @property
    def estimate_note(self) -> str:
        """How `estimated_us` came about, to stand wherever it stands."""
        target = self.image.target
        return f"estimate, {target.clock_hz / 1e6:g} MHz, {target.estimate.cycles_per_instruction:g} cycles per instruction"

    def to_json(self) -> dict[str, Any]:
        target, elf = self.image.target, self.image.elf
        return {
            "artifact": Path(self.artifact.path).name, "precision": self.artifact.precision, "target": target.name,
            "cpu": target.cpu, "engine": self.engine, "compiler": self.image.compiler, "flags": list(self.image.flags),
            "flash_bytes": elf.flash_bytes, "code_bytes": elf.code_bytes, "constant_bytes": elf.flash_bytes - elf.code_bytes,
            "ram_bytes": self.ram_bytes, "static_ram_bytes": elf.ram_bytes, "stack_bytes": self.stack_bytes,
            "arena_bytes": self.artifact.provenance.get("arena_bytes"),
            "flash_available_bytes": target.flash_bytes, "ram_available_bytes": target.ram_bytes,
            "largest_constants": {s.name: s.size for s in elf.largest_constants()},
            "symbols": {s.name: s.size for s in elf.distinct_symbols()},
            "graph": {"nodes": self.nodes, "edges": self.edges},
            "instructions": self.instructions, "prepare_instructions": self.prepare.total,
            "run_instructions": self.run.total, "instructions_by_function": (self.prepare + self.run).by_function,
            "estimate": {
                "us": self.estimated_us, "clock_hz": target.clock_hz,
                "cycles_per_instruction": target.estimate.cycles_per_instruction, "source": target.estimate.source,
            },
            "compared_graphs": self.compared, "refused_graphs": self.refused,
            "differences": {str(position): words for position, words in self.differences.items()},
        }  # fmt: skip


def emulated_benchmark(
    artifact: Artifact, target: Target, graphs: Sequence[GraphInputs], *, counted: int = 0, engine: Engine | None = None,
    compiler: CompilerName | None = None, seconds: float = 300.0, progress: Callable[[str], None] = lambda line: None,
) -> EmulatedBenchmark:  # fmt: skip
    """Build the image, execute it on every graph, and compare each output with the host's, bit for bit.

    Args:
        graphs: real graphs; of a model that reads sparse features, the one whose features are stored in the image.
        counted: position of the graph whose instructions are counted.
        engine, compiler: by default unicorn where it has the processor, and gcc where it is installed.
        seconds: how long one inference may take in the emulator before it counts as hung.

    Raises:
        DoesNotFit: the image, its data or its stack are larger than the target's memories.
        MeasurementError: the processor took a fault or hung.
        MissingDependency: an emulator or a compiler is not installed.
    """
    if not graphs or not 0 <= counted < len(graphs):
        raise InvalidInput(
            f"{len(graphs)} graphs and number {counted} of them to count, expected a graph that is there."
        )
    reads_sparse = bool(artifact.provenance.get("sparse_features"))
    if reads_sparse and len(graphs) > 1:
        raise InvalidInput(
            f"{len(graphs)} graphs: sparse features are stored in the image, so one graph is run at a time."
        )
    chosen = engine or default_engine(target)
    comparison = _Comparison(runtimes.load(artifact), graphs)
    with tempfile.TemporaryDirectory(prefix="pocketgnn-firmware-") as folder:
        progress(f"building for {target.name}")
        features = graphs[counted] if reads_sparse else None
        image = build_firmware(artifact, target, Path(folder), compiler=compiler, sparse_features=features)
        progress(f"{target.name}: counting instructions in {chosen}")
        with closing(EMULATORS[chosen](image, counting=True, seconds=seconds)) as emulator:
            prepare, run = comparison.count(counted, _board(emulator, image, seconds), emulator)
        progress(f"{target.name}: comparing {len(graphs)} graphs")
        with closing(EMULATORS[chosen](image, seconds=seconds)) as emulator:
            comparison.compare_all(_board(emulator, image, seconds))
    _check_stack(image, comparison.stack_bytes)
    graph = graphs[counted]
    return EmulatedBenchmark(
        artifact, image, chosen, graph.num_nodes, graph.num_edges, prepare, run, comparison.stack_bytes, len(graphs),
        comparison.refused, comparison.differences,
    )  # fmt: skip


def default_engine(target: Target) -> Engine:
    """Unicorn where it has the processor and is installed, else QEMU.

    Raises:
        MissingDependency: neither is installed.
    """
    if target.emulator.unicorn and importlib.util.find_spec("unicorn") is not None:
        return "unicorn"
    if is_installed(target.emulator.qemu):
        return "qemu"
    ways = ["pip install 'pocketgnn[mcu]'"] if target.emulator.unicorn else []
    ways += [f"your system's package of {target.emulator.qemu[0]}"] if target.emulator.qemu else []
    raise MissingDependency(
        f"nothing is installed here that executes code for {target.name}. Install it with: {' or '.join(ways)}."
    )


class _Comparison:
    """Runs graphs on the host and on a board, and keeps where they differ.

    Attributes:
        differences: in words, by the position of the graph; refused: graphs that both refused.
        stack_bytes: the most that the board used.
    """

    def __init__(self, reference: Runtime, graphs: Sequence[GraphInputs]) -> None:
        self._reference, self._graphs = reference, graphs
        self.differences: dict[int, str] = {}
        self.refused = self.stack_bytes = 0

    def count(self, position: int, board: Board, emulator: Emulator) -> tuple[InstructionCounts, InstructionCounts]:
        """Instructions of preparing one graph, and of one inference on it.

        Raises:
            InvalidInput: the board refuses the graph.
        """
        graph = self._graphs[position]
        board.load(graph)
        self._accept(board.prepare(graph), position)
        prepare = emulator.counts(2)
        inference = board.infer()
        self._accept(inference.result, position)
        return prepare, emulator.counts(2 + 2 * inference.result.lines)

    def compare_all(self, board: Board) -> None:
        """Compare the outputs of every graph."""
        for position, graph in enumerate(self._graphs):
            expected: tuple[np.ndarray, ...] | str
            try:
                expected = self._reference.run(graph)
            except InvalidInput as error:
                expected = str(error)
            words = output_difference(expected, self._answer(board, graph))
            if words:
                self.differences[position] = words
            elif isinstance(expected, str):
                self.refused += 1

    def _answer(self, board: Board, graph: GraphInputs) -> tuple[np.ndarray, ...] | str:
        """The outputs of a board, or why it refused."""
        try:
            board.load(graph)
        except InvalidInput as error:
            return str(error)
        prepared = board.prepare(graph)
        if prepared.status:
            return _status(prepared)
        inference = board.infer()
        self.stack_bytes = max(self.stack_bytes, inference.result.since_start)
        return _status(inference.result) if inference.result.status else inference.outputs

    def _accept(self, result: Result, position: int) -> None:
        self.stack_bytes = max(self.stack_bytes, result.since_start)
        if result.status:
            raise InvalidInput(
                f"graph {position}: the model refuses it ({_status(result)}). Choose another one to count."
            )


def _board(emulator: Emulator, image: FirmwareImage, seconds: float) -> Board:
    board = Board(emulator, partial(explain_fault, image), answer_seconds=30.0, run_seconds=seconds, attempts=2)
    if board.identity.build != image.build:
        raise MeasurementError(f"the board runs another build of {board.identity.model} than this artifact.")
    return board


def _check_stack(image: FirmwareImage, stack_bytes: int) -> None:
    if not image.target.board.is_hosted and stack_bytes >= image.stack_room_bytes:
        raise DoesNotFit(
            f"{image.model} leaves {image.stack_room_bytes:,} B of RAM for the stack on {image.target.name}, and all of it was "
            "used. Export with a smaller max_nodes or max_edges, or choose a larger target."
        )


def _status(result: Result) -> str:
    return STATUS.get(result.status, f"status {result.status}")
