"""Channels that a BatchNorm never saw vary become constants, before a fold makes weights of them that no row of codes can hold."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Sequence

import numpy as np

from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, Value, interpret
from toolchain.ir.ops import BatchNorm, Const, Linear, Propagate

logger = logging.getLogger("pocketgnn")

Range = tuple[np.ndarray, np.ndarray]


def settle_dead_channels(graph: Graph, graphs: Sequence[GraphInputs]) -> Graph:
    """The float function that `graph` is on these graphs, with the dead channels of every BatchNorm constant.

    A channel that no node activates has a running variance of about 0, and BatchNorm multiplies it by weight / sqrt(eps), some
    300 times as much as others. Folded into the Linear behind, that column takes the codes of all others in its row, for a
    channel that says nothing. Where the variance is below eps and the channel is one number on all graphs, it gets a weight
    of 0 and what it was worth as bias. Where it is not one number, the log says so and it stays.

    Args:
        graphs: those that calibrate.
    """
    dead = {v.id: channels for v in graph.values if (channels := _below_eps(graph, v)).any()}
    if not dead:
        return graph
    ranges = _ranges(graph, graphs, {graph.values[id].inputs[0] for id in dead})
    changed: dict[str, np.ndarray] = {}
    for id, channels in dead.items():
        value = graph.values[id]
        low, high = ranges[value.inputs[0]]
        is_constant = channels & (low == high)
        if (channels & ~is_constant).any() and not isinstance(graph.values[value.inputs[0]].op, Linear | Propagate):
            logger.warning(
                "%s: channel %d has a running variance below eps and still varies on the calibration graphs; folded weights "
                "are hundreds of times as large there as elsewhere. Train BatchNorm on more graphs, or raise its eps.",
                value.place, int(np.flatnonzero(channels & ~is_constant)[0]),
            )  # fmt: skip
        if is_constant.any():
            logger.info("%s: %d channels never vary and count as constants", value.place, int(is_constant.sum()))
            changed |= _settled(graph, value, is_constant, low)
    return graph.with_constants(changed)


def _below_eps(graph: Graph, value: Value) -> np.ndarray:
    """[C] bool; nowhere where the value is no BatchNorm, or shares its constants with another one."""
    if not isinstance(value.op, BatchNorm):
        return np.zeros(1, bool)
    used = Counter(_names(graph, v)[0] for v in graph.values if isinstance(v.op, BatchNorm))
    variance = graph.constant(graph.values[value.inputs[4]])
    return (variance < value.op.eps) & (used[_names(graph, value)[0]] == 1)


def _names(graph: Graph, norm: Value) -> list[str]:
    """The constants of a BatchNorm: weight, bias, mean, variance."""
    constants = [graph.values[i].op for i in norm.inputs[1:]]
    return [op.name for op in constants if isinstance(op, Const)]


def _ranges(graph: Graph, graphs: Sequence[GraphInputs], wanted: Collection[int]) -> dict[int, Range]:
    """Per value the smallest and the largest element of each channel, [C] each."""
    ranges: dict[int, Range] = {}

    def watch(value: Value, array: np.ndarray) -> None:
        if value.id in wanted and len(array):
            low, high = ranges.get(value.id, (np.inf, -np.inf))
            ranges[value.id] = np.minimum(low, array.min(axis=0)), np.maximum(high, array.max(axis=0))

    for inputs in graphs:
        interpret(graph, inputs, watch)
    return ranges


def _settled(graph: Graph, norm: Value, is_constant: np.ndarray, at: np.ndarray) -> dict[str, np.ndarray]:
    """Weight and bias that give what the BatchNorm gives for channels that stay at some number."""
    assert isinstance(norm.op, BatchNorm)
    names = _names(graph, norm)
    weight, bias, mean, variance = (graph.constants[name].astype(np.float64) for name in names)
    worth = bias + weight * (at - mean) / np.sqrt(variance + norm.op.eps)
    return {names[0]: np.where(is_constant, 0.0, weight), names[1]: np.where(is_constant, worth, bias)}
