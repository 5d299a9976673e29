"""Choose the side of a Linear on which to aggregate: the narrow one unless another is asked for, since (Â X) W = Â (X W)."""

from __future__ import annotations

from dataclasses import replace

from toolchain.ir import Graph, GraphBuilder, Value, rewrite
from toolchain.ir.ops import Linear, Order, Propagate, Reduce
from toolchain.passes.propagate_fusion import fuse_propagate


def order_propagate(graph: Graph) -> Graph:
    """Swap Propagate and Linear where that aggregates fewer channels; on a tie aggregate first, which fuses in row blocks.

    A Propagate with an `order` of its own goes to that side instead. Propagate is linear for sums and means with at most one
    weight per edge, so the swap is exact. A bias stays on the outer op: Â (X W + 1 b) is not Â X W + 1 b.
    """
    users = graph.users()

    def only_feeds_one(value: Value) -> bool:
        return len(users[value.id]) == 1 and value.id not in graph.outputs

    def commutes(value: Value) -> bool:
        op = value.op
        if (
            not isinstance(op, Propagate)
            or op.reduce not in (Reduce.SUM, Reduce.MEAN)
            or op.row_factor
            or op.source_scaled
        ):
            return False
        weight = graph.operand(value, "weight")
        return weight is None or weight.type.channels == 1

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if commutes(value) and isinstance(value.op, Propagate):
            linear = graph.values[value.inputs[0]]
            if not isinstance(linear.op, Linear) or not only_feeds_one(linear):
                return None
            if not isinstance(
                builder.values[inputs[0]].op, Linear
            ):  # swapped already in this walk; the next walk sees it
                return None
            is_narrow = graph.values[linear.inputs[0]].type.channels <= linear.type.channels
            goes_first = is_narrow if value.op.order is None else value.op.order is Order.AGGREGATE_FIRST
            if not goes_first or linear.op != Linear() or len(linear.inputs) == 3:
                return None
            return _aggregate_first(builder, value, inputs, linear)
        if isinstance(value.op, Linear) and value.op.row_factor is None:
            propagate = graph.values[value.inputs[0]]
            if not commutes(propagate) or not only_feeds_one(propagate):
                return None
            if not isinstance(builder.values[inputs[0]].op, Propagate):
                return None
            assert isinstance(propagate.op, Propagate)
            is_wide, order = propagate.type.channels > value.type.channels, propagate.op.order
            if not (is_wide if order is None else order is Order.TRANSFORM_FIRST):
                return None
            if propagate.op.activation or "bias" in propagate.op.operands:
                return None
            return _transform_first(builder, value, inputs, propagate)
        return None

    return rewrite(graph, rule)


def with_order(graph: Graph, order: Order | None) -> Graph:
    """Ask every aggregation of a float Graph for one side of its Linear; None takes what was asked for back."""

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if not isinstance(value.op, Propagate) or value.op.order is order:
            return None
        return builder.add(replace(value.op, order=order), *inputs, scope=value.scope)

    return rewrite(fuse_propagate(graph), rule)


def with_features_transformed_first(graph: Graph) -> Graph:
    """Ask that the features of nodes meet a Linear before they are aggregated, which would fill their rows; a quantized Graph
    keeps its order.
    """

    def reads_features(value: Value) -> bool:
        return value.is_features or (isinstance(value.op, Linear) and graph.values[value.inputs[0]].is_features)

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if not isinstance(value.op, Propagate) or not reads_features(graph.values[value.inputs[0]]):
            return None
        return builder.add(replace(value.op, order=Order.TRANSFORM_FIRST), *inputs, scope=value.scope)

    if any(value.type.dtype.is_integer for value in graph.values):
        return graph
    graph = fuse_propagate(graph)
    return rewrite(graph, rule)


def _aggregate_first(builder: GraphBuilder, value: Value, inputs: tuple[int, ...], linear: Value) -> int:
    """Propagate(Linear(x), bias) → Linear(Propagate(x), bias)."""
    op = value.op
    assert isinstance(op, Propagate)
    made = builder.values[inputs[0]]  # the Linear as already rebuilt
    named = dict(zip(op.operands, inputs[1:], strict=True))
    bias = named.pop("bias", None)
    inner = replace(op, operands=tuple(named), activation=None)
    gathered = builder.add(inner, made.inputs[0], *named.values(), scope=value.scope)
    outer = (gathered, made.inputs[1]) if bias is None else (gathered, made.inputs[1], bias)
    return builder.add(Linear(activation=op.activation), *outer, scope=linear.scope)


def _transform_first(builder: GraphBuilder, value: Value, inputs: tuple[int, ...], propagate: Value) -> int:
    """Linear(Propagate(x), bias) → Propagate(Linear(x), bias)."""
    op = propagate.op
    assert isinstance(op, Propagate) and isinstance(value.op, Linear)
    made = builder.values[inputs[0]]  # the Propagate as already rebuilt
    projected = builder.add(Linear(), made.inputs[0], inputs[1], scope=value.scope)
    operands, extra = (op.operands, ()) if len(inputs) == 2 else ((*op.operands, "bias"), (inputs[2],))
    outer = replace(op, operands=operands, activation=value.op.activation)
    return builder.add(outer, projected, *made.inputs[1:], *extra, scope=propagate.scope)
