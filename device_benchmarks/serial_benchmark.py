"""bench_board: a C artifact on a board that is flashed with it, timed by the board's own counter in windows of many inferences."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import numpy as np

from device_benchmarks.board_connection import BoardConnection, Counters
from device_benchmarks.board_identity import Identity
from device_benchmarks.device_answers import Computed, DeviceAnswers, TimedWindow
from device_benchmarks.device_facts import NO_STATE, DeviceFacts
from device_benchmarks.device_result import DeviceResult, artifact_facts, graph_sha256
from device_benchmarks.device_session import EMULATED
from device_benchmarks.measurement import Scope
from device_benchmarks.protocol import BOARD, Protocol, Window
from device_benchmarks.serial_protocol import MOST_CYCLES, MOST_RUNS, BoardReset
from device_benchmarks.serial_session import MOST_RESETS, BoardAnswer, check_build, compare, compute
from device_benchmarks.target import Target, load_target, target_names
from toolchain.artifact import Artifact
from toolchain.errors import DeviceError, InvalidInput, MeasurementError
from toolchain.inputs import GraphInputs

Found = TypeVar("Found")
BURST_SECONDS = 0.5  # at most; a line and its answer take some milliseconds: one hundredth of it
BURSTS = 4  # of a window at least, if one inference is not longer: they are the samples that `compare` takes
SPARE_SECONDS, SPARE_TIMES = 2.0, 4.0  # how much longer than expected a burst may take before its line is sent again
LINE_SECONDS = 0.1  # the most that a line and its answer take beside the runs
SLOWEST, FASTEST = (
    0.7,
    1.05,
)  # counter over the host's clock, for a counter that runs at the rate which the board states


def bench_board(
    board: BoardConnection, artifact: Artifact, graph: GraphInputs, *, protocol: Protocol = BOARD, source: str = "",
    command: str = "", seed: int | None = None, progress: Callable[[str], None] = lambda line: None,
) -> DeviceResult:  # fmt: skip
    """Time one graph on a board, after its outputs were compared with the host's.

    A window is as in MLPerf Tiny: the board runs the model many times without sending anything, and counts the cycles of that
    itself. A window in which the board starts anew is measured again from its beginning.

    Args:
        source: where the graph is from; command: what the user typed; seed: of the data; all for the record.

    Raises:
        DeviceError: the board is an emulated one, has no counter, runs another model, does not answer, or starts anew again and
            again.
        InvalidInput: it refuses the graph.
        MeasurementError: its counter stands still.
    """
    name, started, begin = board.name, datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    progress(f"{name}: connecting")
    check_build(board, artifact)
    facts = _facts(board.identity)
    _refuse_emulated(name, board.identity, facts)
    first = compute(board, artifact, graph)
    if first.run is None:
        raise InvalidInput(
            f"{name}: the board refuses the graph ({first.answer}). Choose another one with --graph-index."
        )
    ready = time.monotonic()
    burst_seconds = min(BURST_SECONDS, protocol.window.seconds / BURSTS)
    timing = _Timing(board, artifact, graph, board.identity.cycles_per_second, burst_seconds)
    progress(f"{name}: warming up")
    per_inference = timing.warm_up(first.run.cycles, protocol)
    windows = []
    for number in range(protocol.rounds):
        progress(f"{name}: window {number + 1} of {protocol.rounds}")
        windows.append(timing.window(number, protocol.window, per_inference))
    parity = compare(name, artifact, [graph, graph], [first.answer, compute(board, artifact, graph).answer])
    return DeviceResult(
        device=name, transport=board.kind, facts=facts, before=NO_STATE, after=NO_STATE, throttled=None,
        artifact=artifact_facts(artifact), answers=_answers(board, first, windows), parity=parity.to_json(), protocol=protocol,
        cores="any",
        inputs={
            "source": source, "sha256": graph_sha256(graph), "nodes": graph.num_nodes, "edges": graph.num_edges,
            "graphs": graph.num_graphs,
        },
        command=command, started_at=started, build_seconds=ready - begin, wall_seconds=time.monotonic() - begin,
        scopes=(Scope.MODEL,), checks={"counter_agrees_with_the_clock": timing.counter_agrees}, seed=seed,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Burst:
    """Runs in a row, of which the board sent no outputs: cycles by its counter, seconds by this host's clock."""

    runs: int
    cycles: int
    seconds: float


