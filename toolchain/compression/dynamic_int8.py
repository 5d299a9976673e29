"""Dynamic int8: weights in 8 bits, the range of every Linear's input measured at each inference."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.errors import RecipeError
from toolchain.ir import DType, Graph, GraphBuilder, Value, rewrite, verify
from toolchain.ir.integer import weight_codes
from toolchain.ir.ops import Const, Linear
from toolchain.passes import deployable


@dataclass(frozen=True, slots=True)
class DynamicInt8:
    """8-bit weights with one scale per output channel; everything else stays float. Needs no calibration graphs.

    Attributes:
        weight_bits: 8, 4 or 2; stored in 8.
    """

    weight_bits: int = 8

    def __post_init__(self) -> None:
        if self.weight_bits not in (8, 4, 2):
            raise RecipeError(f"weight_bits: {self.weight_bits}, expected 8, 4 or 2.")


def dynamic_int8(graph: Graph, method: DynamicInt8) -> Graph:
    """The graph with every Linear weight as codes."""
    ready = deployable(graph)
    users = ready.users()

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if isinstance(value.op, Const) and users[value.id] and _is_weight(ready, value, users[value.id]):
            codes, qparams = weight_codes(ready.constant(value), None, 1.0, method.weight_bits)
            type_ = value.type.with_dtype(DType.I8, qparams)
            return builder.const(value.op.name, codes, type=type_, pruned=value.op.pruned, scope=value.scope)
        return None

    return verify(rewrite(ready, rule))


def _is_weight(graph: Graph, const: Value, readers: tuple[int, ...]) -> bool:
    """Whether only Linear ops read a constant, as their weight."""
    return all(isinstance(graph.values[r].op, Linear) and graph.values[r].inputs[1] == const.id for r in readers)
