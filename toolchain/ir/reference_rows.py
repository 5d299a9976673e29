"""What the ops of row scales mean, on real numbers and on codes."""

from __future__ import annotations

import numpy as np

from toolchain.errors import TypeMismatch
from toolchain.ir import ops
from toolchain.ir.graph import Graph, Value
from toolchain.ir.integer import Q31_ONE, check_int32, late_bias_codes, multipliers, srdhm
from toolchain.ir.ops import Function
from toolchain.ir.reference import Array, Call, activate, row_factor
from toolchain.ir.reference_integer import centred, qparams_of, row_factor_q31, store
from toolchain.ir.types import QParams, TensorType


def degree_group(op: ops.DegreeGroup, call: Call) -> Array:
    """[N, 1] numbers of groups."""
    groups = np.searchsorted(np.array(op.bounds, np.int64), call.topology(op.topology).in_degree, side="left")
    return groups[:, None].astype(call.type.dtype.numpy)


def peak_group(op: ops.PeakGroup, call: Call) -> Array:
    """[N, 1] numbers of groups."""
    if call.is_integer:
        peaks = np.abs(centred(call.arrays[0], call.types[0])).max(axis=1, initial=0)
        groups = np.searchsorted(peak_bounds(op, call.types[0]), peaks, side="left")
    else:
        groups = np.searchsorted(np.array(op.bounds), np.abs(call.arrays[0]).max(axis=1, initial=0), side="left")
    return groups[:, None].astype(call.type.dtype.numpy)


def peak_bounds(op: ops.PeakGroup, x: TensorType) -> Array:
    """[K - 1] int64: a magnitude of codes exceeds a bound exactly if it exceeds the integer here."""
    return np.floor(np.array(op.bounds, np.float64) / np.float64(qparams_of(x).scale[0])).astype(np.int64)


def row_scale(op: ops.RowScale, call: Call) -> Array:
    """Real rows times the factor of their group; codes as `scaled_codes` says."""
    if call.is_integer:
        return scaled_codes(op, call)
    groups, bias = call.arrays[1][:, 0].astype(np.int64), call.array("bias")
    y = call.arrays[0] * np.array(op.factors, np.float32)[groups][:, None]
    y = activate(op.activation, y if bias is None else y + bias)
    if op.limits:
        limits = np.array(op.limits, np.float32)[groups][:, None]
        y = np.clip(y, -limits, limits)
    y = y if op.row_factor is None else y * row_factor(op.row_factor, call)[:, None]
    return y.astype(np.float32)


def scaled_codes(op: ops.RowScale, call: Call) -> Array:
    """clamp(z + ((acc m' + B' + 2^(s-1)) >> s)), one rounding, then the limits of the row's group around z.

    m' = srdhm(m_c, r), with r the Q31 factor of the group relative to the largest one, times the degree's by srdhm; the largest
    one is in m_c. B' = B_c = rint(b_c / s_y 2^s), or (B_c R + 2^30) >> 31 beside a factor R of the degree.
    """
    if op.activation not in (None, Function.RELU):
        raise TypeMismatch(f"{op.activation} cannot be fused into an integer op; only ReLU is a clamp")
    out, x_type, bias = qparams_of(call.type), call.types[0], call.array("bias")
    groups = call.arrays[1][:, 0].astype(np.int64)
    total, rows = centred(call.arrays[0], x_type), factors_q31(op)[groups]
    check_int32(total, "accumulator")
    m, s = multipliers(scale_ratio(op, x_type, out))
    added = np.zeros((1, 1), np.int64) if bias is None else late_bias_codes(bias, out.scale[0], s)[None, :]
    if op.row_factor is not None:
        degree = row_factor_q31(op.row_factor, call)
        rows, added = srdhm(rows, degree), wide_srdhm(added, degree[:, None])
    rounded = (total * srdhm(m[None, :], rows[:, None]) + added + (np.int64(1) << (s - 1))) >> s
    low, high = out.code_range
    low = max(low, out.zero_point) if op.activation is Function.RELU else low
    codes = np.clip(rounded + out.zero_point, low, high)
    if op.limits:
        limits = limit_codes(op, out)[groups][:, None]
        codes = np.clip(codes, out.zero_point - limits, out.zero_point + limits)
    return store(codes, call.type)


def factors_q31(op: ops.RowScale) -> Array:
    """[K] int64: each factor relative to the largest."""
    factors = np.array(op.factors, np.float64)
    return np.minimum(np.rint(factors / factors.max() * 2**31), Q31_ONE).astype(np.int64)


def scale_ratio(op: ops.RowScale, x: TensorType, out: QParams) -> Array:
    """[C] or [1] float64: scale of x over that of the result, times the largest factor."""
    scales = np.asarray(qparams_of(x).scale, np.float64)
    return np.asarray(scales * np.float64(max(op.factors)) / np.float64(out.scale[0]))


def limit_codes(op: ops.RowScale, out: QParams) -> Array:
    """[K] int64: the limits in steps of the result."""
    return np.rint(np.array(op.limits, np.float64) / np.float64(out.scale[0])).astype(np.int64)


def wide_srdhm(a: Array, r: Array) -> Array:
    """(a r + 2^30) >> 31 for |a| < 2^61, of which no product of halves leaves int64."""
    return (a >> 31) * r + (((a & Q31_ONE) * r + (1 << 30)) >> 31)


def mean_bits(graph: Graph, value: Value) -> float:
    """Mean width of the codes of a RowScale over the nodes that calibration saw, its groups counting alike where it saw none."""
    groups, bits = graph.values[value.inputs[1]].op, group_bits(value)
    assert isinstance(groups, ops.DegreeGroup | ops.PeakGroup)
    shares = groups.shares or (1 / len(bits),) * len(bits)
    return sum(b * share for b, share in zip(bits, shares, strict=True)) / sum(shares)


def group_bits(value: Value) -> list[int]:
    """[K], the width of the codes of each group of a RowScale; without limits that of its type.

    Codes that start at 0, behind a ReLU, need no bit for a sign.
    """
    op, out = value.op, qparams_of(value.type)
    if not isinstance(op, ops.RowScale):
        raise TypeMismatch(f"%{value.id} {type(op).__name__}: has no codes with a width for each group of rows")
    if not op.limits:
        return [out.bits] * len(op.factors)
    is_signed = op.activation is not Function.RELU
    return [int(top).bit_length() + is_signed for top in limit_codes(op, out)]
