"""The compilers of this machine, for tests that compile C: zig from pip always, others where the system has them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ZIG = (sys.executable, "-m", "ziglang", "cc")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
# Cortex-M4 with its FPU, without an operating system
ZIG_CORTEX_M4 = (*ZIG, "-target", "thumb-freestanding-eabihf", "-mcpu=cortex_m4+vfp4d16sp")
GCC_CORTEX_M4 = ("arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16")


def host_compilers() -> dict[str, tuple[str, ...]]:
    """C compilers for this machine, by name."""
    return {"zig": ZIG, **{name: (name,) for name in ("gcc", "clang") if shutil.which(name)}}


def cortex_m4_compilers() -> dict[str, tuple[str, ...]]:
    """C compilers for Cortex-M4, by name."""
    return {"zig": ZIG_CORTEX_M4, **({"gcc": GCC_CORTEX_M4} if shutil.which(GCC_CORTEX_M4[0]) else {})}


def sanitizing_compiler() -> tuple[str, ...] | None:
    """A compiler that links AddressSanitizer and UndefinedBehaviorSanitizer, or None."""
    for name in ("gcc", "clang"):
        command = (name, "-fsanitize=address,undefined", "-x", "c", "-", "-o", "/dev/null")
        if (
            shutil.which(name)
            and subprocess.run(
                command, input=b"int main(void) { return 0; }", capture_output=True, check=False
            ).returncode
            == 0
        ):
            return (name,)
    return None


def private_cache(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """Let built libraries go into a folder of the test's own. zig keeps its cache, which takes half a minute to fill."""
    zig = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "zig"
    patch.setenv("ZIG_GLOBAL_CACHE_DIR", os.environ.get("ZIG_GLOBAL_CACHE_DIR", str(zig)))
    patch.setenv("XDG_CACHE_HOME", str(folder))


def compile_objects(command: Sequence[str], sources: Sequence[Path], folder: Path) -> list[Path]:
    """One object per C file in `folder`, two at a time; what was compiled there before, with the same headers, is kept."""

    def compile_one(source: Path) -> Path:
        digest = hashlib.sha256("\0".join(command).encode())
        for path in (source, *sorted(source.parent.glob("*.h"))):
            if path.name != "model.h" or source.name == "model.c":
                digest.update(path.read_bytes())
        target = folder / f"{source.stem}-{digest.hexdigest()[:16]}.o"
        if not target.exists():
            run([*command, "-c", source, "-o", target], folder)
        return target

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(compile_one, sources))


def run(command: Sequence[str | Path], folder: Path) -> str:
    """Run a command in a folder and return its stdout; what it printed is in the error where it fails."""
    result = subprocess.run([str(c) for c in command], cwd=folder, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{' '.join(map(str, command))}\n{result.stdout}\n{result.stderr}"
    return result.stdout
