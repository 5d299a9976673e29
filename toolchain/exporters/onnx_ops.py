"""What each float op becomes in ONNX. One function an op; `emit` is the entry."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from onnx import TensorProto

from toolchain.errors import ExportError
from toolchain.exporters.constants import head_blocks, real_constant
from toolchain.exporters.lowerings import Lowering, is_sparse_product
from toolchain.exporters.onnx_segments import segment_reduce
from toolchain.exporters.onnx_values import Values
from toolchain.exporters.onnx_writer import OnnxWriter
from toolchain.exporters.value_site import ValueSite
from toolchain.ir import ops
from toolchain.ir.ops import End, Extent, Function, Reduce, RowFactor


@dataclass(frozen=True, slots=True)
class Site(ValueSite[str]):
    """One value to emit into an ONNX file.

    Attributes:
        values: what was emitted so far.
    """

    values: Values
    writer: OnnxWriter

    def real(self, id: int) -> str:
        return self.values.real(id)

    def column(self, index: str) -> str:
        """[E] to [E, 1], as ScatterND takes it."""
        return self.writer.once("Unsqueeze", index, self.writer.constant(np.array([1])))

    def filled(self, like: str, channels: int, number: float) -> str:
        """[rows of `like`, channels] of one number."""
        rows = self.writer.op("Shape", like, end=1)
        shape = self.writer.op("Concat", rows, self.writer.constant(np.array([channels])), axis=0)
        return self.writer.op("Expand", self.writer.constant(np.array([[number]], np.float32)), shape)


@singledispatch
def emit(op: ops.Op, site: Site) -> str:
    """Write the nodes of one value from the real values of its operands; returns the name of the float32 result."""
    where = f" ({site.value.scope})" if site.value.scope else ""
    raise ExportError(f"%{site.value.id} {type(op).__name__}{where}: has no ONNX form. Report the model.")


@emit.register
def _(op: ops.Input, site: Site) -> str:
    return site.feeds.graph_array(op)


@emit.register
def _(op: ops.Linear, site: Site) -> str:
    y = activated(site.writer, site.writer.op("Gemm", *site.operands, transB=1), op.activation)
    return row_scaled(site, y, op.row_factor)


def row_scaled(site: Site, x: str, factor: ops.RowFactor | None) -> str:
    """x times a topology's row factor, where there is one."""
    return x if factor is None else site.writer.op("Mul", x, site.feeds.row_factor(factor))


def activated(writer: OnnxWriter, x: str, function: Function | None, alpha: float = 0.01) -> str:
    """An elementwise activation; None is the identity."""
    if function is None:
        return x
    if function is Function.GELU_TANH:
        return writer.op("Gelu", x, approximate="tanh")
    if function is Function.STEP:
        return writer.op("Cast", writer.op("Greater", x, writer.constant(0.0)), to=TensorProto.FLOAT)
    if function in (Function.LEAKY_RELU, Function.ELU):
        return writer.op(_ACTIVATIONS[function], x, alpha=alpha)
    return writer.op(_ACTIVATIONS[function], x)


_ACTIVATIONS = {
    Function.RELU: "Relu", Function.LEAKY_RELU: "LeakyRelu", Function.ELU: "Elu", Function.GELU: "Gelu",
    Function.SIGMOID: "Sigmoid", Function.TANH: "Tanh", Function.EXP: "Exp", Function.LOG: "Log", Function.SQRT: "Sqrt",
    Function.ABS: "Abs",
}  # fmt: skip


# --- along edges ------------------------------------------------------------------------------------------------------


@emit.register
def _(op: ops.Propagate, site: Site) -> str:
    if site.lowering is Lowering.DENSE:
        y = _dense(op, site)
    elif site.lowering is Lowering.SPMM and is_sparse_product(op):
        y = _sparse_product(op, site)
    else:
        y = _scattered(op, site)
    return row_scaled(site, activated(site.writer, y, op.activation), op.row_factor)


def _dense(op: ops.Propagate, site: Site) -> str:
    """A x, with the self term or the bias as the addend of the same Gemm."""
    writer, x, bias = site.writer, site.x, site.operand("bias")
    scales_after = op.source_scaled and site.feeds.is_normalized(op.topology)
    adjacency = site.feeds.adjacency(op.topology, op.reduce, factors=not scales_after)
    if scales_after:
        y = writer.op("MatMul", adjacency, x)
        y = writer.op("Mul", y, site.feeds.row_factor(RowFactor(op.topology, End.TARGET)))
        return _plus(writer, y, _self_term(op, site), bias)
    if "self_scale" in op.operands:
        return _plus(writer, writer.op("Gemm", adjacency, x, x, beta=_self_scale(site)), bias)
    return writer.op("MatMul", adjacency, x) if bias is None else writer.op("Gemm", adjacency, x, bias)


