"""The fixed-point primitives equal their definitions, computed with Python's unbounded integers and exact fractions."""

from __future__ import annotations

import math
from fractions import Fraction

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from toolchain.errors import OutsideContract
from toolchain.ir import integer
from toolchain.ir.types import DType, QParams

QUICK = settings(max_examples=200, deadline=None)
INT32 = st.integers(-(2**31) + 1, 2**31 - 1)
DEGREE = st.integers(1, 2**31 - 1)


@QUICK
@given(st.floats(2.0**-40, 2.0**29))
def test_multiplier_is_the_nearest_31_bit_fraction(ratio: float) -> None:
    m, s = integer.multiplier(ratio)
    assert 2**30 <= m < 2**31 or s == 62
    assert 1 <= s <= 62
    assert abs(Fraction(m, 2**s) - Fraction(ratio)) <= Fraction(1, 2 ** (s + 1)) or s == 62


def test_multiplier_rounds_up_into_the_next_power_of_two() -> None:
    assert integer.multiplier(1.0 - 2.0**-40) == (2**30, 30)


def test_multiplier_of_a_tiny_ratio_shifts_into_62_bits() -> None:
    assert integer.multiplier(2.0**-40) == (2**22, 62)
    assert integer.multiplier(2.0**-100) == (0, 62)


def test_multiplier_of_a_huge_ratio_is_refused() -> None:
    with pytest.raises(OutsideContract, match="far too small"):
        integer.multiplier(2.0**31)


def test_a_bias_that_no_sum_holds_is_refused() -> None:
    bias, shift = np.array([1.0, 2.0**20], np.float32), np.array([40])
    assert integer.late_bias_codes(bias, 1.0, shift).tolist() == [2**40, 2**60]
    with pytest.raises(OutsideContract, match=r"its bias is 2\.1e\+06 steps of its result"):
        integer.late_bias_codes(2 * bias, 1.0, shift)


@QUICK
@given(INT32, st.floats(2.0**-30, 2.0**20), st.integers(-128, 127), st.sampled_from([8, 16]), st.booleans())
def test_requantize_rounds_the_exact_product_half_up_once(
    accumulator: int, ratio: float, zero: int, bits: int, relu: bool
) -> None:
    zero = zero if bits == 8 else 0
    qparams = QParams((1.0,), zero, bits)
    m, s = integer.multiplier(ratio)
    codes = integer.requantize(np.array([accumulator]), np.array([m]), np.array([s]), qparams, relu=relu)
    low, high = qparams.code_range
    exact = math.floor(Fraction(accumulator * m, 2**s) + Fraction(1, 2)) + zero
    assert int(codes[0]) == min(max(exact, max(low, zero) if relu else low), high)


@pytest.mark.parametrize("beyond", [2**31, -(2**31)])
def test_requantize_refuses_accumulators_beyond_int32(beyond: int) -> None:
    with pytest.raises(OutsideContract, match="beyond int32"):
        integer.requantize(np.array([beyond]), np.array([2**30]), np.array([31]), QParams((1.0,)))


@QUICK
@given(INT32, st.integers(0, 2**31 - 1))
def test_srdhm_is_the_rounded_high_half(a: int, r: int) -> None:
    expected = math.floor(Fraction(a * r, 2**31) + Fraction(1, 2))
    assert int(integer.srdhm(np.array([a]), np.array([r]))[0]) == expected


@QUICK
@given(DEGREE)
def test_rsqrt_is_the_nearest_q31_number(degree: int) -> None:
    """2^31 / sqrt(d) lies within half a step: (2 R - 1)^2 d <= 2^64 <= (2 R + 1)^2 d, below the cap."""
    r = int(integer.rsqrt_q31(np.array([degree]))[0])
    if degree == 1:
        assert r == 2**31 - 1
    else:
        assert (2 * r - 1) ** 2 * degree <= 2**64 <= (2 * r + 1) ** 2 * degree


@QUICK
@given(DEGREE)
def test_recip_is_the_nearest_q31_number(count: int) -> None:
    r = int(integer.recip_q31(np.array([count]))[0])
    if count == 1:
        assert r == 2**31 - 1
    else:
        assert abs(Fraction(r) - Fraction(2**31, count)) <= Fraction(1, 2)


