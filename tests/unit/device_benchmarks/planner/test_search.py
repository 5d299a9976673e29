"""search: it measures few plans, corrects predictions by what it measured, and leaves the default only for something faster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pytest

from device_benchmarks.planner.search import FINALISTS, search
from device_benchmarks.planner.timing import OF_ROUNDS, SURELY_FASTER, Timing
from toolchain.errors import MeasurementError


@dataclass(frozen=True, slots=True)
class Option:
    """A plan of which the true time is known."""

    name: str
    group: str
    us: float


class Target:
    """Gives true times and counts what it is asked; `speed` is how fast it is from one call to the next."""

    def __init__(self, broken: Sequence[str] = (), speed: Callable[[int], float] = lambda call: 1.0) -> None:
        self.batches: list[list[str]] = []
        self._broken, self._speed = broken, speed

    def __call__(self, plans: Sequence[Option], is_final: bool) -> Mapping[Option, Timing]:
        self.batches.append([plan.name for plan in plans])
        speed = self._speed(len(self.batches))
        return {p: Timing(p.us * speed, (p.us * speed,)) for p in plans if p.name not in self._broken}

    @property
    def seen(self) -> set[str]:
        return {name for batch in self.batches for name in batch}


OPTIONS = [
    Option("default", "a", 100), Option("a2", "a", 60), Option("a3", "a", 300), Option("a4", "a", 900),
    Option("b1", "b", 50), Option("b2", "b", 400), Option("c1", "c", 5000), Option("c2", "c", 9000),
]  # fmt: skip
DEFAULT = OPTIONS[0]


def exact(factors: Mapping[str, float] | None = None) -> dict[Option, float]:
    """Predictions that are right but for a factor of each group."""
    return {option: option.us * (factors or {}).get(option.group, 1.0) for option in OPTIONS}


@pytest.mark.parametrize("factors", [{}, {"b": 40.0}, {"a": 0.01, "c": 0.001}])
def test_predictions_may_be_wrong_by_any_factor_of_a_group(factors: dict[str, float]) -> None:
    target = Target()

    found = search(OPTIONS, DEFAULT, exact(factors), target)

    assert found.chosen is not None and found.chosen.name == "b1"
    assert target.seen == {"default", "a2", "b1", "c1"}  # the first of each group, the default, and what may be as fast


def test_what_is_within_the_margin_is_measured_and_what_is_not_is_not() -> None:
    predicted = exact() | {OPTIONS[4]: 60 * 0.9, OPTIONS[5]: 60 * 1.1}  # b2 seems as fast as a2, but is not

    target = Target()
    found = search(OPTIONS, DEFAULT, predicted, target, margin=1.5)

    assert "b2" in target.seen and "a3" not in target.seen
    assert found.chosen is not None and found.chosen.name == "b1"


def test_no_more_than_asked_for_are_measured_beside_the_first_of_each_group() -> None:
    target = Target()

    search(OPTIONS, DEFAULT, dict.fromkeys(OPTIONS, 1.0), target, margin=1e9, most=2)

    assert len(target.seen) == 3 + 2


def test_the_default_stays_where_nothing_is_surely_faster() -> None:
    rival = Option("rival", "a", DEFAULT.us * (SURELY_FASTER + 0.01))

    found = search([DEFAULT, rival], DEFAULT, {DEFAULT: 100, rival: 99}, Target())

    assert found.chosen == DEFAULT


def test_the_default_stays_where_another_is_faster_in_too_few_rounds() -> None:
    """Two plans that are the same, on a machine whose busy moments met the default more often."""
    rival = Option("rival", "a", 90.0)
    default = Timing(100.0, (100.0,) * 32)

    def chosen(faster: int) -> str:
        rounds = (90.0,) * faster + (101.0,) * (32 - faster)
        found = search([DEFAULT, rival], DEFAULT, {DEFAULT: 100, rival: 90}, lambda plans, is_final: {
            plan: Timing(90.0, rounds) if plan == rival else default for plan in plans
        })  # fmt: skip
        assert found.chosen is not None
        return found.chosen.name

    assert (chosen(int(32 * OF_ROUNDS) - 1), chosen(int(32 * OF_ROUNDS))) == ("default", "rival")


def test_of_those_that_are_surely_faster_the_fastest_is_chosen() -> None:
    """The fastest of all is not one of them: it wins too few rounds."""
    steady, lucky = Option("steady", "a", 95.0), Option("lucky", "a", 80.0)
    rounds = {"default": (100.0,) * 4, "steady": (95.0,) * 4, "lucky": (60.0, 60.0, 101.0, 101.0)}

    found = search([DEFAULT, steady, lucky], DEFAULT, {DEFAULT: 100, steady: 95, lucky: 80}, lambda plans, is_final: {
        plan: Timing(plan.us, rounds[plan.name]) for plan in plans
    })  # fmt: skip

    assert found.chosen == steady


def test_a_target_that_gets_slower_meanwhile_does_not_change_the_choice() -> None:
    """Every batch holds the best plan so far, whose time tells how much slower the target is now."""
    found = search(OPTIONS, DEFAULT, dict.fromkeys(OPTIONS, 1.0), Target(speed=lambda call: 1.7**call), margin=1e9)

    assert found.chosen is not None and found.chosen.name == "b1"
    first = found.measured[DEFAULT] / DEFAULT.us
    assert all(time == pytest.approx(first * option.us) for option, time in found.measured.items())


def test_the_last_measurement_is_of_the_best_few_and_the_default() -> None:
    target = Target()

    search(OPTIONS, DEFAULT, dict.fromkeys(OPTIONS, 1.0), target, margin=1e9)

    assert target.batches[-1] == ["b1", "a2", "default"][:FINALISTS]


def test_plans_that_fail_are_passed_over_and_another_of_the_group_stands_for_it() -> None:
    target = Target(broken=["default", "b1", "c1", "c2"])

    found = search(OPTIONS, DEFAULT, exact(), target)

    assert found.chosen is not None and found.chosen.name == "a2"
    assert found.failed >= {DEFAULT, OPTIONS[4], OPTIONS[6], OPTIONS[7]}
    assert OPTIONS[5] in found.measured


def test_no_plan_that_runs_is_an_error() -> None:
    with pytest.raises(MeasurementError, match="none of 8 plans"):
        search(OPTIONS, DEFAULT, exact(), Target(broken=[option.name for option in OPTIONS]))
