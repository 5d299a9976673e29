"""gnn_fixed.h against toolchain.ir.integer: exact for every operand."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from tests.c_kernels import compiled_text, compilers
from toolchain.ir import integer

PROGRAM = """
#include <stddef.h>
#include "gnn_fixed.h"
void rsqrt_all(const uint32_t *x, size_t count, int32_t *y);
void recip_all(const uint32_t *x, size_t count, int32_t *y);
void srdhm_all(const int32_t *a, const int32_t *r, size_t count, int32_t *y);
void rsqrt_all(const uint32_t *x, size_t count, int32_t *y) {
    size_t i;
    for (i = 0; i < count; i++) { y[i] = gnn_rsqrt_q31(x[i]); }
}
void recip_all(const uint32_t *x, size_t count, int32_t *y) {
    size_t i;
    for (i = 0; i < count; i++) { y[i] = gnn_recip_q31(x[i]); }
}
void srdhm_all(const int32_t *a, const int32_t *r, size_t count, int32_t *y) {
    size_t i;
    for (i = 0; i < count; i++) { y[i] = gnn_srdhm(a[i], r[i]); }
}
"""


@pytest.fixture(scope="module", params=[(c, flag) for c in compilers() for flag in ("-O0", "-O3")], ids="".join)
def library(request):
    compiler, flag = request.param
    return compiled_text(PROGRAM, flag, compiler=compiler)


def apply(function, *operands: np.ndarray) -> np.ndarray:
    result = np.empty(operands[0].size, np.int32)
    pointers = [ctypes.c_void_p(operand.ctypes.data) for operand in operands]
    function(*pointers, ctypes.c_size_t(result.size), ctypes.c_void_p(result.ctypes.data))
    return result


def hard_degrees() -> np.ndarray:
    """All small degrees, the neighbours of every power of two and square, and degrees over the whole range."""
    generator = np.random.default_rng(0)
    powers = 2 ** np.arange(1, 32, dtype=np.int64)
    squares = generator.integers(1, 2**16, 2000) ** 2
    around = np.concatenate([powers, squares])[:, None] + np.arange(-2, 3)
    spread = np.exp(generator.uniform(0, 32 * np.log(2), 4000)).astype(np.int64)
    degrees = np.concatenate([np.arange(20_000), around.ravel(), spread, 2**32 - np.arange(1, 100)])
    return degrees.clip(0, 2**32 - 1).astype(np.uint32)


def test_rsqrt_equals_the_definition_for_every_degree(library):
    degrees = hard_degrees()

    assert np.array_equal(apply(library.rsqrt_all, degrees), integer.rsqrt_q31(degrees))


def test_recip_equals_the_definition_for_every_count(library):
    counts = hard_degrees()

    assert np.array_equal(apply(library.recip_all, counts), integer.recip_q31(counts))


def test_srdhm_equals_the_definition_at_the_ends_of_its_range(library):
    generator = np.random.default_rng(1)
    ends = np.array([-(2**31), -(2**31) + 1, -(2**30), -1, 0, 1, 2**30, 2**31 - 1])
    factors = np.array([0, 1, 2**30 - 1, 2**30, 2**31 - 1])
    a = np.concatenate([np.repeat(ends, factors.size), generator.integers(-(2**31), 2**31, 20_000)]).astype(np.int32)
    r = np.concatenate([np.tile(factors, ends.size), generator.integers(0, 2**31, 20_000)]).astype(np.int32)

    assert np.array_equal(apply(library.srdhm_all, a, r), integer.srdhm(a, r))
