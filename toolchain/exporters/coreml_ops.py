"""What each float op becomes in MIL, Core ML's intermediate language. One function an op; `emit` is the entry."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from toolchain.errors import ExportError
from toolchain.exporters.constants import head_blocks, real_constant
from toolchain.exporters.coreml_program import Ref
from toolchain.exporters.coreml_segments import reduced_edges, segments
from toolchain.exporters.coreml_site import Site
from toolchain.exporters.lowerings import Lowering
from toolchain.ir import ops
from toolchain.ir.ops import End, Extent, Function, Reduce, RowFactor


@singledispatch
def emit(op: ops.Op, site: Site) -> Ref:
    """Append the operations of one value, from the results of its operands; returns its result."""
    where = f" ({site.value.scope})" if site.value.scope else ""
    raise ExportError(
        f"%{site.value.id} {type(op).__name__}{where}: has no Core ML form. Export it to onnx, litert or c."
    )


@emit.register
def _(op: ops.Input, site: Site) -> Ref:
    return site.feeds.graph_array(op)


@emit.register
def _(op: ops.Const, site: Site) -> Ref:
    return site.program.constant(real_constant(site.graph, site.value))


@emit.register
def _(op: ops.Linear, site: Site) -> Ref:
    weight = site.operand("weight")
    y = activated(site, site.linear(site.x, weight, site.operand("bias")), op.activation)
    return site.scaled(y, op.row_factor)


def activated(site: Site, x: Ref, function: Function | None, alpha: float = 0.01) -> Ref:
    """An elementwise activation; None is the identity."""
    program = site.program
    match function:
        case None:
            return x
        case Function.GELU | Function.GELU_TANH:
            return program.op("gelu", x=x, mode="EXACT" if function is Function.GELU else "TANH_APPROXIMATION")
        case Function.LEAKY_RELU | Function.ELU:
            return program.op(function.value, x=x, alpha=float(alpha))
        case Function.LOG:
            return program.op("log", x=x, epsilon=0.0)
        case Function.STEP:
            return program.op("cast", x=program.op("greater", x=x, y=0.0), dtype=program.type_name)
        case _:
            return program.op(function.value, x=x)


# --- along edges ------------------------------------------------------------------------------------------------------


@emit.register
def _(op: ops.Propagate, site: Site) -> Ref:
    program = site.program
    y = _dense(op, site) if site.lowering is Lowering.DENSE else _scattered(op, site)
    if "self_scale" in op.operands:
        y = program.op("add", x=y, y=program.op("mul", x=site.x, y=site.number("self_scale")))
    bias = site.operand("bias")
    y = y if bias is None else program.op("add", x=y, y=bias)
    return site.scaled(activated(site, y, op.activation), op.row_factor)


def _dense(op: ops.Propagate, site: Site) -> Ref:
    """A x."""
    scales_after = op.source_scaled and site.feeds.is_normalized(op.topology)
    adjacency = site.feeds.adjacency(op.topology, op.reduce, factors=not scales_after)
    y = site.program.op("matmul", x=adjacency, y=site.x)
    return site.scaled(y, RowFactor(op.topology, End.TARGET) if scales_after else None)


def _scattered(op: ops.Propagate, site: Site) -> Ref:
    """Rows of the sources reduced at the targets; r and l are multiplied per node, not per edge."""
    feeds, program, weight = site.feeds, site.program, site.operand("weight")
    is_normalized = feeds.is_normalized(op.topology)
    source_factor = RowFactor(op.topology, End.SOURCE) if is_normalized and not op.source_scaled else None
    rows = site.rows(site.scaled(site.x, source_factor), feeds.source(op.topology))  # [E, C]
    if feeds.has_weights(op.topology):
        rows = program.op("mul", x=rows, y=feeds.edge_weight(op.topology))
    if weight is not None:
        rows = _times_heads(site, rows, weight)
    y = reduced_edges(site, rows, feeds.target(op.topology), op.topology, site.channels, op.reduce)
    if is_normalized or op.reduce is Reduce.MEAN:
        y = program.op("mul", x=y, y=feeds.target_scale(op.topology, op.reduce))
    return y


def _times_heads(site: Site, rows: Ref, weight: Ref) -> Ref:
    """[E, H*C] times one weight a head, [E, H]."""
    heads = site.graph.values[site.value.inputs[1]].type.channels
    if heads not in (1, site.channels):
        spread = np.repeat(np.eye(heads, dtype=np.float32), site.channels // heads, axis=0)  # [H*C, H]
        weight = site.linear(weight, site.program.constant(spread))
    return site.program.op("mul", x=rows, y=weight)


@emit.register
def _(op: ops.Gather, site: Site) -> Ref:
    feeds = site.feeds
    return site.rows(site.x, feeds.source(op.topology) if op.end is End.SOURCE else feeds.target(op.topology))


@emit.register
def _(op: ops.Aggregate, site: Site) -> Ref:
    topology = site.graph.values[site.value.inputs[0]].type.topology
    assert topology is not None
    ends = site.feeds.target(topology) if op.end is End.TARGET else site.feeds.source(topology)
    y = reduced_edges(site, site.x, ends, topology, site.channels, op.reduce)
    if op.reduce is not Reduce.MEAN:
        return y
    count = segments(site, site.filled(ends, 1, 1.0), ends, site.nodes, 1, Reduce.SUM)
    return site.program.op("real_div", x=y, y=site.program.op("maximum", x=count, y=1.0))


@emit.register
def _(op: ops.EdgeSoftmax, site: Site) -> Ref:
    assert site.value.type.topology is not None
    program, target = site.program, site.feeds.target(site.value.type.topology)
    peak = segments(site, site.x, target, site.nodes, site.channels, Reduce.MAX)
    weights = program.op("exp", x=program.op("sub", x=site.x, y=site.rows(peak, target)))  # [E, H]
    total = site.rows(segments(site, weights, target, site.nodes, site.channels, Reduce.SUM), target)
    return program.op("real_div", x=weights, y=program.op("add", x=total, y=1e-16))  # the guard of PyG


@emit.register
def _(op: ops.HeadDot, site: Site) -> Ref:
    weight = site.graph.operand(site.value, "weight")
    assert weight is not None
    return site.linear(site.x, site.program.constant(head_blocks(real_constant(site.graph, weight)).T))


@emit.register
def _(op: ops.HeadMean, site: Site) -> Ref:
    wide = site.program.op("reshape", x=site.x, shape=[-1, op.heads, site.channels])  # [., H, C]
    return site.program.op("reduce_mean", x=wide, axes=[1], keep_dims=False)


# --- between nodes and graphs -----------------------------------------------------------------------------------------


@emit.register
def _(op: ops.Pool, site: Site) -> Ref:
    return pooled(site, site.x, site.channels, op.reduce)


def pooled(site: Site, x: Ref, channels: int, reduce: Reduce) -> Ref:
    """The nodes of each graph, reduced: [N, C] -> [G, C]."""
    feeds = site.feeds
    if reduce in (Reduce.SUM, Reduce.MEAN):
        return site.program.op("matmul", x=feeds.pool_matrix(reduce), y=x)
    return segments(
        site, x, feeds.graph_index(), feeds.inverse_count(), channels, reduce
    )  # a row of it for every graph


@emit.register
def _(op: ops.Broadcast, site: Site) -> Ref:
    return site.rows(site.x, site.feeds.graph_index())


# --- elementwise ------------------------------------------------------------------------------------------------------


@emit.register(ops.Add)
@emit.register(ops.Sub)
@emit.register(ops.Mul)
@emit.register(ops.Div)
@emit.register(ops.Maximum)
def _(op: ops.Op, site: Site) -> Ref:
    a, b = site.operands
    y = site.program.op(_BINARY[type(op)], x=a, y=b)
    return activated(site, y, op.activation) if isinstance(op, ops.Add) else y


_BINARY = {ops.Add: "add", ops.Sub: "sub", ops.Mul: "mul", ops.Div: "real_div", ops.Maximum: "maximum"}


@emit.register
def _(op: ops.Activation, site: Site) -> Ref:
    return activated(site, site.x, op.function, op.alpha)


@emit.register
def _(op: ops.LogSoftmax, site: Site) -> Ref:
    program = site.program
    if not op.log:
        return program.op("softmax", x=site.x, axis=1)
    shifted = program.op("sub", x=site.x, y=program.op("reduce_max", x=site.x, axes=[1], keep_dims=True))
    total = program.op("reduce_sum", x=program.op("exp", x=shifted), axes=[1], keep_dims=True)
    return program.op("sub", x=shifted, y=program.op("log", x=total, epsilon=0.0))


@emit.register
def _(op: ops.Concat, site: Site) -> Ref:
    return site.program.op("concat", values=list(site.operands), axis=1)


@emit.register
def _(op: ops.Slice, site: Site) -> Ref:
    return site.program.op("slice_by_size", x=site.x, begin=[0, op.start], size=[-1, op.stop - op.start])


@emit.register
def _(op: ops.Dropout, site: Site) -> Ref:
    return site.x


# --- normalization ----------------------------------------------------------------------------------------------------


@emit.register
def _(op: ops.BatchNorm, site: Site) -> Ref:
    program = site.program
    arrays = [real_constant(site.graph, v).astype(np.float64) for v in site.graph.operands(site.value)[1:]]
    weight, bias, mean, variance = arrays
    scale = weight / np.sqrt(variance + op.eps)
    return program.op(
        "add", x=program.op("mul", x=site.x, y=program.constant(scale)), y=program.constant(bias - mean * scale)
    )


@emit.register
def _(op: ops.LayerNorm, site: Site) -> Ref:
    program, (x, weight, bias) = site.program, site.operands
    centred = program.op("sub", x=x, y=_mean(op, site, x))
    variance = _mean(op, site, program.op("mul", x=centred, y=centred))
    if op.eps_outside:
        spread = program.op("add", x=program.op("sqrt", x=variance), y=float(op.eps))
    else:
        spread = program.op("sqrt", x=program.op("add", x=variance, y=float(op.eps)))
    y = program.op("mul", x=program.op("real_div", x=centred, y=spread), y=weight)
    return program.op("add", x=y, y=bias)


def _mean(op: ops.LayerNorm, site: Site, x: Ref) -> Ref:
    """[N, 1]: the mean over the extent that a row belongs to."""
    rows = site.program.op("reduce_mean", x=x, axes=[1], keep_dims=True)  # [N, 1]
    if op.extent is Extent.ROW:
        return rows
    return site.rows(pooled(site, rows, 1, Reduce.MEAN), site.feeds.graph_index())
