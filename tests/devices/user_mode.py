"""The Python half of a run on another processor: a Python of Debian in QEMU's user mode, and wheels for it."""

from __future__ import annotations

import io
import json
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from device_benchmarks.core_wheel import core_wheel
from device_benchmarks.device_child import REQUEST, RESULTS
from device_benchmarks.python_runner import artifact_archive, graphs_archive
from runtimes import Runtime
from toolchain.inputs import GraphInputs

# An extracted system has no scripts of packages run, so that mmdebstrap needs nothing of the foreign processor.
EXTRACT = ("mmdebstrap", "--mode=root", "--variant=extract", "--skip=check/qemu", "--quiet")
SECONDS = 900.0


def computed(
    runtime: Runtime, graphs: Sequence[GraphInputs], wheels: Sequence[Path], player: Sequence[str], python: Path, folder: Path
) -> list[np.ndarray]:  # fmt: skip
    """The first output of each graph, from what would go to a device.

    Args:
        wheels: that make up the device's environment.
        player: the command that executes a program of that processor; python: such a program.
        folder: for all files of the run.
    """
    own = (core_wheel()[1], artifact_archive(runtime.artifact), graphs_archive(graphs))
    for archive in (*wheels, *map(io.BytesIO, own)):
        zipfile.ZipFile(archive).extractall(folder)
    request = {"graphs": len(graphs), "timed": -1, "core_mask": 0, "protocol": None}
    (folder / REQUEST).write_text(json.dumps(request))
    command = [*player, str(python), "-m", "device_benchmarks.device_child"]
    environment = {"PYTHONPATH": ".", "HOME": ".", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / RESULTS) as found:
        return [found[f"output-{position}-0"] for position in range(len(graphs))]
