"""Budget search: the most accurate integer model within budgets of size, latency or memory, over bits and channels, by Optuna."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from toolchain.compression.bit_search.space import SearchSpace, Widths
from toolchain.compression.evaluation import evaluate
from toolchain.compression.pruning import StructuredChannels, prune
from toolchain.compression.qat import QAT, quantization_aware
from toolchain.errors import RecipeError, require
from toolchain.ir import Graph
from toolchain.seeds import check_seed

logger = logging.getLogger("pocketgnn")

STUDY = "pocketgnn"


@dataclass(frozen=True, slots=True)
class Budget:
    """What an integer Graph may cost.

    Attributes:
        name: what is measured, with its unit: "flash_bytes".
        limit: the most that it may be.
        measure: of an integer Graph. With several workers it must be picklable, such as a function of a module.
    """

    name: str
    limit: float
    measure: Callable[[Graph], float]


@dataclass(frozen=True, slots=True, eq=False)
class BudgetSearch:
    """Options of the search.

    Attributes:
        qat: how a candidate is trained: its quantizers are replaced by those of the candidate's bits.
        validation: graphs with labels that candidates are compared on. Never the test graphs.
        budgets: all of them must be met.
        widths: candidate bits of every slot, or by names and patterns of slots (see `SearchSpace`).
        channels: shares of the channels of every group that may be removed before.
        trials: candidates in all, those of an interrupted search included.
        initial: of these, how many at random before the Gaussian process starts.
        storage: a file that every trial is written to; a search over the same file goes on where it stopped, and several
            may share it. None: nothing is kept.
        workers: processes that search side by side. With more than one the order of trials, and so the result, may differ
            from run to run.
    """

    qat: QAT
    validation: Sequence[Any]
    budgets: tuple[Budget, ...]
    widths: Widths = (2, 4, 8)
    channels: tuple[float, ...] = (0.0,)
    trials: int = 30
    initial: int = 10
    seed: int = 0
    storage: Path | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for place in ("trials", "initial", "workers"):
            if getattr(self, place) < 1:
                raise RecipeError(f"{place}: {getattr(self, place)}, expected at least 1.")
        if self.workers > 1 and self.storage is None:
            raise RecipeError(f"workers: {self.workers} without a storage; they meet in its file. Give storage=PATH.")
        for share in self.channels:
            if not 0 <= share < 1:
                raise RecipeError(f"channels: {share}, expected shares to remove in [0, 1), such as 0.5.")
        if not self.channels:
            raise RecipeError("channels: none given, expected at least one share to remove, such as 0.")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that was tried.

    Attributes:
        channels: share of channels removed.
        bits: of every searched slot.
        accuracy: on the validation graphs.
        costs: by the names of the budgets.
        is_within: whether all budgets are met. Candidates that do not meet them are measured without training.
    """

    channels: float
    bits: Mapping[str, int]
    accuracy: float
    costs: Mapping[str, float]
    is_within: bool


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The best candidate, as a Graph, and all that were tried."""

    graph: Graph
    best: Candidate
    tried: tuple[Candidate, ...]


def budget_search(graph: Graph, method: BudgetSearch) -> Found:
    """Search the most accurate integer form of a float Graph within budgets.

    Raises:
        RecipeError: no candidate meets the budgets: says what the nearest one reaches; or the storage is of another search.
        MissingDependency: Optuna is not installed.
    """
    run = _Run(graph, method)
    if method.workers == 1:
        run.search()
    else:
        with ProcessPoolExecutor(method.workers, mp_context=get_context("spawn")) as pool:
            for future in [pool.submit(_search, run, number) for number in range(method.workers)]:
                future.result()
    tried = run.candidates()
    within = [candidate for candidate in tried if candidate.is_within]
    if not within:
        nearest = min(tried, key=run.excess)
        reached = ", ".join(f"{b.name} {nearest.costs[b.name]:g} of {b.limit:g}" for b in method.budgets)
        raise RecipeError(
            f"budgets: none of {len(tried)} candidates meets them; the nearest reaches {reached}. Raise the budget, or add "
            "narrower widths or larger shares of channels."
        )
    best = max(within, key=lambda candidate: candidate.accuracy)
    return Found(run.trained(best.channels, best.bits), best, tuple(tried))


def _search(run: _Run, worker: int) -> None:
    run.search(worker)


@dataclass(slots=True)
class _Run:
    """A search on one graph; picklable, so that workers can have it."""

    graph: Graph
    method: BudgetSearch
    _spaces: dict[float, tuple[Graph, SearchSpace]] = field(default_factory=dict)
    _study: Any = None

    def search(self, worker: int = 0) -> None:
        optuna = require("optuna", "search")
        study = self._opened(optuna, worker)
        finished = (optuna.trial.TrialState.COMPLETE,)
        if len(study.get_trials(states=finished)) >= self.method.trials:
            return
        study.optimize(self._objective, callbacks=[optuna.study.MaxTrialsCallback(self.method.trials, states=finished)])

    def candidates(self) -> list[Candidate]:
        """What was tried, by all workers."""
        optuna = require("optuna", "search")
        trials = self._opened(optuna, 0).get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        return [Candidate(**trial.user_attrs["candidate"]) for trial in trials]

    def excess(self, candidate: Candidate) -> float:
        """By which share of its limit a candidate exceeds the budget that it exceeds most."""
        return max(candidate.costs[b.name] / max(b.limit, 1e-30) - 1 for b in self.method.budgets)

    def trained(self, channels: float, bits: Mapping[str, int]) -> Graph:
        """The integer Graph of a candidate; the same each time."""
        graph, space = self._space(channels)
        return quantization_aware(graph, replace(self.method.qat, quantizers=space.quantizers(bits)))

    def _objective(self, trial: Any) -> float:
        method = self.method
        channels = method.channels[trial.suggest_int("channels", 0, len(method.channels) - 1)]
        _, space = self._space(channels)
        searched = {name: widths for name, widths in space.candidates.items() if len(widths) > 1}
        # Places in the rising list rather than the widths themselves, so that the process sees even steps.
        bits = {name: widths[trial.suggest_int(name, 0, len(widths) - 1)] for name, widths in searched.items()}
        shape = space.integer(bits)
        costs = {budget.name: float(budget.measure(shape)) for budget in method.budgets}
        excess = {budget.name: costs[budget.name] / max(budget.limit, 1e-30) - 1 for budget in method.budgets}
        for name, share in excess.items():
            trial.set_constraint(name, share)
        is_within = max(excess.values(), default=0.0) <= 0
        accuracy = evaluate(self.trained(channels, bits) if is_within else shape, method.validation)
        trial.set_user_attr("candidate", {
            "channels": channels, "bits": bits, "accuracy": accuracy, "costs": costs, "is_within": is_within,
        })  # fmt: skip
        logger.info("trial %d: %.2f %% on validation graphs, %s", trial.number, 100 * accuracy, costs)
        return accuracy

    def _space(self, channels: float) -> tuple[Graph, SearchSpace]:
        if channels not in self._spaces:
            graph = prune(self.graph, StructuredChannels(channels)) if channels else self.graph
            space = SearchSpace.of(graph, self.method.qat.static, self.method.widths, self.method.validation)
            self._spaces[channels] = graph, space
        return self._spaces[channels]

    def _opened(self, optuna: Any, worker: int) -> Any:
        if self._study is not None:
            return self._study
        method = self.method
        storage = None
        if method.storage is not None:
            from optuna.storages import JournalStorage
            from optuna.storages.journal import JournalFileBackend

            method.storage.parent.mkdir(parents=True, exist_ok=True)
            storage = JournalStorage(JournalFileBackend(str(method.storage)))
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        sampler = optuna.samplers.GPSampler(seed=method.seed + worker, n_startup_trials=method.initial)
        study = optuna.create_study(
            storage=storage, sampler=sampler, study_name=STUDY, direction="maximize", load_if_exists=True
        )
        description = self._description()
        known = study.user_attrs.get("search")
        if known is None:
            study.set_user_attr("search", description)
        elif known != description:
            raise RecipeError(
                f"{method.storage}: holds another search ({known}), this one is {description}. Give another file, or "
                "delete it."
            )
        self._study = study
        return study

    def _description(self) -> str:
        """What makes two searches the same, in words."""
        method = self.method
        widths = dict(method.widths) if isinstance(method.widths, Mapping) else list(method.widths)
        budgets = {budget.name: budget.limit for budget in method.budgets}
        return (
            f"{self.graph.name}, {self.graph.weight_bytes} B, widths {widths}, channels {list(method.channels)}, "
            f"budgets {budgets}, {method.qat.epochs} epochs, seed {method.seed}"
        )
