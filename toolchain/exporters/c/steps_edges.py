"""Calls of the integer kernels of attention and edges: the ops of `toolchain.ir.reference_integer_edges`, LeakyReLU and Mul."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from toolchain.errors import ExportError
from toolchain.exporters.c.late_bias import late_bias_fields
from toolchain.exporters.c.layers import INT32, is_integer, largest, requant_fields, scale_of, zero_of
from toolchain.exporters.c.program import TYPE_NAMES, Program
from toolchain.exporters.c.steps_integer import largest_sum_degree
from toolchain.ir import DType, Graph, Value, ops
from toolchain.ir.integer_softmax import MOST_EDGES, ONE, exponent
from toolchain.ir.ops import Const, Function, Reduce

_SUFFIX = {DType.I8: "s8", DType.I16: "s16"}
_REDUCE = {Reduce.SUM: "GNN_SUM", Reduce.MEAN: "GNN_MEAN", Reduce.MAX: "GNN_MAX", Reduce.MIN: "GNN_MIN"}


def takes(graph: Graph, value: Value) -> bool:
    """Whether the calls of an integer op are written here."""
    op = value.op
    if isinstance(op, ops.Activation):
        is_wide = DType.I16 in (value.type.dtype, graph.values[value.inputs[0]].type.dtype)
        return op.function is Function.LEAKY_RELU and is_wide
    if isinstance(op, ops.Propagate):
        return "weight" in op.operands
    return isinstance(op, ops.HeadDot | ops.HeadMean | ops.EdgeSoftmax | ops.Aggregate | ops.Mul)


def largest_degree(graph: Graph, value: Value) -> int | None:
    """In-edges beyond which the integers of a value have no definition or no room; None where there is no such bound."""
    op = value.op
    if not value.inputs or not is_integer(graph.values[value.inputs[0]].type):
        return None
    if isinstance(op, ops.EdgeSoftmax):
        return MOST_EDGES
    if isinstance(op, ops.Aggregate) and op.reduce in (Reduce.SUM, Reduce.MEAN):
        return INT32 // largest(graph.values[value.inputs[0]].type)
    if isinstance(op, ops.Propagate) and "weight" not in op.operands:
        return largest_sum_degree(graph, value)
    return None


@singledispatch
def compute(op: ops.Op, program: Program, value: Value) -> None:
    """Append the calls for the current block of rows of a value for which `takes` holds."""
    raise ExportError(f"{value.scope}: {type(op).__name__} has no integer kernel along edges.")


def _ratio(value: Value, *scales: float | np.float64) -> np.ndarray:
    """The product of scales over the result's, in float64 and in this order."""
    product = np.float64(scales[0])
    for scale in scales[1:]:
        product = product * np.float64(scale)
    return np.atleast_1d(product / np.float64(scale_of(value.type)))


@compute.register
def _(op: ops.HeadDot, program: Program, value: Value) -> None:
    x, weight = (program.graph.values[i] for i in value.inputs)
    codes = program.graph.constant(weight).astype(np.int64)
    assert x.type.qparams is not None and weight.type.qparams is not None
    heads, width = codes.shape
    bias = -zero_of(x.type) * codes.sum(axis=1)
    bound = int((np.abs(codes).sum(axis=1) * -min(x.type.qparams.code_range) + np.abs(bias)).max(initial=0))
    if bound > INT32:
        raise ExportError(
            f"{value.scope or 'HeadDot'}: a sum over {width} channels can reach {bound}, beyond int32. "
            "Quantize with mode='int8', or with edge_arithmetic='float'."
        )
    scales = np.broadcast_to(np.asarray(weight.type.qparams.scale, np.float64), (heads,))
    ratio = np.float64(scale_of(x.type)) * scales / np.float64(scale_of(value.type))
    place, y = program.place(x), program.place(value, writes=True)
    fields = [
        f".weight = {program.constant(f'weight_{value.id}', codes.astype(np.int8))}",
        f".bias = {program.constant(f'bias_{value.id}', bias.astype(np.int32))}",
        f".heads = {heads}, .width = {width}, .y_type = {TYPE_NAMES[y.dtype]}",
        f".requant = {requant_fields(program, str(value.id), ratio, bound, value.type)}",
    ]
    struct = program.struct("gnn_head_dot_op", f"head_dot_{value.id}", fields)
    name = f"gnn_head_dot_{_SUFFIX[place.dtype]}"
    program.call(name, struct, place.rows, f"{place.stride}u", "rows", y.rows, scope=value.scope)


