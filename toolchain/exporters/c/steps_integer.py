"""Calls of the integer kernels: the ops of `toolchain.ir.reference_integer`, with its constants worked out."""

from __future__ import annotations

import math
from functools import singledispatch

import numpy as np

from toolchain.errors import ExportError
from toolchain.exporters.c import literals, uses
from toolchain.exporters.c.late_bias import late_bias_fields
from toolchain.exporters.c.layers import (
    INT32,
    is_integer,
    largest,
    linear_constants,
    lowest,
    padded,
    requant_fields,
    requant_parameters,
    scale_of,
    zero_of,
)
from toolchain.exporters.c.linear_layer import linear_layer
from toolchain.exporters.c.packed_linear import packed_form, packed_linear
from toolchain.exporters.c.program import TYPE_NAMES, Place, Program
from toolchain.exporters.c.ready_linear import narrow_channels, reads_sparse, ready_table, sparse_linear
from toolchain.ir import Domain, DType, Graph, Value, ops
from toolchain.ir.ops import Function, Reduce
from toolchain.ir.reference_integer import activation_table
from toolchain.topology import Normalization

_SUFFIX = {DType.I8: "s8", DType.I16: "s16", DType.I32: "s32"}
_REDUCE = {Reduce.SUM: "GNN_SUM", Reduce.MEAN: "GNN_MEAN", Reduce.MAX: "GNN_MAX", Reduce.MIN: "GNN_MIN"}


@singledispatch
def compute(op: ops.Op, program: Program, value: Value) -> None:
    """Append the calls for a value whose first operand carries codes."""
    raise ExportError(
        f"{value.scope}: {type(op).__name__} on {program.graph.values[value.inputs[0]].type} has no integer kernel."
    )


def _relu(op: ops.Op) -> bool:
    return getattr(op, "activation", None) is Function.RELU


def row_factor(program: Program, factor: ops.RowFactor | None) -> str:
    """Pointer to the Q31 factors of the current rows; a topology without normalization has none."""
    if factor is None or program.graph.topologies[factor.topology].normalization is Normalization.NONE:
        return "NULL"
    program.topology(factor.topology, "row_factor")
    return f"topology_{factor.topology}.row_factor + first"


# --- Linear -----------------------------------------------------------------------------------------------------------


@compute.register
def _(op: ops.Linear, program: Program, value: Value) -> None:
    graph, number = program.graph, value.id
    if reads_sparse(program, value):
        sparse_linear(program, value, row_factor(program, op.row_factor), relu=_relu(op))
        return
    x = graph.values[value.inputs[0]]
    if (channels := narrow_channels(graph, value)) is not None:
        rows, y = _linear_input(program, value, x), program.place(value, writes=True)
        table = ready_table(program, "gnn_narrow_channel", f"narrow_{number}", channels)
        fields = [f".channel = {table}, .out = {value.type.channels}"]
        layer = program.struct("gnn_linear_narrow_layer", f"linear_{number}", fields)
        factor = row_factor(program, op.row_factor)
        program.call("gnn_linear_narrow_s8", layer, rows, "rows", factor, y.rows, scope=value.scope)
        return
    if (packed := packed_form(program, value)) is not None:
        rows, y = _linear_input(program, value, x), program.place(value, writes=True)
        factor = row_factor(program, op.row_factor)
        packed_linear(program, value, packed, rows, factor, y, relu=_relu(op))
        return
    weight = graph.operand(value, "weight")
    assert weight is not None and weight.type.qparams is not None
    layer = linear_layer(program, value)
    factor = row_factor(program, op.row_factor)
    if factor != "NULL":
        program.uses.add("ROW_FACTOR")
    rows = _linear_input(program, value, x)
    y = program.place(value, writes=True)
    scratch = "NULL"
    if weight.type.qparams.bits < 8:
        scratch = program.scratch("row", value, "int8_t", padded(x.type.channels))
    if value.type.dtype is DType.I32:
        program.call("gnn_linear_s32", layer, rows, "rows", y.rows, scratch, scope=value.scope)
    elif y.dtype is DType.I8:
        program.call("gnn_linear_s8", layer, rows, "rows", factor, y.rows, scratch, scope=value.scope)
    else:
        stride = f"{y.stride}u"
        program.call("gnn_linear_s16", layer, rows, "rows", factor, y.rows, stride, scratch, scope=value.scope)


