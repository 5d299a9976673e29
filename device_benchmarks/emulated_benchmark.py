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

from device_benchmarks.board_connection import BoardConnection, status_words
from device_benchmarks.board_identity import counts_of
from device_benchmarks.fault_status import explain_fault
from device_benchmarks.firmware import CompilerName, FirmwareImage, build_firmware
from device_benchmarks.instruction_counts import InstructionCounts
from device_benchmarks.qemu_emulator import QemuEmulator, is_installed
from device_benchmarks.serial_protocol import Result
from device_benchmarks.serial_session import check_build, compare, compute
from device_benchmarks.target import Target
from device_benchmarks.unicorn_emulator import UnicornEmulator
from toolchain.artifact import Artifact
from toolchain.errors import DoesNotFit, InvalidInput, MissingDependency
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
        DeviceError: the processor took a fault; DeviceTimeout: it hung.
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
    with tempfile.TemporaryDirectory(prefix="pocketgnn-firmware-") as folder:
        progress(f"building for {target.name}")
        features = graphs[counted] if reads_sparse else None
        image = build_firmware(artifact, target, Path(folder), compiler=compiler, sparse_features=features)
        progress(f"{target.name}: counting instructions in {chosen}")
        with closing(EMULATORS[chosen](image, counting=True, seconds=seconds)) as emulator:
            prepare, run, counted_stack = _counted(emulator, image, graphs[counted], counted, seconds)
        _check_stack(image, counted_stack)  # what lies below it is damaged, so nothing else can be told of this image
        progress(f"{target.name}: comparing {len(graphs)} graphs")
        with (
            closing(EMULATORS[chosen](image, seconds=seconds)) as emulator,
            emulator_connection(emulator, image) as board,
        ):
            check_build(board, artifact)
            answers = [compute(board, artifact, graph, seconds) for graph in graphs]
    parity = compare(target.name, artifact, graphs, [found.answer for found in answers])
    stack_bytes = max(counted_stack, *(found.run.stack_bytes for found in answers if found.run), 0)
    _check_stack(image, stack_bytes)
    graph = graphs[counted]
    return EmulatedBenchmark(
        artifact, image, chosen, graph.num_nodes, graph.num_edges, prepare, run, stack_bytes, len(graphs), parity.refused,
        parity.differences,
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


def _counted(
    emulator: Emulator, image: FirmwareImage, graph: GraphInputs, position: int, seconds: float
) -> tuple[InstructionCounts, InstructionCounts, int]:
    """Instructions of preparing a graph, those of one inference on it, and the stack that was used.

    The lines of the board are sent one by one here: an emulator counts between them.

    Raises:
        InvalidInput: the board refuses the graph.
    """
    board = emulator_connection(emulator, image).board
    board.load(graph)
    prepared = board.prepare(*counts_of(graph), seconds)
    _accept(prepared, position)
    prepare = emulator.counts(2)
    ran = board.infer(seconds).result
    _accept(ran, position)
    return prepare, emulator.counts(2 + 2 * ran.lines), max(prepared.since_start, ran.since_start)


def _accept(result: Result, position: int) -> None:
    if result.status:
        raise InvalidInput(
            f"graph {position}: the model refuses it ({status_words(result.status)}). Choose another one to count."
        )


def emulator_connection(emulator: Emulator, image: FirmwareImage, name: str = "") -> BoardConnection:
    """An image in an emulator as a board; by default its name is emulator:TARGET."""
    return BoardConnection(
        emulator, name or f"emulator:{image.target.name}", kind="emulator", explain=partial(explain_fault, image),
        answer_seconds=30.0, attempts=2,
    )  # fmt: skip


def _check_stack(image: FirmwareImage, stack_bytes: int) -> None:
    if not image.target.board.is_hosted and stack_bytes >= image.stack_room_bytes:
        raise DoesNotFit(
            f"{image.model} leaves {image.stack_room_bytes:,} B of RAM for the stack on {image.target.name}, and all of it was "
            "used. Export with a smaller max_nodes or max_edges, or choose a larger target."
        )
