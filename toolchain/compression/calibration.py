"""Calibration: the range of every activation over real graphs, by a streaming histogram per value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from toolchain.compression.bins import widened
from toolchain.compression.evaluation import batches
from toolchain.errors import named
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, Value, interpret
from toolchain.ir.ops import Const
from toolchain.ir.types import Domain

HALF_BINS = 1 << 14


@dataclass(slots=True)
class ValueStatistics:
    """What one activation was seen to be. Memory does not grow with the number of graphs.

    Attributes:
        low, high: smallest and largest element.
        channel_peak: [C], largest magnitude per channel.
        is_binary: every element is 0 or 1, so that int8 with scale 1 stores it without loss.
    """

    low: float = np.inf
    high: float = -np.inf
    channel_peak: np.ndarray = field(default_factory=lambda: np.zeros(0))
    is_binary: bool = True
    _reach: float = 0.0  # the bins cover [-reach, reach); a power of two that doubles when a value exceeds it
    _counts: np.ndarray = field(default_factory=lambda: np.zeros(2 * HALF_BINS, np.int64))

    def update(self, array: np.ndarray) -> None:
        """Take in the rows of one batch, [rows, C]."""
        if array.size == 0:
            return
        self.low, self.high = min(self.low, float(array.min())), max(self.high, float(array.max()))
        peaks = np.abs(array).max(axis=0)
        self.channel_peak = np.maximum(self.channel_peak, peaks) if self.channel_peak.size else peaks
        if self.is_binary:
            self.is_binary = bool(((array == 0) | (array == 1)).all())
        self._counts, self._reach = widened(self._counts, self._reach, float(peaks.max()))
        place = np.floor(array.ravel().astype(np.float64) * (HALF_BINS / self._reach)).astype(np.int64) + HALF_BINS
        self._counts += np.bincount(place, minlength=2 * HALF_BINS)

    def range(self, percentile: float | None = None) -> tuple[float, float]:
        """(low, high), widened to include 0.

        Args:
            percentile: cut both tails so that this percentage of all elements lies below `high`, and above `low`; exact to
                1/16384 of the reach. None: the minimum and maximum.
        """
        if self.high < self.low:
            return 0.0, 0.0
        low, high = min(self.low, 0.0), max(self.high, 0.0)
        if percentile is None:
            return low, high
        cut_low, cut_high = -self._quantile(self._counts[::-1], percentile), self._quantile(self._counts, percentile)
        width = self._reach / HALF_BINS
        # A value that is almost always 0 would be cut to nothing; then the tail is the signal.
        return (max(low, cut_low) if cut_low < -width else low), (min(high, cut_high) if cut_high > width else high)

    def _quantile(self, counts: np.ndarray, percentile: float) -> float:
        wanted = percentile / 100 * counts.sum()
        cumulative = np.cumsum(counts)
        place = min(int(np.searchsorted(cumulative, wanted)), counts.size - 1)
        before = cumulative[place] - counts[place]
        inside = (wanted - before) / max(int(counts[place]), 1)
        return float((place - HALF_BINS + inside) * (self._reach / HALF_BINS))

    def elements(self, *, skip_zeros: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """(values, how often each was seen), float64: the centres of the bins that are not empty.

        Args:
            skip_zeros: leave out the bin that holds 0.
        """
        places = np.flatnonzero(self._counts)
        if skip_zeros:
            places = places[places != HALF_BINS]
        centres = (places - HALF_BINS + 0.5) * (self._reach / HALF_BINS)
        return centres, self._counts[places].astype(np.float64)

    @property
    def tail_ratio(self) -> float:
        """Largest magnitude over that at percentile 99.99: the larger, the more int8 loses of tail or rest."""
        low, high = self.range()
        cut_low, cut_high = self.range(99.99)
        cut = max(-cut_low, cut_high)
        return max(-low, high) / cut if cut > 0 else 1.0


def observe(
    graph: Graph, graphs: Sequence[GraphInputs], *, node_mask: np.ndarray | None = None
) -> dict[int, ValueStatistics]:
    """Statistics of every non-constant value of a float Graph over calibration graphs, by value id.

    Args:
        node_mask: with a single graph, the nodes [N] whose rows count.
    """
    statistics = {v.id: ValueStatistics() for v in graph.values if not isinstance(v.op, Const)}

    def watch(value: Value, array: np.ndarray) -> None:
        if value.id in statistics:
            is_masked = node_mask is not None and value.type.domain is Domain.NODE
            with named(value.place):
                statistics[value.id].update(array[node_mask] if is_masked else array)

    for batch in batches(graphs):
        interpret(graph, batch, watch)
    return statistics
