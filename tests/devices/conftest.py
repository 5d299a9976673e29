"""What the tests of devices share: an int8 artifact of a small model, its graphs, and servers that each test may break."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import toolchain
from tests.devices import ssh_server
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
