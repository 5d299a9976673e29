"""Board: the host's half of the line protocol of runtimes/c/firmware/protocol.c, over any stream of bytes."""

from __future__ import annotations

import binascii
import re
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from device_benchmarks.board_identity import Identity, graph_fields
from toolchain.errors import DeviceError, DeviceTimeout
from toolchain.inputs import GraphInputs

VERSION = 2
DAMAGED = 1  # the status of an X line that answers a line which did not arrive whole
SILENT = 1  # the option of an R line that sends no outputs
MOST_RUNS, MOST_CYCLES = 0xFFFF, 0xFFFFFFFF  # of one R line: a field of two bytes, and a counter of four
_LINE = re.compile(rb".*([G-Z])((?:[0-9A-F]{2})*)$", re.DOTALL)  # from the last letter on: what precedes it was cut off


class ByteStream(Protocol):
    """What a board is connected by: an emulator, or a serial port."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def read(self, seconds: float) -> bytes:
        """The bytes that have come; waits up to `seconds` for the first one, and returns b"" if none comes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a board stopped, in the numbers of its processor.

    Attributes:
        kind: the exception.
        address: of the instruction; return_address: the link register.
        status: of the fault; 0 where the processor has none.
    """

    kind: int
    address: int
    return_address: int
    status: int

    def __str__(self) -> str:
        return f"the board stopped with fault {self.kind} at 0x{self.address:08x}, fault status 0x{self.status:08x}."


class BoardFault(DeviceError):
    """The processor of a board took a fault and stopped."""


class BoardReset(DeviceError):
    """A board has started anew, so what was loaded and prepared on it is gone."""


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a prepare or a run.

    Attributes:
        status: a gnn_status; 0 is done.
        lines: lines of outputs that belong to it.
        cycles: by the board's counter, without the time to send; 0 where there is none.
        since_start: of a prepare or a run the most stack used, in bytes; of other lines how many the board has received.
    """

    status: int
    lines: int
    cycles: int
    since_start: int


@dataclass(frozen=True, slots=True, eq=False)
class Inference:
    """Outputs of a run, and its result."""

    outputs: tuple[np.ndarray, ...]
    result: Result


