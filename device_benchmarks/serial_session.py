"""verify_board: a C artifact on a board that is flashed with it, beside the host; cycles by the board's own counter."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import runtimes
from device_benchmarks.board_connection import SECONDS, BoardConnection, Counters, prepare_command
from device_benchmarks.board_identity import graph_fields
from device_benchmarks.device_session import DeviceParity
from device_benchmarks.output_difference import Answer, largest_difference, output_difference
from device_benchmarks.serial_protocol import BoardReset
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
        prepare, run: what it counted meanwhile; None where it did not get so far.
    """

    answer: Answer
    prepare: Counters | None = None
    run: Counters | None = None


def verify_board(
    board: BoardConnection, artifact: Artifact, graphs: Sequence[GraphInputs], progress: Progress = lambda line: None
) -> BoardRun:  # fmt: skip
    """Compute every graph on a board and compare each output with the host's, bit for bit.

    Raises:
        DeviceError: the board runs another model than this artifact, does not answer, or starts anew again and again.
        InvalidInput: no graphs are given.
    """
    if not graphs:
        raise InvalidInput("no graphs to compare on. Pass --model MODEL, the file with get_graphs().")
    check_build(board, artifact)
    answers = []
    for position, graph in enumerate(graphs):
        progress(f"{board.name}: graph {position + 1} of {len(graphs)}")
        answers.append(compute(board, artifact, graph))
    parity = compare(board.name, artifact, graphs, [found.answer for found in answers])
    taken = [(found.prepare, found.run) for found in answers if found.prepare and found.run]
    cycles = tuple((prepare.cycles, run.cycles) for prepare, run in taken)
    stack = max((run.stack_bytes for _, run in taken), default=0)
    return BoardRun(parity, cycles, board.identity.cycles_per_second, stack, board.resent, board.resets)


def check_build(board: BoardConnection, artifact: Artifact) -> None:
    """Refuse a board that runs another model than an artifact.

    Raises:
        DeviceError: it does, or does not answer.
    """
    build = hashlib.sha256(c_sources(artifact)[artifact.model_file]).digest()[:8]
    if board.identity.build != build:
        raise DeviceError(
            f"{board.name}: the board runs another build of {board.identity.model} than this artifact. Flash its image first."
        )


def compute(board: BoardConnection, artifact: Artifact, graph: GraphInputs, seconds: float = SECONDS) -> BoardAnswer:
    """Put, prepare and run a graph; from the beginning where the board has started anew meanwhile.

    Args:
        artifact: that it runs; seconds: how long a command may take.

    Raises:
        DeviceError: the board does not answer; BoardReset where it has started anew too often.
    """
    for remaining in reversed(range(MOST_RESETS + 1)):
        try:
            return _computed(board, artifact, graph, seconds)
        except InvalidInput as error:
            return BoardAnswer(str(error))
        except BoardReset:
            if not remaining:
                raise
    raise AssertionError("the last round returns or raises")


def _computed(board: BoardConnection, artifact: Artifact, graph: GraphInputs, seconds: float) -> BoardAnswer:
    for name, data in graph_fields(graph, board.identity).items():
        board.put(name, data)
    prepared = board.run(prepare_command(graph), seconds=seconds)
    if prepared.status:
        return BoardAnswer(prepared.error, Counters.of(prepared))
    ran = board.run(["infer"], seconds=seconds)
    if ran.status:
        return BoardAnswer(ran.error, Counters.of(prepared))
    outputs = tuple(
        np.frombuffer(board.get(f"output{number}"), "<f4").reshape(-1, output.channels)
        for number, output in enumerate(artifact.signature.outputs)
    )
    return BoardAnswer(outputs, Counters.of(prepared), Counters.of(ran))


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
