"""Integer kernels on Arm microcontrollers: SMLAD and MVE variants and plain C give the same bytes as the reference."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tests.unit.runtimes.c.arm_program import (
    Build,
    Processor,
    build,
    gcc,
    is_installed,
    run_in_qemu,
    run_in_unicorn,
    zig,
)
from tests.unit.runtimes.c.integer_cases import integer_calls, integer_sources
from tests.unit.runtimes.c.kernel_case import Call, Image, c_text, lay_out

PAGE = 4096
M4 = "-mcpu=cortex-m4 -mfloat-abi=hard -mfpu=fpv4-sp-d16"
# name: build, processor of unicorn
UNICORN: dict[str, tuple[Build, str]] = {
    "zig M4 with SMLAD": (zig("thumb-freestanding-eabihf", "cortex_m4+vfp4d16sp", "-O2"), "CORTEX_M4"),
    "zig M4 in plain C": (zig("thumb-freestanding-eabihf", "cortex_m4+vfp4d16sp", "-Os", "-DGNN_PLAIN_C"), "CORTEX_M4"),
    "zig M0+": (zig("thumb-freestanding-eabi", "cortex_m0plus", "-O2"), "CORTEX_M0"),
    "gcc M4 with SMLAD": (gcc(M4, "-O2"), "CORTEX_M4"),
    "gcc M4 with SMLAD, -O0": (gcc(M4, "-O0"), "CORTEX_M4"),
    "gcc M4 with SMLAD, -O3": (gcc(M4, "-O3"), "CORTEX_M4"),
    "gcc M0+": (gcc("-mcpu=cortex-m0plus", "-Os"), "CORTEX_M0"),
}
QEMU: dict[str, Build] = {
    "zig M55 with MVE": zig("thumb-freestanding-eabihf", "cortex_m55+mve_fp", "-O2"),
    "gcc M55 with MVE": gcc("-mcpu=cortex-m55 -mfloat-abi=hard", "-O2"),
    "gcc M55 with MVE, -O0": gcc("-mcpu=cortex-m55 -mfloat-abi=hard", "-O0"),
}


@functools.cache
def prepared() -> tuple[list[Call], Image, str]:
    calls = [call for kind in integer_calls().values() for call in kind]
    image = lay_out(calls)
    return calls, image, c_text(calls, image)


@pytest.mark.parametrize("name", UNICORN)
def test_codes_on_a_microcontroller_equal_the_reference(name):
    built, model = UNICORN[name]
    if not is_installed(built):
        pytest.skip(f"{built.tool} is not installed")
    _, image, text = prepared()
    assert image.wrong(run_in_unicorn(build(built, text, integer_sources()), model, image.before)) == ""


@pytest.mark.parametrize("name", QEMU)
def test_codes_from_vectors_equal_the_reference(name):
    built = QEMU[name]
    if not is_installed(built):
        pytest.skip(f"{built.tool} is not installed")
    _, image, text = prepared()
    memory = run_in_qemu(built, text, integer_sources(), image.before)
    if memory is None:
        pytest.skip("qemu-system-arm is not installed")
    assert image.wrong(memory) == ""


@pytest.mark.parametrize(
    "kind",
    ["linear_cases", "linear_terms", "linear_packed_cases", "linear_sparse_cases", "propagate_cases", "pool_cases"],
)
def test_no_word_is_read_beyond_its_array(kind):
    """SMLAD works on words: those at the end of an array must not reach beyond it, where here is no memory."""
    calls = integer_calls()[kind]
    image = lay_out(calls, page=PAGE)
    built, model = UNICORN["zig M4 with SMLAD"]
    processor = Processor(build(built, c_text(calls, image), integer_sources()), model)
    place = 0x60000000
    for page in sorted(
        {page for start, size in image.arrays for page in range(start // PAGE, (start + size - 1) // PAGE + 1)}
    ):
        processor.uc.mem_map(place + page * PAGE, PAGE)
        processor.uc.mem_write(place + page * PAGE, image.before[page * PAGE : (page + 1) * PAGE].tobytes())

    processor.call("run_calls", place)

    for start, size in image.arrays:
        found = np.frombuffer(processor.uc.mem_read(place + start, size), np.uint8)
        is_scratch = any(area.start == start for area in image.ignored)
        assert is_scratch or (found == image.after[start : start + size]).all(), image.place_of(start)
