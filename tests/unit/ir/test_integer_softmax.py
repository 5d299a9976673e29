"""Integer softmax: weights close to the float ones, exactly 1 in sum, and nothing that 32 bits would not hold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.errors import OutsideContract
from toolchain.ir.integer_softmax import MOST_EDGES, ONE, TABLE, exponent, softmax_codes

SCALES = st.floats(1e-12, 1e6).map(np.float32).map(float)


def float_softmax(logits: np.ndarray, scale: float) -> np.ndarray:
    weights = np.exp((logits - logits.max(axis=0)) * np.float64(scale))
    return weights / weights.sum(axis=0)


def one_node(logits: np.ndarray, scale: float) -> np.ndarray:
    """Weights of one node with these in-edges, [E, H]."""
    return softmax_codes(logits, scale, np.array([0, len(logits)]))


@given(st.lists(st.integers(-32767, 32767), min_size=1, max_size=60), SCALES)
def test_weights_are_those_of_the_float_function_within_three_codes(logits: list[int], scale: float) -> None:
    column = np.array(logits)[:, None]
    codes = one_node(column, scale)

    assert np.abs(codes - ONE * float_softmax(column, scale)).max() <= 3


@pytest.mark.parametrize("spread", [0.0, 1.0, 5.0])
@pytest.mark.parametrize("degree", [1, 2, 3, 31, 168, 3000, 20_000, MOST_EDGES])
def test_weights_sum_to_one_whatever_the_degree(degree: int, spread: float) -> None:
    """Weights rounded one by one sum to 1.2 at 20,000 equal in-edges, and a sum of neighbours with them grows as much."""
    logits = np.rint(np.random.default_rng(degree).normal(0, 4000 * spread, (degree, 2))).clip(-32767, 32767)
    codes = one_node(logits.astype(np.int64), float(np.float32(2.5e-4)))

    assert (codes >= 0).all()
    assert (codes.sum(axis=0) == ONE).all()


def test_nodes_and_heads_do_not_mix() -> None:
    rng = np.random.default_rng(3)
    degrees = np.array([4, 0, 1, 9, 0])
    pointer = np.concatenate([[0], np.cumsum(degrees)])
    logits = rng.integers(-32767, 32768, (int(degrees.sum()), 3))
    codes = softmax_codes(logits, 1e-4, pointer)

    for begin, end in itertools.pairwise(pointer):
        for head in range(3):
            alone = one_node(logits[begin:end, head : head + 1], 1e-4) if end > begin else np.zeros((0, 1))
            np.testing.assert_array_equal(codes[begin:end, head : head + 1], alone)


def test_no_edges_give_no_weights() -> None:
    assert softmax_codes(np.zeros((0, 2), np.int64), 1.0, np.zeros(6, np.int64)).shape == (0, 2)


@given(SCALES)
def test_products_fit_32_bits_and_the_clamp_loses_nothing(scale: float) -> None:
    by = exponent(scale)
    largest = min(65534, by.reach)

    assert 0 <= by.multiplier <= 2**21 and by.shift < 32 and 1 <= by.reach <= 65535
    assert largest * by.multiplier < 2**32
    if by.reach < 65535:
        assert (by.reach * by.multiplier) >> by.shift >= 2**21  # where e is 0 already


@given(st.floats(1e-8, 0.4).map(np.float32).map(float))
def test_the_exponent_has_16_significant_digits(scale: float) -> None:
    """With K = rint(s log2(e) 2^16) alone, logits in [-1, 1] and four times head-room have K = 12 instead of 11.5."""
    by = exponent(scale)
    exact = scale * np.log2(np.e) * 2.0**16

    assert by.shift == 31 or abs(by.multiplier * 2.0**-by.shift - exact) <= exact * 2.0**-16


def test_the_table_is_that_of_the_kernel_and_no_entry_is_near_a_tie() -> None:
    exact = 2.0 ** (15 - np.arange(33) / 32)

    assert TABLE[0] == 2**15 and TABLE[32] == 2**14
    assert np.abs(exact % 1 - 0.5).min() > 1e-3  # so that every libm gives the same table


def test_more_in_edges_than_it_is_defined_for_are_refused() -> None:
    with pytest.raises(OutsideContract, match=r"65537 in-edges; integer attention takes 65536"):
        one_node(np.zeros((MOST_EDGES + 1, 1), np.int64), 1e-4)
