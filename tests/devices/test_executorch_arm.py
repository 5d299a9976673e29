"""ExecuTorch on a 64-bit Arm: the wheels that a Raspberry Pi 5 gets, in QEMU's user mode."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

import runtimes
import toolchain
from device_benchmarks.device_python import DevicePython, wheels_for
from tests.devices import arm64_machine
from tests.devices.user_mode import computed
from toolchain.model_source import ModelSource

pytestmark = pytest.mark.devices
MINOR = 13  # of the Python of the arm64 machine
PYTHON = DevicePython(3, MINOR, "aarch64", 41, features=frozenset({"atomics"}))


@pytest.fixture(scope="module")
def root(systems: Path) -> Path:
    for tool in ("mmdebstrap", "qemu-aarch64"):
        if shutil.which(tool) is None:
            pytest.skip(f"executorch on arm64: not installed: {tool}")
    if os.geteuid() != 0:
        pytest.skip("executorch on arm64: not root: mmdebstrap unpacks a foreign system as root only")
    built = systems / "arm64"
    built.mkdir(exist_ok=True)
    arm64_machine.build(built)
    return built / "root"


def test_executorch_on_arm_gives_the_outputs_of_the_host(root, model_file, graphs, tmp_path):
    """Its wheels are older than those of the host, since newer ones need CUDA: they read the same file."""
    pytest.importorskip("executorch")
    source = ModelSource(model_file)
    artifact = toolchain.export(
        toolchain.lower(source.model(), source.graphs()[0]), "executorch", tmp_path / "artifact"
    )
    runtime = runtimes.load(artifact)

    player = ["qemu-aarch64", "-cpu", arm64_machine.CPU, "-L", str(root)]
    with tempfile.TemporaryDirectory(prefix="pocketgnn-executorch-") as place:  # 600 MB, which pytest would keep
        wheels = wheels_for("executorch", PYTHON, Path(place) / "wheels", "arm64")
        found = computed(runtime, graphs[:3], wheels, player, root / f"usr/bin/python3.{MINOR}", Path(place) / "device")

    for graph, output in zip(graphs[:3], found, strict=True):
        (expected,) = runtime.run(graph)
        assert np.abs(output - expected).max() <= 1e-5 * np.abs(expected).max()
