"""What the tests of devices share: an int8 artifact of a small model, its graphs, and servers that each test may break."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import toolchain
from device_benchmarks.transports import AdbTransport, SshTransport
from tests.devices import adb_device, arm64_machine, ssh_server
from tests.devices.arm64_machine import Machine
from tests.devices.breakable import Breakable, running_here
from tests.devices.proxy import Proxy
from tests.devices.ssh_server import SSHD, SshServer
from tests.small_model import write_model_file
from toolchain.artifact import Artifact
from toolchain.inputs import GraphInputs
from toolchain.model_source import ModelSource


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model_file(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="session")
def graphs(model_file: str) -> list[GraphInputs]:
    return [GraphInputs.from_pyg(data) for data in ModelSource(model_file).graphs()]


@pytest.fixture(scope="session")
def int8_artifact(model_file: str, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    source = ModelSource(model_file)
    data = source.graphs()
    graph = toolchain.quantize(
        toolchain.lower(source.model(), data[0]), toolchain.StaticInt8(data[:20], min_agreement=0.5)
    )
    return toolchain.export(graph, "c", tmp_path_factory.mktemp("int8") / "small-int8")


@pytest.fixture
def start_sshd(tmp_path: Path) -> Iterator[Callable[..., SshServer]]:
    """Starts a server with some lines of configuration of its own."""
    if SSHD is None:
        pytest.skip("sshd: not installed (openssh-server)")
    with ExitStack() as stack:

        def start(extra: str = "") -> SshServer:
            folder = tmp_path / f"sshd-{len(list(tmp_path.iterdir()))}"
            folder.mkdir()
            return stack.enter_context(ssh_server.ssh_server(folder, extra=extra))

        yield start


@pytest.fixture
def nothing_left() -> Iterator[None]:
    """Whatever a test does, no folder of a run, no lock and no program stays on this machine, which is the device."""
    yield
    left = [path for folder in ("/tmp", "/var/tmp") for path in Path(folder).glob("pocketgnn-run-*")]
    assert left == []
    assert not Path("/tmp/pocketgnn-lock").exists()
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "./benchmark graphs.bin" not in running


@pytest.fixture(scope="session")
def systems(pytestconfig: pytest.Config) -> Path:
    """Where systems are built, once for all sessions."""
    return Path(pytestconfig.cache.mkdir("devices")) if pytestconfig.cache else Path("/var/tmp")


@pytest.fixture(scope="session")
def adb_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An adb server of these tests alone; the public key that it shows to devices."""
    if words := adb_device.missing():
        pytest.skip(f"adb device: {words}")
    home = tmp_path_factory.mktemp("adb")
    with adb_device.adb_server(home) as environment, pytest.MonkeyPatch.context() as patch:
        patch.delenv("ANDROID_SERIAL", raising=False)
        for name, value in environment.items():
            patch.setenv(name, value)
        yield home / ".android" / "adbkey.pub"


@pytest.fixture(scope="session")
def built_adb(systems: Path, adb_environment: Path) -> Path:
    """What devices with the real adbd are started from."""
    built = systems / "adb"
    built.mkdir(exist_ok=True)
    adb_device.build(built)
    return built


@pytest.fixture
def adb(built_adb: Path) -> Iterator[adb_device.AdbDevice]:
    """A device with the real adbd, on this machine's processor."""
    with adb_device.adb_device(built_adb) as device:
        yield device


@pytest.fixture
def second_adb(built_adb: Path) -> Iterator[adb_device.AdbDevice]:
    """Another one beside it."""
    with adb_device.adb_device(built_adb) as device:
        yield device


@pytest.fixture
def strict_adb(built_adb: Path) -> Iterator[Callable[[Path, str], adb_device.AdbDevice]]:
    """Starts a device that lets in the public keys of a file alone."""
    if not adb_device.is_strict(built_adb):
        pytest.skip("adbd that asks for a key: this build of it has another way to say that it does not")
    with ExitStack() as stack:
        yield lambda keys, state: stack.enter_context(adb_device.adb_device(built_adb, keys, state))


@pytest.fixture(scope="session")
def machine(systems: Path, adb_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A 64-bit Arm computer with dropbear and adbd, connected to adb."""
    if words := arm64_machine.missing():
        pytest.skip(f"arm64 machine: {words}")
    built = systems / "arm64"
    built.mkdir(exist_ok=True)
    arm64_machine.build(built)
    with arm64_machine.arm64_machine(built, tmp_path_factory.mktemp("machine")) as running:
        adb_device.connect(running.serial)
        yield running


@pytest.fixture(params=["ssh", "adb"])
def breakable(request: pytest.FixtureRequest, tmp_path: Path) -> Breakable:
    """An ssh server and an adb device in turn."""
    if request.param == "adb":
        device = request.getfixturevalue("adb")
        return Breakable(
            f"adb:{device.serial}",
            (),
            lambda: AdbTransport(device.serial),
            device.proxy,
            device.folder,
            device.die,
            device.processes,
        )
    server = request.getfixturevalue("start_sshd")()
    proxy = Proxy(lambda: socket.create_connection(("127.0.0.1", server.port)))
    folder = tmp_path / "device"
    folder.mkdir()
    config = tmp_path / "proxied"
    text = server.config.read_text().replace(f"Port {server.port}", f"Port {proxy.port}")
    config.write_text(f"{text}  HostKeyAlias [127.0.0.1]:{server.port}\n")

    def transport() -> SshTransport:
        made = SshTransport("board", config)
        made.folders = (str(folder),)
        return made

    def die() -> None:
        server.process.kill()
        server.cut_connections()

    return Breakable("ssh:board", ("--ssh-config", str(config)), transport, proxy, folder, die, running_here)


@pytest.fixture
def small_disk(breakable: Breakable) -> Iterator[None]:
    """The device has 8 MB for its runs; that of adb has no more anyway."""
    if not breakable.name.startswith("ssh"):
        yield
        return
    if os.geteuid() != 0:
        pytest.skip("a small disk: not root, so none can be mounted")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(breakable.folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("a small disk: this machine lets none be mounted")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(breakable.folder)], check=True)