class Board:
    """A board that serves a model.

    Every line is checked. One that is not answered, or whose answer is damaged, is sent again.

    Attributes:
        resent: lines that had to be sent again; resets: starts of the board that were noticed.

    Args:
        stream: the connection.
        explain: puts a fault into words.
        answer_seconds: how long a short answer may take; run_seconds: an inference.
        attempts: how often a line is sent at most.
    """

    def __init__(
        self, stream: ByteStream, explain: Callable[[Fault], str] = str, *, answer_seconds: float = 5.0, run_seconds: float = 60.0,
        attempts: int = 5,
    ) -> None:  # fmt: skip
        self._stream, self._explain = stream, explain
        self._answer_seconds, self._run_seconds, self._attempts = answer_seconds, run_seconds, attempts
        self._received = b""
        self._number = self._answered = 0
        self._sent_at = 0.0
        self.resent = self.resets = 0
        self._identity: Identity | None = None
        self._memory: dict[int, bytearray] = {}  # what was written: blocks hold parts of several fields

    @property
    def identity(self) -> Identity:
        """What `identify` found; it asks the board once."""
        return self._identity or self.identify()

    def identify(self) -> Identity:
        """Ask the board who it is.

        Raises:
            DeviceError: nothing that speaks this version of the protocol answers.
            BoardReset: it has started anew since the last line.
        """
        (_, answer), = self._ask(b"I", bytes(3), self._answer_seconds)  # fmt: skip
        version, block, input_bytes, arena_bytes, build = struct.unpack_from("<BxHII8s", answer, 36)
        if version != VERSION:
            raise DeviceError(
                f"the board speaks version {version} of the protocol, this host {VERSION}. Build a new image."
            )
        nodes, edges, graphs, degree, features, edge_features, *flags, outputs = struct.unpack_from(
            "<IIIIHHBBBB", answer, 12
        )
        reads_weight, reads_sparse, has_fixed_graph = (bool(flag) for flag in flags)
        model, board = answer[56:].split(b"\0")[:2]  # zeros may follow
        self._identity = Identity(
            model.decode(), board.decode(), build, _result(answer).cycles, block, input_bytes, arena_bytes, nodes, edges, graphs,
            degree, 0 if reads_sparse else features, edge_features, reads_weight, reads_sparse, has_fixed_graph, outputs,
        )  # fmt: skip
        return self._identity

    def load(self, graph: GraphInputs) -> None:
        """Write a graph's features and edges to the board.

        Raises:
            InvalidInput: the graph has more nodes or edges than the board has room for, or lacks what the model reads.
            BoardReset: the board has started anew meanwhile.
        """
        self.write(graph_fields(graph, self.identity))

    def write(self, fields: Mapping[str, bytes]) -> None:
        """Write the values of some of `identity.fields`; what the others hold stays.

        Raises:
            DeviceError: there is no such field, or no room for so many values.
            BoardReset: the board has started anew meanwhile, and holds nothing.
        """
        who = self.identity
        dirty: set[tuple[int, int]] = set()
        for name, data in fields.items():
            field = who.fields.get(name)
            if field is None:
                raise DeviceError(f"{name!r} is no field that the board has room for; it has {', '.join(who.fields)}.")
            memory = self._memory.setdefault(field.region, bytearray(who.region_bytes[field.region]))
            end = field.offset + len(data)
            if len(data) > field.room or end > len(memory):
                room = min(field.room, len(memory) - field.offset)
                raise DeviceError(f"{name}: {len(data)} B, the board has room for {room} B. Build a new image.")
            memory[field.offset : end] = data
            blocks = range(field.offset // who.block_bytes, -(-end // who.block_bytes)) if data else range(0)
            dirty.update((field.region, block) for block in blocks)
        for region, block in sorted(dirty):
            content = bytes(self._memory[region][block * who.block_bytes : (block + 1) * who.block_bytes])
            self._ask(b"W", struct.pack("<BH", region, block) + content, self._answer_seconds)

    def prepare(self, nodes: int, edges: int, graphs: int, seconds: float | None = None) -> Result:
        """Have the board check and sort the edges that were written, within `seconds` or else `run_seconds`."""
        (_, answer), = self._ask(b"P", struct.pack("<xxxIII", nodes, edges, graphs), seconds or self._run_seconds)  # fmt: skip
        return _result(answer)

    def infer(self, seconds: float | None = None) -> Inference:
        """Run the model once on what was written and prepared, within `seconds` or else `run_seconds`."""
        *lines, (_, answer) = self._ask(b"R", bytes(3), seconds or self._run_seconds)
        return Inference(_outputs([line for _, line in lines], self.identity.num_outputs), _result(answer))

    def infer_in_a_row(self, runs: int, seconds: float) -> tuple[Result, float]:
        """Run the model some times, at most `MOST_RUNS` and for less than `MOST_CYCLES`, without sending outputs.

        Args:
            seconds: how long that may take.

        Returns:
            The result of all of them, and seconds by this host's clock from the line to its answer.
        """
        (_, answer), = self._ask(b"R", struct.pack("<BH", SILENT, runs), seconds)  # fmt: skip
        return _result(answer), time.monotonic() - self._sent_at

    # ---- lines -----------------------------------------------------------------------------------------------------

    def _ask(self, letter: bytes, payload: bytes, seconds: float) -> list[tuple[bytes, bytes]]:
        """Send a line until its answer has come whole; the lines of the answer without those of outputs that came twice."""
        problem, is_silent = "", True
        for attempt in range(self._attempts):
            if attempt > 0 and letter in b"PR":
                self.identify()  # a board that has started anew says so at once, and one that hangs is not waited for so often
            self._number = self._number % 255 + 1
            self.resent += attempt > 0
            self._sent_at = time.monotonic()
            self._stream.write(encode(letter, bytes([self._number]) + payload))
            answers: list[tuple[bytes, bytes]] = []
            while (line := self._line(seconds)) is not None:
                kind, answer = line
                if kind == b"Z":
                    raise BoardFault(self._explain(_fault(answer)))
                if kind == b"X" and _result(answer).status == DAMAGED:
                    problem, is_silent = "it received damaged lines", False
                    break
                if answer[0] != self._number:
                    continue  # of an earlier attempt
                if kind == b"X" or (kind == b"W" and _result(answer).status != 0):
                    why = "it has no such command" if kind == b"X" else "it is beyond its memory"
                    raise DeviceError(f"the board refuses a line {letter.decode()}: {why}. Build a new image.")
                answers.append((kind, answer))
                if kind == letter:
                    if _result(answer).lines == len(answers) - 1:
                        self._notice_reset(letter, _result(answer))
                        return answers
                    problem, is_silent = "lines of its answer were lost", False
                    break
            else:
                problem = problem or f"it did not answer within {seconds:g} s"
        failure = DeviceTimeout if is_silent else DeviceError
        raise failure(f"the board does not answer a line {letter.decode()}: {problem}, {self._attempts} times.")

    def _notice_reset(self, letter: bytes, result: Result) -> None:
        """Compare how many lines a board says have come since its start with how many it has answered."""
        self._answered += 1
        if letter in b"PR":
            return
        expected, self._answered = self._answered, result.since_start
        if result.since_start < expected:
            self.resets += 1
            raise BoardReset(
                f"the board has started anew, {self.resets} times by now. See to its power supply and its watchdog."
            )

    def _line(self, seconds: float) -> tuple[bytes, bytes] | None:
        """The next undamaged line; None where none comes in time."""
        end = time.monotonic() + seconds
        while True:
            text, newline, rest = self._received.partition(b"\n")
            if newline:
                self._received = rest
                if (decoded := decode(text)) is not None:
                    return decoded
                continue
            data = self._stream.read(max(end - time.monotonic(), 0.0))
            if not data:
                return None
            self._received += data


def encode(letter: bytes, payload: bytes) -> bytes:
    """One line."""
    body = letter + payload
    return letter + payload.hex().upper().encode() + b"%04X\n" % checksum(body)


def decode(text: bytes) -> tuple[bytes, bytes] | None:
    """Letter and bytes of a line without its newline; None if it is damaged."""
    match = _LINE.match(text.strip())
    if match is None:
        return None
    payload = bytes.fromhex(match[2].decode())
    if len(payload) < 6 or checksum(match[1] + payload) != 0:
        return None
    return match[1], payload[:-2]


def checksum(data: bytes) -> int:
    """CRC-16, polynomial 0x1021, start 0xFFFF; 0 over data and their checksum."""
    return binascii.crc_hqx(data, 0xFFFF)


def _fault(answer: bytes) -> Fault:
    kind, address, return_address, status = struct.unpack("<IIII", answer)
    return Fault(kind, address & ~1, return_address & ~1, status)  # bit 0 says Thumb, and is part of no address


def _result(answer: bytes) -> Result:
    return Result(*struct.unpack_from("<xBHII", answer))


def _outputs(lines: Sequence[bytes], count: int) -> tuple[np.ndarray, ...]:
    """The arrays that O lines are the rows of; one without rows is [0, 0], since no line says how wide it is."""
    blocks: dict[int, list[tuple[int, np.ndarray]]] = {}
    for line in lines:
        output, channels, first = struct.unpack_from("<xBHI", line)
        blocks.setdefault(output, []).append((first, np.frombuffer(line, "<f4", offset=8).reshape(-1, channels)))
    arrays = {o: np.concatenate([rows for _, rows in sorted(found, key=lambda b: b[0])]) for o, found in blocks.items()}
    return tuple(arrays.get(output, np.zeros((0, 0), "<f4")) for output in range(count))
