"""segment_reduce: rows reduced by the segment that each belongs to, such as messages by node and nodes by graph."""

from __future__ import annotations

import numpy as np

from toolchain.ir.attributes import Reduce

Array = np.ndarray


def segment_reduce(values: Array, segments: Array, count: int, reduce: Reduce) -> Array:
    """Reduce rows by segment number; an empty segment gives 0, of a product 1. In float64, so row order hardly matters."""
    if reduce is Reduce.PRODUCT:
        out = np.ones((count, values.shape[1]))
        np.multiply.at(out, segments, values)
        return out
    if reduce in (Reduce.MAX, Reduce.MIN):
        fill, ufunc = (-np.inf, np.maximum) if reduce is Reduce.MAX else (np.inf, np.minimum)
        out = np.full((count, values.shape[1]), fill)
        ufunc.at(out, segments, values)
        return np.where(np.isfinite(out), out, 0.0)
    out = np.zeros((count, values.shape[1]))
    np.add.at(out, segments, values)
    if reduce is Reduce.MEAN:
        out /= np.bincount(segments, minlength=count).clip(min=1)[:, None]
    return out
