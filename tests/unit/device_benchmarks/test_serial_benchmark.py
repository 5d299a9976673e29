"""Boards that are timed: the firmware's protocol and a model compiled for this machine, behind a port that pyserial opens."""

from __future__ import annotations

import json
import signal
from dataclasses import replace

import numpy as np
import pytest

from device_benchmarks.board_connection import BoardConnection
from device_benchmarks.comparison import Verdict, compare_results, read_result
from device_benchmarks.device_result import delegation
from device_benchmarks.measurement import TRIMMED, Scope
from device_benchmarks.protocol import Protocol
from device_benchmarks.serial_benchmark import bench_board
from device_benchmarks.serial_session import verify_board
from device_benchmarks.transports.serial_port import SerialPort
from device_benchmarks.unicorn_emulator import UnicornEmulator
from tests.firmware_artifact import random_graph
from tests.host_board import HostBoard, build_host_board
from toolchain.errors import DeviceError, DeviceTimeout, InvalidInput

pytest.importorskip("serial")
SHORT = Protocol("five-windows-short", samples=10, seconds=0.5, warmup_samples=2, warmup_seconds=0.05, rounds=5)


class When:
    """Does something to a board when its host has sent the nth line of a letter, and with `again` at every nth one."""

    def __init__(self, stream, letter, number, act, again=False):
        self._stream, self._letter, self._number, self._act, self._again = stream, letter, number, act, again
        self._sent = 0

    def write(self, data):
        self._stream.write(data)
        self._sent += data.startswith(self._letter)
        if data.startswith(self._letter) and (
            self._sent == self._number or (self._again and self._sent % self._number == 0)
        ):
            self._act()

    def read(self, seconds):
        return self._stream.read(min(seconds, 0.3))  # a line that went to a board which is gone is not waited for long


class Lossy:
    """Loses every nth byte, in both directions together."""

    def __init__(self, stream, every):
        self._stream, self._every, self._passed_on = stream, every, 0

    def write(self, data):
        self._stream.write(self._passed(data))

    def read(self, seconds):
        return self._passed(self._stream.read(min(seconds, 0.3)))

    def _passed(self, data):
        first, self._passed_on = self._passed_on, self._passed_on + len(data)
        return bytes(byte for place, byte in enumerate(data, first) if place % self._every != self._every - 1)


@pytest.fixture(scope="module")
def program(c_artifact, tmp_path_factory):
    return build_host_board(c_artifact, tmp_path_factory.mktemp("host-board"))


@pytest.fixture
def board(program):
    started = HostBoard(program)
    yield started
    started.close()


def test_five_windows_are_counted_by_the_board_itself(board, c_artifact):
    with SerialPort(board.port) as port:
        result = bench_board(BoardConnection(port, "serial:host"), c_artifact, random_graph(0), protocol=SHORT)

    assert result.is_valid, result.reasons
    assert [window.scope for window in result.answers.windows] == [Scope.MODEL] * 5
    for window in result.answers.windows:
        assert window.elapsed_ns >= 0.1e9
        assert window.inferences == window.stride * window.samples_ns.size >= 2
        np.testing.assert_allclose(window.samples_ns.sum() * window.stride, window.elapsed_ns, rtol=1e-6)
    means = sorted(window.elapsed_ns / window.inferences / 1e3 for window in result.answers.windows)
    assert result.median_of_windows_us(Scope.MODEL) == means[2]
    assert result.answers.runtime["counter_hz"] == 1_000_000_000
    assert result.answers.memory["stack_bytes"] > 0
    assert (result.answers.runtime["resets"], result.answers.runtime["resent_lines"]) == (0, 0)


def test_results_of_a_board_can_be_compared(board, c_artifact, tmp_path):
    with SerialPort(board.port) as port:
        path = bench_board(BoardConnection(port, "serial:host"), c_artifact, random_graph(0), protocol=SHORT).write(
            tmp_path / "a.json"
        )

    found = read_result(path)
    assert json.loads(path.read_text())["latency_us"].keys() == {Scope.MODEL.value}
    assert compare_results(found, found, 0.05).verdict in (Verdict.PASS, Verdict.INCONCLUSIVE)
    (scope,) = compare_results(found, found, 0.05).scopes
    assert scope.change == 0


def test_a_result_says_what_a_reader_needs_to_take_it_up(board, c_artifact):
    with SerialPort(board.port) as port:
        result = bench_board(
            BoardConnection(port, "serial:host"), c_artifact, random_graph(0), protocol=SHORT, source="random", seed=7
        )

    found = result.to_json()
    assert {"tool", "schema", "started_at", "command", "seed", "valid", "validity", "first", "memory", "scopes"} <= set(
        found
    )
    assert (found["seed"], found["scopes"]) == (7, [Scope.MODEL.value])
    assert {
        "manufacturer",
        "serial_hash",
        "model",
        "soc",
        "cpu",
        "cores",
        "max_khz",
        "ram_bytes",
        "os",
        "kernel",
    } <= set(found["device"])
    assert {"name", "threads", "affinity", "delegate", "delegated_op_fraction"} <= set(found["runtime"])
    latency = found["latency_us"][Scope.MODEL.value]
    assert {"n", "min", "p50", "p90", "p99", "max", "mean", "std", "cv", "trimmed_mean"} <= set(latency)
    assert latency["min"] <= latency["trimmed_mean"] <= latency["max"]
    assert latency["trimmed_share"] == TRIMMED
    none_delegated = {
        **result.artifact,
        "format": "executorch",
        "backend": "xnnpack",
        "operators": 9,
        "delegated_operators": 0,
    }
    assert replace(result, artifact=none_delegated).reasons == ["not fallen back"]


