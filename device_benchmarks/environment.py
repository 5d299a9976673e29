"""The machine and the software that a measurement was taken on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

LIBRARIES = ("pocketgnn", "numpy", "torch", "torch-geometric", "onnx", "onnxruntime", "executorch", "ai-edge-litert")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")


def environment() -> dict[str, Any]:
    """Device and library facts as JSON values; None where the system does not tell.

    `load_average` is read now: a benchmark on a busy machine shows it.
    """
    return {
        "device": {
            "cpu": cpu_model(),
            "cores": os.cpu_count(),
            "usable_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
            "governor": _text(GOVERNOR),
            "ram_bytes": _ram_bytes(),
            "os": platform.system(),
            "kernel": platform.release(),
            "machine": platform.machine(),
        },
        "python": platform.python_version(),
        "libraries": {name: version for name in LIBRARIES if (version := _version(name)) is not None},
        "load_average": load_average(),
    }


def load_average() -> list[float] | None:
    """Runnable processes over the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()] if hasattr(os, "getloadavg") else None


def cpu_model() -> str | None:
    """The processor as the system names it."""
    lines = [line.partition(":") for line in (_text(CPUINFO) or "").splitlines()]
    fields = {name.strip().lower(): value.strip() for name, _, value in reversed(lines)}
    for name in ("model name", "hardware", "cpu model"):  # x86, 32-bit Arm, MIPS and others
        if fields.get(name):
            return fields[name]
    return platform.processor() or None


def _ram_bytes() -> int | None:
    for line in (_text(MEMINFO) or "").splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
