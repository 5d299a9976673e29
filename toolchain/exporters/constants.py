"""What stored constants stand for, as the exporters that write files op by op need it."""

from __future__ import annotations

import numpy as np

from toolchain.ir import DType, Graph, QParams, Value
from toolchain.ir.ops import DegreeGroup, PeakGroup


def qparams_of(value: Value) -> QParams:
    """Quantization parameters of an integer value."""
    assert value.type.qparams is not None, f"%{value.id} is not an integer value"
    return value.type.qparams


def uncut_ends(value: Value) -> tuple[np.float32, np.float32] | None:
    """The real values of the lowest and the highest code, where no rounding to int8 saturates there: of int16 values, which
    files keep as real numbers, and of int8 values with fewer bits. None for all others.
    """
    dtype = value.type.dtype
    if dtype is not DType.I16 and (dtype is not DType.I8 or qparams_of(value).bits == 8):
        return None
    qparams = qparams_of(value)
    low, high = (np.float32((code - qparams.zero_point) * qparams.scale[0]) for code in qparams.code_range)
    return low, high


def real_constant(graph: Graph, value: Value) -> np.ndarray:
    """The float32 array that a constant stands for."""
    array = graph.constant(value)
    if not value.type.dtype.is_integer:
        return array
    qparams = qparams_of(value)
    scale = np.asarray(qparams.scale, np.float64)
    per_row = scale.reshape(-1, *[1] * (array.ndim - 1)) if scale.size > 1 else scale  # [H, C] of a HeadDot
    return ((array.astype(np.int64) - qparams.zero_point) * per_row).astype(np.float32)


def weight_scales(constant: Value) -> np.ndarray:
    """[out] float32, or [] where one scale is for all."""
    scales = np.array(qparams_of(constant).scale, np.float32)
    return scales[0] if qparams_of(constant).axis is None else scales


def head_blocks(attention: np.ndarray) -> np.ndarray:
    """[H, C] to the block-diagonal [H*C, H] that gives one inner product a head in one product."""
    heads, width = attention.shape
    blocks = np.zeros((heads * width, heads), np.float32)
    blocks[np.arange(heads * width), np.repeat(np.arange(heads), width)] = attention.reshape(-1)
    return blocks


def group_bounds(op: DegreeGroup | PeakGroup, x: QParams | None) -> np.ndarray:
    """[K - 1] float32 bounds that no value meets: half-way between degrees, or between codes of x, where it has any."""
    bounds = np.array(op.bounds, np.float64)
    if isinstance(op, DegreeGroup):
        bounds = bounds + 0.5
    elif x is not None:
        bounds = (np.floor(bounds / x.scale[0]) + 0.5) * x.scale[0]
    return bounds.astype(np.float32)
