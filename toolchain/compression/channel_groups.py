"""Channel groups: which channels of a Graph live and die together, read off its ops.

Every channel of every value, and every index of every constant's axis, belongs to one *channel* of the model: a class of
places that can only be dropped together. Elementwise ops tie their operands channel by channel, Concat and Slice pass
channels on, a Linear starts new ones. The channels that one Linear writes, with all that is tied to them, are a *group*.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Literal

import numpy as np

from toolchain.errors import RecipeError
from toolchain.ir import Graph, Value, ops
from toolchain.ir.ops import Const, Linear
from toolchain.ir.types import Domain

HeadUnit = Literal["channels", "heads"]
"""What attention heads lose: the same channels in each of them, or whole heads."""

Ids = np.ndarray  # [channels] int64, the channel that each place belongs to


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """The channels that one layer writes, or several layers that a residual ties together.

    Attributes:
        weights: names of the Linear weights whose rows write the channels.
        scopes: module paths of these Linears.
        channels: ids of all channels, in the order in which the first weight writes them.
        prunable: ids of those that may go.
        reasons: why the others may not, each reason once.
    """

    weights: tuple[str, ...]
    scopes: tuple[str, ...]
    channels: tuple[int, ...]
    prunable: tuple[int, ...]
    reasons: tuple[str, ...]

    @property
    def name(self) -> str:
        """The first weight's name without its ending, such as "convs.0.lin"."""
        return self.weights[0].removesuffix(".weight")

    def __str__(self) -> str:
        layers = ", ".join(weight.removesuffix(".weight") for weight in self.weights)
        why = f" ({'; '.join(self.reasons)})" if self.reasons else ""
        return f"{layers}: {len(self.prunable)} of {len(self.channels)} channels may go{why}"


@dataclass(frozen=True, slots=True, eq=False)
class ChannelMap:
    """Every place of a Graph with the channel that it belongs to.

    Attributes:
        rows: for each value the channel of each of its positions; empty for constants.
        axes: for each constant the channels of each of its axes.
        groups: in the order of the graph.
    """

    rows: tuple[Ids, ...]
    axes: Mapping[str, tuple[Ids, ...]]
    groups: tuple[ChannelGroup, ...]


def channel_groups(graph: Graph, heads: HeadUnit = "channels") -> ChannelMap:
    """Read the channels and groups off a float Graph.

    Args:
        heads: "channels" ties channel c of every attention head, so that the heads stay alike; "heads" ties all channels
            of a head to its attention score.

    Raises:
        RecipeError: the graph is quantized.
    """
    if any(value.type.dtype.is_integer for value in graph.values):
        raise RecipeError(f"{graph.name}: is quantized; channels are pruned from the float graph, before quantizing.")
    trace = _Trace(graph, heads)
    for value in graph.values:
        trace.rows.append(tie(value.op, trace, value))
    for output in graph.outputs:
        trace.protect(trace.rows[output], "an output of the model")
    return trace.finish()


@dataclass(slots=True)
class _Trace:
    """A union-find over channel ids, filled value by value."""

    graph: Graph
    heads: HeadUnit
    rows: list[Ids] = field(default_factory=list)
    axes: dict[str, tuple[Ids, ...]] = field(default_factory=dict)
    _parent: list[int] = field(default_factory=list)
    _reasons: dict[int, str] = field(default_factory=dict)  # id → why it may not go; the first reason stays

    def fresh(self, count: int) -> Ids:
        """New channels, tied to nothing."""
        start = len(self._parent)
        self._parent += range(start, start + count)
        return np.arange(start, start + count)

    def find(self, channel: int) -> int:
        while self._parent[channel] != channel:
            self._parent[channel] = self._parent[self._parent[channel]]
            channel = self._parent[channel]
        return channel

    def unite(self, first: Ids, second: Ids) -> Ids:
        """Tie two rows of places position by position; the smaller id stands for both."""
        for a, b in zip(first.tolist(), second.tolist(), strict=True):
            low, high = sorted((self.find(a), self.find(b)))
            self._parent[high] = low
        return first

    def unite_all(self, channels: Ids) -> None:
        """Tie all places of an array to the first."""
        flat = channels.ravel()
        self.unite(np.full(flat.size, flat[0]), flat)

    def protect(self, channels: Ids, reason: str) -> None:
        """Keep channels, whatever they are tied to."""
        for channel in channels.tolist():
            self._reasons.setdefault(channel, reason)

    def constant(self, value: Value) -> tuple[Ids, ...]:
        assert isinstance(value.op, Const)
        return self.axes[value.op.name]

    def operand(self, value: Value, slot: str) -> Value | None:
        return self.graph.operand(value, slot)

    def finish(self) -> ChannelMap:
        roots = np.array([self.find(i) for i in range(len(self._parent))], np.int64)
        reasons: dict[int, str] = {}
        for channel in sorted(self._reasons):
            reasons.setdefault(int(roots[channel]), self._reasons[channel])
        rows = tuple(roots[ids] for ids in self.rows)
        axes = {name: tuple(roots[ids] for ids in ids_of_axes) for name, ids_of_axes in self.axes.items()}
        return ChannelMap(rows, axes, _grouped(self.graph, axes, reasons))


