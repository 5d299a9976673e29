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
from device_benchmarks.serial_protocol import Board, BoardReset, ByteStream, Result
from runtimes.c_interface import STATUS
from toolchain.artifact import Artifact
from toolchain.c_artifact import c_sources
from toolchain.errors import DeviceError, InvalidInput, PocketGnnError
from toolchain.inputs import GraphInputs

MOST_RESETS = 3  # of one graph or window, before a board is given up
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class BoardRun:
    """What a board answered.

    Attributes:
        cycles: of preparing and running, for each graph that it took; 0 where it has no counter.
        cycles_per_second: of its counter; stack_bytes: the most it used.
        resent: lines that had to be sent again; resets: how often the board started anew.
    """

    parity: DeviceParity
    cycles: tuple[tuple[int, int], ...]
    cycles_per_second: int
    stack_bytes: int
    resent: int
    resets: int


@dataclass(frozen=True, slots=True, eq=False)
class BoardAnswer:
    """What a board said to one graph: outputs, or the words of its refusal.

    Attributes:
        prepare, run: how it got there; None where it did not get so far.
    """

    answer: Answer
    prepare: Result | None = None
    run: Result | None = None


def verify_board(
    stream: ByteStream, name: str, artifact: Artifact, graphs: Sequence[GraphInputs], progress: Progress = lambda line: None
) -> BoardRun:  # fmt: skip
    """Compute every graph on a board and compare each output with the host's, bit for bit.

    Raises:
        DeviceError: the board runs another model than this artifact.
        InvalidInput: no graphs are given.
        MeasurementError: the board does not answer, or starts anew again and again.
    """
    if not graphs:
        raise InvalidInput("no graphs to compare on. Pass --model MODEL, the file with get_graphs().")
    board = connect(stream, name, artifact)
    answers = []
    for position, graph in enumerate(graphs):
        progress(f"{name}: graph {position + 1} of {len(graphs)}")
        answers.append(compute(board, graph))
    parity = compare(name, artifact, graphs, [found.answer for found in answers])
    taken = [(found.prepare, found.run) for found in answers if found.prepare and found.run]
    cycles = tuple((prepare.cycles, run.cycles) for prepare, run in taken)
    stack = max((run.since_start for _, run in taken), default=0)
    return BoardRun(parity, cycles, board.identity.cycles_per_second, stack, board.resent, board.resets)


def connect(stream: ByteStream, name: str, artifact: Artifact) -> Board:
    """A board that runs an artifact.

    Raises:
        DeviceError: it runs another one.
        MeasurementError: it does not answer.
    """
    board, build = Board(stream), hashlib.sha256(c_sources(artifact)[artifact.model_file]).digest()[:8]
    if board.identity.build != build:
        raise DeviceError(
            f"{name}: the board runs another build of {board.identity.model} than this artifact. Flash its image first."
        )
    return board


def compute(board: Board, graph: GraphInputs) -> BoardAnswer:
    """Load, prepare and run a graph; from the beginning where the board has started anew meanwhile.

    Raises:
        MeasurementError: the board does not answer; BoardReset where it has started anew too often.
    """
    for remaining in reversed(range(MOST_RESETS + 1)):
        try:
            board.load(graph)
            prepared = board.prepare(graph)
            inference = None if prepared.status else board.infer()
            board.identify()  # which notices a new start since the last line of the load
        except InvalidInput as error:
            return BoardAnswer(str(error))
        except BoardReset:
            if not remaining:
                raise
        else:
            if inference is None or inference.result.status:
                return BoardAnswer(status_words((inference.result if inference else prepared).status), prepared)
            return BoardAnswer(inference.outputs, prepared, inference.result)
    raise AssertionError("the last round returns or raises")


def status_words(status: int) -> str:
    """A gnn_status in words."""
    return STATUS.get(status, f"status {status}")


def compare(name: str, artifact: Artifact, graphs: Sequence[GraphInputs], answers: Sequence[Answer]) -> DeviceParity:
    """The answers of a board beside those of the host, which are the same bits or the same refusals."""
    differences: dict[int, str] = {}
    refused, largest, top = 0, 0.0, 0.0
    with closing(runtimes.load(artifact)) as host:
        for position, (graph, found) in enumerate(zip(graphs, answers, strict=True)):
            expected: Answer
            try:
                expected = host.run(graph)
            except PocketGnnError as error:
                expected = str(error)
            words = output_difference(expected, found)
            if isinstance(expected, tuple) and isinstance(found, tuple) and "shapes" not in words:
                largest = max(largest, largest_difference(expected, found))
                top = max(top, *(float(np.abs(array).max(initial=0.0)) for array in expected))
            refused += isinstance(expected, str) and not words
            if words:
                differences[position] = words
    return DeviceParity(
        name, Path(artifact.path).name, len(graphs), refused, len(graphs) - refused - len(differences), largest,
        largest / top if top else 0.0, True, differences,
    )  # fmt: skip