def _sparse_product(op: ops.Propagate, site: Site) -> str:
    """A x by the rows of A, with the operator of runtimes/operators."""
    feeds, scales_after = site.feeds, op.source_scaled and site.feeds.is_normalized(op.topology)
    operands = [site.x, feeds.row_pointer(op.topology), feeds.source(op.topology)]
    coefficient = feeds.coefficient(op.topology, op.reduce, factors=not scales_after)
    y = site.writer.spmm(*operands, *([] if coefficient is None else [coefficient]))
    y = row_scaled(site, y, RowFactor(op.topology, End.TARGET) if scales_after else None)
    return _plus(site.writer, y, _self_term(op, site), site.operand("bias"))


def _plus(writer: OnnxWriter, y: str, *addends: str | None) -> str:
    for addend in addends:
        y = y if addend is None else writer.op("Add", y, addend)
    return y


def _self_scale(site: Site) -> float:
    value = site.graph.operand(site.value, "self_scale")
    assert value is not None
    return float(real_constant(site.graph, value)[0])


def _self_term(op: ops.Propagate, site: Site) -> str | None:
    """self_scale * x, or None."""
    if "self_scale" not in op.operands:
        return None
    scale = _self_scale(site)
    x = site.x
    return x if scale == 1.0 else site.writer.op("Mul", x, site.writer.constant(scale))


def _scattered(op: ops.Propagate, site: Site) -> str:
    """Rows of the sources, reduced at the targets; the row factors r and l are multiplied per node, not per edge."""
    writer, feeds, x, weight = site.writer, site.feeds, site.x, site.operand("weight")
    is_normalized, has_weights = feeds.is_normalized(op.topology), feeds.has_weights(op.topology)
    # An added self-loop of weight 1 is the row itself: the reduction starts from it, and the edges leave it out.
    starts_from_x = feeds.adds_unit_loops(op.topology) and weight is None
    scaled = x
    if is_normalized and not op.source_scaled:
        scaled = writer.op("Mul", x, feeds.row_factor(RowFactor(op.topology, End.SOURCE)))
    rows = writer.op("Gather", scaled, feeds.source(op.topology, loops=not starts_from_x))  # [E, C]
    if has_weights:
        rows = writer.op("Mul", rows, feeds.edge_weight(op.topology))
    if weight is not None:
        rows = _times_heads(site, rows, weight)
    self_term = _self_term(op, site)
    if starts_from_x:
        start = scaled
    elif self_term is not None and op.reduce is Reduce.SUM and not is_normalized:
        start, self_term = self_term, None
    else:
        start = site.filled(x, site.channels, _EMPTY[op.reduce])
    target = site.column(feeds.target(op.topology, loops=not starts_from_x))
    y = segment_reduce(writer, start, target, rows, site.channels, op.reduce)
    y = y if starts_from_x else finite(writer, y, op.reduce)
    if is_normalized or op.reduce is Reduce.MEAN:
        y = writer.op("Mul", y, feeds.target_scale(op.topology, op.reduce))
    return _plus(writer, y, self_term, site.operand("bias"))


# What a reduction starts from.
_EMPTY = {Reduce.SUM: 0.0, Reduce.MEAN: 0.0, Reduce.MAX: -math.inf, Reduce.MIN: math.inf, Reduce.PRODUCT: 1.0}


def finite(writer: OnnxWriter, y: str, reduce: Reduce) -> str:
    """A maximum or minimum over nothing is 0, not the infinity that it started from."""
    if reduce not in (Reduce.MAX, Reduce.MIN):
        return y
    return writer.op("Where", writer.op("IsInf", y), writer.constant(0.0), y)


