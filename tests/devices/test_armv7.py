"""The Python half of a run on a 32-bit Arm: Debian's Python and numpy in QEMU's user mode, and the wheel of tflite-runtime."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import runtimes
import toolchain
from device_benchmarks.device_python import DevicePython, download_wheels, wheels_for
from tests.devices.arm64_machine import MIRROR
from tests.devices.user_mode import EXTRACT, computed
from toolchain.errors import DeviceError
from toolchain.model_source import ModelSource

pytestmark = pytest.mark.devices
SUITE, MINOR, GLIBC = "bookworm", 11, 36  # the last Debian with a Python that tflite-runtime has a wheel for
PACKAGES = ("python3-minimal", f"python3.{MINOR}-minimal", f"libpython3.{MINOR}-stdlib", "python3-numpy", "libstdc++6")
# Links that scripts of the packages make, which mmdebstrap does not run for a foreign processor
LIBRARIES, LINKS = (
    "usr/lib/arm-linux-gnueabihf",
    {"libblas.so.3": "blas/libblas.so.3", "liblapack.so.3": "lapack/liblapack.so.3"},
)
PYTHON = DevicePython(3, MINOR, "armv7l", GLIBC, has_numpy=True)


@pytest.fixture(scope="module")
def root(systems: Path) -> Path:
    for tool in ("mmdebstrap", "qemu-arm"):
        if shutil.which(tool) is None:
            pytest.skip(f"armv7: not installed: {tool}")
    if os.geteuid() != 0:
        pytest.skip("armv7: not root: mmdebstrap unpacks a foreign system as root only")
    made = systems / "armv7"
    if not (made / "done").exists():
        shutil.rmtree(made, ignore_errors=True)
        command = [*EXTRACT, "--architectures=armhf"]
        subprocess.run([*command, f"--include={','.join(PACKAGES)}", SUITE, str(made), MIRROR], check=True)
        for link, target in LINKS.items():
            (made / LIBRARIES / link).symlink_to(target)
        (made / "done").touch()
    return made


def test_tflite_runtime_on_a_32_bit_arm_gives_the_outputs_of_the_host(root, model_file, graphs, tmp_path):
    pytest.importorskip("ai_edge_litert")
    source = ModelSource(model_file)
    graph = toolchain.lower(source.model(), source.graphs()[0])
    artifact = toolchain.export(graph, "litert", tmp_path / "artifact", compat="tflite-runtime")
    runtime = runtimes.load(artifact)
    wheels = wheels_for("litert", PYTHON, tmp_path / "wheels", "armv7")

    player, python = ["qemu-arm", "-L", str(root)], root / f"usr/bin/python3.{MINOR}"
    found = computed(runtime, graphs[:3], wheels, player, python, tmp_path / "device")

    for graph, output in zip(graphs[:3], found, strict=True):
        (expected,) = runtime.run(graph)
        assert np.abs(output - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("library", ["onnxruntime", "ai-edge-litert", "torch"])
def test_a_library_without_a_wheel_for_it_is_refused_with_the_way_out(library, tmp_path):
    with pytest.raises(
        DeviceError, match=rf"no wheels of {library} for Python 3.11 on armv7l .*Export the model with --to c"
    ):
        download_wheels(PYTHON, (library,), tmp_path, "armv7")
