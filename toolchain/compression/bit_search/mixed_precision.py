"""MixedPrecision: search the bits of every value and weight, then train what was found. A method of `quantize`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from toolchain.compression.bit_search.additive import Assignment
from toolchain.compression.bit_search.budget_search import Budget, BudgetSearch, budget_search
from toolchain.compression.bit_search.relaxed import MixQ, relaxed_search
from toolchain.compression.bit_search.sensitivity import SensitivitySearch, sensitivity_search
from toolchain.compression.bit_search.space import Accounting, SearchSpace, Widths
from toolchain.compression.qat import QAT, quantization_aware
from toolchain.errors import RecipeError
from toolchain.ir import Graph
from toolchain.ir.operation_counts import GraphSizes, operation_counts, short

logger = logging.getLogger("pocketgnn")

Search = Literal["sensitivity", "relaxed", "optuna"]
SEARCHES: tuple[Search, ...] = ("sensitivity", "relaxed", "optuna")


@dataclass(frozen=True, slots=True, eq=False)
class MixedPrecision:
    """Bits of every value and weight by a search, then quantization-aware training with them.

    Attributes:
        qat: the training at the end, and of candidates; its quantizers are replaced.
        validation: graphs with labels that candidates are compared on (node tasks: in `val_mask`). Never the test graphs.
        search: "sensitivity" narrows one slot at a time and adds up the losses (`SensitivitySearch`); "relaxed" is MixQ's
            softmax mixture (`MixQ`), which has a penalty instead of a budget; "optuna" a Gaussian process (`BudgetSearch`).
        budget: share of the float model's cost, in (0, 1].
        accounting: of a cost (`SearchSpace`).
        widths: candidate bits of every slot, or by names and patterns of slots.
        penalty: of "relaxed".
        probe_epochs, finalists: of "sensitivity".
        trials, storage, workers: of "optuna".
        limits: further budgets of "optuna", such as of bytes of an exported file.
        channels: shares of the channels of every group that "optuna" may remove before.
    """

    qat: QAT
    validation: Sequence[Any]
    search: Search = "sensitivity"
    budget: float = 0.25
    accounting: Accounting = "bit_operations"
    widths: Widths = (2, 4, 8)
    penalty: float = 1.0
    probe_epochs: int = 10
    finalists: int = 3
    trials: int = 30
    storage: Path | None = None
    workers: int = 1
    limits: tuple[Budget, ...] = ()
    channels: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if self.search not in SEARCHES:
            raise RecipeError(f"search: {self.search!r}, expected one of {', '.join(SEARCHES)}.")
        if not 0 < self.budget <= 1:
            raise RecipeError(
                f"budget: {self.budget:g}, expected a share of the float model's cost in (0, 1], such as 0.1."
            )
        if self.search != "optuna" and (self.limits or self.channels != (0.0,)):
            raise RecipeError(f"search: {self.search!r} knows no limits and no channels to remove. Take 'optuna'.")
        if self.search == "optuna" and self.accounting == "storage":
            raise RecipeError(
                "accounting: 'storage' adds up over slots, but 'optuna' may remove channels. Limit the file's size instead: "
                "limits=budgets(...), or --max-size."
            )
        object.__setattr__(self, "validation", list(self.validation))  # a generator could be read only once
        if not self.validation:
            raise RecipeError("validation: no graphs, expected some with labels: bits are chosen on them.")


def mixed_precision(graph: Graph, method: MixedPrecision) -> Graph:
    """The integer graph with searched bits, trained.

    Raises:
        RecipeError: no assignment is within the budget: says what the nearest one costs.
        TrainingDiverged: a loss is not finite.
    """
    space = SearchSpace.of(graph, method.qat.static, method.widths, method.validation, method.accounting)
    limit = method.budget * float_cost(space)
    if method.search == "optuna":
        budget = Budget(method.accounting, limit, partial(_cost_of, space.accounting, space.sizes))
        found = budget_search(graph, BudgetSearch(
            method.qat, method.validation, (budget, *method.limits), method.widths, method.channels, trials=method.trials,
            initial=min(10, method.trials), seed=method.qat.seed, storage=method.storage, workers=method.workers,
        ))  # fmt: skip
        costs = ", ".join(f"{name} {short(cost)}" for name, cost in found.best.costs.items())
        removed = f"{found.best.channels:.0%} of channels removed; " if found.best.channels else ""
        logger.info("%sbits: %s; %s", removed, _words(found.best.bits), costs)
        return found.graph
    assignment = _chosen(graph, space, method, limit)
    cost = space.cost(assignment)
    logger.info("bits: %s; %s of %s", _words(assignment), short(cost), short(float_cost(space)))
    return quantization_aware(graph, replace(method.qat, quantizers=space.quantizers(assignment)))


def float_cost(space: SearchSpace) -> float:
    """Cost of the float model in the accounting of a space: 32 bits everywhere."""
    if space.accounting == "storage":
        return 32 * sum(space.elements.values())
    return float(getattr(operation_counts(space.source, space.sizes), space.accounting))


def _chosen(graph: Graph, space: SearchSpace, method: MixedPrecision, limit: float) -> Assignment:
    if method.search == "sensitivity":
        options = SensitivitySearch(method.qat, method.validation, limit, method.probe_epochs, method.finalists)
        return sensitivity_search(graph, space, options, logger.info).assignment
    qat = method.qat
    return relaxed_search(space, MixQ(
        qat.loader, max(qat.epochs, 1), method.penalty, qat.lr, distillation=qat.distillation,
        weight_decay=qat.weight_decay, loss=qat.loss, seed=qat.seed, batch_size=qat.batch_size,
    ))  # fmt: skip


def _cost_of(accounting: Accounting, sizes: GraphSizes, graph: Graph) -> float:
    """Cost of an integer graph, for a budget."""
    return float(getattr(operation_counts(graph, sizes), accounting))


def _words(assignment: Assignment) -> str:
    return " ".join(f"{name}={bits}" for name, bits in assignment.items())