@dataclass(slots=True)
class _Timing:
    """Bursts of one prepared graph on one board."""

    board: BoardConnection
    artifact: Artifact
    graph: GraphInputs
    cycles_per_second: int
    burst_seconds: float
    board_seconds: float = 0.0
    host_seconds: float = 0.0
    bursts: int = 0

    @property
    def counter_agrees(self) -> bool:
        """Whether the counter runs at the rate that the board states."""
        least = SLOWEST * self.host_seconds - LINE_SECONDS * self.bursts
        return least <= self.board_seconds <= FASTEST * self.host_seconds

    def warm_up(self, cycles: int, protocol: Protocol) -> float:
        """Run until it is warm; how long an inference takes then, in seconds, by a first guess in cycles."""
        per_inference, done, spent = max(cycles, 1) / self.cycles_per_second, 0, 0.0
        while done < protocol.warmup_samples or spent < protocol.warmup_seconds:
            burst = self._again(lambda guess=per_inference: self._burst(guess))  # type: ignore[misc]  # a default argument
            done += burst.runs
            spent += burst.cycles / self.cycles_per_second
            per_inference = burst.cycles / burst.runs / self.cycles_per_second
        return per_inference

    def window(self, number: int, wanted: Window, per_inference: float) -> TimedWindow:
        """Bursts until the window is full."""

        def full() -> list[Burst]:
            bursts: list[Burst] = []
            while (
                sum(burst.runs for burst in bursts) < wanted.samples
                or sum(burst.cycles for burst in bursts) < wanted.seconds * self.cycles_per_second
            ):
                bursts.append(self._burst(per_inference))
            return bursts

        bursts = self._again(full)
        self.board_seconds += sum(burst.cycles for burst in bursts) / self.cycles_per_second
        self.host_seconds += sum(burst.seconds for burst in bursts)
        self.bursts += len(bursts)
        nanoseconds = 1e9 / self.cycles_per_second
        return TimedWindow(
            Scope.MODEL, number, bursts[0].runs, 0, sum(burst.runs for burst in bursts),
            round(sum(burst.cycles for burst in bursts) * nanoseconds),
            np.array([burst.cycles / burst.runs * nanoseconds for burst in bursts]),
        )  # fmt: skip

    def _burst(self, per_inference: float) -> Burst:
        most = max(int(MOST_CYCLES / 2 / (per_inference * self.cycles_per_second)), 1)
        runs = max(min(round(self.burst_seconds / per_inference), MOST_RUNS, most), 1)
        done = self.board.run(["infer", str(runs)], seconds=SPARE_SECONDS + SPARE_TIMES * runs * per_inference)
        if done.status:
            raise MeasurementError(f"the board refuses what it took before: {done.error}.")
        found = Counters.of(done)
        if not found.cycles:
            raise MeasurementError("the counter of the board stands still. See to board_cycles of its port.")
        return Burst(runs, found.cycles, found.seconds)

    def _again(self, measure: Callable[[], Found]) -> Found:
        """Measure; from the beginning, with the graph loaded once more, where the board has started anew."""
        for remaining in reversed(range(MOST_RESETS + 1)):
            try:
                return measure()
            except BoardReset:
                if not remaining:
                    raise
                compute(self.board, self.artifact, self.graph)
        raise AssertionError("the last round returns or raises")


def _refuse_emulated(name: str, who: Identity, facts: DeviceFacts) -> None:
    if facts.emulated:
        raise DeviceError(f"{name}: {facts.emulated}: {EMULATED}. Use verify -d, or bench --target.")
    if not who.cycles_per_second:
        raise DeviceError(
            f"{name}: {who.board} has no counter, like every board that an emulator plays: {EMULATED}. Use verify -d, or bench "
            "--target; on a board of your own, have board_init return the rate of board_cycles."
        )


def _facts(who: Identity) -> DeviceFacts:
    """What a board and the file of its target tell."""
    target = _target_of(who.board)
    # A program of an operating system reads a pipe: on a serial port there is one where an emulator runs it.
    emulated = f"{target.name} in an emulator" if target and target.board.is_hosted else ""
    return DeviceFacts(
        machine=target.isa if target else "", model=who.board, soc="", cpu=target.cpu if target else "", cores=1,
        ram_bytes=target.ram_bytes if target else 0, os="firmware", kernel="", max_khz={}, emulated=emulated,
        target=target.name if target else "",
    )  # fmt: skip


def _target_of(board: str) -> Target | None:
    return next((target for name in target_names() if (target := load_target(name)).board.name == board), None)


def _answers(board: BoardConnection, first: BoardAnswer, windows: list[TimedWindow]) -> DeviceAnswers:
    assert first.prepare is not None and first.run is not None and isinstance(first.answer, tuple)
    who, run = board.identity, first.run
    prepare_ns, run_ns = (round(result.cycles / who.cycles_per_second * 1e9) for result in (first.prepare, run))
    return DeviceAnswers(
        (Computed(first.answer, "", prepare_ns, run_ns),), tuple(windows),
        {"stack_bytes": run.stack_bytes, "arena_bytes": who.arena_bytes}, round(1e9 / who.cycles_per_second),
        {
            "name": "native C", "threads": 1, "model_build": who.build.hex(), "counter_hz": who.cycles_per_second,
            "resent_lines": board.resent, "resets": board.resets,
        },
    )  # fmt: skip
