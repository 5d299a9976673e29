"""Where the row factor of a normalization goes in integer graphs: into the producer's requantization."""

from __future__ import annotations

from dataclasses import replace

from toolchain.compression.integer_forms import has_integer_form
from toolchain.ir import Graph, GraphBuilder, Value, rewrite, verify
from toolchain.ir.ops import End, Linear, Propagate, RowFactor
from toolchain.ir.types import Domain
from toolchain.topology import Normalization


def needs_scaled_rows(graph: Graph, value: Value) -> bool:
    """Whether a value is an integer Propagate over a normalized topology: its operand's rows are to be multiplied by r."""
    return (
        isinstance(value.op, Propagate)
        and has_integer_form(graph, value)
        and graph.topologies[value.op.topology].normalization is Normalization.SYMMETRIC
    )


def scale_sources(graph: Graph) -> Graph:
    """The same float function, with r multiplied by the Linear before a normalized Propagate instead of along the edges.

    Only where every reader of the Linear is a Propagate over one normalized topology. Elsewhere the Propagate stays as it
    is, and its integer form reads a row-scaled copy.
    """
    users = graph.users()

    def scaled_topology(linear: Value) -> int | None:
        readers = [graph.values[u] for u in users[linear.id]]
        if not isinstance(linear.op, Linear) or not has_integer_form(graph, linear) or linear.id in graph.outputs:
            return None
        if (
            linear.type.domain is not Domain.NODE
            or not readers
            or not all(needs_scaled_rows(graph, r) for r in readers)
        ):
            return None
        topologies = {r.op.topology for r in readers}  # type: ignore[attr-defined]  # all are Propagate
        return topologies.pop() if len(topologies) == 1 else None

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        topology = scaled_topology(value)
        if topology is not None:
            assert isinstance(value.op, Linear)
            return builder.add(
                replace(value.op, row_factor=RowFactor(topology, End.SOURCE)), *inputs, scope=value.scope
            )
        if isinstance(value.op, Propagate) and scaled_topology(graph.values[value.inputs[0]]) is not None:
            return builder.add(replace(value.op, source_scaled=True), *inputs, scope=value.scope)
        return None

    return verify(rewrite(graph, rule))