def _grouped(graph: Graph, axes: Mapping[str, tuple[Ids, ...]], reasons: Mapping[int, str]) -> tuple[ChannelGroup, ...]:
    """Linear weights that write a common channel are one group."""
    written: dict[str, str] = {}  # weight → scope of the first Linear that has it
    for value in graph.values:
        if isinstance(value.op, Linear):
            op = graph.values[value.inputs[1]].op
            assert isinstance(op, Const)
            if not op.is_table:
                written.setdefault(op.name, value.scope)
    groups: list[tuple[list[str], dict[int, None]]] = []  # weights, and their channels in order
    for weight in written:
        channels = dict.fromkeys(axes[weight][0].tolist())
        met = [group for group in groups if not channels.keys().isdisjoint(group[1])]
        joined = [name for group in met for name in group[0]], {c: None for group in met for c in group[1]}
        joined[0].append(weight)
        joined[1].update(channels)
        place = groups.index(met[0]) if met else len(groups)
        groups = [group for group in groups if group not in met]
        groups.insert(place, joined)
    return tuple(
        ChannelGroup(
            tuple(weights), tuple(dict.fromkeys(written[w] for w in weights)), tuple(channels),
            tuple(c for c in channels if c not in reasons), tuple(dict.fromkeys(reasons[c] for c in channels if c in reasons)),
        )
        for weights, channels in groups
    )  # fmt: skip


@singledispatch
def tie(op: ops.Op, trace: _Trace, value: Value) -> Ids:
    """Channels of an op's result, after tying what the op reads channel by channel."""
    raise RecipeError(f"%{value.id} {type(op).__name__}: its channels are not known; prune the float graph.")


def _same_channels(op: ops.Op, trace: _Trace, value: Value) -> Ids:
    return trace.rows[value.inputs[0]]


_CHANNEL_BY_CHANNEL: tuple[type[ops.Op], ...] = (
    ops.Gather, ops.Aggregate, ops.EdgeSoftmax, ops.Pool, ops.Broadcast, ops.Activation, ops.Dropout,
)  # fmt: skip
for _op in _CHANNEL_BY_CHANNEL:
    tie.register(_op, _same_channels)


@tie.register
def _(op: ops.Input, trace: _Trace, value: Value) -> Ids:
    channels = trace.fresh(value.type.channels)
    trace.protect(channels, "an input of the model")
    return channels


@tie.register
def _(op: ops.Const, trace: _Trace, value: Value) -> Ids:
    if op.name not in trace.axes:
        trace.axes[op.name] = tuple(trace.fresh(size) for size in value.type.shape)
    return trace.fresh(0)


@tie.register
def _(op: ops.Linear, trace: _Trace, value: Value) -> Ids:
    weight = trace.graph.values[value.inputs[1]]
    written, read = trace.constant(weight)
    trace.unite(read, trace.rows[value.inputs[0]])
    if isinstance(weight.op, Const) and weight.op.is_table:
        _tie_table(trace, trace.graph.constant(weight), written, read)
    _tie_constants(trace, value, written, "bias")
    return written


def _tie_table(trace: _Trace, table: np.ndarray, written: Ids, read: Ids) -> None:
    """A channel that a table moves stays the same one. What it repeats, sums or sets to a number belongs to what it meets."""
    is_alone = np.count_nonzero(table, axis=0) == 1
    for place, row in enumerate(table):
        (sources,) = row.nonzero()
        if sources.size == 1 and is_alone[sources[0]]:
            trace.unite(written[place : place + 1], read[sources])


