"""Fold BatchNorm with stored statistics into the linear op before it, or the Linear after it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from toolchain.errors import InvalidGraph
from toolchain.ir import Graph, GraphBuilder, Value, rewrite
from toolchain.ir.ops import BatchNorm, Const, Linear, Propagate, Reduce


def fold_batch_norm(graph: Graph) -> Graph:
    """BatchNorm(Linear), BatchNorm(Propagate(Linear)) and Linear(BatchNorm) lose the BatchNorm; others keep it.

    With g = weight / sqrt(variance + eps): g * (W x + b - mean) + shift = (g W) x + (g (b - mean) + shift).
    """
    return _fold_forward(_fold_backward(graph))


def _affine(graph: Graph, value: Value) -> tuple[np.ndarray, np.ndarray]:
    """(gain, offset) in float64 with BatchNorm(x) = gain * x + offset."""
    assert isinstance(value.op, BatchNorm)
    weight, bias, mean, variance = (graph.constant(graph.values[i]).astype(np.float64) for i in value.inputs[1:])
    gain = weight / np.sqrt(variance + value.op.eps)
    return gain, bias - gain * mean


def _scaled_weight(builder: GraphBuilder, graph: Graph, linear: Value, scaled: np.ndarray) -> int:
    """Store a changed weight under its old name and with its marks: pruned zeros stay zero, since the change is a scaling."""
    old = graph.values[linear.inputs[1]]
    assert isinstance(old.op, Const)
    if old.op.codebook is not None:
        raise InvalidGraph(
            f"{old.op.name}: comes from the codebook {old.op.codebook}, and a BatchNorm folded into it would take it out. Share "
            "the weights of the deployable graph, as toolchain.share does."
        )
    same = _stored(builder, old.op.name, scaled)
    if same is not None:
        return same
    return builder.changed(replace(old.op, is_half=False), scaled, scope=old.scope)


def _stored(builder: GraphBuilder, name: str, array: np.ndarray) -> int | None:
    """The value that has these numbers under this name already: a layer that is used twice keeps one weight."""
    for made in builder.values:
        op = made.op
        if not isinstance(op, Const) or builder.wanted_name(op) != name:
            continue
        if np.array_equal(builder.constants[op.name], array.astype(np.float32)):
            return made.id
    return None


def _bias_name(graph: Graph, linear: Value) -> str:
    bias = graph.operand(linear, "bias")
    if bias is not None and isinstance(bias.op, Const):
        return bias.op.name
    weight = graph.values[linear.inputs[1]].op
    assert isinstance(weight, Const)
    return weight.name.removesuffix("weight") + "bias"


def _made_bias(
    builder: GraphBuilder, graph: Graph, biased: Value, norm: Value, array: np.ndarray, scope: str | None = None
) -> int:
    """Store the bias of an op that took a BatchNorm in; it trains if the op's own or the BatchNorm's does."""
    parts = [part for part in (graph.operand(biased, "bias"), graph.operand(norm, "bias")) if part is not None]
    trainable = any(isinstance(part.op, Const) and part.op.trainable for part in parts)
    scope, name = biased.scope if scope is None else scope, _bias_name(graph, biased)
    same = _stored(builder, name, array)
    return builder.const(name, array, trainable=trainable, scope=scope) if same is None else same


def _fold_backward(graph: Graph) -> Graph:
    users = graph.users()

    def feeds_one(value: Value) -> bool:
        return len(users[value.id]) == 1 and value.id not in graph.outputs

    def foldable_linear(value: Value) -> bool:
        return (
            isinstance(value.op, Linear)
            and value.op.activation is None
            and value.op.row_factor is None
            and feeds_one(value)
        )

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if not isinstance(value.op, BatchNorm):
            return None
        producer = graph.values[value.inputs[0]]
        gain, offset = _affine(graph, value)
        made = builder.values[inputs[0]]
        if foldable_linear(producer):
            weight = _scaled_weight(
                builder, graph, producer, graph.constant(graph.values[producer.inputs[1]]) * gain[:, None]
            )
            bias = _made_bias(builder, graph, producer, value, _shifted(graph, producer, gain, offset))
            return builder.add(producer.op, made.inputs[0], weight, bias, scope=producer.scope)
        linear = graph.values[producer.inputs[0]] if isinstance(producer.op, Propagate) else None
        if linear is None or not foldable_linear(linear) or len(linear.inputs) == 3 or not feeds_one(producer):
            return None
        op = producer.op
        assert isinstance(op, Propagate)
        if op.reduce not in (Reduce.SUM, Reduce.MEAN) or op.activation or op.row_factor:
            return None
        weight = _scaled_weight(builder, graph, linear, graph.constant(graph.values[linear.inputs[1]]) * gain[:, None])
        projected = builder.add(linear.op, builder.values[made.inputs[0]].inputs[0], weight, scope=linear.scope)
        named = producer if "bias" in op.operands else linear
        bias = _made_bias(builder, graph, named, value, _shifted(graph, producer, gain, offset), scope=producer.scope)
        kept = tuple(n for n in op.operands if n != "bias")
        others = [i for n, i in zip(op.operands, made.inputs[1:], strict=True) if n != "bias"]
        return builder.add(replace(op, operands=(*kept, "bias")), projected, *others, bias, scope=producer.scope)

    return rewrite(graph, rule)


def _shifted(graph: Graph, producer: Value, gain: np.ndarray, offset: np.ndarray) -> np.ndarray:
    bias = graph.operand(producer, "bias")
    return offset if bias is None else gain * graph.constant(bias) + offset


def _fold_forward(graph: Graph) -> Graph:
    users = graph.users()

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if not isinstance(value.op, Linear):
            return None
        norm = graph.values[value.inputs[0]]
        if not isinstance(norm.op, BatchNorm) or len(users[norm.id]) != 1 or norm.id in graph.outputs:
            return None
        gain, offset = _affine(graph, norm)
        old = graph.constant(graph.values[value.inputs[1]]).astype(np.float64)
        weight = _scaled_weight(builder, graph, value, old * gain[None, :])
        shift = old @ offset
        bias = graph.operand(value, "bias")
        total = shift if bias is None else shift + graph.constant(bias)
        made = _made_bias(builder, graph, value, norm, total)
        return builder.add(value.op, builder.values[inputs[0]].inputs[0], weight, made, scope=value.scope)

    return rewrite(graph, rule)
