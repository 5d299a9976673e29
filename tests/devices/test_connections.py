"""What holds for every connection, whatever carries it: one suite for this machine, ssh, adb, a serial port and an emulator."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from device_benchmarks.board_connection import BoardConnection, prepare_command
from device_benchmarks.board_identity import graph_fields
from device_benchmarks.firmware import FirmwareImage, build_firmware
from device_benchmarks.qemu_emulator import QemuEmulator
from device_benchmarks.target import load_target
from device_benchmarks.transports import AdbTransport, Connection, LocalTransport, RunFolder, SshTransport, Transport
from device_benchmarks.transports.serial_port import SerialPort
from device_benchmarks.unicorn_emulator import UnicornEmulator
from tests.firmware_artifact import expected_outputs, firmware_artifact, random_graph
from tests.host_board import HostBoard, build_host_board
from toolchain.errors import DeviceError, DeviceTimeout

KINDS = (
    "local", pytest.param("ssh", marks=pytest.mark.devices), pytest.param("adb", marks=pytest.mark.devices), "serial",
    "unicorn", pytest.param("qemu", marks=pytest.mark.qemu),
)  # fmt: skip
SECONDS = 60.0
SHORT: dict[str, Any] = {"answer_seconds": 1.0, "attempts": 3}
HANG = 667.0  # value of x[0][0], see tests/firmware_model/model.c


@dataclass(frozen=True)
class Work:
    """Something for a device to do: what is put there, and what is run one after the other."""

    data: Mapping[str, bytes]
    commands: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Case:
    """A connection, and work for a device of its kind.

    Attributes:
        computing: leaves `expected` under the name `result`; failing: ends with `status`; hanging: does not end.
        no_name: where nothing can be put.
    """

    connection: Connection
    computing: Work
    result: str
    expected: bytes
    failing: Work
    status: int
    hanging: Work
    no_name: str


def shell(connection: RunFolder) -> Case:
    """Work for a shell: files and programs."""
    return Case(
        connection, Work({"data": b"abc"}, [["sh", "-c", "tr a-z A-Z <data >result"]]), "result", b"ABC",
        Work({}, [["sh", "-c", "exit 5"]]), 5, Work({}, [["sleep", "4321"]]), "a/b",
    )  # fmt: skip


def board(connection: BoardConnection) -> Case:
    """Work for a board that serves the hand-written model."""
    graph = random_graph(0)
    x = graph.x.copy()
    x[0, 0] = HANG
    prepare, data = prepare_command(graph), graph_fields(graph, connection.identity)
    hanging = graph_fields(replace(graph, x=x), connection.identity)
    return Case(
        connection, Work(data, [prepare, ["infer"]]), "output0", expected_outputs(graph)[0].tobytes(),
        Work(data, [[*prepare[:-1], "0"]]), 5, Work(hanging, [prepare, ["infer"]]), "y",
    )  # fmt: skip


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> FirmwareImage:
    folder = tmp_path_factory.mktemp("image")
    return build_firmware(firmware_artifact(folder / "tiny"), load_target("cortex-m4"), folder, compiler="zig")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board")
    return build_host_board(firmware_artifact(folder / "tiny"), folder)


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    with OPEN[request.param](request, tmp_path) as made:
        yield made


@contextmanager
def _shell(transport: Transport) -> Iterator[Case]:
    with transport, RunFolder(transport) as connection:
        yield shell(connection)


def _local(request: pytest.FixtureRequest, folder: Path):
    transport = LocalTransport()
    transport.folders = (str(folder),)
    return _shell(transport)


def _ssh(request: pytest.FixtureRequest, folder: Path):
    return _shell(SshTransport("board", request.getfixturevalue("start_sshd")().config))


def _adb(request: pytest.FixtureRequest, folder: Path):
    return _shell(AdbTransport(request.getfixturevalue("adb").serial))


@contextmanager
def _serial(request: pytest.FixtureRequest, folder: Path) -> Iterator[Case]:
    pytest.importorskip("serial")
    played = HostBoard(request.getfixturevalue("program"))
    try:
        with SerialPort(played.port) as port, BoardConnection(port, f"serial:{played.port}", **SHORT) as connection:
            yield board(connection)
    finally:
        played.close()


@contextmanager
def _emulated(engine: type[UnicornEmulator] | type[QemuEmulator], image: FirmwareImage) -> Iterator[Case]:
    with closing(engine(image)) as emulator:
        yield board(BoardConnection(emulator, "emulator:cortex-m4", kind="emulator", **SHORT))


def _unicorn(request: pytest.FixtureRequest, folder: Path):
    return _emulated(UnicornEmulator, request.getfixturevalue("image"))


def _qemu(request: pytest.FixtureRequest, folder: Path):
    return _emulated(QemuEmulator, request.getfixturevalue("image"))


OPEN = {"local": _local, "ssh": _ssh, "adb": _adb, "serial": _serial, "unicorn": _unicorn, "qemu": _qemu}


def done(connection: Connection, work: Work, seconds: float = SECONDS):
    """How the last command of some work ended."""
    for name, data in work.data.items():
        connection.put(name, data)
    return [connection.run(command, seconds=seconds) for command in work.commands][-1]


def test_a_connection_says_what_it_leads_to(case, request):
    way = request.node.callspec.params["case"]
    assert case.connection.kind == ("emulator" if way in ("unicorn", "qemu") else way)
    assert case.connection.name.partition(":")[0] == case.connection.kind


def test_what_was_computed_comes_back(case):
    ended = done(case.connection, case.computing)

    assert (ended.status, ended.error) == (0, "")
    assert case.connection.get(case.result) == case.expected


def test_the_status_of_a_command_is_forwarded(case):
    assert done(case.connection, case.failing).status == case.status


def test_a_connection_serves_after_a_command_that_failed(case):
    done(case.connection, case.failing)

    assert done(case.connection, case.computing).status == 0
    assert case.connection.get(case.result) == case.expected


def test_a_command_that_does_not_end_is_a_timeout(case):
    with pytest.raises(DeviceTimeout, match=f"^{re.escape(case.connection.name)}: "):
        done(case.connection, case.hanging, seconds=1.0)


def test_a_name_that_a_device_has_no_place_for_is_refused(case):
    with pytest.raises(DeviceError, match=f"^{re.escape(case.connection.name)}: {case.no_name!r} is no "):
        case.connection.put(case.no_name, b"abcd")


def test_what_no_command_has_made_is_not_there(case):
    with pytest.raises(DeviceError, match=f"^{re.escape(case.connection.name)}: .*{case.result}"):
        case.connection.get(case.result)