@tie.register
def _(op: ops.Propagate, trace: _Trace, value: Value) -> Ids:
    channels = trace.rows[value.inputs[0]]
    weight = trace.operand(value, "weight")
    if weight is not None:
        _tie_heads(trace, channels, trace.rows[weight.id])
    return _tie_constants(trace, value, channels, "bias")


@tie.register
def _(op: ops.HeadDot, trace: _Trace, value: Value) -> Ids:
    channels = trace.rows[value.inputs[0]]
    scores, inner = trace.constant(trace.graph.values[value.inputs[1]])
    if trace.heads == "channels" or scores.size == 1:
        for head in channels.reshape(scores.size, -1):
            trace.unite(inner, head)
    _tie_heads(trace, channels, scores)
    return scores


def _tie_heads(trace: _Trace, channels: Ids, scores: Ids) -> None:
    """Channels [H * C] that are weighed head by head with [H] scores."""
    by_head = channels.reshape(scores.size, -1)  # [H, C]
    if scores.size == 1:
        trace.protect(scores, "the one attention score or edge weight of its layer")
    elif trace.heads == "channels":
        trace.protect(scores, "one attention score per head, and the heads stay")
        for channel in by_head.T:
            trace.unite_all(channel)
    else:
        for head, score in zip(by_head, scores, strict=True):
            trace.unite_all(np.append(head, score))


@tie.register
def _(op: ops.HeadMean, trace: _Trace, value: Value) -> Ids:
    by_head = trace.rows[value.inputs[0]].reshape(op.heads, -1)  # [H, C]
    if op.heads > 1 and trace.heads == "heads":
        reason = (
            f"HeadMean %{value.id} averages these heads, so that the mean would change; prune channels within heads"
        )
        trace.protect(by_head.ravel(), reason)
        mean = trace.fresh(by_head.shape[1])
        trace.protect(mean, reason)
        return mean
    for channel in by_head.T:
        trace.unite_all(channel)
    return by_head[0]


def _tie_constants(trace: _Trace, value: Value, channels: Ids, *slots: str) -> Ids:
    """Tie const[C] operands to the channels of a value."""
    for slot in slots:
        operand = trace.operand(value, slot)
        if operand is not None:
            trace.unite(channels, trace.constant(operand)[0])
    return channels


@tie.register
def _(op: ops.BatchNorm, trace: _Trace, value: Value) -> Ids:
    return _tie_constants(trace, value, trace.rows[value.inputs[0]], "weight", "bias", "mean", "variance")


@tie.register
def _(op: ops.LayerNorm, trace: _Trace, value: Value) -> Ids:
    channels = _tie_constants(trace, value, trace.rows[value.inputs[0]], "weight", "bias")
    where = f" ({value.scope})" if value.scope else ""
    trace.protect(channels, f"LayerNorm %{value.id}{where} averages over them, so that its statistics would change")
    return channels


@tie.register
def _(op: ops.LogSoftmax, trace: _Trace, value: Value) -> Ids:
    channels = trace.rows[value.inputs[0]]
    trace.protect(channels, f"softmax %{value.id} normalizes over them")
    return channels


@tie.register
def _(op: ops.Concat, trace: _Trace, value: Value) -> Ids:
    return np.concatenate([trace.rows[i] for i in value.inputs])


@tie.register
def _(op: ops.Slice, trace: _Trace, value: Value) -> Ids:
    return trace.rows[value.inputs[0]][op.start : op.stop]


def _binary(op: ops.Op, trace: _Trace, value: Value) -> Ids:
    sides = [_channels_of(trace, operand) for operand in trace.graph.operands(value)]
    if isinstance(op, ops.Div):
        trace.protect(sides[1], f"Div %{value.id} divides by them, and a pruned channel is zero")
    if sides[0].size == sides[1].size:
        return trace.unite(*sides)
    narrow, wide = sorted(sides, key=len)
    trace.protect(narrow, f"%{value.id} gives one value to every channel")
    return wide


_BINARY: tuple[type[ops.Op], ...] = (ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Maximum)
for _op in _BINARY:
    tie.register(_op, _binary)


def _channels_of(trace: _Trace, operand: Value) -> Ids:
    """Channels of a row value or of a const[C]."""
    return trace.constant(operand)[0] if operand.type.domain is Domain.CONST else trace.rows[operand.id]
