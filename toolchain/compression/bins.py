"""Bins of equal width over [-reach, reach), for histograms that stream: the reach doubles, and no element is kept."""

from __future__ import annotations

import math

import numpy as np

from toolchain.errors import OutsideContract


def widened(bins: np.ndarray, reach: float, peak: float) -> tuple[np.ndarray, float]:
    """The bins, [2n] with n even, and their reach after doubling it until it exceeds a magnitude.

    Args:
        reach: a power of two; 0 while nothing has been counted.

    Raises:
        OutsideContract: the magnitude is not finite; the reach would double for ever.
    """
    check_finite_range(peak)
    if reach == 0.0:
        reach = float(2.0 ** (np.floor(np.log2(max(peak, 1e-30))) + 1))
    half = bins.size // 2
    while peak >= reach:
        merged = np.zeros_like(bins)  # each pair of bins becomes one of twice the width
        merged[half // 2 : half // 2 + half] = bins.reshape(-1, 2).sum(axis=1)
        bins, reach = merged, 2 * reach
    return bins, reach


def check_finite_range(*ends: float) -> None:
    """Refuse a range that no scale has.

    Raises:
        OutsideContract: an end is infinite or not a number.
    """
    if not all(map(math.isfinite, ends)):
        raise OutsideContract(
            "holds numbers that are not finite, so that it has no range. Look for extreme features and weights."
        )
