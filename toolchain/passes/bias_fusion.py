"""Fuse the addition of a constant into the Linear or Propagate before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toolchain.ir import Graph, GraphBuilder, Value, rewrite
from toolchain.ir.ops import Add, Const, Linear, Propagate


def fuse_bias(graph: Graph) -> Graph:
    """Add(Linear | Propagate, const[C]) becomes the op's bias when nothing else reads the value in between."""
    users = graph.users()

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if not isinstance(value.op, Add):
            return None
        for place in (0, 1):
            producer, addend = graph.values[value.inputs[place]], graph.values[value.inputs[1 - place]]
            if not isinstance(addend.op, Const) or addend.type.shape != producer.type.shape:
                continue
            if not isinstance(producer.op, Linear | Propagate) or producer.op.activation or producer.op.row_factor:
                continue
            if len(users[producer.id]) != 1 or producer.id in graph.outputs:
                continue
            made = builder.values[inputs[place]]
            bias = inputs[1 - place]
            old = graph.operand(producer, "bias")
            if old is not None:
                total = graph.constant(old) + graph.constant(addend)
                bias = builder.const(old.op.name, np.asarray(total), scope=old.scope)  # type: ignore[attr-defined]  # Const
            op, operands = made.op, made.inputs[:-1] if old is not None else made.inputs
            if isinstance(op, Propagate) and old is None:
                op = replace(op, operands=(*op.operands, "bias"))
            fused = replace(op, activation=value.op.activation)  # type: ignore[type-var]  # a dataclass with this field
            return builder.add(fused, *operands, bias, scope=producer.scope or value.scope)
        return None

    return rewrite(graph, rule)