def _times_heads(site: Site, rows: str, weight: str) -> str:
    """[E, H*C] times one weight a head, [E, H]."""
    writer, heads = site.writer, site.graph.values[site.value.inputs[1]].type.channels
    if heads in (1, site.channels):
        return writer.op("Mul", rows, weight)
    wide = writer.op("Reshape", rows, writer.constant(np.array([-1, heads, site.channels // heads])))
    product = writer.op("Mul", wide, writer.op("Unsqueeze", weight, writer.constant(np.array([2]))))  # [E, H, C]
    return writer.op("Reshape", product, writer.constant(np.array([-1, site.channels])))


@emit.register
def _(op: ops.Gather, site: Site) -> str:
    feeds = site.feeds
    index = feeds.source(op.topology) if op.end is End.SOURCE else feeds.target(op.topology)
    return site.writer.op("Gather", site.x, index)


@emit.register
def _(op: ops.Aggregate, site: Site) -> str:
    writer, rows = site.writer, site.x
    topology = site.graph.values[site.value.inputs[0]].type.topology
    assert topology is not None
    ends = site.feeds.target(topology) if op.end is End.TARGET else site.feeds.source(topology)
    start = site.filled(site.nodes, site.channels, _EMPTY[op.reduce])
    y = finite(writer, segment_reduce(writer, start, site.column(ends), rows, site.channels, op.reduce), op.reduce)
    if op.reduce is not Reduce.MEAN:
        return y
    ones = site.filled(ends, 1, 1.0)  # [E, 1]
    count = segment_reduce(writer, site.filled(site.nodes, 1, 0.0), site.column(ends), ones, 1, Reduce.SUM)
    return writer.op("Div", y, writer.op("Max", count, writer.constant(1.0)))


@emit.register
def _(op: ops.EdgeSoftmax, site: Site) -> str:
    writer, logits = site.writer, site.x
    assert site.value.type.topology is not None
    target = site.feeds.target(site.value.type.topology)
    column = site.column(target)
    start = site.filled(site.nodes, site.channels, -math.inf)
    peak = segment_reduce(writer, start, column, logits, site.channels, Reduce.MAX)
    weights = writer.op("Exp", writer.op("Sub", logits, writer.op("Gather", peak, target)))  # [E, H]
    total = segment_reduce(
        writer, site.filled(site.nodes, site.channels, 0.0), column, weights, site.channels, Reduce.SUM
    )
    guarded = writer.op("Add", writer.op("Gather", total, target), writer.constant(1e-16))  # the guard of PyG
    return writer.op("Div", weights, guarded)


@emit.register
def _(op: ops.HeadDot, site: Site) -> str:
    weight = site.graph.operand(site.value, "weight")
    assert weight is not None
    return site.writer.op("MatMul", site.x, site.writer.constant(head_blocks(real_constant(site.graph, weight))))


@emit.register
def _(op: ops.HeadMean, site: Site) -> str:
    writer = site.writer
    wide = writer.op("Reshape", site.x, writer.constant(np.array([-1, op.heads, site.channels])))  # [., H, C]
    return writer.op("ReduceMean", wide, writer.constant(np.array([1])), keepdims=0)


# --- between nodes and graphs -----------------------------------------------------------------------------------------


@emit.register
def _(op: ops.Pool, site: Site) -> str:
    return pooled(site, site.x, site.channels, op.reduce)


def pooled(site: Site, x: str, channels: int, reduce: Reduce) -> str:
    """The nodes of each graph, reduced: [N, C] -> [G, C]."""
    writer, feeds = site.writer, site.feeds
    if reduce in (Reduce.SUM, Reduce.MEAN):
        return writer.op("MatMul", feeds.pool_matrix(reduce), x)
    start = site.filled(feeds.inverse_count(), channels, _EMPTY[reduce])  # inverse_count has one row a graph
    return finite(writer, segment_reduce(writer, start, site.column(feeds.graph_index()), x, channels, reduce), reduce)


@emit.register
def _(op: ops.Broadcast, site: Site) -> str:
    return site.writer.op("Gather", site.x, site.feeds.graph_index())


# --- elementwise ------------------------------------------------------------------------------------------------------


@emit.register
def _(op: ops.Add, site: Site) -> str:
    return activated(site.writer, site.writer.op("Add", *site.operands), op.activation)


@emit.register(ops.Sub)
@emit.register(ops.Mul)
@emit.register(ops.Div)
def _(op: ops.Op, site: Site) -> str:
    return site.writer.op(type(op).__name__, *site.operands)


@emit.register
def _(op: ops.Maximum, site: Site) -> str:
    return site.writer.op("Max", *site.operands)


@emit.register
def _(op: ops.Activation, site: Site) -> str:
    return activated(site.writer, site.x, op.function, op.alpha)


@emit.register
def _(op: ops.LogSoftmax, site: Site) -> str:
    return site.writer.op("LogSoftmax" if op.log else "Softmax", site.x, axis=1)


@emit.register
def _(op: ops.Concat, site: Site) -> str:
    return site.writer.op("Concat", *site.operands, axis=1)


@emit.register
def _(op: ops.Slice, site: Site) -> str:
    start, stop, axis = (site.writer.constant(np.array([i])) for i in (op.start, op.stop, 1))
    return site.writer.op("Slice", site.x, start, stop, axis)


@emit.register
def _(op: ops.Dropout, site: Site) -> str:
    return site.x


# --- normalization ----------------------------------------------------------------------------------------------------


@emit.register
def _(op: ops.BatchNorm, site: Site) -> str:
    return site.writer.op("BatchNormalization", *site.operands, epsilon=op.eps)


@emit.register
def _(op: ops.LayerNorm, site: Site) -> str:
    writer, (x, weight, bias) = site.writer, site.operands
    if op.extent is Extent.ROW and not op.eps_outside:
        return writer.op("LayerNormalization", x, weight, bias, axis=1, epsilon=op.eps)
    centred = writer.op("Sub", x, _mean(op, site, x))
    variance = _mean(op, site, writer.op("Mul", centred, centred))
    eps = writer.constant(op.eps)
    if op.eps_outside:
        spread = writer.op("Add", writer.op("Sqrt", variance), eps)
    else:
        spread = writer.op("Sqrt", writer.op("Add", variance, eps))
    return writer.op("Add", writer.op("Mul", writer.op("Div", centred, spread), weight), bias)


def _mean(op: ops.LayerNorm, site: Site, x: str) -> str:
    """[N, 1]: the mean over the extent that a row belongs to."""
    rows = site.writer.op("ReduceMean", x, site.writer.constant(np.array([1])))  # [N, 1]
    if op.extent is Extent.ROW:
        return rows
    return site.writer.op("Gather", pooled(site, rows, 1, Reduce.MEAN), site.feeds.graph_index())
