"""build_program: a C artifact in, a program that runs and times it on a device out; kept in a cache of the user."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from device_benchmarks.firmware import compiler_version, run_compiler, zig_command
from runtimes.compiler import cache_folder, find_compiler
from toolchain.artifact import Artifact
from toolchain.c_artifact import c_name, c_sources

SOURCE = Path(__file__).parent.parent / "runtimes" / "c" / "benchmark" / "benchmark.c"
HEADER = "benchmark_model.h"
PROGRAM = "benchmark"
# Value-safe flags only: floats are bit-equal on every target, so nothing may be contracted or reordered.
STATIC_FLAGS = (
    "-std=c99", "-O3", "-ffp-contract=off", "-fno-sanitize=all", "-fno-stack-protector", "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables", "-ffunction-sections", "-fdata-sections",
)  # fmt: skip
# Flags of no processor: zig builds the C library, which takes a minute, once for each set of them.
LINK_FLAGS = ("-Os", "-Wl,--gc-sections", "-static", "-s")
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
    contents = {**sources, **own}
    if not zig:
        compiler = find_compiler()
        flags = tuple(flag for flag in compiler.flags if flag not in _SHARED_ONLY)
        files = _written(contents, folder)
        run_compiler([*compiler.command, *flags, *files, "-o", PROGRAM], folder, PROGRAM)
        return NativeProgram(folder / PROGRAM, compiler.version, flags, build)
    command, flags = zig_command(), (*zig, *STATIC_FLAGS)
    stated = f"zig {compiler_version(command)}"
    kept = cache_folder("programs") / _key(contents, (stated, *flags, *LINK_FLAGS))
    if not kept.exists():
        files = _written(contents, folder)

        def compiled(file: str) -> str:
            run_compiler([*command, *flags, "-c", file, "-o", f"{file}.o"], folder, file)
            return f"{file}.o"

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            objects = list(pool.map(compiled, files))
        run_compiler([*command, *zig[:2], *LINK_FLAGS, *objects, "-o", PROGRAM], folder, PROGRAM)
        staged = kept.with_name(f".{kept.name}.{os.getpid()}.{threading.get_ident()}")
        shutil.copy(folder / PROGRAM, staged)
        os.replace(staged, kept)
    shutil.copy(kept, folder / PROGRAM)
    return NativeProgram(folder / PROGRAM, stated, flags, build)


def _written(contents: Mapping[str, bytes], folder: Path) -> list[str]:
    """Write all files; the C files among them."""
    for file, content in contents.items():
        (folder / file).write_bytes(content)
    return [f"./{file}" for file in sorted(contents) if file.endswith(".c")]


def _key(contents: Mapping[str, bytes], flags: Sequence[str]) -> str:
    digest = hashlib.sha256(repr(tuple(flags)).encode())
    for name in sorted(contents):
        digest.update(f"{name} {len(contents[name])}\n".encode() + contents[name])
    return digest.hexdigest()


def _header(name: str, outputs: int, build: bytes) -> bytes:
    assert re.fullmatch(r"\w+", name)  # c_name checked it
    values = ", ".join(str(byte) for byte in build)
    lines = ['#include "model.h"', f"#define BENCHMARK_MODEL gnn_{name}_model", f"#define BENCHMARK_OUTPUTS {outputs}"]
    return "\n".join([*lines, f"#define BENCHMARK_BUILD {{{values}}}"]).encode() + b"\n"
