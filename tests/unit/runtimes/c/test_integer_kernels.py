"""Integer kernels on the host, in plain C: every code equal to the reference, and no byte written or read beside its array."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.c_kernels import PROTOTYPES, compile_objects, compilers, load
from tests.c_tools import sanitizing_compiler
from tests.unit.runtimes.c.integer_cases import integer_calls, integer_sources, random_requant
from tests.unit.runtimes.c.integer_reference import Requant
from tests.unit.runtimes.c.kernel_case import Image, c_text, lay_out, run_here
from toolchain.ir.integer import requantize
from toolchain.ir.types import QParams

KINDS = tuple(integer_calls())
# Reads the image, poisons what lies between its arrays, makes the calls and writes the image back.
_SANITIZED_MAIN = """
#include <stdio.h>
#include <sanitizer/asan_interface.h>
void run_calls(unsigned char *memory);
static unsigned char memory[%(size)d];
static const unsigned gaps[] = {%(gaps)s};
int main(void)
{
    size_t i;
    if (fread(memory, 1, sizeof memory, stdin) != sizeof memory) { return 1; }
    for (i = 0; i < sizeof gaps / sizeof gaps[0]; i += 2) { ASAN_POISON_MEMORY_REGION(memory + gaps[i], gaps[i + 1]); }
    run_calls(memory);
    ASAN_UNPOISON_MEMORY_REGION(memory, sizeof memory);
    return fwrite(memory, 1, sizeof memory, stdout) != sizeof memory;
}
"""


@pytest.mark.parametrize("kind", KINDS)
def test_codes_equal_the_reference(kind):
    assert run_here(integer_kernels("-O2"), integer_calls()[kind]) == ""


@pytest.mark.parametrize("compiler", list(compilers()))
def test_codes_are_the_same_from_every_compiler(compiler):
    library = integer_kernels({"gcc": "-O0", "clang": "-O3", "zig": "-Os"}[compiler], compiler=compiler)
    for calls in integer_calls().values():
        assert run_here(library, calls) == ""


def test_codes_are_the_same_with_the_instructions_of_this_machine():
    library = integer_kernels("-O3", "-march=native")
    for calls in integer_calls().values():
        assert run_here(library, calls) == ""


# what a processor must have (by the names of /proc/cpuinfo), and how to ask compilers for it
X86 = {
    "AVX2": (("avx2",), ("-mavx2",)),
    "AVX-512 without VNNI": (("avx512f", "avx512bw", "avx512vl"), ("-mavx512f", "-mavx512bw", "-mavx512vl")),
    "AVX-512 with VNNI": (("avx512bw", "avx512vl", "avx512_vnni"), ("-mavx512bw", "-mavx512vl", "-mavx512vnni")),
}


@pytest.mark.parametrize("name", [*X86, "no special instructions"])
def test_codes_are_the_same_with_each_set_of_vector_instructions(name):
    needed, flags = X86.get(name, ((), ("-march=native", "-DGNN_PLAIN_C")))
    cpuinfo = Path("/proc/cpuinfo")
    if needed and not (cpuinfo.exists() and set(needed) <= set(cpuinfo.read_text().split())):
        pytest.skip(f"this processor has no {name}")
    library = integer_kernels("-O2", *flags)
    for calls in integer_calls().values():
        assert run_here(library, calls) == ""


def test_nothing_is_read_beside_its_array_and_no_operation_is_undefined(tmp_path: Path):
    command = sanitizing_compiler()
    if command is None:
        pytest.skip("no compiler with sanitizers here: gcc or clang")
    calls = [call for kind in integer_calls().values() for call in kind]
    image = lay_out(calls)
    (tmp_path / "calls.c").write_text(c_text(calls, image))
    gaps = ", ".join(f"{start}u, {size}u" for start, size in gaps_of(image))
    (tmp_path / "main.c").write_text(_SANITIZED_MAIN % {"size": image.before.size, "gaps": gaps})
    sanitized = (*command, "-std=c99", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    objects = compile_objects((*sanitized, "-O1"), integer_sources()) + compile_objects(
        sanitized, (tmp_path / "calls.c", tmp_path / "main.c")
    )
    subprocess.run([*sanitized, *map(str, objects), "-o", str(tmp_path / "program")], check=True)

    done = subprocess.run([str(tmp_path / "program")], input=image.before.tobytes(), capture_output=True, check=False)

    assert done.returncode == 0, done.stderr.decode()[:3000]
    assert image.wrong(np.frombuffer(done.stdout, np.uint8)) == ""


def test_the_reference_of_these_tests_is_the_definition_of_requantize():
    rng = np.random.default_rng(0)
    for bits, type_ in ((8, "s8"), (16, "s16")):
        acc = rng.integers(-(2**31) + 1, 2**31, (50, 6))
        requant = random_requant(rng, type_, 2.0**31, 6)
        qparams = QParams((1.0,), requant.zero, bits)
        shifted = Requant(requant.m, requant.s + 5, requant.zero, requant.low, requant.high, 5, per_channel=True)

        assert (requant.codes(acc) == requantize(acc, requant.m, requant.s, qparams)).all()
        assert (shifted.codes(acc) == requant.codes(acc)).all()


def integer_kernels(*flags: str, compiler: str | None = None) -> ctypes.CDLL:
    """The integer kernels alone as a shared library."""
    library = load(integer_sources(), *flags, compiler=compiler)
    for source in integer_sources():
        getattr(library, source.stem).restype, getattr(library, source.stem).argtypes = PROTOTYPES[source.stem]
    return library


def gaps_of(image: Image) -> list[tuple[int, int]]:
    """(start, size) of what lies between the arrays of an image."""
    covered = np.zeros(image.before.size, bool)
    for start, size in image.arrays:
        covered[start : start + size] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[0], ~covered, [0]]).astype(np.int8)))
    return [(int(start), int(end - start)) for start, end in edges.reshape(-1, 2)]
