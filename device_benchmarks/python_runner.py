"""PythonRunner: an artifact in the Python library of its format on a device, in a virtual environment that lasts for one run."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from device_benchmarks.core_wheel import core_wheel
from device_benchmarks.device_answers import Computed, DeviceAnswers, TimedWindow, Timing
from device_benchmarks.device_child import REQUEST, RESULTS
from device_benchmarks.device_python import DevicePython, device_python, wheels_for
from device_benchmarks.graph_file import write_graph
from device_benchmarks.measurement import Scope
from device_benchmarks.transports import RunFolder, Transport
from runtimes import Runtime
from toolchain.artifact import MANIFEST, Artifact
from toolchain.errors import DeviceError
from toolchain.inputs import GraphInputs

ARTIFACT = "artifact.zip"
SETUP_SECONDS = 1800.0
SECONDS_PER_GRAPH = 5.0
# Fewer threads and no files in the user's home, and no telemetry of onnxruntime.
_ENVIRONMENT = ("ORT_DISABLE_TELEMETRY=1", "OMP_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1", "HOME=.")


class PythonRunner:
    """Downloads wheels for the device here, pushes them with a wheel of this project, and runs that there.

    The device needs Python with its venv module, and no network.
    """

    def __init__(self, runtime: Runtime, transport: Transport) -> None:
        self._runtime, self._transport = runtime, transport
        self._wheels: list[Path] = []
        self._scratch = tempfile.TemporaryDirectory(prefix="pocketgnn-wheels-")
        self._python = DevicePython(0, 0, "", 0)

    def build(self) -> None:
        """Download what pip needs for this device.

        Raises:
            DeviceError: the device has no Python, or there are no wheels for it.
        """
        self._python = device_python(self._transport)
        folder = Path(self._scratch.name)
        self._wheels = wheels_for(self._runtime.artifact.format, self._python, folder, self._transport.name)

    def install(self, folder: RunFolder) -> None:
        """Make the virtual environment.

        Raises:
            DeviceError: the device cannot make one, or has no room.
        """
        for wheel in self._wheels:
            folder.put(wheel.name, wheel.read_bytes())
        core, content = core_wheel()
        folder.put(core, content)
        folder.put(ARTIFACT, artifact_archive(self._runtime.artifact))
        pip = next(wheel.name for wheel in self._wheels if wheel.name.startswith("pip-"))
        names = [core, *(wheel.name for wheel in self._wheels if wheel.name != pip)]
        system = ["--system-site-packages"] if self._python.uses_own_numpy else []
        steps = (
            ["python3", "-m", "zipfile", "-e", ARTIFACT, "."],
            ["python3", "-m", "venv", "--without-pip", *system, "venv"],
            [
                "env",
                "HOME=.",
                "venv/bin/python",
                f"{pip}/pip",
                "install",
                "--quiet",
                "--no-index",
                "--no-deps",
                "--no-compile",
                *names,
            ],
        )
        for command in steps:
            done = folder.run(command, seconds=SETUP_SECONDS)
            if done.status:
                raise DeviceError(f"{folder.name}: {' '.join(command[:4])} fails there ({done.first_line}).")

    def run(self, folder: RunFolder, graphs: Sequence[GraphInputs], timing: Timing | None = None) -> DeviceAnswers:
        """Compute all graphs, and time one of them.

        Raises:
            DeviceError: the connection was lost, or the library failed; the last line it said is in the message.
        """
        protocol = timing.protocol if timing else None
        request = {
            "graphs": len(graphs), "timed": timing.position if timing else -1, "core_mask": timing.core_mask if timing else 0,
            "protocol": asdict(protocol) if protocol else None,
        }  # fmt: skip
        folder.put(REQUEST, json.dumps(request).encode())
        folder.put("graphs.zip", graphs_archive(graphs))
        seconds = SETUP_SECONDS + SECONDS_PER_GRAPH * len(graphs) + (10 * protocol.seconds if protocol else 0)
        unpacked = folder.run(["python3", "-m", "zipfile", "-e", "graphs.zip", "."], seconds=seconds)
        child = ["env", *_ENVIRONMENT, "venv/bin/python", "-m", "device_benchmarks.device_child"]
        done = unpacked if unpacked.status else folder.run(child, seconds=seconds)
        if done.status:
            lines = [line for line in done.error.splitlines() if line.strip()]
            raise DeviceError(
                f"{folder.name}: the runtime failed there ({(lines or ['no message'])[-1].strip()[:300]})."
            )
        return self._answers(folder.get(RESULTS), len(graphs))

    def _answers(self, data: bytes, graphs: int) -> DeviceAnswers:
        with np.load(io.BytesIO(data), allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        found = json.loads(arrays["json"].tobytes())
        if len(found["computed"]) != graphs:
            raise DeviceError(f"{len(found['computed'])} results came back for {graphs} graphs. Run it again.")
        computed = tuple(
            Computed(
                tuple(arrays[f"output-{position}-{number}"] for number in range(one["outputs"])), one["refusal"], one["prepare_ns"],
                one["run_ns"],
            )
            for position, one in enumerate(found["computed"])
        )  # fmt: skip
        windows = tuple(
            TimedWindow(
                Scope(one["scope"]), one["round"], one["stride"], one["warm"], one["inferences"], one["elapsed_ns"],
                arrays[f"window-{number}"],
            )
            for number, one in enumerate(found["windows"])
        )  # fmt: skip
        python = self._python
        runtime = {
            **found["runtime"], "python": f"{python.major}.{python.minor}", "wheels": sorted(wheel.name for wheel in self._wheels),
        }  # fmt: skip
        memory = {name: value for name, value in found["memory"].items() if value is not None}
        return DeviceAnswers(computed, windows, memory, found["clock_ns"], runtime, found["load_ns"])


def artifact_archive(artifact: Artifact) -> bytes:
    """An artifact as device_child reads it, as one archive."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in (*sorted(artifact.files), MANIFEST):
            archive.write(artifact.path / name, f"artifact/{name}")
    return content.getvalue()


def graphs_archive(graphs: Sequence[GraphInputs]) -> bytes:
    """Graphs as device_child reads them, as one archive."""
    content = io.BytesIO()
    with tempfile.TemporaryDirectory(prefix="pocketgnn-graphs-") as folder, zipfile.ZipFile(content, "w") as archive:
        for position, graph in enumerate(graphs):
            write_graph(graph, path := Path(folder) / f"{position}.npz")
            archive.write(path, f"graphs/{position}.npz")
    return content.getvalue()
