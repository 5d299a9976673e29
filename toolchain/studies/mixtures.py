"""Mixtures of widths for graph classifiers: MixQ's relaxed search under a limit on the mean width."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolchain.compression.bit_search import Assignment, MixQ, SearchSpace, relaxed_search
from toolchain.datasets import Split
from toolchain.errors import RecipeError

PENALTIES = (0.3, 3.0, 30.0)


def mixture(
    space: SearchSpace, parts: Split, *, most_bits: float, epochs: int, seed: int, batch: int,
    penalties: Sequence[float] = PENALTIES,
) -> Assignment:  # fmt: skip
    """What the search finds at the smallest penalty that brings the mean width, over values and weights, down to the limit.

    It sees the training graphs only.

    Raises:
        RecipeError: no penalty does.
    """
    reached = []
    for penalty in penalties:
        method = MixQ(list(parts.train), epochs, penalty, lr=0.001, mixture_lr=0.02, seed=seed, batch_size=batch)
        assignment = relaxed_search(space, method)
        reached.append(mean_bits(assignment))
        if reached[-1] <= most_bits:
            return assignment
    raise RecipeError(
        f"most_bits: {most_bits:g}, the search reached {min(reached):.2f}. Allow more bits, or more epochs."
    )


def mean_bits(assignment: Assignment) -> float:
    """Over values and weights."""
    return float(np.mean(list(assignment.values())))
