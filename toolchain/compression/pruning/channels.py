"""Structured pruning: whole channels leave the Graph, which becomes smaller."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import numpy as np

from toolchain.compression.channel_groups import ChannelGroup, ChannelMap, HeadUnit, channel_groups
from toolchain.compression.pruning.channel_removal import removed
from toolchain.compression.pruning.methods import PruningMethod, check_share
from toolchain.errors import RecipeError
from toolchain.ir import Graph
from toolchain.ir.ops import BatchNorm, Const
from toolchain.seeds import check_seed

logger = logging.getLogger("pocketgnn")

Importance = Literal["l1", "l2", "batch_norm", "random"]
IMPORTANCES: tuple[Importance, ...] = ("l1", "l2", "batch_norm", "random")


@dataclass(frozen=True, slots=True)
class StructuredChannels(PruningMethod):
    """Remove the least important channels of every group; inputs of the model and classes stay.

    A group is what one layer writes and all that is tied to it (`channel_groups`). A group that LayerNorm or a softmax
    averages over stays whole, since its result would change by more than the channels removed.

    Attributes:
        amount: share of each group that goes, in (0, 1): round(amount * prunable channels), always leaving one.
        channels: instead of a share, how many channels of each group go.
        importance: of a channel, over all Linear rows that write it: sum of magnitudes ("l1"), root of the sum of squares
            ("l2"); magnitude of its BatchNorm scales ("batch_norm", which leaves groups without BatchNorm alone); or drawn
            by `seed` ("random"). Of equal channels the earlier goes.
        heads: attention layers lose the same channels in every head ("channels"), or whole heads ("heads").
        targets: prune only the groups of layers whose weight or module path starts with one of these. None: all groups.
    """

    amount: float | None = None
    channels: int | None = None
    importance: Importance = "l1"
    heads: HeadUnit = "channels"
    targets: tuple[str, ...] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.amount is None) == (self.channels is None):
            raise RecipeError(
                f"amount: {self.amount} and channels: {self.channels}; state one of them: a share of each group, such as "
                "amount=0.5, or a number of channels."
            )
        if self.amount is not None:
            check_share("amount", self.amount)
        if self.channels is not None and self.channels < 1:
            raise RecipeError(f"channels: {self.channels}, expected at least 1 to remove from each group.")
        if self.importance not in IMPORTANCES:
            raise RecipeError(f"importance: {self.importance!r}, expected one of {', '.join(IMPORTANCES)}.")
        if self.heads not in ("channels", "heads"):
            raise RecipeError(f"heads: {self.heads!r}, expected 'channels' or 'heads'.")
        check_seed(self.seed)

    @property
    def name(self) -> str:
        size = f"{self.amount:.0%}" if self.amount is not None else str(self.channels)
        unit = "channels" if self.heads == "channels" else "channels and heads"
        return f"remove {size} of {unit} ({self.importance})"

    def apply(self, graph: Graph) -> Graph:
        channels = channel_groups(graph, self.heads)
        return removed(graph, channels, choose(graph, channels, self))


def choose(graph: Graph, channels: ChannelMap, method: StructuredChannels) -> frozenset[int]:
    """Ids of the channels that a method removes.

    Raises:
        RecipeError: no group can lose a channel, with the reason of each; or one has too few for `method.channels`.
    """
    groups = _targeted(channels.groups, method.targets)
    importance = _importance(graph, channels, method)
    guard = _Guard(channels)
    dropped: set[int] = set()
    for group in groups:
        ranked = sorted((c for c in group.prunable if c in importance), key=lambda c: importance[c])
        count = _count(group, len(ranked), method)
        going: list[int] = []
        for channel in ranked:
            if len(going) < count and guard.drops(channel):
                going.append(channel)
        if method.channels is not None and len(going) < count:
            raise RecipeError(
                f"channels: {count} of {group.name}, but without {len(going)} of them some value has one channel left. "
                "Remove fewer, or name other layers with targets."
            )
        logger.debug("%s: %d go", group, len(going))
        dropped.update(going)
    if not dropped:
        why = "; ".join(map(str, groups)) or "the graph has no Linear"
        raise RecipeError(
            f"channels: no group can lose any by {method.importance} ({why}). Choose another importance or amount, or name "
            "other layers with targets."
        )
    return frozenset(dropped)


def _count(group: ChannelGroup, measured: int, method: StructuredChannels) -> int:
    """How many channels of a group should go."""
    if method.amount is not None:
        return round(method.amount * measured)
    assert method.channels is not None
    most = measured - (measured == len(group.channels))
    if measured and method.channels > most:
        raise RecipeError(
            f"channels: {method.channels} of {group.name}, which has {len(group.channels)} and can lose {most}. Remove "
            "fewer, or name other layers with targets."
        )
    return method.channels if measured else 0


def _targeted(groups: tuple[ChannelGroup, ...], targets: tuple[str, ...] | None) -> list[ChannelGroup]:
    if targets is None:
        return list(groups)
    for target in targets:
        if not any(_is_named(group, target) for group in groups):
            names = ", ".join(group.name for group in groups)
            raise RecipeError(f"targets: {target!r} names no group of channels. Groups: {names or 'none'}.")
    return [group for group in groups if any(_is_named(group, target) for target in targets)]


def _is_named(group: ChannelGroup, target: str) -> bool:
    return any(name.startswith(target) for name in (*group.weights, *group.scopes))


def _importance(graph: Graph, channels: ChannelMap, method: StructuredChannels) -> dict[int, float]:
    """Importance of every channel that the method can measure."""
    if method.importance == "batch_norm":
        scales = [graph.values[value.inputs[1]].op for value in graph.values if isinstance(value.op, BatchNorm)]
        names = [op.name for op in scales if isinstance(op, Const)]
    else:
        names = [name for group in channels.groups for name in group.weights]
    total: dict[int, float] = {}
    for name in dict.fromkeys(names):
        array = graph.constants[name].astype(np.float64)
        sizes = np.square(array) if method.importance == "l2" else np.abs(array)
        for channel, size in zip(
            channels.axes[name][0].tolist(), sizes.reshape(len(array), -1).sum(axis=1), strict=True
        ):
            total[channel] = total.get(channel, 0.0) + float(size)
    if method.importance == "random":
        drawn = np.random.default_rng(method.seed).random(len(total))
        return dict(zip(total, drawn.tolist(), strict=True))
    return total


class _Guard:
    """Counts the channels that every value and every axis of a constant has left, and keeps the last of each."""

    def __init__(self, channels: ChannelMap) -> None:
        places = [*channels.rows, *(axis for axes in channels.axes.values() for axis in axes)]
        self._left = [len(set(ids.tolist())) for ids in places]
        self._holders: dict[int, list[int]] = {}
        for place, ids in enumerate(places):
            for channel in set(ids.tolist()):
                self._holders.setdefault(channel, []).append(place)

    def drops(self, channel: int) -> bool:
        """Drop a channel, unless it is the last of some place; whether it was dropped."""
        if any(self._left[place] == 1 for place in self._holders[channel]):
            return False
        for place in self._holders[channel]:
            self._left[place] -= 1
        return True
