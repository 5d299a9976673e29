"""What the ops mean on integer codes. Each function computes int64 accumulators and requantizes once."""

from __future__ import annotations

import math

import numpy as np

from toolchain.errors import TypeMismatch
from toolchain.ir import ops
from toolchain.ir.functions import ACTIVATIONS
from toolchain.ir.integer import (
    Q31_ONE,
    check_int32,
    late_bias_codes,
    multipliers,
    quantize_input,
    recip_q31,
    requantize,
    rsqrt_q31,
    srdhm,
)
from toolchain.ir.ops import Function, Reduce
from toolchain.ir.reference import Array, Call
from toolchain.ir.types import DType, QParams, TensorType


def qparams_of(type: TensorType | None) -> QParams:
    """Parameters of an integer type."""
    if type is None or type.qparams is None:
        raise TypeMismatch(f"{type} carries no quantization parameters")
    return type.qparams


def centred(array: Array, type: TensorType) -> Array:
    """Codes minus their zero point, int64."""
    return array.astype(np.int64) - qparams_of(type).zero_point


def store(codes: Array, type: TensorType) -> Array:
    """Codes in the dtype of their type."""
    return codes.astype(type.dtype.numpy)


def row_factor_q31(factor: ops.RowFactor, call: Call) -> Array:
    """[N] int64 Q31 factor of a topology's symmetric normalization, from the integer in-degrees."""
    topology = call.topology(factor.topology)
    if topology.weight is not None:
        raise TypeMismatch("weighted normalization has no integer row factor; keep this aggregation in float")
    if topology.source_scale is None:
        return np.full(topology.num_nodes, Q31_ONE, np.int64)
    return rsqrt_q31(topology.in_degree)


def finish(accumulator: Array, ratio: Array, rows: Array | None, call: Call, activation: Function | None) -> Array:
    """Requantize to the value's type: per-channel ratio, optional Q31 row factor on the multiplier."""
    if activation not in (None, Function.RELU):
        raise TypeMismatch(f"{activation} cannot be fused into an integer op; only ReLU is a clamp")
    m, s = multipliers(ratio)
    if rows is not None:
        m = srdhm(m[None, :], rows[:, None])  # [N, C] or [N, 1]
    return store(requantize(accumulator, m, s, qparams_of(call.type), relu=activation is Function.RELU), call.type)


def linear(op: ops.Linear, call: Call) -> Array:
    """acc = b + sum (q_x - z_x) q_w; out int32 keeps the accumulators, int8 and int16 are requantized."""
    x_type, w_type = call.types[0], call.types[1]
    accumulator = product(centred(call.arrays[0], x_type), call.arrays[1])
    bias = call.array("bias")
    if bias is not None:
        accumulator = accumulator + bias
    if call.type.dtype is DType.I32:
        check_int32(accumulator, "accumulator")
        return accumulator.astype(np.int32)
    scale_x, scale_w = qparams_of(x_type).scale[0], np.asarray(qparams_of(w_type).scale, np.float64)
    ratio = np.float64(scale_x) * scale_w / np.float64(qparams_of(call.type).scale[0])
    rows = None if op.row_factor is None else row_factor_q31(op.row_factor, call)
    return finish(accumulator, ratio, rows, call, op.activation)


def product(codes: Array, weight: Array) -> Array:
    """Exact sums of products [rows, in] x [out, in] as int64.

    In float64, since numpy has no fast product of integers: a term is below 2^24, so that 2^29 of them are exact in any order.
    """
    return (codes.astype(np.float64) @ weight.astype(np.float64).T).astype(np.int64)


def dynamic_linear(call: Call) -> Array:
    """Float x with integer weights: x is quantized per call to uint8 over its own range, the sum runs in integers.

    Same definition as ONNX DynamicQuantizeLinear. Returns float32 before the bias.
    """
    x = call.arrays[0]
    low, high = min(float(x.min(initial=0)), 0.0), max(float(x.max(initial=0)), 0.0)
    scale = np.float32((np.float32(high) - np.float32(low)) / np.float32(255))
    if scale == 0:
        return np.zeros((x.shape[0], call.arrays[1].shape[0]), np.float32)
    zero = np.clip(np.rint(-np.float32(low) / scale), 0, 255)
    codes = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.int64) - int(zero)
    accumulator = product(codes, call.arrays[1])
    check_int32(accumulator, "accumulator")
    return (accumulator * (np.float64(scale) * np.asarray(qparams_of(call.types[1]).scale, np.float64))).astype(
        np.float32
    )


