"""Drop topologies that no value uses any more, so that no graph is prepared for nothing."""

from __future__ import annotations

from dataclasses import replace

from toolchain.ir import Graph, Value
from toolchain.ir.ops import Gather, Input, Linear, Propagate
from toolchain.ir.types import TensorType


def compact_topologies(graph: Graph) -> Graph:
    """The same graph with its used topologies numbered from 0 in their old order."""
    used = sorted({t for value in graph.values for t in _topologies_of(value)})
    if len(used) == len(graph.topologies):
        return graph
    number = {old: new for new, old in enumerate(used)}
    values = tuple(_renumbered(value, number) for value in graph.values)
    return replace(graph, values=values, topologies=tuple(graph.topologies[t] for t in used))


def _topologies_of(value: Value) -> list[int]:
    found = [] if value.type.topology is None else [value.type.topology]
    if isinstance(value.op, Propagate | Gather):
        found.append(value.op.topology)
    if isinstance(value.op, Linear | Propagate) and value.op.row_factor is not None:
        found.append(value.op.row_factor.topology)
    return found


def _renumbered(value: Value, number: dict[int, int]) -> Value:
    op = value.op
    if isinstance(op, Propagate | Gather):
        op = replace(op, topology=number[op.topology])
    if isinstance(op, Linear | Propagate) and op.row_factor is not None:
        op = replace(op, row_factor=replace(op.row_factor, topology=number[op.row_factor.topology]))
    if isinstance(op, Input):
        op = replace(op, type=_renumbered_type(op.type, number))
    return replace(value, op=op, type=_renumbered_type(value.type, number))


def _renumbered_type(type: TensorType, number: dict[int, int]) -> TensorType:
    return type if type.topology is None else replace(type, topology=number[type.topology])
