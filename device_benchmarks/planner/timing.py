"""Timing: how long a plan takes, and when one plan is faster than another beyond what chance would show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from device_benchmarks.planner.stopwatch import Rounds, median_us

SURELY_FASTER = 0.98  # time of a plan over that of the default, from which on leaving the default is worth it
OF_ROUNDS = 0.75  # share of the rounds in which it has to be faster: of 32 rounds, 0.4 % of equal plans are


@dataclass(frozen=True, slots=True)
class Timing:
    """Microseconds of one inference.

    Attributes:
        us: of all rounds.
        rounds: of each round, in which the plans that are compared took turns; at least one.
    """

    us: float
    rounds: tuple[float, ...]

    @classmethod
    def of(cls, rounds: Sequence[Rounds], shares: Sequence[float]) -> Timing:
        """The mean over graphs by their shares, from the rounds of each graph."""
        medians = np.array([[np.median(taken) for taken in graph] for graph in rounds])  # [graphs, rounds]
        whole = [median_us(graph) for graph in rounds]
        return cls(float(np.dot(shares, whole)), tuple(float(us) for us in np.asarray(shares) @ medians))

    def is_surely_faster(self, other: Timing) -> bool:
        """Faster by more than SURELY_FASTER in the median round, and faster at all in OF_ROUNDS of them.

        A few rounds of a busy machine can shift a median; they cannot make a plan win three rounds of four.
        """
        ratios = [ours / theirs for ours, theirs in zip(self.rounds, other.rounds, strict=True)]
        return float(np.median(ratios)) <= SURELY_FASTER and float(np.mean(np.less(ratios, 1))) >= OF_ROUNDS
