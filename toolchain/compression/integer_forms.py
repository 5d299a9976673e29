"""Which ops have an integer form, and which values of a graph an integer graph computes on codes."""

from __future__ import annotations

from typing import Literal

from toolchain.ir import Graph, Value
from toolchain.ir.attributes import FLOAT_ONLY, PROPAGATED
from toolchain.ir.ops import (
    Activation,
    Add,
    Aggregate,
    Broadcast,
    Concat,
    Const,
    EdgeSoftmax,
    End,
    Function,
    Gather,
    HeadDot,
    HeadMean,
    Input,
    Linear,
    Maximum,
    Mul,
    Pool,
    Propagate,
    Reduce,
    Slice,
    Sub,
)
from toolchain.ir.types import Domain
from toolchain.topology import Normalization, TopologySpec

EdgeArithmetic = Literal["float", "integer"]
EDGE_ARITHMETICS: tuple[EdgeArithmetic, ...] = ("float", "integer")

Elementwise = Add | Sub | Maximum | Concat | Slice | Broadcast | Activation
EdgeOp = Gather | EdgeSoftmax | HeadDot | HeadMean | Aggregate | Mul  # float ops unless edges are integer


def _has_integer_factors(spec: TopologySpec) -> bool:
    """Whether the row factors of a topology are 1 or the inverse root of the in-degree, and all its edges weigh 1."""
    return (
        spec.normalization in (Normalization.NONE, Normalization.SYMMETRIC)
        and not spec.weighted
        and spec.loop_weight == 1.0
    )


def has_integer_form(graph: Graph, value: Value, edges: EdgeArithmetic = "float") -> bool:
    """Whether `toolchain.ir.reference_integer` can run this op on codes.

    Args:
        edges: with "float", edge rows have an integer form only as results of a Linear, and attention has none.
    """
    op = value.op
    if isinstance(op, Linear):
        if op.row_factor is not None and not _has_integer_factors(graph.topologies[op.row_factor.topology]):
            return False
        return op.activation in (None, Function.RELU) and all(
            isinstance(graph.values[i].op, Const) for i in value.inputs[1:]
        )
    if isinstance(op, Propagate):
        return _propagate_has_integer_form(graph, value, op, edges)
    if isinstance(op, Pool | Aggregate) and op.reduce not in PROPAGATED:
        return False
    if isinstance(op, Pool):
        return True
    if isinstance(op, EdgeOp):
        return edges == "integer" and _edge_op_has_integer_form(graph, value, op)
    if not isinstance(op, Elementwise) or (value.type.domain is Domain.EDGE and edges == "float"):
        return False
    if isinstance(op, Add) and op.activation not in (None, Function.RELU):
        return False
    if isinstance(op, Activation) and op.function in FLOAT_ONLY:
        return False
    operands = graph.operands(value)
    if any(isinstance(o.op, Const) for o in operands):
        return False
    return not isinstance(op, Add | Sub | Maximum) or len({o.type.channels for o in operands}) == 1


def _propagate_has_integer_form(graph: Graph, value: Value, op: Propagate, edges: EdgeArithmetic) -> bool:
    spec = graph.topologies[op.topology]
    if not _has_integer_factors(spec) or op.row_factor is not None:
        return False
    if op.activation not in (None, Function.RELU):
        return False
    is_symmetric = spec.normalization is Normalization.SYMMETRIC
    constants = value.inputs[1:]
    if "weight" in op.operands:
        if edges == "float" or is_symmetric or op.reduce is not Reduce.SUM or "self_scale" in op.operands:
            return False
        if not isinstance(graph.values[value.inputs[1]].op, EdgeSoftmax):
            return False
        constants = value.inputs[2:]
    if any(not isinstance(graph.values[i].op, Const) for i in constants):
        return False
    has_rows = is_symmetric or op.reduce is Reduce.MEAN
    if "self_scale" in op.operands and has_rows:
        return False
    return not (is_symmetric and op.reduce is Reduce.MEAN)


def _edge_op_has_integer_form(graph: Graph, value: Value, op: EdgeOp) -> bool:
    if isinstance(op, HeadDot):
        return isinstance(graph.values[value.inputs[1]].op, Const)
    if isinstance(op, Aggregate):
        return op.end is End.TARGET
    return not isinstance(op, Mul) or not _is_scaled_input(graph, value)


def integer_values(graph: Graph, *, has_tables: bool, edges: EdgeArithmetic = "float") -> frozenset[int]:
    """Ids of the values that an integer graph computes on codes.

    Linear and Propagate always do where they have an integer form. The ops between them do where that needs no detour: all
    operands are codes already (or the model's input), and an integer op reads the result. With integer edges, Aggregate and
    HeadMean need no such reader: they leave fewer numbers than they read.

    Args:
        has_tables: activations other than ReLU may run as tables, which needs int8 codes.
    """
    users = graph.users()
    starts = Linear | Propagate | Pool | Aggregate | HeadMean
    wanted: set[int] = set()
    for value in reversed(graph.values):
        is_wanted = isinstance(value.op, starts) or any(u in wanted for u in users[value.id])
        if is_wanted and has_integer_form(graph, value, edges) and (has_tables or not needs_table(value, edges)):
            wanted.add(value.id)
    chosen: set[int] = set()
    for value in graph.values:
        if value.id not in wanted:
            continue
        operands = [o for o in graph.operands(value) if not isinstance(o.op, Const)]
        if not all(o.id in chosen or is_input(graph, o) for o in _needed_as_codes(value, operands)):
            continue
        if needs_table(value, edges) and not _stores_what_it_is_told(operands[0]):
            continue
        chosen.add(value.id)
    return frozenset(chosen)


def _needed_as_codes(value: Value, operands: list[Value]) -> list[Value]:
    """The operands for which a value is not worth a quantization of their own."""
    if isinstance(value.op, Propagate):
        return operands[1:]  # the attention weights
    return [] if isinstance(value.op, Linear | HeadDot) else operands


def _stores_what_it_is_told(value: Value) -> bool:
    """Whether an op requantizes, so that its result can be int8; the others pass on the codes of their operand."""
    if isinstance(value.op, Propagate | Aggregate):
        return value.op.reduce in (Reduce.SUM, Reduce.MEAN)
    return isinstance(value.op, Linear | Add | Sub | HeadMean | Mul)


def needs_table(value: Value, edges: EdgeArithmetic = "float") -> bool:
    """Whether an op is an activation that integers only have as a table of int8 codes.

    Beside integer edges LeakyReLU is two requantizations, as the logits of attention are int16.
    """
    if not isinstance(value.op, Activation) or value.op.function is Function.RELU:
        return False
    return edges == "float" or value.op.function is not Function.LEAKY_RELU or value.op.alpha < 0


def is_input(graph: Graph, value: Value) -> bool:
    """Whether a value is the model's input, or the input as equalization scaled it."""
    if isinstance(value.op, Mul):
        x, factor = graph.operands(value)
        return isinstance(x.op, Input) and isinstance(factor.op, Const)
    return isinstance(value.op, Input)


def _is_scaled_input(graph: Graph, value: Value) -> bool:
    """Whether a product is the only reader of an input: it is then quantized after the product, once."""
    return is_input(graph, value) and len(graph.users()[value.inputs[0]]) == 1
