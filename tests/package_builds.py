"""What the tests of packages share: CMake, and a record that no machine reproduces."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.c_tools import run
from toolchain.exporters.packages import Sample

STAND_INS = Path(__file__).parent / "unit" / "exporters" / "stand_ins"


def wrong(sample: Sample) -> Sample:
    """A record that no machine reproduces, to see the self-test fail."""
    outputs = tuple(array.copy() for array in sample.outputs)
    outputs[2][-1, -1] += 0.01
    return replace(sample, outputs=outputs)


def cmake() -> str:
    """CMake of the Python package, else of the system."""
    beside = Path(sys.executable).parent / "cmake"
    found = str(beside) if beside.exists() else shutil.which("cmake")
    if found is None:
        pytest.skip("cmake is not installed (pip install cmake)")
    return found


def build(folder: Path, *options: str) -> Path:
    run([cmake(), "-S", folder, "-B", folder / "build", *options], folder)
    run([cmake(), "--build", folder / "build"], folder)
    return folder / "build"


def ctest(built: Path) -> int:
    return subprocess.run(
        [Path(cmake()).with_name("ctest"), "--test-dir", built], capture_output=True, check=False
    ).returncode


def sketch_program(folder: Path, compiler: tuple[str, ...]) -> Path:
    """The sketch linked with a stand-in for the core, as the Arduino builder does: C files as C, the sketch as C++."""
    objects = []
    include = ["-I", folder / "src"]
    sketch = folder / "examples" / "SelfTest"
    for file in (*(folder / "src").rglob("*.c"), *sketch.glob("*.c")):
        objects.append(folder / f"{file.stem}.o")
        run([*compiler, "-Wall", "-Werror", "-c", file, *include, "-o", objects[-1]], folder)
    main_file = folder / "main.cpp"
    text = (sketch / "SelfTest.ino").read_text()
    main_file.write_text(f'#include <Arduino.h>\n#line 1 "SelfTest.ino"\n{text}\nint main() {{ setup(); loop(); }}\n')
    flags = [
        "-x",
        "c++",
        "-std=gnu++11",
        "-Wall",
        "-Wextra",
        "-Werror",
        *include,
        "-I",
        STAND_INS / "arduino",
        "-I",
        sketch,
    ]
    run([*compiler, *flags, "-c", main_file, "-o", folder / "main.o"], folder)
    run([*compiler, folder / "main.o", *objects, "-o", folder / "program"], folder)
    return folder / "program"
