"""Exploration: which assignments are tried, and what the tables over them say."""

from __future__ import annotations

import pytest

from toolchain.compression.bit_search.exploration import Trial, assignments, explore, front, main_effects
from toolchain.errors import RecipeError

CANDIDATES = {"x": (2, 8), "w": (2, 4, 8)}


def test_without_a_count_every_assignment_comes_once() -> None:
    found = list(assignments(CANDIDATES))
    assert len(found) == 6 and len({tuple(a.items()) for a in found}) == 6
    assert found[0] == {"x": 2, "w": 2}


def test_a_count_draws_different_assignments_and_the_same_by_the_same_seed() -> None:
    many = {f"s{i}": (2, 4, 8) for i in range(9)}
    found = list(assignments(many, count=50, seed=1))
    assert len({tuple(a.items()) for a in found}) == 50
    assert found == list(assignments(many, count=50, seed=1)) != list(assignments(many, count=50, seed=2))


def test_more_assignments_than_can_be_listed_need_a_count() -> None:
    with pytest.raises(RecipeError, match="give a count"):
        next(assignments({f"s{i}": (2, 4, 8) for i in range(30)}))


def test_main_effects_are_means_over_all_other_slots() -> None:
    trials = list(explore(assignments(CANDIDATES), lambda a: a["x"] / 10 + a["w"] / 100, lambda a: sum(a.values())))
    effects = {(e.slot, e.bits): e.accuracy for e in main_effects(trials)}

    assert effects["x", 8] - effects["x", 2] == pytest.approx(0.6)
    assert effects["w", 4] - effects["w", 2] == pytest.approx(0.02)
    assert all(e.trials == (3 if e.slot == "x" else 2) for e in main_effects(trials))


def test_the_front_holds_what_nothing_beats() -> None:
    trials = [
        Trial({"x": i}, accuracy, cost) for i, (accuracy, cost) in enumerate([(0.5, 1), (0.4, 2), (0.7, 3), (0.7, 4)])
    ]
    assert [t.cost for t in front(trials)] == [1, 3]
