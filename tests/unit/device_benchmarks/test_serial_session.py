"""A board on a serial port: the real firmware, executed by unicorn, behind a pseudo-terminal that pyserial opens."""

from __future__ import annotations

import os
import pty
import select
import threading
from collections.abc import Iterator

import pytest

from device_benchmarks.board_connection import BoardConnection
from device_benchmarks.firmware import FirmwareImage
from device_benchmarks.serial_session import verify_board
from device_benchmarks.transports.serial_port import SerialPort
from device_benchmarks.unicorn_emulator import UnicornEmulator
from tests.firmware_artifact import random_graph
from tests.tiny_c_model import write_tiny
from toolchain.errors import DeviceError, InvalidInput

pytest.importorskip("serial")


@pytest.fixture
def port(firmware) -> Iterator[str]:
    """A port with a Cortex-M4 on it that runs the hand-written model."""
    image: FirmwareImage = firmware("cortex-m4")
    board, device = pty.openpty()
    ended = threading.Event()

    def play() -> None:
        emulator = UnicornEmulator(image)
        while not ended.is_set():
            if select.select([board], [], [], 0.05)[0]:
                emulator.write(os.read(board, 4096))
                answer = emulator.read(60)
                while answer:
                    answer = answer[os.write(board, answer) :]
        emulator.close()

    thread = threading.Thread(target=play)
    thread.start()
    yield os.ttyname(device)
    ended.set()
    thread.join()
    for end in (board, device):
        os.close(end)


def test_outputs_of_a_board_are_those_of_the_host_bit_for_bit(port, c_artifact):
    graphs = [random_graph(seed) for seed in range(4)]
    too_large = type(graphs[0]).concatenate(graphs * 3)

    with SerialPort(port) as stream:
        run = verify_board(BoardConnection(stream, f"serial:{port}"), c_artifact, [*graphs, too_large])

    assert (run.parity.identical, run.parity.refused, run.parity.differences) == (4, 1, {})
    assert len(run.cycles) == 4
    assert run.stack_bytes > 0


def test_a_board_with_another_model_is_refused(port, tmp_path):
    artifact = write_tiny(tmp_path / "tiny")

    with SerialPort(port) as stream, pytest.raises(DeviceError, match=r"runs another build of \w+ than this artifact"):
        verify_board(BoardConnection(stream, "serial:x"), artifact, [random_graph(0)])


def test_a_port_that_two_open_is_refused_to_the_second(port):
    with SerialPort(port), pytest.raises(DeviceError, match="cannot be opened"):
        SerialPort(port)


def test_a_port_that_is_not_there_is_refused():
    with pytest.raises(DeviceError, match=r"serial:/dev/nothing: cannot be opened"):
        SerialPort("/dev/nothing")


def test_no_graphs_are_refused(port, c_artifact):
    with SerialPort(port) as stream, pytest.raises(InvalidInput, match="no graphs"):
        verify_board(BoardConnection(stream, "serial:x"), c_artifact, [])


@pytest.mark.parametrize(
    "command",
    [["rm"], ["prepare"], ["prepare", "1", "2"], ["prepare", "-1", "2", "1"], ["prepare", "4294967296", "0", "1"], ["infer", "0"],
     ["infer", "65536"], ["infer", "x"], ["infer", "1", "1"]],
)  # fmt: skip
def test_what_is_no_command_of_a_board_is_never_sent(port, command):
    with SerialPort(port) as stream, BoardConnection(stream, "serial:x") as board:
        with pytest.raises(DeviceError, match=r"serial:x: '.*' is no command of a board; those are prepare NODES"):
            board.run(command, seconds=1)
        assert board.identity.model == "tiny"
