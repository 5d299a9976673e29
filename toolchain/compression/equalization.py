"""Equalization: move range between the channels of a value and the columns of the Linear that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from toolchain.compression.calibration import ValueStatistics
from toolchain.ir import Graph, GraphBuilder, Value, rewrite, verify
from toolchain.ir.ops import (
    Activation,
    Add,
    Broadcast,
    Const,
    Dropout,
    Function,
    Gather,
    Input,
    Linear,
    Maximum,
    Mul,
    Pool,
    Propagate,
    Reduce,
    Role,
    Sub,
)


@dataclass(slots=True)
class _Group:
    """Values whose channels can only be scaled together, with what makes and what reads them."""

    members: list[int] = field(default_factory=list)
    is_fixed: bool = False  # something reads or makes these values that does not commute with a channel scale
    readers: list[int] = field(default_factory=list)  # Linear values


def equalize(graph: Graph, statistics: Mapping[int, ValueStatistics], alpha: float) -> Graph:
    """The same float function with every channel of an equalized value divided by c, and the reading columns times c.

        c = max|x_c|^alpha / max|w_:c|^(1 - alpha)

    A value is equalized together with all values that share its channels through Propagate, Pool, ReLU, Add, Maximum and
    the like. The producing Linear's rows and bias are divided, the reading Linear's columns multiplied; the model's input is
    divided by one Mul. Values that anything else touches are left alone, and so are those of a Linear whose weight comes
    from a codebook.

    Args:
        statistics: of the values of this graph.
        alpha: in [0, 1]; 0 levels the weights' columns, 1 the activations' channels.
    """
    divisors = _divisors(graph, statistics, alpha)
    if not divisors:
        return graph

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        made = divisors.get(value.id)
        if isinstance(value.op, Input) and made is not None:
            x = builder.add(value.op, scope=value.scope)
            factor = builder.const("input_equalization", 1.0 / made, trainable=False, scope=value.scope)
            return builder.add(Mul(), x, factor, scope=value.scope)
        if isinstance(value.op, Linear):
            read = divisors.get(value.inputs[0])
            if read is None and made is None:
                return None
            weight = graph.constant(graph.values[value.inputs[1]]).astype(np.float64)
            weight = weight if read is None else weight * read
            weight = weight if made is None else weight / made[:, None]
            operands = [inputs[0], _stored(builder, graph, value.inputs[1], weight)]
            if len(value.inputs) == 3:
                bias = graph.constant(graph.values[value.inputs[2]]).astype(np.float64)
                operands.append(_stored(builder, graph, value.inputs[2], bias if made is None else bias / made))
            return builder.add(value.op, *operands, scope=value.scope)
        if isinstance(value.op, Propagate) and made is not None and "bias" in value.op.operands:
            bias = graph.constant(graph.values[value.inputs[-1]]).astype(np.float64) / made
            return builder.add(
                value.op, *inputs[:-1], _stored(builder, graph, value.inputs[-1], bias), scope=value.scope
            )
        return None

    return verify(rewrite(graph, rule))


def _stored(builder: GraphBuilder, graph: Graph, const: int, array: np.ndarray) -> int:
    """A changed constant under its old name, or a name beside it where the old array is in use as well."""
    value = graph.values[const]
    assert isinstance(value.op, Const)
    return builder.changed(value.op, array, scope=value.scope)


def _divisors(graph: Graph, statistics: Mapping[int, ValueStatistics], alpha: float) -> dict[int, np.ndarray]:
    """c of every value that is equalized, by value id, [C] float64."""
    divisors: dict[int, np.ndarray] = {}
    for group in _groups(graph, statistics):
        if group.is_fixed or not group.readers:
            continue
        readers = [graph.values[r] for r in group.readers]
        activations = np.max([statistics[r.inputs[0]].channel_peak for r in readers], axis=0).astype(np.float64)
        columns = np.max([np.abs(graph.constant(graph.values[r.inputs[1]])).max(axis=0) for r in readers], axis=0)
        is_used = (activations > 0) & (columns > 0)
        if not is_used.any():
            continue
        c = np.ones_like(activations)
        c[is_used] = activations[is_used] ** alpha / columns[is_used].astype(np.float64) ** (1 - alpha)
        c[is_used] /= np.exp(np.log(c[is_used]).mean())  # the common factor changes no code; 1 on average reads better
        # float32 rounding is all that the function may change, so no channel is moved beyond what float32 takes easily.
        c = np.clip(c, 2.0**-16, 2.0**16)
        divisors.update(dict.fromkeys(group.members, c))
    return divisors


def _groups(graph: Graph, statistics: Mapping[int, ValueStatistics]) -> list[_Group]:
    parent = list(range(len(graph.values)))

    def find(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    fixed = set(graph.outputs)
    readers: dict[int, list[int]] = {}
    for value in graph.values:
        op = value.op
        activations = [o for o in graph.operands(value) if not isinstance(o.op, Const)]
        if isinstance(op, Const):
            continue
        if isinstance(op, Input):
            # Binary features are stored exactly as they are; edge inputs are read by float ops as well.
            if op.role is not Role.X or statistics[value.id].is_binary:
                fixed.add(value.id)
        elif isinstance(op, Linear):
            readers.setdefault(value.inputs[0], []).append(value.id)
            if op.activation not in (None, Function.RELU):
                fixed.add(value.id)
            weight = graph.values[value.inputs[1]].op
            if (
                isinstance(weight, Const) and weight.codebook is not None
            ):  # scaled rows or columns would leave the codebook
                fixed.update((value.inputs[0], value.id))
        elif _keeps_channels(graph, value, activations):
            for operand in activations:
                parent[find(operand.id)] = find(value.id)
        else:
            fixed.update((value.id, *(o.id for o in activations)))
    groups: dict[int, _Group] = {}
    for value in graph.values:
        if not isinstance(value.op, Const):
            group = groups.setdefault(find(value.id), _Group())
            group.members.append(value.id)
            group.is_fixed |= value.id in fixed
            group.readers += readers.get(value.id, [])
    return list(groups.values())


def _keeps_channels(graph: Graph, value: Value, activations: list[Value]) -> bool:
    """Whether dividing a channel of all operands by a positive c divides that channel of the result, and nothing else."""
    op = value.op
    if isinstance(op, Propagate):
        return "weight" not in op.operands and op.activation in (None, Function.RELU)
    if isinstance(op, Activation):
        return op.function in (Function.RELU, Function.LEAKY_RELU)
    if isinstance(op, Add | Sub | Maximum):
        same = all(o.type.channels == value.type.channels for o in graph.operands(value))
        relu = not isinstance(op, Add) or op.activation in (None, Function.RELU)
        return same and relu and len(activations) == 2
    if isinstance(op, Pool):
        return op.reduce is not Reduce.PRODUCT
    return isinstance(op, Broadcast | Gather | Dropout)
