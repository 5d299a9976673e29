"""Sensitivity search: one slot at a time is narrowed and trained briefly; an additive model of the losses picks assignments."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from toolchain.compression.best_epoch import validation_score
from toolchain.compression.bit_search.additive import Assignment, Table, best_assignments, monotone
from toolchain.compression.bit_search.space import SearchSpace
from toolchain.compression.evaluation import as_inputs, predict
from toolchain.compression.qat import QAT, quantization_aware
from toolchain.errors import RecipeError
from toolchain.ir import Graph

logger = logging.getLogger("pocketgnn")


@dataclass(frozen=True, slots=True, eq=False)
class SensitivitySearch:
    """Options of the search.

    Attributes:
        qat: how finalists are trained: its quantizers are replaced. Its validation graphs, if any, choose the epoch, and its
            `criterion` says what widths are compared by: "accuracy", or "loss", which tells more where few nodes or graphs count.
        validation: graphs with labels that widths are compared on (node tasks: in `val_mask`). Never the test graphs.
        budget: the most that an assignment may cost, in the unit of the space's accounting.
        probe_epochs: of the training with one slot narrowed.
        finalists: assignments that are trained in full.
        seeds: trainings per probe and finalist, whose mean counts.
    """

    qat: QAT
    validation: Sequence[Any]
    budget: float
    probe_epochs: int = 25
    finalists: int = 5
    seeds: int = 1

    def __post_init__(self) -> None:
        for place in ("probe_epochs", "finalists", "seeds"):
            if getattr(self, place) < 1:
                raise RecipeError(f"{place}: {getattr(self, place)}, expected at least 1.")


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """What a search found.

    Attributes:
        assignment: bits of every slot.
        cost: in the unit of the space's accounting.
        score: mean over its trainings on the validation graphs: accuracy, or minus the cross entropy.
        losses: how much of the score each slot was measured to lose at each width, noise taken out.
        finalists: all that were trained in full, with their scores, best first.
    """

    assignment: Assignment
    cost: float
    score: float
    losses: Table
    finalists: tuple[tuple[Assignment, float], ...]


def sensitivity_search(
    graph: Graph, space: SearchSpace, method: SensitivitySearch, progress: Callable[[str], None] = lambda line: None
) -> Choice:
    """The assignment within a budget that trains to the highest validation score, among those an additive model proposes.

    Args:
        graph: the float graph that the space is of.
        progress: called with a line of text after each training.

    Raises:
        RecipeError: no assignment is within the budget; says what the cheapest one costs.
    """
    best_assignments({name: dict.fromkeys(w, 0.0) for name, w in space.candidates.items()}, space.costs, method.budget)

    inputs = as_inputs(method.validation)

    def shown(score: float) -> str:
        return f"{100 * score:+.2f} points" if method.qat.criterion == "accuracy" else f"cross entropy {-score:+.4f}"

    def score(assignment: Assignment, epochs: int) -> float:
        found = []
        for seed in range(method.seeds):
            qat = replace(
                method.qat,
                epochs=epochs,
                quantizers=space.quantizers(assignment),
                seed=method.qat.seed + seed,
                watch=None,  # a probe is no training that anyone follows
            )
            made = quantization_aware(graph, qat)
            found.append(validation_score(method.validation, partial(predict, made, inputs), qat.criterion, qat.loss))
        return float(np.mean(found))

    reference = score(space.widest, method.probe_epochs)
    losses: dict[str, dict[int, float]] = {}
    for name, widths in space.candidates.items():
        losses[name] = {widths[-1]: 0.0}
        for bits in widths[:-1]:
            losses[name][bits] = reference - score({**space.widest, name: bits}, method.probe_epochs)
            progress(f"{name} at {bits} bits: {shown(-losses[name][bits])} on the validation graphs")
    losses = monotone(losses)
    proposed = best_assignments(losses, space.costs, method.budget, count=method.finalists)
    trained = []
    for number, assignment in enumerate(proposed, 1):
        trained.append((assignment, score(assignment, method.qat.epochs)))
        progress(f"finalist {number} of {len(proposed)}: {shown(trained[-1][1])} on the validation graphs")
    trained.sort(key=lambda pair: -pair[1])
    best, reached = trained[0]
    return Choice(best, space.cost(best), reached, losses, tuple(trained))
