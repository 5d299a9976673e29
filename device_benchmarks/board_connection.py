"""BoardConnection: a board that serves a model, as a connection: a graph's arrays are put, prepare and infer are its commands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from types import TracebackType

import numpy as np

from device_benchmarks.board_identity import Identity, counts_of
from device_benchmarks.serial_protocol import MOST_RUNS, Board, ByteStream, Fault, Result
from device_benchmarks.transports import Completed, Connection
from runtimes.c_interface import STATUS
from toolchain.errors import DeviceError
from toolchain.inputs import GraphInputs

SECONDS = 60.0  # for a command that any board does in less
MOST_COUNT = 0xFFFFFFFF  # a field of four bytes
_COUNT = re.compile(r"[0-9]{1,10}")


@dataclass(frozen=True, slots=True)
class Counters:
    """What a board counted during a command.

    Attributes:
        cycles: by its counter, without the time to send; 0 where there is none.
        stack_bytes: the most that it has used since its start.
        seconds: by this host's clock, of runs in a row from the line to its answer; 0 of other commands.
    """

    cycles: int
    stack_bytes: int
    seconds: float = 0.0

    @classmethod
    def of(cls, done: Completed) -> Counters:
        """Those of a command that ended."""
        return cls(**json.loads(done.output))


class BoardConnection(Connection):
    """A board over a serial port, or in an emulator.

    put: the arrays of a graph that it has memory for (`identity.fields`), as little-endian float32 and uint16.
    run: `prepare NODES EDGES GRAPHS` checks and sorts the edges, `infer` runs the model once, `infer RUNS` so many times without
    keeping outputs. The status is the gnn_status, the output `Counters` as JSON. Each command ends with asking the board who it is,
    so that one which started anew meanwhile, and lost what was put, is a BoardReset.
    get: `output0`, `output1`, ... of the last `infer`, as little-endian float32, row by row.

    Args:
        stream: the connection, open; who opened it closes it.
        kind: "serial" or "emulator".
        explain: puts a fault into words.
        answer_seconds: how long a short answer may take; attempts: how often a line is sent at most.

    Attributes:
        resent: lines that had to be sent again; resets: starts of the board that were noticed.
    """

    def __init__(
        self, stream: ByteStream, name: str, *, kind: str = "serial", explain: Callable[[Fault], str] = str,
        answer_seconds: float = 5.0, attempts: int = 5,
    ) -> None:  # fmt: skip
        self.name, self.kind = name, kind
        self.board = Board(stream, explain, answer_seconds=answer_seconds, attempts=attempts)
        self._outputs: tuple[np.ndarray, ...] = ()

    @property
    def resent(self) -> int:
        return self.board.resent

    @property
    def resets(self) -> int:
        return self.board.resets

    @property
    def identity(self) -> Identity:
        """What the board says of itself."""
        with self._named():
            return self.board.identity

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to end: a board serves for ever, and what was put is overwritten by the next run."""

    def put(self, name: str, data: bytes) -> None:
        with self._named():
            self.board.write({name: data})

    def run(self, command: Sequence[str], *, seconds: float) -> Completed:
        with self._named():
            result, host_seconds = self._result(command, seconds)
            self.board.identify()
        counters, status = Counters(result.cycles, result.since_start, host_seconds), result.status
        return Completed(status, json.dumps(asdict(counters)).encode(), status_words(status) if status else "")

    def get(self, name: str) -> bytes:
        outputs = {f"output{number}": output for number, output in enumerate(self._outputs)}
        if name not in outputs:
            there = ", ".join(outputs) or "nothing; run infer first"
            raise DeviceError(f"{self.name}: {name!r} is not there; there is {there}.")
        return outputs[name].tobytes()

    def _result(self, command: Sequence[str], seconds: float) -> tuple[Result, float]:
        """The answer to a command, and the seconds of runs in a row."""
        what, *numbers = command
        counts = [int(number) if _COUNT.fullmatch(number) else MOST_COUNT + 1 for number in numbers]
        self._outputs = ()
        if what == "prepare" and len(counts) == 3 and max(counts) <= MOST_COUNT:
            nodes, edges, graphs = counts
            return self.board.prepare(nodes, edges, graphs, seconds), 0.0
        if what == "infer" and not counts:
            inference = self.board.infer(seconds)
            self._outputs = inference.outputs
            return inference.result, 0.0
        if what == "infer" and len(counts) == 1 and 0 < counts[0] <= MOST_RUNS:
            return self.board.infer_in_a_row(counts[0], seconds)
        raise DeviceError(
            f"{' '.join(command)!r} is no command of a board; those are prepare NODES EDGES GRAPHS, infer, and infer RUNS, "
            f"{MOST_RUNS:,} at most."
        )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """The name of the device before what a stream or the protocol says of it."""
        try:
            yield
        except DeviceError as error:
            if str(error).startswith(f"{self.name}: "):
                raise
            raise type(error)(f"{self.name}: {error}") from error


def prepare_command(graph: GraphInputs) -> list[str]:
    """The command that prepares a graph whose arrays were put."""
    return ["prepare", *map(str, counts_of(graph))]


def status_words(status: int) -> str:
    """A gnn_status in words."""
    return STATUS.get(status, f"status {status}")