def _linear_input(program: Program, value: Value, x: Value) -> str:
    """int16 rows with a stride of padded(in), GNN_ROWS of them readable; widened or copied where they are not that already."""
    place = program.place(x)
    if place.dtype is DType.I16 and place.stride == padded(x.type.channels):
        return place.rows
    suffix = _SUFFIX[place.dtype]
    rows = program.scratch("wide", value, "int16_t", 2 * program.block_rows * padded(x.type.channels))
    program.place(x)
    program.call(f"gnn_widen_{suffix}", place.rows, f"{x.type.channels}u", "rows", rows, scope=value.scope)
    return program.scratch("wide", value, "int16_t", 2 * program.block_rows * padded(x.type.channels))


# --- sums of neighbours -----------------------------------------------------------------------------------------------


def largest_sum_degree(graph: Graph, value: Value) -> int | None:
    """In-edges beyond which the sum of an integer Propagate could leave int32; None for a maximum."""
    op = value.op
    assert isinstance(op, ops.Propagate)
    x = graph.values[value.inputs[0]]
    if not is_integer(x.type) or op.reduce in (Reduce.MAX, Reduce.MIN):
        return None
    shift, scale = _self_term(graph, value)
    return (INT32 - abs(scale) * largest(x.type)) // (largest(x.type) << shift)


def _self_term(graph: Graph, value: Value) -> tuple[int, int]:
    self_scale = graph.operand(value, "self_scale")
    if self_scale is None:
        return 0, 0
    return round(-math.log2(scale_of(self_scale.type))), int(graph.constant(self_scale)[0])


@compute.register
def _(op: ops.Propagate, program: Program, value: Value) -> None:
    graph, number = program.graph, value.id
    x = graph.values[value.inputs[0]]
    shift, self_scale = _self_term(graph, value)
    normalized = graph.topologies[op.topology].normalization is Normalization.SYMMETRIC
    factor = "NORMALIZATION" if normalized else "MEAN" if op.reduce is Reduce.MEAN else "NONE"
    extreme = op.reduce in (Reduce.MAX, Reduce.MIN)
    unit = 2.0**-shift
    ratio = np.array([np.float64(scale_of(x.type)) * unit / np.float64(scale_of(value.type))])
    degree = 1 if extreme else program.max_degree
    bound = (degree * largest(x.type) << shift) + abs(self_scale) * largest(x.type)
    bias = graph.operand(value, "bias")
    program.uses |= uses.of_propagate(
        is_extreme=extreme, is_mean=factor == "MEAN", has_self=shift > 0 or self_scale != 0
    )  # fmt: skip
    if bias is None:
        requant, late = requant_fields(program, str(number), ratio, bound, value.type, relu=_relu(op)), ""
        program.uses |= uses.of_plain_propagate(
            x.type, requant_parameters(ratio, bound), value.type, lowest(value.type, relu=_relu(op)), is_extreme=extreme,
            self_shift=shift, degree=program.max_degree,
        )  # fmt: skip
    else:
        requant, late = late_bias_fields(program, value, bias, ratio, bound, relu=_relu(op))
    fields = [
        f".channels = {x.type.channels}, .zero_point = {zero_of(x.type)}",
        f".reduce = {_REDUCE[op.reduce] if extreme else 'GNN_SUM'}, .factor = GNN_FACTOR_{factor}",
        f".self_shift = {shift}, .self_scale = {self_scale}",
        f".requant = {requant}",
    ]
    if late:
        fields.append(f".bias = {late}")
    struct = program.struct("gnn_propagate_op", f"propagate_{number}", fields)
    place, y = program.place(x), program.place(value, writes=True)
    topology = program.topology(op.topology, *(["row_factor"] if normalized else []))
    scratch = program.scratch("sums", value, "int32_t", 4 * x.type.channels)
    name = f"gnn_propagate_{'biased_' if late else ''}{_SUFFIX[place.dtype]}_{_SUFFIX[y.dtype]}"
    program.call(
        name, struct, topology, place.name, "first", "rows", y.rows, f"{y.stride}u", scratch, scope=value.scope
    )


# --- pools ------------------------------------------------------------------------------------------------------------


