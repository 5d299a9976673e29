"""search: plans and predictions in, the fastest plan out, after measuring the few that may be it.

1. The default plan and the best predicted one of every group (format and precision) are measured. Each measurement over its
   prediction is the factor by which the model is wrong for that group on this target.
2. Plans whose prediction, times the factor of their group and divided by `margin`, is below the best measured time are
   measured, the best predicted first, until none is left or `most` were.
3. The best few and the default are measured once more, longer and in turns. The fastest of those that are surely faster than
   the default (`Timing.is_surely_faster`) is chosen, and the default where none is: so chance alone hardly ever leaves it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from device_benchmarks.planner.timing import Timing
from toolchain.errors import MeasurementError


class Grouped(Hashable, Protocol):
    """What can be searched: anything that says which of the others are wrong by the same factor."""

    @property
    def group(self) -> Hashable: ...


P = TypeVar("P", bound=Grouped)
# Measures plans in turns and gives their times, without those that cannot be made, run or trusted; True for the last time.
Measure = Callable[[Sequence[P], bool], Mapping[P, Timing]]

MARGIN = 1.5  # factor by which a prediction may still be wrong, when that of its group is known
MOST = 16
FINALISTS = 3


@dataclass(slots=True)
class Search(Generic[P]):
    """What a search found.

    Attributes:
        chosen: None until it is over.
        predicted: the calibrated prediction of every plan, as far as its group has a measurement; the plain one otherwise.
        measured: times of the measured plans, brought to the speed of the target at the first measurement.
        final: times of the last measurement, which decided; failed: plans that gave none.
    """

    predicted: dict[P, float]
    measured: dict[P, float] = field(default_factory=dict)
    failed: set[P] = field(default_factory=set)
    final: dict[P, float] = field(default_factory=dict)
    chosen: P | None = None


def search(
    plans: Sequence[P],
    default: P,
    predicted: Mapping[P, float],
    measure: Measure[P],
    *,
    margin: float = MARGIN,
    most: int = MOST,
) -> Search[P]:
    """Find the fastest plan.

    Args:
        default: the plan to keep unless another is surely faster.
        predicted: of every plan, in units that may differ from those of `measure` by a factor for each group.
        most: plans to measure at most, beside the first of each group.

    Raises:
        MeasurementError: no plan gave a time.
    """
    found = Search(dict(predicted))

    def take(batch: Sequence[P]) -> None:
        """Measure plans beside the best so far, whose time tells how the target's speed has changed since."""
        anchor = min(found.measured, key=found.measured.__getitem__, default=None)
        times = measure([*batch, *([] if anchor is None or anchor in batch else [anchor])], False)
        drift = found.measured[anchor] / times[anchor].us if anchor is not None and anchor in times else 1.0
        for plan in batch:
            if plan in times:
                found.measured[plan] = times[plan].us * drift
            else:
                found.failed.add(plan)

    def left() -> list[P]:
        return [plan for plan in plans if plan not in found.measured and plan not in found.failed]

    while probes := _first_of_groups(left(), found.measured, predicted):  # again for a group whose first plan failed
        take(list(dict.fromkeys([default, *probes])) if default in left() else probes)
    if not found.measured:
        raise MeasurementError(f"none of {len(plans)} plans could be measured")
    first = len(found.measured) + len(found.failed)
    while promising := _promising(left(), found, predicted, margin):
        room = first + most - len(found.measured) - len(found.failed)
        if room <= 0:
            break
        take(promising[: min(room, 4)])
    found.predicted = {plan: predicted[plan] * _factor(plan, found, predicted) for plan in plans}
    best = sorted(found.measured, key=found.measured.__getitem__)[:FINALISTS]
    finalists = list(dict.fromkeys([*best, *([default] if default in found.measured else [])]))
    timings = measure(finalists, True) if len(finalists) > 1 else {}
    found.final = {plan: timing.us for plan, timing in timings.items()} if timings else dict(found.measured)
    faster = [p for p, timing in timings.items() if default in timings and timing.is_surely_faster(timings[default])]
    if default in found.final:
        found.chosen = min(faster, key=found.final.__getitem__, default=default)
    else:
        found.chosen = min(found.final, key=found.final.__getitem__)
    return found


def _first_of_groups(left: Sequence[P], measured: Mapping[P, float], predicted: Mapping[P, float]) -> list[P]:
    """The best predicted plan of every group that has no measurement."""
    known = {plan.group for plan in measured}
    firsts: dict[Hashable, P] = {}
    for plan in sorted(left, key=predicted.__getitem__):
        if plan.group not in known:
            firsts.setdefault(plan.group, plan)
    return list(firsts.values())


def _promising(left: Sequence[P], found: Search[P], predicted: Mapping[P, float], margin: float) -> list[P]:
    """Plans that may be faster than the best measured one, the best predicted first."""
    best = min(found.measured.values())
    expected = {plan: predicted[plan] * _factor(plan, found, predicted) for plan in left}
    return [plan for plan in sorted(left, key=expected.__getitem__) if expected[plan] < margin * best]


def _factor(plan: P, found: Search[P], predicted: Mapping[P, float]) -> float:
    """Measured over predicted in the plan's group, geometric mean; of all groups where its own gave no time."""
    logs = {known: math.log(time / predicted[known]) for known, time in found.measured.items()}
    own = [log for known, log in logs.items() if known.group == plan.group] or list(logs.values())
    return math.exp(sum(own) / len(own))
