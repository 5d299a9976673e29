"""Channel removal: a Graph and the channels to drop in, a smaller Graph out, and the zeroed one that it equals."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from toolchain.compression.channel_groups import ChannelMap
from toolchain.ir import Graph, GraphBuilder, Value, rewrite, verify
from toolchain.ir.ops import Const, Slice


def removed(graph: Graph, channels: ChannelMap, dropped: Collection[int]) -> Graph:
    """The Graph without some channels: narrower constants and values, the same inputs and outputs.

    Its outputs equal those of `zeroed` exactly, as far as sums over channels are taken in the same order.

    Args:
        dropped: ids of prunable channels, never all channels of a value.
    """
    gone = np.array(sorted(dropped), np.int64)

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        op = value.op
        if isinstance(op, Slice):
            kept = ~np.isin(channels.rows[value.inputs[0]], gone)
            start, stop = int(kept[: op.start].sum()), int(kept[: op.stop].sum())
            return builder.add(Slice(start, stop), *inputs, scope=value.scope)
        if not isinstance(op, Const):
            return None
        kept_of_axes = [~np.isin(ids, gone) for ids in channels.axes[op.name]]
        array = graph.constants[op.name][np.ix_(*kept_of_axes)]
        if op.name in builder.constants:  # two values of one constant
            return builder.add(replace(op, type=replace(op.type, shape=array.shape)), scope=value.scope)
        return builder.changed(op, array, scope=value.scope)

    return verify(rewrite(graph, rule))


def zeroed(graph: Graph, channels: ChannelMap, dropped: Collection[int]) -> Graph:
    """The Graph with every constant element that `removed` drops set to zero; no shape changes."""
    gone = np.array(sorted(dropped), np.int64)
    changed = {}
    for name, axes in channels.axes.items():
        kept = np.ix_(*(~np.isin(ids, gone) for ids in axes))
        array = np.zeros_like(graph.constants[name])
        array[kept] = graph.constants[name][kept]
        changed[name] = array
    return graph.with_constants(changed)
