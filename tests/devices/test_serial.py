"""The firmware in QEMU's boards, their serial port a pseudo-terminal that pyserial opens as it opens a real one."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from device_benchmarks.board_connection import BoardConnection
from device_benchmarks.firmware import build_firmware
from device_benchmarks.serial_benchmark import bench_board
from device_benchmarks.serial_session import verify_board
from device_benchmarks.target import load_target
from device_benchmarks.transports.serial_port import SerialPort
from toolchain.cli import main
from toolchain.errors import DeviceError

pytestmark = pytest.mark.devices
pytest.importorskip("serial")


@pytest.fixture(scope="module")
def image(int8_artifact, tmp_path_factory) -> Path:
    return build_firmware(int8_artifact, load_target("cortex-m4"), tmp_path_factory.mktemp("image")).elf.path


@pytest.fixture
def port(image: Path, tmp_path: Path) -> Iterator[str]:
    """A port with a Cortex-M4 on it, an MPS2 board of QEMU."""
    command = load_target("cortex-m4").emulator.qemu
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]}: not installed")
    said = tmp_path / "said"
    options = [
        "-display",
        "none",
        "-monitor",
        "none",
        "-nic",
        "none",
        "-chardev",
        "pty,id=host",
        "-serial",
        "chardev:host",
    ]
    with open(said, "wb") as words:
        process = subprocess.Popen([*command, *options, "-kernel", str(image)], stdout=words, stderr=words)
    try:
        end = time.monotonic() + 30
        while not (found := re.search(r"/dev/pts/\d+", said.read_text())) and time.monotonic() < end:
            time.sleep(0.02)
        assert found is not None, said.read_text()
        yield found[0]
    finally:
        process.kill()
        process.wait()


def test_int8_outputs_over_a_serial_port_are_those_of_the_host_bit_for_bit(port, int8_artifact, graphs):
    with SerialPort(port) as stream:
        run = verify_board(BoardConnection(stream, f"serial:{port}"), int8_artifact, graphs[:5])

    assert (run.parity.identical, run.parity.differences, run.resets) == (5, {}, 0)
    assert run.stack_bytes > 0


def test_a_board_in_an_emulator_is_not_timed(port, int8_artifact, graphs):
    with (
        SerialPort(port) as stream,
        pytest.raises(DeviceError, match="emulated: correctness and instruction counts only"),
    ):
        bench_board(BoardConnection(stream, f"serial:{port}"), int8_artifact, graphs[0])


def test_the_command_line_times_no_emulated_board_and_records_nothing(
    port, int8_artifact, model_file, tmp_path, capsys
):
    arguments = ["-d", f"serial:{port}", "--model", model_file, "-o", str(tmp_path / "out"), "-q"]

    assert main(["bench", str(int8_artifact.path), *arguments]) == 1

    assert f"serial:{port}: mps2-an386 has no counter" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
