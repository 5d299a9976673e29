"""Drop Dropout, which is the identity at inference."""

from __future__ import annotations

from toolchain.ir import Graph, GraphBuilder, Value, rewrite
from toolchain.ir.ops import Dropout


def remove_dropout(graph: Graph) -> Graph:
    """Let the users of every Dropout read its operand."""

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        return inputs[0] if isinstance(value.op, Dropout) else None

    return rewrite(graph, rule)
