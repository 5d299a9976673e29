"""Budget search: the most accurate integer model within budgets of size, latency or memory, over bits and channels, by Optuna."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from toolchain.compression.bit_search.space import SearchSpace, Widths
from toolchain.compression.bit_search.trial_storage import describe, open_study
from toolchain.compression.bit_search.trials import Candidate, Claim, Trials, excess
from toolchain.compression.evaluation import evaluate, several
from toolchain.compression.pruning import StructuredChannels, prune
from toolchain.compression.qat import QAT, quantization_aware
from toolchain.compression.training import Watch
from toolchain.errors import MeasurementError, RecipeError, require
from toolchain.ir import Graph
from toolchain.seeds import check_seed


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
        qat: how a candidate is trained: its quantizers are replaced by those of the candidate's bits. Its `watch` sees the
            training of the best one at the end.
        validation: graphs with labels that candidates are compared on. Never the test graphs.
        budgets: all of them must be met.
        widths: candidate bits of every slot, or by names and patterns of slots (see `SearchSpace`).
        channels: shares of the channels of every group that may be removed before.
        trials: candidates in all, those of an interrupted search included, and those that failed. Fewer where there are
            fewer different ones.
        initial: of these, how many at random before the Gaussian process starts.
        storage: a file that every trial is written to; a search over the same file goes on where it stopped. Several
            programs may share it; each counts what all have finished, but only its own trials in progress. None: nothing
            is kept.
        workers: processes that train candidates side by side. With more than one the order of trials, and so the result,
            may differ from run to run.
    """

    qat: QAT
    validation: Sequence[Any]
    budgets: tuple[Budget, ...]
    widths: Widths = (2, 4, 8)
    channels: tuple[float, ...] = (0.0,)
    trials: int = 30
    initial: int = 10
    seed: int = 0
    storage: Path | str | None = None
    workers: int = 1

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for place in ("trials", "initial", "workers"):
            if getattr(self, place) < 1:
                raise RecipeError(f"{place}: {getattr(self, place)}, expected at least 1.")
        if self.workers > 1 and self.storage is None:
            raise RecipeError(
                f"workers: {self.workers} without a storage; their trials go to its file. Give storage=PATH."
            )
        for share in self.channels:
            if not 0 <= share < 1:
                raise RecipeError(f"channels: {share}, expected shares to remove in [0, 1), such as 0.5.")
        object.__setattr__(self, "validation", list(several(self.validation)))  # a generator could be read only once
        if not self.channels:
            raise RecipeError("channels: none given, expected at least one share to remove, such as 0.")


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """The best candidate, as a Graph, and all that were tried."""

    graph: Graph
    best: Candidate
    tried: tuple[Candidate, ...]


def budget_search(graph: Graph, method: BudgetSearch) -> Found:
    """Search the most accurate integer form of a float Graph within budgets.

    A candidate that cannot be made, trained or measured is logged as a warning, and the search goes on without it.

    Raises:
        RecipeError: no candidate meets the budgets: says what the nearest one reaches; all candidates failed: says why the
            last one did; the storage is damaged or of another search; or the search cannot be sent to other processes.
        InvalidInput: validation graphs without labels, or such that do not fit the output.
        MeasurementError: a worker process died.
        MissingDependency: Optuna is not installed.
    """
    require("optuna", "search")
    evaluate(graph, method.validation)  # what is wrong for all candidates is refused before one of them is trained
    run = _Run.of(graph, method)
    study = open_study(method.storage, partial(describe, graph, method))
    trials = Trials(study, method, [run.searched(share) for share in method.channels])
    _search(run, trials)
    tried, failures = trials.candidates(), trials.failures()
    if not tried:
        raise RecipeError(
            f"trials: all {len(failures)} candidates failed, the last with: {failures[-1]} Change what it names, or the widths "
            "and channels."
        )
    within = [candidate for candidate in tried if candidate.is_within]
    if not within:
        nearest = min(tried, key=lambda candidate: max(excess(method, candidate.costs).values()))
        reached = ", ".join(f"{b.name} {nearest.costs[b.name]:g} of {b.limit:g}" for b in method.budgets)
        raise RecipeError(
            f"budgets: none of {len(tried)} candidates meets them; the nearest reaches {reached}. Raise the budget, or add "
            "narrower widths or larger shares of channels."
        )
    best = max(within, key=lambda candidate: candidate.accuracy)
    return Found(run.trained(best.channels, best.bits, method.qat.watch), best, tuple(tried))


