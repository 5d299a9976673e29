"""Forget that weights come from codebooks, for what reads them as plain arrays."""

from __future__ import annotations

from dataclasses import replace

from toolchain.ir import Graph, GraphBuilder, Value, rewrite
from toolchain.ir.ops import Const


def remove_codebooks(graph: Graph) -> Graph:
    """The same function with constants that name no codebook; their arrays stay as they are."""
    if not any(isinstance(v.op, Const) and v.op.codebook is not None for v in graph.values):
        return graph

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if not isinstance(value.op, Const):
            return None
        builder.constants[value.op.name] = graph.constants[value.op.name]
        return builder.add(replace(value.op, codebook=None), scope=value.scope)

    return rewrite(graph, rule)
