"""Which ops have an integer form, and where the row factor of a normalization goes: into the producer's requantization."""

from __future__ import annotations

from dataclasses import replace

from toolchain.ir import Graph, GraphBuilder, Value, rewrite, verify
from toolchain.ir.ops import (
    Activation,
    Add,
    Broadcast,
    Concat,
    Const,
    End,
    Function,
    Input,
    Linear,
    Maximum,
    Mul,
    Pool,
    Propagate,
    Reduce,
    RowFactor,
    Slice,
    Sub,
)
from toolchain.ir.types import Domain
from toolchain.topology import Normalization

Elementwise = Add | Sub | Maximum | Concat | Slice | Broadcast | Activation


def has_integer_form(graph: Graph, value: Value) -> bool:
    """Whether `toolchain.ir.reference_integer` can run this op on codes. Edge rows only as results of a Linear."""
    op = value.op
    if isinstance(op, Linear):
        return op.activation in (None, Function.RELU) and all(
            isinstance(graph.values[i].op, Const) for i in value.inputs[1:]
        )
    if isinstance(op, Propagate):
        return _propagate_has_integer_form(graph, value, op)
    if isinstance(op, Pool):
        return True
    if not isinstance(op, Elementwise) or value.type.domain is Domain.EDGE:
        return False
    if isinstance(op, Add) and op.activation not in (None, Function.RELU):
        return False
    operands = graph.operands(value)
    if any(isinstance(o.op, Const) for o in operands):
        return False
    return not isinstance(op, Add | Sub | Maximum) or len({o.type.channels for o in operands}) == 1


def _propagate_has_integer_form(graph: Graph, value: Value, op: Propagate) -> bool:
    spec = graph.topologies[op.topology]
    if "weight" in op.operands or spec.weighted or spec.loop_weight != 1.0 or op.row_factor is not None:
        return False
    if op.activation not in (None, Function.RELU):
        return False
    if any(not isinstance(graph.values[i].op, Const) for i in value.inputs[1:]):
        return False
    has_rows = spec.normalization is Normalization.SYMMETRIC or op.reduce is Reduce.MEAN
    if "self_scale" in op.operands and has_rows:
        return False
    return not (spec.normalization is Normalization.SYMMETRIC and op.reduce is Reduce.MEAN)


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


def integer_values(graph: Graph, *, has_tables: bool) -> frozenset[int]:
    """Ids of the values that an integer graph computes on codes.

    Linear and Propagate always do where they have an integer form. The ops between them do where that needs no detour: all
    operands are codes already (or the model's input), and an integer op reads the result.

    Args:
        has_tables: activations other than ReLU may run as tables, which needs int8 codes.
    """
    users = graph.users()
    wanted: set[int] = set()
    for value in reversed(graph.values):
        is_wanted = isinstance(value.op, Linear | Propagate | Pool) or any(u in wanted for u in users[value.id])
        if is_wanted and has_integer_form(graph, value) and (has_tables or not needs_table(value)):
            wanted.add(value.id)
    chosen: set[int] = set()
    for value in graph.values:
        if value.id not in wanted:
            continue
        operands = [o for o in graph.operands(value) if not isinstance(o.op, Const)]
        if isinstance(value.op, Elementwise | Pool) and not all(o.id in chosen or is_input(graph, o) for o in operands):
            continue
        if needs_table(value) and not _stores_what_it_is_told(operands[0]):
            continue
        chosen.add(value.id)
    return frozenset(chosen)


def _stores_what_it_is_told(value: Value) -> bool:
    """Whether an op requantizes, so that its result can be int8; the others pass on the codes of their operand."""
    if isinstance(value.op, Propagate):
        return value.op.reduce in (Reduce.SUM, Reduce.MEAN)
    return isinstance(value.op, Linear | Add | Sub)


def needs_table(value: Value) -> bool:
    """Whether an op is an activation that integers only have as a table of int8 codes."""
    return isinstance(value.op, Activation) and value.op.function is not Function.RELU


def is_input(graph: Graph, value: Value) -> bool:
    """Whether a value is the model's input, or the input as equalization scaled it."""
    if isinstance(value.op, Mul):
        x, factor = graph.operands(value)
        return isinstance(x.op, Input) and isinstance(factor.op, Const)
    return isinstance(value.op, Input)
