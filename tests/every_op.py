"""Graphs built by hand: one that uses every float op, and one that every quantizer and backend takes; inputs for both."""

from __future__ import annotations

import numpy as np

from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, GraphBuilder, ops
from toolchain.ir.attributes import FLOAT_ONLY, PROPAGATED
from toolchain.ir.ops import End, Extent, Function, Input, Reduce, Role, RowFactor
from toolchain.ir.types import edge, node
from toolchain.topology import LoopAttributes, Normalization, SelfLoops, TopologySpec

GCN = TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC, weighted=True)
LOOPS = TopologySpec(SelfLoops.REPLACE, loop_attributes=LoopAttributes.MEAN)
PLAIN = TopologySpec()
TOPOLOGIES = (
    PLAIN,
    TopologySpec(SelfLoops.REPLACE),
    TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC),
    TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC, weighted=True, loop_weight=2.0),
    TopologySpec(normalization=Normalization.SYMMETRIC, reversed=True),
)  # whatever a sum over neighbours may multiply into its messages


def random_inputs(nodes: int, edges: int, *, graphs: int = 1, seed: int = 0) -> GraphInputs:
    """A graph with an isolated last node (where nodes > 1), a self-loop and repeated edges."""
    rng = np.random.default_rng(seed)
    ends = rng.integers(0, max(nodes - 1, 1), (2, edges))
    if edges > 3:
        ends[:, 0], ends[:, 1] = 0, ends[:, 2]
    batch = np.sort(rng.integers(0, graphs, nodes)) if graphs > 1 else None
    return GraphInputs(
        rng.normal(size=(nodes, 4)), ends, rng.uniform(0.5, 2, edges), rng.normal(size=(edges, 3)), batch, graphs
    )


def sums(topology: TopologySpec, channels: int = 4, reduce: Reduce = Reduce.SUM, source_scaled: bool = False) -> Graph:
    """One Propagate, nothing else."""
    builder = GraphBuilder((topology,))
    x = builder.add(Input(Role.X, node(channels)))
    return builder.finish([builder.add(ops.Propagate(0, reduce, source_scaled=source_scaled), x)])


def every_sum() -> Graph:
    """Sums and means over all TOPOLOGIES, with and without the factor of the source, beside each other in one output."""
    builder = GraphBuilder(TOPOLOGIES)
    x = builder.add(Input(Role.X, node(4)))
    parts = [
        builder.add(ops.Propagate(number, reduce, source_scaled=source_scaled), x)
        for number in range(len(TOPOLOGIES))
        for reduce in (Reduce.SUM, Reduce.MEAN)
        for source_scaled in (False, True)
    ]
    return builder.finish([builder.add(ops.Concat(), *parts)])


