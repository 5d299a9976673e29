"""Scales that minimize the mean squared error of rounding, by a grid search over the range."""

from __future__ import annotations

import numpy as np

from toolchain.compression.calibration import ValueStatistics
from toolchain.ir import DType, QParams
from toolchain.ir.integer import activation_qparams

GRID = np.arange(1, 41) / 40


def value_qparams(low: float, high: float, bits: int) -> QParams:
    """Parameters of a range at a width: int8 storage up to 8 bits, int16 beyond."""
    if bits > 8:
        return activation_qparams(low, high, DType.I16)
    return activation_qparams(low, high, DType.I8, bits)


def best_value_qparams(statistics: ValueStatistics, bits: int, *, skip_zeros: bool = False) -> QParams:
    """Of the ranges that are 1/40 to 40/40 of the whole one, that with the smallest mean squared error.

    Args:
        skip_zeros: elements that are zero do not count (they are rounded to zero by any range).
    """
    low, high = statistics.range()
    x, counts = statistics.elements(skip_zeros=skip_zeros)
    best, least = value_qparams(low, high, bits), np.inf
    for share in GRID:
        qparams = value_qparams(share * low, share * high, bits)
        first, last = (code - qparams.zero_point for code in qparams.code_range)
        error = np.clip(np.rint(x / qparams.scale[0]), first, last) * qparams.scale[0] - x
        total = float((counts * error**2).sum())
        if total < least:
            best, least = qparams, total
    return best


def best_step(x: np.ndarray, counts: np.ndarray, top: int, *, is_signed: bool) -> float:
    """The step of codes up to `top` around 0, or from 0 on, that rounds values with the least squared error; a float32 value.

    Args:
        counts: how often each of the values occurs.
    """
    peak = float(np.abs(x).max(initial=0.0))
    if peak == 0:
        return 1.0
    steps = (GRID * peak / top).astype(np.float32).astype(np.float64)
    least = -top if is_signed else 0
    errors = [(counts * (np.clip(np.rint(x / s), least, top) * s - x) ** 2).sum() for s in steps]
    return float(steps[int(np.argmin(errors))])


def best_weight_scales(weight: np.ndarray, bits: int, *, per_tensor: bool = False) -> np.ndarray:
    """Scales [out] of symmetric codes of a weight [out, in] with the smallest squared error per row, or in total.

    With 1 bit it is the mean magnitude, which is the optimum.
    """
    w = weight.astype(np.float64)
    if bits == 1:
        scales = np.abs(w).mean(axis=1)
        return np.full_like(scales, scales.mean()) if per_tensor else scales
    top = 2 ** (bits - 1) - 1
    peak = np.abs(w).max(axis=1, initial=0.0)
    peak = np.where(peak > 0, peak, 1.0)
    peak = np.full_like(peak, peak.max()) if per_tensor else peak
    errors = np.empty((GRID.size, w.shape[0]))
    for place, share in enumerate(GRID):
        scales = (share * peak / top)[:, None]
        errors[place] = ((np.clip(np.rint(w / scales), -top, top) * scales - w) ** 2).sum(axis=1)
    best = np.full(w.shape[0], errors.sum(axis=1).argmin()) if per_tensor else errors.argmin(axis=0)
    return GRID[best] * peak / top
