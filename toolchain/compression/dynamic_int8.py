"""Dynamic int8: weights in 8 bits, the range of every Linear's input measured at each inference."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.errors import RecipeError
from toolchain.ir import DType, Graph, GraphBuilder, Value, rewrite, verify
from toolchain.ir.integer import weight_codes
from toolchain.ir.ops import Aggregate, Concat, Const, Gather, Input, Linear, Mul, Propagate
from toolchain.passes import deployable


@dataclass(frozen=True, slots=True)
class DynamicInt8:
    """8-bit weights with one scale per output channel; everything else stays float. Needs no calibration graphs.

    A weight from a codebook has one scale, so that its codes come from a codebook too.

    Attributes:
        weight_bits: 8, 4 or 2; stored in 8.
        float_input_share: a Linear that reads the model's features stays float if it holds at most this share of the
            weights: one range for features of different kinds costs accuracy there, and 8 bits would save little.
    """

    weight_bits: int = 8
    float_input_share: float = 0.05

    def __post_init__(self) -> None:
        if self.weight_bits not in (8, 4, 2):
            raise RecipeError(f"weight_bits: {self.weight_bits}, expected 8, 4 or 2.")
        if not 0 <= self.float_input_share <= 1:
            raise RecipeError(f"float_input_share: {self.float_input_share}, expected a share in [0, 1].")


def dynamic_int8(graph: Graph, method: DynamicInt8) -> Graph:
    """The graph with the Linear weights as codes."""
    ready = deployable(graph)
    users = ready.users()
    weights = [v for v in ready.values if isinstance(v.op, Const) and _is_weight(ready, v, users[v.id])]
    small = method.float_input_share * sum(ready.constant(v).size for v in weights)
    quantized = {
        v.id
        for v in weights
        if ready.constant(v).size > small or not any(_reads_features(ready, ready.values[r]) for r in users[v.id])
    }

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if isinstance(value.op, Const) and value.id in quantized:
            is_shared = value.op.codebook is not None
            codes, qparams = weight_codes(ready.constant(value), None, 1.0, method.weight_bits, per_tensor=is_shared)
            return builder.changed(value.op, codes, type=value.type.with_dtype(DType.I8, qparams), scope=value.scope)
        return None

    return verify(rewrite(ready, rule))


def _is_weight(graph: Graph, const: Value, readers: tuple[int, ...]) -> bool:
    """Whether only Linear ops read a constant, as their weight."""
    is_read = [isinstance(graph.values[r].op, Linear) and graph.values[r].inputs[1] == const.id for r in readers]
    return bool(is_read) and all(is_read)


def _reads_features(graph: Graph, linear: Value) -> bool:
    """Whether a Linear reads an input of the model, at most aggregated, scaled or concatenated on the way."""
    value = graph.values[linear.inputs[0]]
    while isinstance(value.op, Propagate | Mul | Concat | Gather | Aggregate):
        value = graph.values[value.inputs[0]]
    return isinstance(value.op, Input)
