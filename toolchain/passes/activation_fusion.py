"""Fuse ReLU into the op before it, where integer arithmetic gets it for free as a clamp."""

from __future__ import annotations

from dataclasses import replace

from toolchain.ir import Graph, GraphBuilder, Value, rewrite
from toolchain.ir.ops import Activation, Add, Function, Linear, Propagate


def fuse_activation(graph: Graph) -> Graph:
    """ReLU(Linear | Propagate | Add) becomes one op when nothing else reads the value in between."""
    users = graph.users()

    def is_fusable(value: Value) -> bool:
        return (
            isinstance(value.op, Linear | Propagate | Add)
            and value.op.activation is None
            and getattr(value.op, "row_factor", None) is None
            and len(users[value.id]) == 1
            and value.id not in graph.outputs
        )

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if not (isinstance(value.op, Activation) and value.op.function is Function.RELU):
            return None
        producer = graph.values[value.inputs[0]]
        if not is_fusable(producer):
            return None
        made = builder.values[inputs[0]]
        fused = replace(made.op, activation=Function.RELU)  # type: ignore[type-var]  # a dataclass with this field
        return builder.add(fused, *made.inputs, scope=producer.scope)

    return rewrite(graph, rule)