def _search(run: _Run, trials: Trials) -> None:
    """Measure candidates until there are enough. Only this process draws them and writes them down."""
    workers = run.method.workers
    try:
        if workers == 1:
            while (claim := trials.next()) is not None:
                trials.end(claim, partial(run.measured, claim.channels, claim.bits))
            return
        context, content = get_context("spawn"), _pickled(run)
        with ProcessPoolExecutor(workers, context, initializer=_receive, initargs=(content,)) as pool:
            pending: dict[Future[Candidate], Claim] = {}
            while True:
                while len(pending) < workers and (claim := trials.next()) is not None:
                    pending[pool.submit(_measured, claim.channels, claim.bits)] = claim
                if not pending:
                    return
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    trials.end(pending.pop(future), future.result)
    except BrokenProcessPool as error:
        raise MeasurementError(
            f"workers: one of {workers} processes died, which happens where memory runs out, and where a script starts the search "
            f"outside of 'if __name__ == \"__main__\"'. Take fewer workers; what was tried before is in {run.method.storage}."
        ) from error
    finally:
        trials.abandon()


def _pickled(run: _Run) -> bytes:
    """A run as bytes.

    Not as an object: a pool of processes would hand torch's tensors over in shared memory, and move those of the caller there,
    away from the arrays that share theirs.
    """
    try:
        return pickle.dumps(run)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise RecipeError(
            f"workers: {run.method.workers}, but the search cannot be sent to other processes ({error}). Make budgets and losses "
            "functions of a module, or take workers=1."
        ) from error


_received: dict[str, Any] = {}  # of a worker process: the run as bytes, and once it was needed, as an object


def _receive(content: bytes) -> None:
    _received["content"] = content


def _measured(channels: float, bits: Mapping[str, int]) -> Candidate:
    if "content" in _received:  # here and not in `_receive`, so that an error reaches the caller
        _received["run"] = pickle.loads(_received.pop("content"))
    candidate: Candidate = _received["run"].measured(channels, bits)
    return candidate


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A search on one graph; picklable, so that workers can have it.

    Attributes:
        spaces: the pruned Graph and its space by the share of channels that was removed.
    """

    method: BudgetSearch
    spaces: dict[float, tuple[Graph, SearchSpace]]

    @classmethod
    def of(cls, graph: Graph, method: BudgetSearch) -> _Run:
        qat, spaces = method.qat, {}
        for share in method.channels:
            pruned = prune(graph, StructuredChannels(share)) if share else graph
            spaces[share] = pruned, SearchSpace.of(pruned, qat.static, method.widths, method.validation)
        return cls(replace(method, qat=replace(qat, watch=None)), spaces)  # a watch is of one training

    def searched(self, channels: float) -> dict[str, tuple[int, ...]]:
        """Slots with a choice of widths, rising."""
        return {name: widths for name, widths in self.spaces[channels][1].candidates.items() if len(widths) > 1}

    def measured(self, channels: float, bits: Mapping[str, int]) -> Candidate:
        """A candidate, trained where it is within the budgets.

        Raises:
            PocketGnnError: it cannot be made, measured or trained.
        """
        method = self.method
        shape = self.spaces[channels][1].integer(bits)
        costs = {budget.name: float(budget.measure(shape)) for budget in method.budgets}
        for name, cost in costs.items():
            if math.isnan(cost):
                raise MeasurementError(f"{name}: the measure of this budget returned {cost}, expected a number.")
        is_within = max(excess(method, costs).values(), default=0.0) <= 0
        accuracy = evaluate(self.trained(channels, bits) if is_within else shape, method.validation)
        return Candidate(channels, dict(bits), accuracy, costs, is_within)

    def trained(self, channels: float, bits: Mapping[str, int], watch: Watch | None = None) -> Graph:
        """The integer Graph of a candidate; the same each time."""
        graph, space = self.spaces[channels]
        return quantization_aware(graph, replace(self.method.qat, quantizers=space.quantizers(bits), watch=watch))
