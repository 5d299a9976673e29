"""gnn_math.h and gnn_round.h: functions of single floats, by their relative error in all of their range."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest

from tests.c_kernels import compiled_text, compilers

NAMES = ("exp", "expm1", "log", "sqrt", "sigmoid", "tanh", "normal_cdf")
PROGRAM = (
    '#include <stddef.h>\n#include "gnn_math.h"\n#include "gnn_round.h"\n'
    + "".join(
        f"void all_{name}(const float *x, size_t count, float *y);\n"
        f"void all_{name}(const float *x, size_t count, float *y) {{\n"
        f"    size_t i;\n    for (i = 0; i < count; i++) {{ y[i] = gnn_{name}(x[i]); }}\n}}\n"
        for name in NAMES
    )
    + "void all_round(const float *x, size_t count, int32_t *y, int32_t low, int32_t high);\n"
    "void all_round(const float *x, size_t count, int32_t *y, int32_t low, int32_t high) {\n"
    "    size_t i;\n    for (i = 0; i < count; i++) { y[i] = gnn_round_f32(x[i], low, high); }\n}\n"
)
# The largest relative error of each function is measured to be 1.1e-7 to 4.4e-7 in these ranges.
EXACT = {
    "exp": (np.exp, -86, 87),
    "expm1": (np.expm1, -40, 80),
    "log": (np.log, 1e-6, 1e6),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), -80, 80),
    "tanh": (np.tanh, -20, 20),
    "normal_cdf": (np.vectorize(lambda x: math.erfc(-x / math.sqrt(2)) / 2), -3, 10),
}


@pytest.fixture(scope="module")
def library():
    return compiled_text(PROGRAM)


def apply(function, x: np.ndarray, dtype: type = np.float32, *more: int) -> np.ndarray:
    y = np.empty(x.size, dtype)
    function(
        ctypes.c_void_p(x.ctypes.data),
        ctypes.c_size_t(x.size),
        ctypes.c_void_p(y.ctypes.data),
        *map(ctypes.c_int32, more),
    )
    return y


@pytest.mark.parametrize("name", EXACT)
def test_functions_are_exact_to_a_few_units_in_the_last_place(library, name):
    function, low, high = EXACT[name]
    near_zero = np.geomspace(1e-6, 1, 2000)
    x = np.concatenate([np.linspace(low, high, 20_001), near_zero, [] if low > 0 else -near_zero]).astype(np.float32)
    if name == "log":
        x = np.concatenate([x, np.linspace(0.9, 1.1, 2001)]).astype(np.float32)
    expected = function(x.astype(np.float64))

    error = np.abs(apply(getattr(library, f"all_{name}"), x) - expected) / np.maximum(np.abs(expected), 1e-30)

    assert error.max() < 1e-6


def test_exact_points_are_exact(library):
    one = np.array([1, 0], np.float32)

    assert apply(library.all_exp, one)[1] == 1
    assert apply(library.all_expm1, one)[1] == 0
    assert apply(library.all_tanh, one)[1] == 0
    assert apply(library.all_log, one[:1])[0] == 0


def test_functions_are_defined_for_every_float(library):
    """Infinities and NaN give some float and trap nothing; large arguments give the limits."""
    large = np.array([-3e38, -1000, 1000, 3e38], np.float32)

    assert apply(library.all_sigmoid, large).tolist() == pytest.approx([0, 0, 1, 1], abs=1e-30)
    assert apply(library.all_tanh, large).tolist() == [-1, -1, 1, 1]
    assert apply(library.all_normal_cdf, large).tolist() == pytest.approx([0, 0, 1, 1], abs=1e-30)
    assert np.isfinite(apply(library.all_exp, np.array([np.inf, -np.inf, 1e30], np.float32))).all()


@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("flag", ["-O0", "-O3"])
def test_square_roots_are_rounded_as_ieee_754_asks(compiler, flag):
    """Of all small integers, of floats over the whole range with subnormal ones, and around squares, where rounding is closest."""
    library = compiled_text(PROGRAM, flag, compiler=compiler)
    generator = np.random.default_rng(0)
    spread = generator.integers(0, 0x7F800000, 100_000).astype(np.uint32).view(np.float32)
    tiny = generator.integers(0, 0x00800000, 20_000).astype(np.uint32).view(np.float32)
    squares = (generator.integers(1 << 23, 1 << 24, 20_000).astype(np.float64) ** 2).astype(np.float32)
    neighbours = [np.nextafter(squares, np.float32(direction), dtype=np.float32) for direction in (0, np.inf)]
    x = np.concatenate([np.arange(70_000, dtype=np.float32), spread, tiny, squares, *neighbours, [0.0]]).astype(
        np.float32
    )

    assert np.array_equal(apply(library.all_sqrt, x), np.sqrt(x))


@pytest.mark.parametrize("flags", [("-O0",), ("-O3",), ("-O3", "-ffast-math")], ids=" ".join)
def test_rounding_goes_half_to_even_and_clamps(flags):
    library = compiled_text(PROGRAM, *flags)
    halves = np.arange(-300, 301, dtype=np.float32) / 2
    generator = np.random.default_rng(0)
    x = np.concatenate([halves, generator.normal(size=10_000) * 200, [np.nan, np.inf, -np.inf, 3e9, -3e9, 0.49999997]])
    x = x.astype(np.float32)
    expected = np.clip(np.where(np.isnan(x), -128, np.rint(x)), -128, 127)

    actual = apply(library.all_round, x, np.int32, -128, 127)

    not_a_number = np.isnan(x)
    assert np.array_equal(actual[~not_a_number], expected[~not_a_number])
    assert set(actual[not_a_number]) <= ({-128, 127} if "-ffast-math" in flags else {-128})