@compute.register
def _(op: ops.HeadMean, program: Program, value: Value) -> None:
    operand = program.graph.values[value.inputs[0]]
    x, y = program.place(operand), program.place(value, writes=True)
    ratio = np.array([np.float64(scale_of(operand.type)) / op.heads / np.float64(scale_of(value.type))])
    requant = requant_fields(program, str(value.id), ratio, op.heads * largest(operand.type), value.type)
    fields = [
        f".heads = {op.heads}, .width = {value.type.channels}",
        f".x_type = {TYPE_NAMES[x.dtype]}, .y_type = {TYPE_NAMES[y.dtype]}, .zero_point = {zero_of(operand.type)}",
        f".requant = {requant}",
    ]
    struct = program.struct("gnn_head_mean_op", f"head_mean_{value.id}", fields)
    program.call("gnn_head_mean", struct, x.rows, "rows", y.rows, scope=value.scope)


@compute.register
def _(op: ops.Activation, program: Program, value: Value) -> None:
    operand = program.graph.values[value.inputs[0]]
    x, y = program.place(operand), program.place(value, writes=True)
    slope = np.float64(scale_of(operand.type)) / np.float64(scale_of(value.type))
    requants = [
        requant_fields(program, f"{value.id}_{side}", np.array([ratio]), largest(operand.type), value.type)
        for side, ratio in (("above", slope), ("below", np.float64(op.alpha) * slope))
    ]
    fields = [
        f".x_type = {TYPE_NAMES[x.dtype]}, .y_type = {TYPE_NAMES[y.dtype]}, .zero_point = {zero_of(operand.type)}",
        f".above = {requants[0]}",
        f".below = {requants[1]}",
    ]
    struct = program.struct("gnn_leaky_relu_op", f"leaky_relu_{value.id}", fields)
    program.call("gnn_leaky_relu", struct, x.rows, f"(size_t)rows * {value.type.channels}u", y.rows, scope=value.scope)


@compute.register
def _(op: ops.Propagate, program: Program, value: Value) -> None:
    x, weight, bias = (program.graph.operand(value, slot) for slot in ("x", "weight", "bias"))
    assert x is not None and weight is not None
    if not isinstance(weight.op, ops.EdgeSoftmax):
        raise ExportError(f"{value.scope or 'Propagate'}: integer weights per edge come from an EdgeSoftmax only.")
    ratio, bound = _ratio(value, scale_of(x.type), scale_of(weight.type)), ONE * largest(x.type)
    relu = op.activation is Function.RELU
    if bias is None:
        requant, late = requant_fields(program, str(value.id), ratio, bound, value.type, relu=relu), ""
    else:
        requant, late = late_bias_fields(program, value, bias, ratio, bound, relu=relu)
    fields = [
        f".channels = {x.type.channels}, .heads = {weight.type.channels}, .zero_point = {zero_of(x.type)}",
        f".requant = {requant}",
    ]
    if late:
        fields.append(f".bias = {late}")
    struct = program.struct("gnn_propagate_weighted_op", f"propagate_{value.id}", fields)
    place, edges, y = program.place(x), program.place(weight), program.place(value, writes=True)
    program.call(
        f"gnn_propagate_weighted_{_SUFFIX[place.dtype]}", struct, program.topology(op.topology), place.name, edges.name,
        "first", "rows", TYPE_NAMES[y.dtype], y.rows, f"{y.stride}u", scope=value.scope,
    )  # fmt: skip