def _pool_struct(program: Program, value: Value) -> str:
    return f"&pool_{value.id}"


def collect(program: Program, value: Value) -> None:
    """Start an integer Pool before the loop of its operand, and add every block in it."""
    op, x = value.op, program.graph.values[value.inputs[0]]
    if not isinstance(op, ops.Pool):
        raise ExportError(f"{value.scope}: {type(op).__name__} on {x.type} has no integer kernel.")
    ratio = np.array([np.float64(scale_of(x.type)) / np.float64(scale_of(value.type))])
    assert program.bounds.nodes is not None
    if op.reduce in (Reduce.MAX, Reduce.MIN):
        program.uses.add("EXTREMES")
    bound = largest(x.type) * (1 if op.reduce in (Reduce.MAX, Reduce.MIN) else program.bounds.nodes)
    if bound > INT32:
        raise ExportError(
            f"{value.scope or 'Pool'}: the sum over {program.bounds.nodes} nodes can reach {bound}, beyond int32. "
            f"Export with max_nodes={INT32 // largest(x.type)} or less."
        )
    program.struct(
        "gnn_pool_op", f"pool_{value.id}",
        [
            f".channels = {x.type.channels}, .zero_point = {zero_of(x.type)}, .reduce = {_REDUCE[op.reduce]}",
            f".requant = {requant_fields(program, str(value.id), ratio, bound, value.type)}",
        ],
    )  # fmt: skip
    struct = _pool_struct(program, value)
    accumulator = _accumulator(program, value)
    program.call("gnn_pool_start", struct, "num_graphs", accumulator, scope=value.scope, before=True)
    place = program.place(x)
    program.call(
        f"gnn_pool_{_SUFFIX[place.dtype]}", struct, place.rows, f"{place.stride}u", "graph_pointer", "num_graphs", "first",
        "rows", accumulator, scope=value.scope,
    )  # fmt: skip


def _accumulator(program: Program, value: Value) -> str:
    graphs = program.rows_of(Domain.GRAPH)
    return program.buffer(
        f"pool_sums_{value.id}", "int32_t", 4 * graphs * value.type.channels, is_block=False, writes=True
    )


@compute.register
def _(op: ops.Pool, program: Program, value: Value) -> None:
    accumulator, y = _accumulator(program, value), program.place(value, writes=True)
    program.call(
        "gnn_pool_finish", _pool_struct(program, value), accumulator, "graph_pointer", "first", "rows", TYPE_NAMES[y.dtype],
        y.rows, f"{y.stride}u", scope=value.scope,
    )  # fmt: skip


# --- elementwise ------------------------------------------------------------------------------------------------------


def requantize(
    program: Program,
    value: Value,
    operand: Value,
    target: str,
    y: Place,
    name: str,
    *,
    factor: str = "NULL",
    relu: bool = False,
) -> None:
    """Codes of an operand as codes of a value's type, written to `target` with the stride of `y`."""
    ratio = np.array([np.float64(scale_of(operand.type)) / np.float64(scale_of(value.type))])
    x = program.place(operand)
    fields = [
        f".channels = {operand.type.channels}, .zero_point = {zero_of(operand.type)}",
        f".x_type = {TYPE_NAMES[x.dtype]}, .y_type = {TYPE_NAMES[y.dtype]}",
        f".requant = {requant_fields(program, name, ratio, largest(operand.type), value.type, relu=relu)}",
    ]
    struct = program.struct("gnn_requantize_op", f"requantize_{name}", fields)
    program.call(
        "gnn_requantize", struct, x.rows, f"{x.stride}u", "rows", factor, target, f"{y.stride}u", scope=value.scope
    )


@compute.register
def _(op: ops.Quantize, program: Program, value: Value) -> None:
    y = program.place(value, writes=True)
    factor = row_factor(program, op.row_factor)
    requantize(program, value, program.graph.values[value.inputs[0]], y.rows, y, str(value.id), factor=factor)


