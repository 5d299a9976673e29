"""Integer Linears whose requantization is worked out channel by channel: on sparse binary features, and on few inputs."""

from __future__ import annotations

import numpy as np

from toolchain.exporters.c.layers import (
    HIGH_WORD_SHIFT,
    feeds_linears_only,
    is_integer,
    linear_constants,
    linear_ratio,
    lowest,
    padded,
    requant_fields,
    requant_parameters,
    zero_of,
)
from toolchain.exporters.c.program import TYPE_NAMES, Program
from toolchain.exporters.sparse_input import reads_features
from toolchain.ir import DType, Graph, TensorType, Value
from toolchain.ir.ops import Function

LARGEST_ROUNDING = 2**30
NARROW = 16  # GNN_NARROW
STRUCT_BYTES = {"gnn_ready_channel": 16, "gnn_narrow_channel": 48}


def reads_sparse(program: Program, value: Value) -> bool:
    """Whether a Linear reads the model's input as positions of ones."""
    return program.sparse and reads_features(program.graph, value)


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
            rows = [", ".join(map(str, row)) for row in ready.tolist()]
            fields.append(f".ready = {ready_table(program, 'gnn_ready_channel', f'ready_{number}', rows)}")
    layer = program.struct("gnn_linear_sparse_layer", f"linear_{number}", fields)
    y = program.place(value, writes=True)
    scratch = program.scratch("sums", value, "int32_t", 4 * out)
    program.call(
        "gnn_linear_sparse", layer, "features->x_pointer", "features->x_index", "first", "rows", row_factor,
        TYPE_NAMES[y.dtype], y.rows, scratch, scope=value.scope,
    )  # fmt: skip


def ready_table(program: Program, kind: str, name: str, rows: list[str]) -> str:
    """A stored array of structs; returns its C name."""
    body = "\n".join(f"    {{{row}}}," for row in rows)
    program.constants.append(f"static const {kind} {name}[] = {{\n{body}\n}};")
    program.constant_bytes += STRUCT_BYTES[kind] * len(rows)
    return name


def narrow_channels(graph: Graph, value: Value) -> list[str] | None:
    """Initializers of gnn_narrow_channel; None where a Linear has other than 13 to 16 inputs or does not fit.

    A result that only Linears read is stored as int16 (`Program.place`), which this kernel does not write, and one of fewer
    than 8 bits ends before int8 does, where this kernel cuts.
    """
    x, weight = graph.values[value.inputs[0]], graph.operand(value, "weight")
    out = value.type.qparams
    if not is_integer(x.type) or value.type.dtype is not DType.I8 or padded(x.type.channels) != NARROW:
        return None
    if feeds_linears_only(graph, value, graph.users()):
        return None
    assert weight is not None and weight.type.qparams is not None and out is not None
    constants, ratio = linear_constants(graph, value), linear_ratio(graph, value)
    is_relu = getattr(value.op, "activation", None) is Function.RELU
    is_cut = (lowest(value.type, relu=is_relu), out.code_range[1]) != (-128, 127)
    if constants.bits != 8 or is_cut or requant_parameters(ratio, constants.bound).left_shift:
        return None
    ready = ready_channels(ratio, constants.bias, constants.bound, value.type)
    if ready is None:
        return None
    weights = np.zeros((len(ready), NARROW), np.int64)
    weights[:, : x.type.channels] = constants.codes
    rows = []
    for codes, (bias, *rest) in zip(weights.tolist(), ready.tolist(), strict=True):
        first, second = (", ".join(map(str, half)) for half in (codes[: NARROW // 2], codes[NARROW // 2 :]))
        rows.append(f"{{{first}}}, {bias}, {{{second}}}, {', '.join(map(str, rest))}")
    return rows


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
