"""build_program: a C artifact in, a program that runs and times it on a device out; kept in a cache of the user."""

from __future__ import annotations

import hashlib
import importlib.util
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
from toolchain.errors import MissingDependency

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
# The C library of a zig target → gcc's commands for that processor, a small static C library first
GCC = {
    "x86_64-linux-musl": ("x86_64-linux-musl-gcc", "musl-gcc", "x86_64-linux-gnu-gcc"),
    "aarch64-linux-musl": ("aarch64-linux-musl-gcc", "aarch64-linux-gnu-gcc"),
    "arm-linux-musleabihf": ("arm-linux-musleabihf-gcc", "arm-linux-gnueabihf-gcc"),
}
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
        zig: flags that select the processor, such as ("-target", "aarch64-linux-musl"), for a static program by zig, or where that
            is not installed by a gcc for the same processor; none for a program of this machine, by its own compiler.
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
    command, select, stated = cross_compiler(zig)
    flags = (*select, *STATIC_FLAGS)
    kept = cache_folder("programs") / _key(contents, (stated, *flags, *LINK_FLAGS))
    if not kept.exists():
        files = _written(contents, folder)

        def compiled(file: str) -> str:
            run_compiler([*command, *flags, "-c", file, "-o", f"{file}.o"], folder, file)
            return f"{file}.o"

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            objects = list(pool.map(compiled, files))
        run_compiler([*command, *select[:2], *LINK_FLAGS, *objects, "-o", PROGRAM], folder, PROGRAM)
        staged = kept.with_name(f".{kept.name}.{os.getpid()}.{threading.get_ident()}")
        shutil.copy(folder / PROGRAM, staged)
        os.replace(staged, kept)
    shutil.copy(kept, folder / PROGRAM)
    return NativeProgram(folder / PROGRAM, stated, flags, build)


def cross_compiler(zig: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Who makes static programs for a processor: the command, the flags that select it, and the compiler's name and version.

    Raises:
        MissingDependency: neither zig nor a gcc for it is installed.
    """
    if importlib.util.find_spec("ziglang") is not None:
        command = zig_command()
        return command, tuple(zig), f"zig {compiler_version(command)}"
    names = GCC.get(zig[1], ())
    for name in names:
        if (path := shutil.which(name)) is not None:
            # Of zig's flags, gcc has the processor, with another spelling; the target is in its own name.
            select = tuple(flag.replace("_", "-") for flag in zig[2:] if flag.startswith("-mcpu="))
            return (path,), select, f"{name} {compiler_version((path,))}"
    raise MissingDependency(
        f"nothing is installed here that compiles for {zig[1]}. Install ziglang with: pip install 'pocketgnn[native]'; or one of "
        f"{', '.join(names)} with your system's packages."
    )


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