@pytest.mark.parametrize(
    ("facts", "delegate", "share"),
    [
        ({"format": "executorch", "backend": "xnnpack", "operators": 8, "delegated_operators": 2}, "xnnpack", 0.25),
        (
            {"format": "executorch", "backend": "xnnpack", "operators": None},
            "xnnpack",
            None,
        ),  # exported before they were counted
        ({"format": "executorch", "backend": "portable", "operators": 8, "delegated_operators": 0}, None, None),
        ({"format": "litert"}, None, None),
        ({"format": "c", "backend": None}, None, None),
    ],
)
def test_a_share_of_delegated_operators_is_told_only_where_the_manifest_counts_them(facts, delegate, share):
    assert delegation(facts) == {"delegate": delegate, "delegated_op_fraction": share}


def test_an_emulated_board_is_verified_and_never_timed(firmware, c_artifact):
    emulator = UnicornEmulator(firmware("cortex-m4"))

    assert verify_board(BoardConnection(emulator, "serial:x"), c_artifact, [random_graph(0)]).parity.identical == 1
    with pytest.raises(DeviceError, match=r"no counter.*emulated: correctness and instruction counts only"):
        bench_board(BoardConnection(emulator, "serial:x"), c_artifact, random_graph(0))


def test_a_program_in_an_emulator_is_never_timed_though_it_has_a_clock(firmware, c_artifact):
    emulator = UnicornEmulator(firmware("aarch64"))

    with pytest.raises(DeviceError, match="aarch64 in an emulator: emulated: correctness"):
        bench_board(BoardConnection(emulator, "serial:x"), c_artifact, random_graph(0))


@pytest.mark.parametrize(
    ("letter", "number"), [(b"W", 1), (b"W", 8), (b"P", 1), (b"R", 1), (b"R", 2), (b"R", 9), (b"I", 3)]
)
def test_a_board_that_starts_anew_is_given_everything_once_more(board, c_artifact, letter, number):
    with SerialPort(board.port) as port:
        stream = When(port, letter, number, board.reset)
        result = bench_board(BoardConnection(stream, "serial:host"), c_artifact, random_graph(0), protocol=SHORT)

    assert result.is_valid, result.reasons
    assert result.answers.runtime["resets"] == 1


def test_a_board_that_starts_anew_all_the_time_is_given_up(board, c_artifact):
    with SerialPort(board.port) as port:
        stream = When(port, b"P", 1, board.reset, again=True)
        with pytest.raises(DeviceError, match="has started anew, 4 times by now"):
            verify_board(BoardConnection(stream, "serial:host"), c_artifact, [random_graph(0)])


def test_lost_bytes_are_sent_again_and_told(board, c_artifact):
    with SerialPort(board.port) as port:
        result = bench_board(
            BoardConnection(Lossy(port, 2500), "serial:host"), c_artifact, random_graph(0), protocol=SHORT
        )

    assert result.is_valid, result.reasons
    assert result.answers.runtime["resent_lines"] > 0


def test_a_board_that_hangs_is_told(board, c_artifact):
    with SerialPort(board.port) as port:
        stream = When(port, b"W", 2, lambda: board.process.send_signal(signal.SIGSTOP))
        with pytest.raises(DeviceTimeout, match="the board does not answer a line W"):
            bench_board(BoardConnection(stream, "serial:host"), c_artifact, random_graph(0), protocol=SHORT)


def test_a_board_that_is_unplugged_is_told(board, c_artifact):
    with SerialPort(board.port) as port:
        stream = When(port, b"R", 5, board.unplug)
        with pytest.raises(DeviceError, match=r"serial:\S+: the board is gone"):
            bench_board(BoardConnection(stream, "serial:host"), c_artifact, random_graph(0), protocol=SHORT)


def test_a_counter_that_is_not_as_fast_as_stated_makes_a_result_invalid(program, c_artifact):
    slow = HostBoard(program, "100000000")
    one_window = Protocol("one-window", samples=2, seconds=1.0, warmup_samples=2, warmup_seconds=0.1, rounds=1)
    try:
        with SerialPort(slow.port) as port:
            result = bench_board(BoardConnection(port, "serial:host"), c_artifact, random_graph(0), protocol=one_window)
    finally:
        slow.close()

    assert result.reasons == ["counter agrees with the clock"]


def test_a_graph_that_the_board_refuses_is_not_timed(board, c_artifact):
    large = type(random_graph(0)).concatenate([random_graph(seed) for seed in range(12)])

    with SerialPort(board.port) as port, pytest.raises(InvalidInput, match=r"refuses the graph .*Choose another one"):
        bench_board(BoardConnection(port, "serial:host"), c_artifact, large, protocol=SHORT)
