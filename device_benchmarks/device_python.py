"""DevicePython: the Python of a device, and the wheels that it takes of the library of a format."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from device_benchmarks.transports import Transport
from toolchain.errors import DeviceError

# Format → what pip installs on the device; of the version that is installed here, so that both compute alike
LIBRARIES = {
    "onnx": ("onnxruntime",), "litert": ("ai-edge-litert",), "executorch": ("executorch", "torch"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wheels:
    """What is installed on machines that those are not built for, all of it: what these wheels themselves ask for is not needed.

    Attributes:
        most_minor: the newest Python 3 that they are built for.
        feature: that the processor must have, in the words of Linux; empty where any will do.
    """

    names: tuple[str, ...]
    most_minor: int
    feature: str = ""


# By format and machine. Of torch for 64-bit Arm, 2.10 is the last on PyPI that needs no CUDA, and 2.9 the last that needs no atomic
# instructions of Armv8.1. An executorch fits the torch that it was built with; that of 2.9 cannot be told its number of threads.
ALTERNATIVES = {
    ("litert", "armv7l"): Wheels(("tflite-runtime",), 11),
    ("executorch", "aarch64"): Wheels(("executorch==1.1.0", "torch==2.10.0", "typing-extensions"), 13, "atomics"),
}
# Machines that numpy has no wheel for: the device's own is used, which its distribution has built.
WITHOUT_NUMPY = ("armv7l",)
OLDEST_GLIBC = 17
DOWNLOAD_SECONDS = 900
_WHO = (
    "import os,sys,platform,struct,importlib.util as u; cpus = '/proc/cpuinfo'; "
    "lines = open(cpus) if os.path.exists(cpus) else (); print(*sys.version_info[:2], platform.machine(), "
    "platform.libc_ver()[1] or '0.0', 8 * struct.calcsize('P'), int(u.find_spec('numpy') is not None), "
    "*sorted({word for line in lines if line.startswith('Features') for word in line.split()[2:]}))"
)


@dataclass(frozen=True, slots=True)
class DevicePython:
    """The Python of a device: what wheels it takes.

    Attributes:
        machine: that it was built for; of a 32-bit one on a 64-bit Arm kernel armv7l.
        glibc: minor version.
        has_numpy: whether the device has a numpy of its own.
        features: of an Arm processor, in the words of Linux.
    """

    major: int
    minor: int
    machine: str
    glibc: int
    has_numpy: bool = False
    features: frozenset[str] = frozenset()

    @property
    def uses_own_numpy(self) -> bool:
        """Whether numpy is to be that of the device."""
        return self.machine in WITHOUT_NUMPY and self.has_numpy

    def platforms(self) -> list[str]:
        """Platform words of wheels, the newest first."""
        names = [f"manylinux_2_{minor}_{self.machine}" for minor in range(self.glibc, OLDEST_GLIBC - 1, -1)]
        return [*names, f"manylinux2014_{self.machine}", f"linux_{self.machine}"]


def device_python(transport: Transport) -> DevicePython:
    """Ask a device for its Python.

    Raises:
        DeviceError: it has none, or one without venv.
    """
    done = transport.run(["python3", "-c", f"import venv, zipfile\n{_WHO}"], seconds=120)
    words = done.output.decode(errors="replace").split()
    if done.status or len(words) < 6:
        raise DeviceError(
            f"{transport.name}: no Python with venv ({done.first_line}). Install python3-venv there, or export "
            "the model with --to c."
        )
    machine = "armv7l" if words[4] == "32" and words[2] in ("aarch64", "armv8l") else words[2]
    glibc = int(words[3].split(".")[1])
    return DevicePython(int(words[0]), int(words[1]), machine, glibc, words[5] == "1", frozenset(words[6:]))


def wheels_for(format: str, python: DevicePython, folder: Path, name: str) -> list[Path]:
    """Have pip of this machine download what a device needs to run a format.

    Raises:
        DeviceError: there are no wheels for it.
    """
    numpy = () if python.uses_own_numpy else ("numpy",)
    other = ALTERNATIVES.get((format, python.machine))
    if other is None:
        wanted = tuple(_pinned(library) for library in LIBRARIES[format])
        return download_wheels(python, (*numpy, *wanted, "pip"), folder, name)
    library = other.names[0].partition("==")[0]
    if python.minor > other.most_minor:
        raise DeviceError(
            f"{name}: no wheels of {library} for Python {python.major}.{python.minor} on {python.machine}; the newest are for "
            f"3.{other.most_minor}. Export the model with --to c."
        )
    if other.feature and other.feature not in python.features:
        raise DeviceError(
            f"{name}: the wheels of {library} need a processor with {other.feature!r} among its features in /proc/cpuinfo, which "
            "this one has not. Export the model with --to c."
        )
    return download_wheels(python, (*numpy, *other.names, "pip"), folder, name, resolve=False)


def download_wheels(
    python: DevicePython, wanted: Sequence[str], folder: Path, name: str, *, resolve: bool = True
) -> list[Path]:
    """Have pip of this machine download wheels for another.

    Args:
        resolve: whether what they need themselves comes with them.

    Raises:
        DeviceError: there are none.
    """
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:",
        "--dest", str(folder), *([] if resolve else ["--no-deps"]),
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