def propagate(op: ops.Propagate, call: Call) -> Array:
    """S_i = sum (q_j - z), plus the self term at 2^k, requantized with the target's row factor; max and min on codes."""
    topology = call.topology(op.topology)
    if topology.weight is not None:
        raise TypeMismatch("edge weights have no integer aggregation; keep this Propagate in float")
    normalized = topology.source_scale is not None
    if op.row_factor is not None or normalized != op.source_scaled:
        raise TypeMismatch(
            "an integer Propagate takes rows that its producer already scaled, and scales none for its consumer"
        )
    x_type = call.types[0]
    scale_x, scale_y = qparams_of(x_type).scale[0], qparams_of(call.type).scale[0]
    x = centred(call.arrays[0], x_type)
    total = np.zeros((topology.num_nodes, x.shape[1]), np.int64)
    if op.reduce in (Reduce.MAX, Reduce.MIN):
        total = extreme(x[topology.source], topology.target, topology.num_nodes, op.reduce)
    else:
        np.add.at(total, topology.target, x[topology.source])
    unit = 1.0
    self_scale = call.array("self_scale")
    if self_scale is not None:
        if normalized or op.reduce is Reduce.MEAN:
            raise TypeMismatch("a self term beside a row factor has no integer form; keep this Propagate in float")
        unit = qparams_of(call.operand_type("self_scale")).scale[0]  # 2^-k
        shift = round(-math.log2(unit))
        total = (total << shift) + int(self_scale[0]) * x
    rows = None
    if normalized:
        rows = rsqrt_q31(topology.in_degree)
    if op.reduce is Reduce.MEAN:
        if normalized:
            raise TypeMismatch("mean over a normalized topology has no integer form; keep this Propagate in float")
        rows = recip_q31(topology.in_degree)
    ratio = np.array([np.float64(scale_x) * unit / np.float64(scale_y)])
    bias = call.array("bias")
    if bias is None:
        return finish(total, ratio, rows, call, op.activation)
    return biased(total, ratio, rows, bias, call, op.activation)


def biased(
    total: Array, ratio: Array, rows: Array | None, bias: Array, call: Call, activation: Function | None
) -> Array:
    """clamp(z + ((S m' + B_c + 2^(s-1)) >> s)) with B_c = rint(b_c / s_y * 2^s): the bias joins before the rounding."""
    if activation not in (None, Function.RELU):
        raise TypeMismatch(f"{activation} cannot be fused into an integer op; only ReLU is a clamp")
    check_int32(total, "aggregated sum")
    out = qparams_of(call.type)
    m, s = multipliers(ratio)
    added = late_bias_codes(bias, out.scale[0], s)
    scaled = m if rows is None else srdhm(m, rows[:, None])
    rounded = (total * scaled + added + (np.int64(1) << (s - 1))) >> s
    low, high = out.code_range
    low = max(low, out.zero_point) if activation is Function.RELU else low
    return store(np.clip(rounded + out.zero_point, low, high), call.type)


def extreme(values: Array, segments: Array, count: int, reduce: Reduce) -> Array:
    """Largest or smallest row of each segment, [count, C] int64; an empty segment gives 0."""
    fill = -(2**40) if reduce is Reduce.MAX else 2**40
    out = np.full((count, values.shape[1]), fill, np.int64)
    (np.maximum if reduce is Reduce.MAX else np.minimum).at(out, segments, values)
    return np.where(out == fill, 0, out)


def pool(op: ops.Pool, call: Call) -> Array:
    """Sum, mean (a Q31 reciprocal on the multiplier), max or min of each graph's nodes."""
    inputs = call.prepared.inputs
    x = centred(call.arrays[0], call.types[0])
    ratio = np.array([np.float64(qparams_of(call.types[0]).scale[0]) / np.float64(qparams_of(call.type).scale[0])])
    if op.reduce in (Reduce.MAX, Reduce.MIN):
        return finish(extreme(x, inputs.graph_index, inputs.num_graphs, op.reduce), ratio, None, call, None)
    total = np.zeros((inputs.num_graphs, x.shape[1]), np.int64)
    np.add.at(total, inputs.graph_index, x)
    rows = recip_q31(inputs.nodes_per_graph) if op.reduce is Reduce.MEAN else None
    return finish(total, ratio, rows, call, None)


