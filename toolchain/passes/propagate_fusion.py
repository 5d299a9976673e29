"""Fuse Gather → (scale) → Aggregate into Propagate, which needs no edge buffer; a product has no such form."""

from __future__ import annotations

from toolchain.ir import Graph, GraphBuilder, Value, rewrite
from toolchain.ir.attributes import PROPAGATED
from toolchain.ir.ops import Aggregate, End, Gather, Mul, Propagate
from toolchain.topology import Normalization


def fuse_propagate(graph: Graph) -> Graph:
    """Aggregate(Gather(x)) and Aggregate(Gather(x) * edge weight) become Propagate(x).

    Only along the direction of the topology (gathered at the source, aggregated at the target), and only over topologies
    without coefficients of their own, since Propagate would apply those as well.
    """

    def gathered(value: Value) -> Value | None:
        op = value.op
        if isinstance(op, Gather) and op.end is End.SOURCE and _is_plain(graph, op.topology):
            return graph.values[value.inputs[0]]
        return None

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if not isinstance(value.op, Aggregate) or value.op.end is not End.TARGET or value.op.reduce not in PROPAGATED:
            return None
        messages = graph.values[value.inputs[0]]
        source = gathered(messages)
        made = builder.values[inputs[0]]
        assert messages.type.topology is not None
        if source is not None:
            return builder.add(Propagate(messages.type.topology, value.op.reduce), made.inputs[0], scope=value.scope)
        if not isinstance(messages.op, Mul):
            return None
        for place in (0, 1):
            x, weight = (graph.values[messages.inputs[p]] for p in (place, 1 - place))
            if gathered(x) is None or weight.type.topology != messages.type.topology or weight.type.channels != 1:
                continue
            x_made = builder.values[made.inputs[place]]
            op = Propagate(messages.type.topology, value.op.reduce, operands=("weight",))
            return builder.add(op, x_made.inputs[0], made.inputs[1 - place], scope=value.scope)
        return None

    return rewrite(graph, rule)


def _is_plain(graph: Graph, topology: int) -> bool:
    spec = graph.topologies[topology]
    return spec.normalization is Normalization.NONE and not spec.weighted and spec.loop_weight == 1.0