def every_op(seed: int = 0) -> Graph:
    """A graph that uses every float op, both ends, all reductions, heads, weights and both LayerNorm extents."""
    rng = np.random.default_rng(seed)
    b = GraphBuilder((GCN, LOOPS, PLAIN))

    def const(name: str, *shape: int, statistic: bool = False) -> int:
        values = rng.normal(size=shape)
        return b.const(name, np.abs(values) + 0.5 if statistic else values, trainable=not statistic)

    x = b.add(Input(Role.X, node(4)))
    attr = b.add(Input(Role.EDGE_ATTR, edge(3, 1)))
    h = b.add(ops.Linear(Function.RELU, RowFactor(0, End.SOURCE)), x, const("lin.w", 8, 4), const("lin.b", 8))
    propagate = ops.Propagate(0, operands=("bias",), activation=Function.TANH, source_scaled=True)
    gcn = b.add(propagate, h, const("gcn.b", 8))
    gin = b.add(ops.Propagate(2, operands=("self_scale",)), gcn, const("eps", 1))
    affine = (const("bn.w", 8), const("bn.b", 8))
    norm = b.add(ops.BatchNorm(), gin, *affine, const("mean", 8, statistic=True), const("variance", 8, statistic=True))
    norm = b.add(ops.Dropout(0.5), norm)
    logits = b.add(ops.Linear(), attr, const("att.w", 2, 3))
    ends = [b.add(ops.HeadDot(), norm, const(f"att.{end.value}", 2, 4)) for end in End]
    for score, end in zip(ends, End, strict=True):
        logits = b.add(ops.Add(), logits, b.add(ops.Gather(1, end), score))
    alpha = b.add(ops.EdgeSoftmax(), b.add(ops.Activation(Function.LEAKY_RELU, 0.2), logits))
    gat = b.add(ops.Propagate(1, operands=("weight",)), norm, alpha)
    reductions = ((0, Reduce.MEAN), (1, Reduce.MAX), (2, Reduce.MIN), (2, Reduce.MAX))
    parts = [b.add(ops.Propagate(topology, reduce), gat) for topology, reduce in reductions]
    edges = b.add(ops.Mul(), b.add(ops.Gather(2, End.SOURCE), gat), b.add(ops.Gather(2, End.TARGET), norm))
    parts += [b.add(ops.Aggregate(reduce, end), edges) for reduce in PROPAGATED for end in End]
    total = parts[0]
    for number, part in enumerate(parts[1:]):
        total = b.add((ops.Add, ops.Sub, ops.Maximum)[number % 3](), total, part)
    total = b.add(ops.Div(), total, const("divisor", 1, statistic=True))
    rows = b.add(ops.LayerNorm(), total, const("ln.w", 8), const("ln.b", 8))
    graphs = b.add(ops.LayerNorm(extent=Extent.GRAPH, eps_outside=True), total, const("gn.w", 8), const("gn.b", 8))
    both = b.add(ops.Concat(), rows, b.add(ops.HeadMean(2), graphs))
    for function in Function:
        both = both if function in FLOAT_ONLY else b.add(ops.Activation(function), both)
    root = b.add(ops.Activation(Function.SQRT), b.add(ops.Activation(Function.ABS), both))
    root = b.add(ops.Mul(), root, b.add(ops.Activation(Function.STEP), both))
    both = b.add(ops.Activation(Function.LOG), b.add(ops.Activation(Function.EXP), both))
    both = b.add(ops.Sub(), both, root)
    pooled = [b.add(ops.Pool(reduce), both) for reduce in PROPAGATED]
    small = b.add(ops.Activation(Function.TANH), edges)  # products of larger numbers would drown all other results
    products = [b.add(ops.Aggregate(Reduce.PRODUCT, end), small) for end in End]
    product = b.add(ops.Pool(Reduce.PRODUCT), b.add(ops.Activation(Function.TANH), total))
    spread = b.add(ops.Broadcast(), pooled[0])
    out = b.add(ops.LogSoftmax(), b.add(ops.Slice(2, 9), b.add(ops.Add(Function.RELU), both, spread)))
    return b.finish([out, b.add(ops.LogSoftmax(log=False), b.add(ops.Concat(), *pooled)), edges, *products, product])


def gcn_gin() -> Graph:
    """A GCN layer and a GIN layer with a mean pool and a head: what static int8 covers."""
    rng = np.random.default_rng(3)
    b = GraphBuilder((TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC), TopologySpec()))
    x = b.add(Input(Role.X, node(4)))
    x = b.add(ops.Propagate(0), x)
    x = b.add(ops.Linear(Function.RELU), x, b.const("gcn.w", rng.normal(size=(32, 4))), b.const("gcn.b", np.ones(32)))
    x = b.add(ops.Propagate(1, operands=("self_scale",)), x, b.const("eps", np.full(1, 1.3)))
    x = b.add(
        ops.Linear(Function.RELU), x, b.const("gin.w", rng.normal(size=(32, 32)) / 6), b.const("gin.b", np.ones(32))
    )
    x = b.add(
        ops.Linear(Function.RELU), x, b.const("gin.v", rng.normal(size=(32, 32)) / 6), b.const("gin.c", np.ones(32))
    )
    x = b.add(ops.Pool(Reduce.MEAN), x)
    return b.finish(
        [b.add(ops.Linear(), x, b.const("head.w", rng.normal(size=(3, 32))), b.const("head.b", np.zeros(3)))]
    )