def binary(op: ops.Op, call: Call) -> Array:
    """Add and Sub on a common scale at 2^k (k = 20 for int8, 14 for int16); Maximum after requantizing both sides.

    Mul: acc = (a - z_a) (b - z_b), ratio s_a s_b / s_y. Codes have 16 bits at most, so no product leaves int32. A side with
    one channel serves all channels of the other; a side may be a stored constant.
    """
    a_type, b_type = call.types
    if not (a_type.dtype.is_integer and b_type.dtype.is_integer):
        raise TypeMismatch(f"{type(op).__name__}: one operand is integer and one float; quantize both or neither")
    a, b = centred(call.arrays[0], a_type), centred(call.arrays[1], b_type)
    scale_a, scale_b = np.float64(qparams_of(a_type).scale[0]), np.float64(qparams_of(b_type).scale[0])
    scale_y = np.float64(qparams_of(call.type).scale[0])
    if isinstance(op, ops.Maximum):
        left = finish(a, np.array([scale_a / scale_y]), None, call, None)
        right = finish(b, np.array([scale_b / scale_y]), None, call, None)
        return np.maximum(left, right)
    if isinstance(op, ops.Mul):
        return finish(a * b, np.array([scale_a * scale_b / scale_y]), None, call, None)
    if not isinstance(op, ops.Add | ops.Sub):
        raise TypeMismatch(f"{type(op).__name__} has no integer form; keep it in float")
    k = 14 if DType.I16 in (a_type.dtype, b_type.dtype) else 20
    top = max(scale_a, scale_b)
    factor_a, factor_b = (int(np.rint(2**k * s / top)) for s in (scale_a, scale_b))
    total = factor_a * a + (factor_b if isinstance(op, ops.Add) else -factor_b) * b
    return finish(
        total, np.array([top / 2**k / scale_y]), None, call, op.activation if isinstance(op, ops.Add) else None
    )


def activation(op: ops.Activation, call: Call) -> Array:
    """ReLU is a requantization with a clamp; any other function of int8 codes is a table of 256 codes.

    LeakyReLU to or from int16 needs no table: codes from the zero point up are requantized with s_x / s_y, those below with
    alpha s_x / s_y (alpha >= 0).
    """
    x_type, out = call.types[0], qparams_of(call.type)
    if op.function is Function.RELU:
        ratio = np.array([np.float64(qparams_of(x_type).scale[0]) / np.float64(out.scale[0])])
        return finish(centred(call.arrays[0], x_type), ratio, None, call, Function.RELU)
    is_wide = DType.I16 in (x_type.dtype, call.type.dtype)
    if op.function is Function.LEAKY_RELU and is_wide and op.alpha >= 0:
        x, slope = centred(call.arrays[0], x_type), np.float64(qparams_of(x_type).scale[0]) / np.float64(out.scale[0])
        above, below = (finish(x, np.array([s]), None, call, None) for s in (slope, np.float64(op.alpha) * slope))
        return np.where(x >= 0, above, below)
    if x_type.dtype is not DType.I8 or call.type.dtype is not DType.I8:
        raise TypeMismatch(f"{op.function.value} of {x_type}: only int8 codes have an activation table")
    table = activation_table(op, qparams_of(x_type), out)
    return table[call.arrays[0].astype(np.int64) + 128]


def activation_table(op: ops.Activation, x: QParams, out: QParams) -> Array:
    """[256] int8: the output code of every input code, from the float function in float64."""
    real = (np.arange(-128, 128) - x.zero_point) * np.float64(x.scale[0])
    low, high = out.code_range
    codes = np.rint(ACTIVATIONS[op.function](real, op.alpha) / np.float64(out.scale[0])) + out.zero_point
    return np.clip(codes, low, high).astype(np.int8)


def concat(op: ops.Concat, call: Call) -> Array:
    """Each operand requantized to the common type; equal parameters are copied."""
    out = qparams_of(call.type)
    parts = []
    for array, type in zip(call.arrays, call.types, strict=True):
        if (type.dtype, type.qparams) == (call.type.dtype, out):
            parts.append(array)
        else:
            ratio = np.array([np.float64(qparams_of(type).scale[0]) / np.float64(out.scale[0])])
            parts.append(finish(centred(array, type), ratio, None, call, None))
    return np.concatenate(parts, axis=1)


def quantize(op: ops.Quantize, call: Call) -> Array:
    """Float to codes, or codes to other codes, with an optional row factor."""
    if not call.is_integer:
        if op.row_factor is not None:
            raise TypeMismatch("a row factor needs integer codes; quantize first")
        return store(quantize_input(call.arrays[0], qparams_of(call.type)), call.type)
    ratio = np.array([np.float64(qparams_of(call.types[0]).scale[0]) / np.float64(op.qparams.scale[0])])
    rows = None if op.row_factor is None else row_factor_q31(op.row_factor, call)
    return finish(centred(call.arrays[0], call.types[0]), ratio, rows, call, None)