@compute.register
def _(op: ops.Activation, program: Program, value: Value) -> None:
    operand = program.graph.values[value.inputs[0]]
    if op.function is Function.RELU:
        y = program.place(value, writes=True)
        requantize(program, value, operand, y.rows, y, str(value.id), relu=True)
        return
    assert operand.type.qparams is not None and value.type.qparams is not None
    table = program.constant(f"table_{value.id}", activation_table(op, operand.type.qparams, value.type.qparams))
    x, y = program.place(operand), program.place(value, writes=True)
    count = f"(size_t)rows * {value.type.channels}u"
    program.call("gnn_table_s8", table, x.rows, count, y.rows, scope=value.scope)


@compute.register(ops.Add)
@compute.register(ops.Sub)
def _(op: ops.Add | ops.Sub, program: Program, value: Value) -> None:
    a, b = (program.graph.values[i] for i in value.inputs)
    k = 14 if DType.I16 in (a.type.dtype, b.type.dtype) else 20
    scales = np.float64(scale_of(a.type)), np.float64(scale_of(b.type))
    top = max(scales)
    factor_a, factor_b = (int(np.rint(2**k * s / top)) for s in scales)
    bound = factor_a * largest(a.type) + factor_b * largest(b.type)
    ratio = np.array([top / 2**k / np.float64(scale_of(value.type))])
    x, w, y = program.place(a), program.place(b), program.place(value, writes=True)
    fields = [
        f".a_type = {TYPE_NAMES[x.dtype]}, .b_type = {TYPE_NAMES[w.dtype]}, .y_type = {TYPE_NAMES[y.dtype]}",
        f".a_zero = {zero_of(a.type)}, .b_zero = {zero_of(b.type)}",
        f".a_scale = {factor_a}, .b_scale = {factor_b if isinstance(op, ops.Add) else -factor_b}",
        f".requant = {requant_fields(program, str(value.id), ratio, bound, value.type, relu=_relu(op))}",
    ]
    struct = program.struct("gnn_add_op", f"add_{value.id}", fields)
    count = f"(size_t)rows * {value.type.channels}u"
    program.call("gnn_add", struct, x.rows, w.rows, count, y.rows, scope=value.scope)


@compute.register
def _(op: ops.Maximum, program: Program, value: Value) -> None:
    a, b = (program.graph.values[i] for i in value.inputs)
    x, w, y = program.place(a), program.place(b), program.place(value, writes=True)
    requants = [
        requant_fields(
            program, f"{value.id}_{side}", np.array([np.float64(scale_of(v.type)) / np.float64(scale_of(value.type))]),
            largest(v.type), value.type,
        )
        for side, v in (("a", a), ("b", b))
    ]  # fmt: skip
    fields = [
        f".a_type = {TYPE_NAMES[x.dtype]}, .b_type = {TYPE_NAMES[w.dtype]}, .y_type = {TYPE_NAMES[y.dtype]}",
        f".a_zero = {zero_of(a.type)}, .b_zero = {zero_of(b.type)}",
        f".a_requant = {requants[0]}",
        f".b_requant = {requants[1]}",
    ]
    struct = program.struct("gnn_maximum_op", f"maximum_{value.id}", fields)
    count = f"(size_t)rows * {value.type.channels}u"
    program.call("gnn_maximum", struct, x.rows, w.rows, count, y.rows, scope=value.scope)


@compute.register
def _(op: ops.Dequantize, program: Program, value: Value) -> None:
    operand = program.graph.values[value.inputs[0]]
    q = operand.type.qparams
    assert q is not None
    x, y = program.place(operand), program.place(value, writes=True)
    if x.dtype is DType.I16 and x.stride == value.type.channels and q.zero_point == 0 and len(q.scale) == 1:
        count, scale = f"(size_t)rows * {value.type.channels}u", literals.number(np.float32(q.scale[0]))
        program.call("gnn_dequantize_s16", x.rows, count, scale, y.rows, scope=value.scope)
        return
    scale = program.constant(f"scale_{value.id}", np.array(q.scale, np.float32))
    is_sum = operand.type.dtype is DType.I32 and isinstance(operand.op, ops.Linear)
    bound = linear_constants(program.graph, operand).bound if is_sum else largest(operand.type)
    program.uses |= uses.of_dequantize(bound)
    program.call(
        "gnn_dequantize", TYPE_NAMES[x.dtype], x.rows, f"{x.stride}u", scale, int(len(q.scale) > 1), q.zero_point, "rows",
        f"{value.type.channels}u", y.rows, scope=value.scope,
    )  # fmt: skip
