"""Assignments of an additive model: against enumeration, within the budget, and refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from toolchain.compression.bit_search.additive import ALIKE, best_assignments, monotone
from toolchain.errors import RecipeError

WIDTHS = (2, 4, 8)


def tables(seed: int, slots: int) -> tuple[dict[str, dict[int, float]], dict[str, dict[int, float]]]:
    rng = np.random.default_rng(seed)
    losses = {f"s{i}": dict(zip(WIDTHS, sorted(rng.random(3), reverse=True), strict=True)) for i in range(slots)}
    costs = {f"s{i}": {bits: bits * size for bits in WIDTHS} for i, size in enumerate(rng.random(slots) ** 4)}
    return losses, costs


def total(table: dict[str, dict[int, float]], assignment: dict[str, int]) -> float:
    return sum(table[slot][bits] for slot, bits in assignment.items())


@pytest.mark.parametrize("seed", range(5))
def test_the_first_assignment_is_the_best_of_all_within_the_budget(seed: int) -> None:
    losses, costs = tables(seed, slots=6)
    budget = 0.5 * sum(widths[8] for widths in costs.values())
    everything = [dict(zip(losses, bits, strict=True)) for bits in itertools.product(WIDTHS, repeat=6)]
    allowed = [a for a in everything if total(costs, a) <= budget]

    best = best_assignments(losses, costs, budget)[0]

    assert total(costs, best) <= budget
    assert total(losses, best) == pytest.approx(min(total(losses, a) for a in allowed), abs=1e-4)


def test_later_assignments_are_worse_and_not_all_alike_where_it_costs() -> None:
    losses, costs = tables(3, slots=7)
    found = best_assignments(losses, costs, 0.6 * sum(widths[8] for widths in costs.values()), count=8)

    assert len(found) == 8 and len({tuple(sorted(a.items())) for a in found}) == 8
    assert [round(total(losses, a), 6) for a in found] == sorted(round(total(losses, a), 6) for a in found)
    dear = [slot for slot in costs if 6 * costs[slot][2] / 2 >= 0.01 * sum(6 * c[2] / 2 for c in costs.values())]
    patterns = [tuple(a[slot] for slot in dear) for a in found]
    assert max(patterns.count(p) for p in patterns) <= ALIKE


def test_equal_losses_go_to_more_bits() -> None:
    losses, costs = {"a": dict.fromkeys(WIDTHS, 0.0)}, {"a": {2: 2.0, 4: 4.0, 8: 8.0}}
    assert best_assignments(losses, costs, 7.0) == [{"a": 4}]


def test_fewer_assignments_than_asked_for_are_all_there_are() -> None:
    losses, costs = {"a": {2: 0.1, 8: 0.0}}, {"a": {2: 2.0, 8: 8.0}}
    assert best_assignments(losses, costs, 10.0, count=5) == [{"a": 8}, {"a": 2}]


def test_a_budget_that_nothing_meets_says_what_the_cheapest_costs() -> None:
    losses, costs = tables(0, slots=3)
    cheapest = sum(widths[2] for widths in costs.values())
    with pytest.raises(RecipeError, match=rf"the cheapest assignment costs {cheapest:g}, 1\.11 times as much"):
        best_assignments(losses, costs, 0.9 * cheapest)


def test_noise_that_cannot_be_is_taken_out_of_losses() -> None:
    assert monotone({"a": {8: -0.01, 4: 0.03, 2: 0.02}}) == {"a": {8: 0.0, 4: 0.03, 2: 0.03}}
