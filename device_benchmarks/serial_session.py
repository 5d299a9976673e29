"""verify_board: a C artifact on a board that is flashed with it, beside the host; cycles by the board's own counter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import runtimes
from device_benchmarks.device_session import DeviceParity
from device_benchmarks.output_difference import Answer, largest_difference, output_difference
from device_benchmarks.serial_protocol import Board, ByteStream
from runtimes.c_interface import STATUS
from toolchain.artifact import Artifact
from toolchain.c_artifact import c_sources
from toolchain.errors import DeviceError, InvalidInput, PocketGnnError
from toolchain.inputs import GraphInputs


@dataclass(frozen=True, slots=True)
class BoardRun:
    """What a board answered.

    Attributes:
        cycles: of preparing and running, for each graph that it took; 0 where it has no counter.
        cycles_per_second: of its counter; stack_bytes: the most it used.
    """

    parity: DeviceParity
    cycles: tuple[tuple[int, int], ...]
    cycles_per_second: int
    stack_bytes: int


def verify_board(
    stream: ByteStream,
    name: str,
    artifact: Artifact,
    graphs: Sequence[GraphInputs],
    progress: Callable[[str], None] = lambda line: None,
) -> BoardRun:
    """Compute every graph on a board and compare each output with the host's, bit for bit.

    Raises:
        DeviceError: the board runs another model than this artifact.
        InvalidInput: no graphs are given.
        MeasurementError: the board does not answer.
    """
    if not graphs:
        raise InvalidInput("no graphs to compare on. Pass --model MODEL, the file with get_graphs().")
    board, build = Board(stream), hashlib.sha256(c_sources(artifact)[artifact.model_file]).digest()[:8]
    who = board.identity
    if who.build != build:
        raise DeviceError(
            f"{name}: the board runs another build of {who.model} than this artifact. Flash its image first."
        )
    differences: dict[int, str] = {}
    refused, stack, largest, top = 0, 0, 0.0, 0.0
    cycles: list[tuple[int, int]] = []
    with closing(runtimes.load(artifact)) as host:
        for position, graph in enumerate(graphs):
            progress(f"{name}: graph {position + 1} of {len(graphs)}")
            expected = _answer(lambda graph=graph: host.run(graph))  # type: ignore[misc]  # a default argument
            found: Answer
            try:
                board.load(graph)
                prepared = board.prepare(graph)
                found = STATUS.get(prepared.status, f"status {prepared.status}") if prepared.status else ()
                if not prepared.status:
                    inference = board.infer()
                    found = (
                        inference.outputs
                        if not inference.status
                        else STATUS.get(inference.status, f"status {inference.status}")
                    )
                    cycles.append((prepared.cycles, inference.results[-1].cycles))
                    stack = max(stack, inference.results[-1].stack_bytes)
            except InvalidInput as error:
                found = str(error)
            words = output_difference(expected, found)
            if (
                isinstance(expected, tuple)
                and isinstance(found, tuple)
                and [a.shape for a in expected] == [a.shape for a in found]
            ):
                largest = max(largest, largest_difference(expected, found))
                top = max(top, *(float(np.abs(array).max(initial=0.0)) for array in expected))
            refused += isinstance(expected, str) and not words
            if words:
                differences[position] = words
    identical = len(graphs) - refused - len(differences)
    parity = DeviceParity(
        name,
        Path(artifact.path).name,
        len(graphs),
        refused,
        identical,
        largest,
        largest / top if top else 0.0,
        True,
        differences,
    )
    return BoardRun(parity, tuple(cycles), who.cycles_per_second, stack)


def _answer(run: Callable[[], Answer]) -> Answer:
    try:
        return run()
    except PocketGnnError as error:
        return str(error)
