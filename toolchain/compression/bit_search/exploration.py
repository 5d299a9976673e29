"""Exploration: many bit assignments tried, all of them or a random part, and what each slot's width does on average."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from toolchain.compression.bit_search.additive import Assignment
from toolchain.errors import RecipeError

MOST = 1_000_000  # assignments that are listed at all


@dataclass(frozen=True, slots=True)
class Trial:
    """An assignment that was tried: its accuracy on validation graphs, and its cost in the unit of the search."""

    assignment: Assignment
    accuracy: float
    cost: float


@dataclass(frozen=True, slots=True)
class MainEffect:
    """Mean accuracy of all trials in which a slot has some width, and how many those are."""

    slot: str
    bits: int
    accuracy: float
    trials: int


def assignments(
    candidates: Mapping[str, Sequence[int]], *, count: int | None = None, seed: int = 0
) -> Iterator[dict[str, int]]:
    """All assignments in the order of the candidates, or `count` different ones at random.

    Raises:
        RecipeError: more than a million without a count, or a count below 1.
    """
    total = math.prod(len(widths) for widths in candidates.values())
    if count is not None and count < 1:
        raise RecipeError(f"count: {count}, expected at least 1 assignment.")
    if count is None and total > MOST:
        raise RecipeError(f"candidates: make {total:.3g} assignments; give a count, and so many are drawn at random.")
    if count is None or count >= total:
        yield from (dict(zip(candidates, bits, strict=True)) for bits in itertools.product(*candidates.values()))
        return
    rng = np.random.default_rng(seed)
    drawn: set[tuple[int, ...]] = set()
    while len(drawn) < count:
        bits = tuple(int(rng.choice(widths)) for widths in candidates.values())
        if bits not in drawn:
            drawn.add(bits)
            yield dict(zip(candidates, bits, strict=True))


def explore(
    tried: Iterator[dict[str, int]], accuracy: Callable[[Assignment], float], cost: Callable[[Assignment], float]
) -> Iterator[Trial]:
    """Try assignments one after the other; a trial is given out as soon as it is done, so that it can be kept."""
    for assignment in tried:
        yield Trial(assignment, accuracy(assignment), cost(assignment))


def main_effects(trials: Sequence[Trial]) -> list[MainEffect]:
    """For every slot and width the mean accuracy of the trials that have it, in the order of slots and widths."""
    slots = {slot: sorted({t.assignment[slot] for t in trials}) for slot in (trials[0].assignment if trials else ())}
    effects = []
    for slot, widths in slots.items():
        for bits in widths:
            found = [t.accuracy for t in trials if t.assignment[slot] == bits]
            effects.append(MainEffect(slot, bits, float(np.mean(found)), len(found)))
    return effects


def front(trials: Sequence[Trial]) -> list[Trial]:
    """The trials that no other beats in accuracy at the same or a lower cost, by rising cost."""
    best: list[Trial] = []
    for trial in sorted(trials, key=lambda t: (t.cost, -t.accuracy)):
        if not best or trial.accuracy > best[-1].accuracy:
            best.append(trial)
    return best
