"""What each float op becomes in LiteRT. One function an op; `emit` is the entry."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from toolchain.errors import ExportError
from toolchain.exporters.constants import head_blocks, real_constant
from toolchain.exporters.litert_segments import node_sum, unsorted
from toolchain.exporters.litert_site import NONE, RELU, Site
from toolchain.exporters.lowerings import Lowering
from toolchain.ir import ops
from toolchain.ir.ops import End, Extent, Function, Reduce, RowFactor


@singledispatch
def emit(op: ops.Op, site: Site) -> int:
    """Write the operators of one value from the real values of its operands; returns the tensor of the float32 result."""
    where = f" ({site.value.scope})" if site.value.scope else ""
    raise ExportError(f"%{site.value.id} {type(op).__name__}{where}: has no LiteRT form. Report the model.")


@emit.register
def _(op: ops.Input, site: Site) -> int:
    return site.feeds.graph_array(op)


@emit.register
def _(op: ops.Linear, site: Site) -> int:
    weight, bias = site.operand("weight"), site.operand("bias")
    assert weight is not None
    fused = op.activation is Function.RELU
    y = site.linear(site.x, weight, bias, channels=site.channels, activation=RELU if fused else NONE)
    return site.scaled(y if fused else activated(site, y, op.activation), op.row_factor)


def activated(site: Site, x: int, function: Function | None, alpha: float = 0.01) -> int:
    """An elementwise activation; None is the identity."""
    match function:
        case None:
            return x
        case Function.GELU | Function.GELU_TANH:
            return site.rowwise("GELU", x, Approximate=function is Function.GELU_TANH)
        case Function.LEAKY_RELU:
            return site.rowwise("LEAKY_RELU", x, Alpha=alpha)
        case Function.ELU if alpha != 1.0:  # LiteRT's has no alpha: max(x, 0) + alpha * elu(min(x, 0))
            below = site.rowwise("ELU", site.rowwise("MINIMUM", x, site.writer.constant(0.0)))
            return site.rowwise(
                "ADD", site.rowwise("RELU", x), site.rowwise("MUL", below, site.writer.constant(float(alpha)))
            )
        case Function.STEP:
            zero, one = site.writer.constant(0.0), site.writer.constant(1.0)
            return site.rowwise("SELECT_V2", site.rowwise("LESS", zero, x, dtype="bool"), one, zero)
        case _:
            return site.rowwise(_ACTIVATIONS[function], x)


_ACTIVATIONS = {
    Function.RELU: "RELU", Function.ELU: "ELU", Function.SIGMOID: "LOGISTIC", Function.TANH: "TANH",
    Function.EXP: "EXP", Function.LOG: "LOG", Function.SQRT: "SQRT", Function.ABS: "ABS",
}  # fmt: skip


# --- along edges ------------------------------------------------------------------------------------------------------


@emit.register
def _(op: ops.Propagate, site: Site) -> int:
    parts = _dense(op, site) if site.lowering is Lowering.DENSE else _scattered(op, site)
    bias = site.operand("bias")
    return site.scaled(_total(op, site, [*parts, *([] if bias is None else [bias])]), op.row_factor)


def _total(op: ops.Propagate, site: Site, parts: list[int]) -> int:
    """f(sum of the parts), with a ReLU in the last addition."""
    fused = RELU if op.activation is Function.RELU and len(parts) > 1 else NONE
    y = parts[0]
    for part in parts[1:]:
        y = site.rowwise("ADD", y, part, FusedActivationFunction=fused if part == parts[-1] else NONE)
    return y if fused else activated(site, y, op.activation)


def _dense(op: ops.Propagate, site: Site) -> list[int]:
    """A x and the self term."""
    scales_after = op.source_scaled and site.feeds.is_normalized(op.topology)
    adjacency = site.feeds.adjacency(op.topology, op.reduce, factors=not scales_after)
    y = site.rowwise("BATCH_MATMUL", adjacency, site.x)
    return [site.scaled(y, RowFactor(op.topology, End.TARGET) if scales_after else None), *_self_term(op, site)]


def _self_term(op: ops.Propagate, site: Site) -> list[int]:
    """self_scale * x, where there is one."""
    if "self_scale" not in op.operands:
        return []
    scale = site.number("self_scale")
    return [site.x if scale == 1.0 else site.rowwise("MUL", site.x, site.writer.constant(scale))]


def _scattered(op: ops.Propagate, site: Site) -> list[int]:
    """Rows of the sources reduced at the targets, and the self term; r and l are multiplied per node, not per edge."""
    feeds, x, weight = site.feeds, site.x, site.operand("weight")
    is_normalized = feeds.is_normalized(op.topology)
    # An added self-loop of weight 1 is the row itself: it is added once, and the edges leave it out.
    adds_x = feeds.adds_unit_loops(op.topology) and weight is None and op.reduce in (Reduce.SUM, Reduce.MEAN)
    source_factor = RowFactor(op.topology, End.SOURCE) if is_normalized and not op.source_scaled else None
    scaled = site.scaled(x, source_factor)
    rows = site.rowwise("GATHER", scaled, feeds.source(op.topology, loops=not adds_x))  # [E, C]
    if feeds.has_weights(op.topology):
        rows = site.rowwise("MUL", rows, feeds.edge_weight(op.topology))
    if weight is not None:
        rows = _times_heads(site, rows, weight)
    target = feeds.target(op.topology, loops=not adds_x)
    y = _reduced(site, rows, target, op.reduce)
    if adds_x:
        y = site.rowwise("ADD", y, scaled)
    if is_normalized or op.reduce is Reduce.MEAN:
        y = site.rowwise("MUL", y, feeds.target_scale(op.topology, op.reduce))
    return [y, *_self_term(op, site)]


def _reduced(site: Site, rows: int, node: int, reduce: Reduce) -> int:
    """Rows reduced by node; MEAN adds, as SUM does."""
    if reduce in (Reduce.SUM, Reduce.MEAN):
        return node_sum(site, rows, node, site.channels)
    return unsorted(site, rows, node, site.node_shape(site.channels), site.channels, reduce)


def _times_heads(site: Site, rows: int, weight: int) -> int:
    """[E, H*C] times one weight a head, [E, H]."""
    heads = site.graph.values[site.value.inputs[1]].type.channels
    if heads in (1, site.channels):
        return site.rowwise("MUL", rows, weight)
    spread = np.repeat(np.eye(heads, dtype=np.float32), site.channels // heads, axis=0)  # [H*C, H]
    wide = site.linear(weight, site.writer.constant(spread), None, channels=site.channels)
    return site.rowwise("MUL", rows, wide)


@emit.register
def _(op: ops.Gather, site: Site) -> int:
    feeds = site.feeds
    index = feeds.source(op.topology) if op.end is End.SOURCE else feeds.target(op.topology)
    return site.rowwise("GATHER", site.x, index)


@emit.register
def _(op: ops.Aggregate, site: Site) -> int:
    topology = site.graph.values[site.value.inputs[0]].type.topology
    assert topology is not None
    ends = site.feeds.target(topology) if op.end is End.TARGET else site.feeds.source(topology)
    y = _reduced(site, site.x, ends, op.reduce)
    if op.reduce is not Reduce.MEAN:
        return y
    shape = site.shape(site.reshaped(ends, (-1, 1), dtype="int32"))
    ones = site.rowwise("FILL", shape, site.writer.constant(1.0), channels=1)  # [E, 1]
    count = node_sum(site, ones, ends, 1)
    return site.rowwise("DIV", y, site.rowwise("MAXIMUM", count, site.writer.constant(1.0), channels=1))


@emit.register
def _(op: ops.EdgeSoftmax, site: Site) -> int:
    assert site.value.type.topology is not None
    target = site.feeds.target(site.value.type.topology)
    peak = unsorted(site, site.x, target, site.node_shape(site.channels), site.channels, Reduce.MAX)
    weights = site.rowwise("EXP", site.rowwise("SUB", site.x, site.rowwise("GATHER", peak, target)))  # [E, H]
    total = site.rowwise("GATHER", node_sum(site, weights, target, site.channels), target)
    return site.rowwise("DIV", weights, site.rowwise("ADD", total, site.writer.constant(1e-16)))  # the guard of PyG


@emit.register
def _(op: ops.HeadDot, site: Site) -> int:
    weight = site.graph.operand(site.value, "weight")
    assert weight is not None
    blocks = site.writer.constant(head_blocks(real_constant(site.graph, weight)).T)
    return site.linear(site.x, blocks, None, channels=site.channels)


@emit.register
def _(op: ops.HeadMean, site: Site) -> int:
    wide = site.reshaped(site.x, (-1, op.heads, site.channels))  # [., H, C]
    return site.rowwise("MEAN", wide, site.integers(1))


# --- between nodes and graphs -----------------------------------------------------------------------------------------


@emit.register
def _(op: ops.Pool, site: Site) -> int:
    return pooled(site, site.x, site.channels, op.reduce)


def pooled(site: Site, x: int, channels: int, reduce: Reduce) -> int:
    """The nodes of each graph, reduced: [N, C] -> [G, C]."""
    feeds = site.feeds
    if reduce in (Reduce.SUM, Reduce.MEAN):
        return site.rowwise("BATCH_MATMUL", feeds.pool_matrix(reduce), x, channels=channels)
    # inverse_count has one row a graph
    return unsorted(site, x, feeds.graph_index(), site.shape(feeds.inverse_count()), channels, reduce)


@emit.register
def _(op: ops.Broadcast, site: Site) -> int:
    return site.rowwise("GATHER", site.x, site.feeds.graph_index())


# --- elementwise ------------------------------------------------------------------------------------------------------


@emit.register
def _(op: ops.Add, site: Site) -> int:
    fused = RELU if op.activation is Function.RELU else NONE
    y = site.rowwise("ADD", *site.operands, FusedActivationFunction=fused)
    return y if fused else activated(site, y, op.activation)


@emit.register(ops.Sub)
@emit.register(ops.Mul)
@emit.register(ops.Div)
@emit.register(ops.Maximum)
def _(op: ops.Op, site: Site) -> int:
    return site.rowwise(type(op).__name__.upper(), *site.operands)


@emit.register
def _(op: ops.Activation, site: Site) -> int:
    return activated(site, site.x, op.function, op.alpha)


@emit.register
def _(op: ops.LogSoftmax, site: Site) -> int:
    return site.rowwise("LOG_SOFTMAX", site.x) if op.log else site.rowwise("SOFTMAX", site.x, Beta=1.0)


@emit.register
def _(op: ops.Concat, site: Site) -> int:
    return site.rowwise("CONCATENATION", *site.operands, Axis=1)


@emit.register
def _(op: ops.Slice, site: Site) -> int:
    return site.rowwise("SLICE", site.x, site.integers(0, op.start), site.integers(-1, op.stop - op.start))


@emit.register
def _(op: ops.Dropout, site: Site) -> int:
    return site.x


# --- normalization ----------------------------------------------------------------------------------------------------


@emit.register
def _(op: ops.BatchNorm, site: Site) -> int:
    arrays = [real_constant(site.graph, v).astype(np.float64) for v in site.graph.operands(site.value)[1:]]
    weight, bias, mean, variance = arrays
    scale = weight / np.sqrt(variance + op.eps)
    constants = [site.writer.constant(a.astype(np.float32)) for a in (scale, bias - mean * scale)]
    return site.rowwise("ADD", site.rowwise("MUL", site.x, constants[0]), constants[1])


@emit.register
def _(op: ops.LayerNorm, site: Site) -> int:
    x, weight, bias = site.operands
    centred = site.rowwise("SUB", x, _mean(op, site, x))
    variance = _mean(op, site, site.rowwise("MUL", centred, centred))
    eps = site.writer.constant(op.eps)
    if op.eps_outside:
        spread = site.rowwise("ADD", site.rowwise("SQRT", variance, channels=1), eps, channels=1)
    else:
        spread = site.rowwise("SQRT", site.rowwise("ADD", variance, eps, channels=1), channels=1)
    return site.rowwise("ADD", site.rowwise("MUL", site.rowwise("DIV", centred, spread), weight), bias)


def _mean(op: ops.LayerNorm, site: Site, x: int) -> int:
    """[N, 1]: the mean over the extent that a row belongs to."""
    rows = site.rowwise("MEAN", x, site.integers(1), channels=1, KeepDims=True)  # [N, 1]
    if op.extent is Extent.ROW:
        return rows
    return site.rowwise("GATHER", pooled(site, rows, 1, Reduce.MEAN), site.feeds.graph_index(), channels=1)
