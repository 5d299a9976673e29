"""build_program: a C artifact in, a program that runs and times it on a device out."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from device_benchmarks.firmware import compiler_version, run_compiler, zig_command
from runtimes.compiler import find_compiler
from toolchain.artifact import Artifact
from toolchain.c_artifact import c_name, c_sources

SOURCE = Path(__file__).parent.parent / "runtimes" / "c" / "benchmark" / "benchmark.c"
HEADER = "benchmark_model.h"
PROGRAM = "benchmark"
# Value-safe flags only: floats are bit-equal on every target, so nothing may be contracted or reordered.
STATIC_FLAGS = (
    "-std=c99", "-O3", "-ffp-contract=off", "-fno-sanitize=all", "-fno-stack-protector", "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-static", "-s",
)  # fmt: skip
_SHARED_ONLY = ("-shared", "-fPIC", "-Wl,-z,defs")


@dataclass(frozen=True, slots=True)
class NativeProgram:
    """A built program.

    Attributes:
        compiler: its name and version.
        build: first 8 bytes of the sha256 of model.c, which its files carry.
    """

    path: Path
    compiler: str
    flags: tuple[str, ...]
    build: bytes


def build_program(artifact: Artifact, zig: Sequence[str], folder: Path) -> NativeProgram:
    """Compile and link.

    Args:
        zig: flags that select the processor, such as ("-target", "aarch64-linux-musl"), for a static program; none for a
            program of this machine, by its own compiler.
        folder: where sources and program go; it must exist.

    Raises:
        ArtifactError: not a C artifact, or its sources do not compile.
        MissingDependency: there is no compiler.
    """
    name, sources = c_name(artifact), c_sources(artifact)
    build = hashlib.sha256(sources[artifact.model_file]).digest()[:8]
    own = {SOURCE.name: SOURCE.read_bytes(), HEADER: _header(name, len(artifact.signature.outputs), build)}
    for file, content in {**sources, **own}.items():
        (folder / file).write_bytes(content)
    if zig:
        command: tuple[str, ...] = zig_command()
        flags, stated = (*zig, *STATIC_FLAGS), f"zig {compiler_version(command)}"
    else:
        compiler = find_compiler()
        command, stated = compiler.command, compiler.version
        flags = tuple(flag for flag in compiler.flags if flag not in _SHARED_ONLY)
    files = [f"./{file}" for file in sorted({**sources, **own}) if file.endswith(".c")]
    run_compiler([*command, *flags, *files, "-o", PROGRAM], folder, PROGRAM)
    return NativeProgram(folder / PROGRAM, stated, flags, build)


def _header(name: str, outputs: int, build: bytes) -> bytes:
    assert re.fullmatch(r"\w+", name)  # c_name checked it
    values = ", ".join(str(byte) for byte in build)
    lines = ['#include "model.h"', f"#define BENCHMARK_MODEL gnn_{name}_model", f"#define BENCHMARK_OUTPUTS {outputs}"]
    return "\n".join([*lines, f"#define BENCHMARK_BUILD {{{values}}}"]).encode() + b"\n"