@compute.register
def _(op: ops.Mul, program: Program, value: Value) -> None:
    arguments, types = [], []
    for side, number in zip("ab", value.inputs, strict=True):
        operand = program.graph.values[number]
        if isinstance(operand.op, Const):
            pointer = program.constant(f"{side}_{value.id}", program.graph.constant(operand).astype(np.int16))
            stride, dtype = 0, DType.I16
        else:
            place = program.place(operand)
            pointer, stride, dtype = place.rows, place.stride, place.dtype
        arguments += [pointer, f"{operand.type.channels}u", f"{stride}u"]
        types.append(TYPE_NAMES[dtype])
    a, b = (program.graph.values[i].type for i in value.inputs)
    y = program.place(value, writes=True)
    ratio, bound = _ratio(value, scale_of(a), scale_of(b)), largest(a) * largest(b)
    fields = [
        f".channels = {value.type.channels}, .a_type = {types[0]}, .b_type = {types[1]}, .y_type = {TYPE_NAMES[y.dtype]}",
        f".a_zero = {zero_of(a)}, .b_zero = {zero_of(b)}",
        f".requant = {requant_fields(program, str(value.id), ratio, bound, value.type)}",
    ]
    struct = program.struct("gnn_mul_op", f"mul_{value.id}", fields)
    program.call("gnn_mul", struct, *arguments, "rows", y.rows, scope=value.scope)


# --- whole rows of edges ----------------------------------------------------------------------------------------------


@compute.register(ops.Aggregate)
@compute.register(ops.EdgeSoftmax)
def _(op: ops.Op, program: Program, value: Value) -> None:
    """Complete before the loop: see `before` and `collect`."""


def before(program: Program, value: Value) -> None:
    """Append what a value needs ahead of the loop of its stage: attention weights are made for all edges at once."""
    if not isinstance(value.op, ops.EdgeSoftmax):
        return
    operand = program.graph.values[value.inputs[0]]
    assert value.type.topology is not None
    program.topology(value.type.topology)
    by = exponent(scale_of(operand.type))
    struct = program.struct(
        "gnn_edge_softmax_op", f"edge_softmax_{value.id}",
        [f".multiplier = {by.multiplier}u, .reach = {by.reach}, .shift = {by.shift}, .heads = {value.type.channels}"],
    )  # fmt: skip
    x, y = program.place(operand), program.place(value, writes=True)
    pointer = f"topology_{value.type.topology}.row_pointer"
    program.call("gnn_edge_softmax_s16", struct, pointer, "num_nodes", x.name, y.name, scope=value.scope, before=True)


def collect(program: Program, value: Value) -> None:
    """Start an Aggregate before the loop of its operand, and take every block of edges in it."""
    op, operand = value.op, program.graph.values[value.inputs[0]]
    assert isinstance(op, ops.Aggregate) and operand.type.topology is not None
    if op.end is not ops.End.TARGET:
        raise ExportError(f"{value.scope or 'Aggregate'}: integers aggregate at the target of an edge only.")
    degree = program.max_degree if op.reduce in (Reduce.SUM, Reduce.MEAN) else 1
    ratio, bound = _ratio(value, scale_of(operand.type)), degree * largest(operand.type)
    x, y = program.place(operand), program.place(value, writes=True)
    struct = program.struct(
        "gnn_aggregate_op", f"aggregate_{value.id}",
        [
            f".channels = {value.type.channels}, .x_type = {TYPE_NAMES[x.dtype]}, .y_type = {TYPE_NAMES[y.dtype]}",
            f".reduce = {_REDUCE[op.reduce]}, .zero_point = {zero_of(operand.type)}",
            f".requant = {requant_fields(program, str(value.id), ratio, bound, value.type)}",
        ],
    )  # fmt: skip
    program.call("gnn_aggregate_start", struct, "num_nodes", y.name, scope=value.scope, before=True)
    sums = program.buffer(f"sums_{value.id}", "int32_t", 4 * value.type.channels, is_block=False, writes=True)
    x, y = program.place(operand), program.place(value, writes=True)
    program.topology(operand.type.topology)
    program.stages[-1].reads_targets = True
    pointer = f"topology_{operand.type.topology}.row_pointer"
    program.call("gnn_aggregate", struct, pointer, "target", x.rows, "first", "rows", sums, y.name, scope=value.scope)
