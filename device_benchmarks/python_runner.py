"""PythonRunner: an artifact in the Python library of its format on a device, in a virtual environment that lasts for one run."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from device_benchmarks.device_answers import Computed, DeviceAnswers, TimedWindow, Timing
from device_benchmarks.device_child import REQUEST, RESULTS
from device_benchmarks.graph_file import write_graph
from device_benchmarks.measurement import Scope
from device_benchmarks.transports import RunFolder, Transport
from runtimes import Runtime
from toolchain.artifact import MANIFEST
from toolchain.errors import DeviceError
from toolchain.inputs import GraphInputs

# Format → what pip installs on the device; of the version that is installed here, so that both compute alike
LIBRARIES = {
    "onnx": ("onnxruntime",), "litert": ("ai-edge-litert",), "executorch": ("executorch", "torch"),
}  # fmt: skip
ALTERNATIVES = {("litert", "armv7l"): ("tflite-runtime",)}  # for machines that the library is not built for
# Machines that numpy has no wheel for: the device's own is used, which its distribution has built.
WITHOUT_NUMPY = ("armv7l",)
PACKAGES = ("toolchain", "runtimes", "device_benchmarks")
BUNDLE = "bundle.zip"
OLDEST_GLIBC = 17
SETUP_SECONDS = 1800.0
SECONDS_PER_GRAPH = 5.0
DOWNLOAD_SECONDS = 900
_WHO = (
    "import sys,platform,struct,importlib.util as u; print(*sys.version_info[:2], platform.machine(), "
    "platform.libc_ver()[1] or '0.0', 8 * struct.calcsize('P'), int(u.find_spec('numpy') is not None))"
)
# Fewer threads and no files in the user's home, and no telemetry of onnxruntime.
_ENVIRONMENT = ("ORT_DISABLE_TELEMETRY=1", "OMP_NUM_THREADS=1", "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH=.", "HOME=.")


@dataclass(frozen=True, slots=True)
class DevicePython:
    """The Python of a device: what wheels it takes.

    Attributes:
        machine: that it was built for; of a 32-bit one on a 64-bit Arm kernel armv7l.
        glibc: minor version.
        has_numpy: whether the device has a numpy of its own.
    """

    major: int
    minor: int
    machine: str
    glibc: int
    has_numpy: bool = False

    @property
    def uses_own_numpy(self) -> bool:
        """Whether numpy is to be that of the device."""
        return self.machine in WITHOUT_NUMPY and self.has_numpy

    def platforms(self) -> list[str]:
        """Platform words of wheels, the newest first."""
        names = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, OLDEST_GLIBC - 1, -1)]
        return [*names, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]


class PythonRunner:
    """Downloads wheels for the device here, pushes them with this project's own modules, and runs those there.

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
        format = self._runtime.artifact.format
        wanted = ALTERNATIVES.get((format, self._python.machine)) or tuple(_pinned(name) for name in LIBRARIES[format])
        numpy = () if self._python.uses_own_numpy else ("numpy",)
        self._wheels = download_wheels(
            self._python, (*numpy, *wanted, "pip"), Path(self._scratch.name), self._transport.name
        )

    def install(self, folder: RunFolder) -> None:
        """Make the virtual environment.

        Raises:
            DeviceError: the device cannot make one, or has no room.
        """
        for wheel in self._wheels:
            folder.put(wheel.name, wheel.read_bytes())
        folder.put(BUNDLE, bundle(self._runtime))
        pip = next(wheel.name for wheel in self._wheels if wheel.name.startswith("pip-"))
        names = [wheel.name for wheel in self._wheels if wheel.name != pip]
        system = ["--system-site-packages"] if self._python.uses_own_numpy else []
        steps = (
            ["python3", "-m", "zipfile", "-e", BUNDLE, "."],
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
                raise DeviceError(f"{folder.transport.name}: {' '.join(command[:4])} fails there ({done.first_line}).")

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
                f"{folder.transport.name}: the runtime failed there ({(lines or ['no message'])[-1].strip()[:300]})."
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
        return DeviceAnswers(computed, windows, memory, found["clock_ns"], runtime)


def device_python(transport: Transport) -> DevicePython:
    """Ask a device for its Python.

    Raises:
        DeviceError: it has none, or one without venv.
    """
    done = transport.run(["python3", "-c", f"import venv, zipfile\n{_WHO}"], seconds=120)
    words = done.output.decode(errors="replace").split()
    if done.status or len(words) != 6:
        raise DeviceError(
            f"{transport.name}: no Python with venv ({done.first_line}). Install python3-venv there, or export "
            "the model with --to c."
        )
    machine = "armv7l" if words[4] == "32" and words[2] in ("aarch64", "armv8l") else words[2]
    return DevicePython(int(words[0]), int(words[1]), machine, int(words[3].split(".")[1]), words[5] == "1")


def download_wheels(python: DevicePython, wanted: Sequence[str], folder: Path, name: str) -> list[Path]:
    """Have pip of this machine download wheels for another.

    Raises:
        DeviceError: there are none.
    """
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:",
        "--dest", str(folder), *(["--no-deps"] if python.uses_own_numpy else []),
        "--implementation", "cp", "--python-version", f"{python.major}.{python.minor}",
        *(part for platform in python.platforms() for part in ("--platform", platform)), *wanted,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_SECONDS)
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no message"]
        is_numpy = python.machine in WITHOUT_NUMPY and not python.has_numpy
        way_out = "Install python3-numpy there, since numpy has none; or export" if is_numpy else "Export"
        raise DeviceError(
            f"{name}: no wheels of {', '.join(wanted)} for Python {python.major}.{python.minor} on {python.machine} "
            f"({lines[-1].removeprefix('ERROR: ')[:300]}). {way_out} the model with --to c."
        )
    return sorted(folder.glob("*.whl"))


def _pinned(name: str) -> str:
    try:
        return f"{name}=={metadata.version(name).partition('+')[0]}"  # +cpu and the like are of this machine
    except metadata.PackageNotFoundError:
        return name


def bundle(runtime: Runtime) -> bytes:
    """The modules of this project and the artifact, as one archive: what device_child needs beside graphs and libraries."""
    root, content = Path(__file__).parent.parent, io.BytesIO()
    artifact = runtime.artifact
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for package in PACKAGES:
            for path in sorted((root / package).rglob("*.py")):
                archive.write(path, path.relative_to(root).as_posix())
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
