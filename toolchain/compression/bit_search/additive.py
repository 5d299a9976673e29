"""The best bit assignments of an additive model: losses and costs per slot in, the cheapest assignments within a budget out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from toolchain.errors import RecipeError, require

Assignment = Mapping[str, int]
"""Bits of every slot, by its name."""

Table = Mapping[str, Mapping[int, float]]
"""Slot → bits → a number that adds up over the slots."""

DEAR = 0.01  # share of the largest cost from which on a slot decides what an assignment costs
ALIKE = 2  # assignments that may share the bits of all dear slots
_PREFERENCE = 1e-6  # of more bits where the losses are equal, per bit


def best_assignments(losses: Table, costs: Table, budget: float, *, count: int = 1) -> list[dict[str, int]]:
    """The assignments of least total loss whose total cost is within a budget, best first.

    At most two of them share the bits of all slots that make up the cost: the others would differ only where it hardly
    matters. Of equal losses, more bits are better.

    Args:
        losses: what each slot at each width takes from the accuracy, >= 0. Its widths are the candidates.
        costs: of the same slots and widths, in the unit of the budget.

    Raises:
        RecipeError: no assignment is within the budget; says what the cheapest one costs.
    """
    choices = [(slot, bits) for slot, widths in losses.items() for bits in sorted(widths)]
    cost = np.array([costs[slot][bits] for slot, bits in choices])
    cheapest = sum(min(costs[slot][bits] for bits in widths) for slot, widths in losses.items())
    budget *= 1 + 1e-9  # costs are sums of floats
    if cheapest > budget:
        raise RecipeError(
            f"budget: {budget:g}, but the cheapest assignment costs {cheapest:g}, {cheapest / budget:.3g} times as much. Raise the "
            "budget, or add narrower candidates."
        )
    optimize: Any = require("scipy.optimize", "search")
    target = np.array([losses[slot][bits] - _PREFERENCE * bits for slot, bits in choices])
    one_each = np.array([[slot == other for other, _ in choices] for slot in losses], float)
    scale = max(cheapest, budget, 1e-30)  # the solver's tolerance is absolute
    constraints = [
        optimize.LinearConstraint(one_each, 1, 1),
        optimize.LinearConstraint(cost[None, :] / scale, -np.inf, budget / scale),
    ]
    dear = _dear_slots(costs, losses)
    found: list[dict[str, int]] = []
    while len(found) < count:
        result = optimize.milp(
            target, integrality=np.ones(len(choices)), bounds=optimize.Bounds(0, 1), constraints=constraints,
        )  # fmt: skip
        if not result.success:
            break  # all assignments within the budget were found
        assignment = {slot: bits for (slot, bits), x in zip(choices, result.x, strict=True) if x > 0.5}
        found.append(assignment)
        constraints.append(_excluding(choices, assignment, optimize))
        pattern = {slot: assignment[slot] for slot in dear}
        if sum(all(other[slot] == bits for slot, bits in pattern.items()) for other in found) >= ALIKE:
            constraints.append(_excluding(choices, pattern, optimize))
    return found


def monotone(losses: Table) -> dict[str, dict[int, float]]:
    """Losses without noise that cannot be: none below 0, and none smaller at fewer bits than at more."""
    cleaned = {}
    for slot, widths in losses.items():
        largest, row = 0.0, {}
        for bits in sorted(widths, reverse=True):
            largest = row[bits] = max(largest, widths[bits])
        cleaned[slot] = row
    return cleaned


def _dear_slots(costs: Table, losses: Table) -> list[str]:
    """Slots whose choice moves the cost by a noticeable share of the whole."""
    span = {
        slot: max(costs[slot][b] for b in widths) - min(costs[slot][b] for b in widths)
        for slot, widths in losses.items()
    }
    return [slot for slot, width in span.items() if width >= DEAR * max(sum(span.values()), 1e-30)]


def _excluding(choices: Sequence[tuple[str, int]], assignment: Assignment, optimize: Any) -> Any:
    """A constraint that some slot of an assignment has other bits."""
    row = np.array([[assignment.get(slot) == bits for slot, bits in choices]], float)
    return optimize.LinearConstraint(row, -np.inf, len(assignment) - 1)