def test_factors_of_degree_zero_are_zero_and_shapes_stay() -> None:
    degrees = np.array([[0, 1], [4, 16]])
    np.testing.assert_array_equal(integer.rsqrt_q31(degrees), [[0, 2**31 - 1], [2**30, 2**29]])
    np.testing.assert_array_equal(integer.recip_q31(degrees), [[0, 2**31 - 1], [2**29, 2**27]])


@QUICK
@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.sampled_from([DType.I8, DType.I16]))
def test_activation_codes_represent_zero_exactly_and_the_range_within_a_step(a: float, b: float, dtype: DType) -> None:
    low, high = min(a, b), max(a, b)
    qparams = integer.activation_qparams(low, high, dtype)
    scale, least, largest = qparams.scale[0], *qparams.code_range
    assert least <= qparams.zero_point <= largest
    assert integer.quantize_input(np.zeros(1, np.float32), qparams)[0] == qparams.zero_point
    if max(abs(low), abs(high)) > 1e-20:
        assert (least - 1 - qparams.zero_point) * scale <= min(low, 0.0) * (1 - 1e-5)
        assert max(high, 0.0) * (1 - 1e-5) <= (largest + 1 - qparams.zero_point) * scale


@QUICK
@given(st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=20))
def test_quantized_input_is_the_rounded_float32_product(values: list[float]) -> None:
    x = np.array(values, np.float32)
    qparams = integer.activation_qparams(float(x.min()), float(x.max()), DType.I8)
    product = x * np.float32(1.0 / np.float64(qparams.scale[0]))
    expected = [min(max(round(float(p)) + qparams.zero_point, -128), 127) for p in product]  # round() is half to even
    np.testing.assert_array_equal(integer.quantize_input(x, qparams), expected)


def test_constant_range_still_has_a_scale() -> None:
    assert integer.activation_qparams(0.0, 0.0, DType.I8).scale == (1.0,)
    with pytest.raises(ValueError, match="int8 or int16"):
        integer.activation_qparams(0, 1, DType.F32)


def test_weight_rows_reach_the_largest_code_and_zero_stays_zero() -> None:
    weight = np.array([[0.5, -1.0, 0.0], [1e-3, 0.0, 5e-4], [0.0, 0.0, 0.0]], np.float32)
    codes, qparams = integer.weight_codes(weight, None, 0.1)
    assert np.abs(codes).max(axis=1).tolist() == [127, 127, 0]
    assert (codes[weight == 0] == 0).all()
    assert qparams.axis == 0
    assert len(qparams.scale) == 3


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weight_codes_stay_within_their_bits(bits: int) -> None:
    codes, _ = integer.weight_codes(np.random.default_rng(0).normal(size=(4, 9)).astype(np.float32), None, 1.0, bits)
    assert np.abs(codes).max() == 2 ** (bits - 1) - 1


def test_head_weights_share_one_scale() -> None:
    codes, qparams = integer.weight_codes(np.array([[1.0], [0.25]], np.float32), None, 1.0, per_tensor=True)
    assert codes.ravel().tolist() == [127, 32]
    assert qparams.axis is None


def test_tiny_row_beside_a_bias_keeps_the_bias_within_23_bits() -> None:
    """A folded BatchNorm leaves rows like this; without the rule the bias code overflows int32 (ARITHMETIC 1.6)."""
    weight, bias = np.array([[2e-7, 0.0]], np.float32), np.array([0.37], np.float32)
    _, qparams = integer.weight_codes(weight, bias, 0.05)
    codes, _ = integer.bias_codes(bias, 0.05, qparams)
    assert abs(int(codes[0])) <= 2**23 + 1
    assert codes[0] * 0.05 * qparams.scale[0] == pytest.approx(0.37, rel=1e-6)


def test_bias_that_does_not_fit_int32_is_refused() -> None:
    with pytest.raises(OutsideContract, match="does not fit int32"):
        integer.bias_codes(np.array([1e6], np.float32), 1e-6, QParams((float(np.float32(1e-6)),)))
