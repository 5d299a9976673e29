"""The call of the integer Linear on sparse binary features, its requantization worked out channel by channel."""

from __future__ import annotations

import numpy as np

from toolchain.exporters.c.layers import (
    HIGH_WORD_SHIFT,
    linear_constants,
    linear_ratio,
    requant_fields,
    requant_parameters,
    zero_of,
)
from toolchain.exporters.c.program import TYPE_NAMES, Program
from toolchain.ir import Domain, DType, TensorType, Value, ops

LARGEST_ROUNDING = 2**30


def reads_sparse(program: Program, value: Value) -> bool:
    """Whether a Linear reads the model's input as positions of ones."""
    operand = program.graph.values[value.inputs[0]]
    if isinstance(operand.op, ops.Quantize):
        operand = program.graph.values[operand.inputs[0]]
    return program.sparse and isinstance(operand.op, ops.Input) and operand.type.domain is Domain.NODE


def sparse_linear(program: Program, value: Value, row_factor: str, *, relu: bool) -> None:
    """Append the call; `row_factor` is the pointer to the factors of the current rows, or NULL."""
    number, constants = value.id, linear_constants(program.graph, value)
    out, width = constants.codes.shape
    weight = np.ascontiguousarray(constants.codes.T.astype(np.int8))
    fields = [
        f".weight = {program.constant(f'weight_{number}', weight)}",
        f".bias = {program.constant(f'bias_{number}', constants.bias)}",
        f".in = {width}, .out = {out}",
    ]
    if value.type.dtype is not DType.I32:
        ratio = linear_ratio(program.graph, value)
        requant = requant_fields(program, str(number), ratio, constants.bound, value.type, relu=relu)
        fields.append(f".requant = {requant}")
        ready = ready_channels(ratio, constants.bias, constants.bound, value.type)
        if ready is not None:
            rows = ",\n    ".join(f"{{{', '.join(map(str, row))}}}" for row in ready.tolist())
            program.constants.append(f"static const gnn_ready_channel ready_{number}[] = {{\n    {rows},\n}};")
            program.constant_bytes += 16 * out
            fields.append(f".ready = ready_{number}")
    layer = program.struct("gnn_linear_sparse_layer", f"linear_{number}", fields)
    y = program.place(value, writes=True)
    scratch = program.scratch("sums", value, "int32_t", 4 * out)
    program.call(
        "gnn_linear_sparse", layer, "features->x_pointer", "features->x_index", "first", "rows", row_factor,
        TYPE_NAMES[y.dtype], y.rows, scratch, scope=value.scope,
    )  # fmt: skip


def ready_channels(ratio: np.ndarray, bias: np.ndarray, bound: int, out: TensorType) -> np.ndarray | None:
    """Rows (bias, multiplier, rounding, shift) of gnn_ready_channel; None where a channel needs more than the high word."""
    parameters = requant_parameters(ratio, bound)
    shift = np.broadcast_to(parameters.shift.astype(np.int64), bias.shape)
    zero = zero_of(out)
    rounding = [(1 << int(s) - HIGH_WORD_SHIFT) + (zero << int(s) - 32) for s in shift if s >= HIGH_WORD_SHIFT]
    if len(rounding) < len(bias) or max(map(abs, rounding)) >= LARGEST_ROUNDING:
        return None
    columns = (bias.astype(np.int64) << parameters.left_shift, parameters.multiplier, rounding, shift - 32)
    return np.stack([np.broadcast_to(np.array(c, np.int64), bias.shape) for c in columns], axis=1)
