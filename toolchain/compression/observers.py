"""Observers: the range of a value, followed through training. The range of a step comes from the steps before it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from toolchain.compression.bins import check_finite_range, widened
from toolchain.compression.calibration import ValueStatistics
from toolchain.errors import RecipeError


class RangeObserver(Protocol):
    """The running range of one value."""

    def update(self, x: Tensor) -> None:
        """Take in the real values of one step, any shape."""

    def range(self) -> tuple[float, float]:
        """(low, high) at present."""


class Observer(Protocol):
    """What a user names: makes the running range of a value of so many bits, starting from its calibration."""

    def start(self, statistics: ValueStatistics, bits: int) -> RangeObserver: ...


@dataclass(frozen=True, slots=True)
class MinMax:
    """The smallest and the largest element of all steps: a range that only grows."""

    def start(self, statistics: ValueStatistics, bits: int) -> RangeObserver:
        return _RunningRange(*statistics.range(), momentum=None)


@dataclass(frozen=True, slots=True)
class Momentum:
    """A moving average of the smallest and the largest element of each step."""

    momentum: float = 0.01

    def __post_init__(self) -> None:
        _check_share("momentum", self.momentum, 1.0)

    def start(self, statistics: ValueStatistics, bits: int) -> RangeObserver:
        return _RunningRange(*statistics.range(), momentum=self.momentum)


@dataclass(frozen=True, slots=True)
class Percentile:
    """Percentiles of a moving average of the distribution, kept as a histogram: nothing is sorted.

    Attributes:
        share: of the elements cut at each end.
        momentum: weight of a step's distribution.
        sample: elements of a step that are looked at, evenly spaced; all where there are fewer.

    Source: ranges by percentile as in Tailor et al. 2021 (arXiv:2008.05000), which sorts the elements of every step and takes
    the widest range of all steps. That is why it can cut 0.01 at 4 bits: of an average, that would be the hubs of every graph.
    """

    share: float = 0.001
    momentum: float = 0.01
    sample: int = 1 << 12

    def __post_init__(self) -> None:
        _check_share("share", self.share, 0.5)
        _check_share("momentum", self.momentum, 1.0)
        if self.sample < 1:
            raise RecipeError(f"sample: {self.sample}, expected 1 or more elements.")

    def start(self, statistics: ValueStatistics, bits: int) -> RangeObserver:
        return _Histogram(statistics, self.share, self.momentum, self.sample)


@dataclass(frozen=True, slots=True)
class ExactPercentile:
    """Percentiles of all elements of each step, selected exactly; the range only grows. Degree-Quant's own rule, and slow.

    Attributes:
        share: of the elements cut at each end; None: 0.001 for 8 bits and more, 0.01 for fewer.
    """

    share: float | None = None

    def __post_init__(self) -> None:
        _check_share("share", 0.001 if self.share is None else self.share, 0.5)

    def start(self, statistics: ValueStatistics, bits: int) -> RangeObserver:
        share = self.share if self.share is not None else 0.001 if bits >= 8 else 0.01
        return _ExactRange(*statistics.range(100 * (1 - share)), share)


def _check_share(name: str, value: float, most: float) -> None:
    if not 0 < value <= most:
        raise RecipeError(f"{name}: {value}, expected a number in (0, {most:g}].")


class _RunningRange:
    """Minimum and maximum, extended or averaged."""

    def __init__(self, low: float, high: float, momentum: float | None) -> None:
        self._low, self._high, self._momentum = low, high, momentum

    def update(self, x: Tensor) -> None:
        if x.numel() == 0:
            return
        low, high = (float(bound) for bound in torch.aminmax(x))
        check_finite_range(low, high)
        if self._momentum is None:
            self._low, self._high = min(self._low, low), max(self._high, high)
        else:
            self._low += self._momentum * (low - self._low)
            self._high += self._momentum * (high - self._high)

    def range(self) -> tuple[float, float]:
        return self._low, self._high


class _ExactRange(_RunningRange):
    """The elements at both percentiles, extended."""

    def __init__(self, low: float, high: float, share: float) -> None:
        super().__init__(low, high, momentum=None)
        self._share = share

    def update(self, x: Tensor) -> None:
        flat, count = x.flatten(), x.numel()
        if count == 0:
            return
        places = max(1, int(self._share * count)), max(1, int((1 - self._share) * count))
        low, high = (float(torch.kthvalue(flat, place).values) for place in places)
        check_finite_range(low, high)
        self._low, self._high = min(self._low, low), max(self._high, high)


HALF_BINS = 1 << 11
PAIRS = 2  # edges are often listed in both directions in turn


class _Histogram:
    """A distribution over [-reach, reach), a power of two that doubles when an element exceeds it."""

    def __init__(self, statistics: ValueStatistics, share: float, momentum: float, sample: int) -> None:
        self._share, self._momentum, self._sample = share, momentum, sample
        self._density: np.ndarray = np.zeros(2 * HALF_BINS)
        self._reach = 0.0
        elements, counts = statistics.elements()
        if elements.size:
            self._density, self._reach = widened(self._density, self._reach, float(np.abs(elements).max()))
            self._density = np.bincount(self._places(elements), counts / counts.sum(), 2 * HALF_BINS)

    def update(self, x: Tensor) -> None:
        if x.numel() == 0:
            return
        seen: np.ndarray = x.flatten()[:: _stride(x, self._sample)].numpy()
        self._density, self._reach = widened(self._density, self._reach, float(np.abs(seen).max()))
        counts = np.bincount(self._places(seen), minlength=2 * HALF_BINS)
        self._density += self._momentum * (counts / seen.size - self._density)

    def range(self) -> tuple[float, float]:
        if self._reach == 0.0:
            return 0.0, 0.0
        cumulative, width = np.cumsum(self._density), self._reach / HALF_BINS
        seen = np.flatnonzero(self._density)
        low, high = self._edge(seen[0]), self._edge(seen[-1] + 1)
        cut_low = self._quantile(cumulative, self._share * cumulative[-1])
        cut_high = self._quantile(cumulative, (1 - self._share) * cumulative[-1])
        # A value that is almost always 0 would be cut to nothing; then the tail is the signal.
        return (max(low, cut_low) if cut_low < -width else low), (min(high, cut_high) if cut_high > width else high)

    def _quantile(self, cumulative: np.ndarray, wanted: float) -> float:
        place = min(int(np.searchsorted(cumulative, wanted)), cumulative.size - 1)
        before = cumulative[place - 1] if place else 0.0
        inside = (wanted - before) / self._density[place] if self._density[place] > 0 else 0.0
        return self._edge(place + inside)

    def _edge(self, place: float) -> float:
        return float((place - HALF_BINS) * (self._reach / HALF_BINS))

    def _places(self, x: np.ndarray) -> np.ndarray:
        return np.floor(x * (HALF_BINS / self._reach)).astype(np.int64) + HALF_BINS


def _stride(x: Tensor, sample: int) -> int:
    """From one element that is looked at to the next, such that all columns come by, and both rows of pairs."""
    stride = max(1, x.numel() // sample)
    while math.gcd(stride, PAIRS * x.shape[-1]) > 1:
        stride += 1
    return stride
