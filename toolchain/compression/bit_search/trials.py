"""Trials of a budget search: which candidates come next, none of them twice, and what came of each."""

from __future__ import annotations

import logging
import math
import random
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from toolchain.errors import DeviceError, MissingDependency, PocketGnnError, require

if TYPE_CHECKING:
    from toolchain.compression.bit_search.budget_search import BudgetSearch

logger = logging.getLogger("pocketgnn")

OF_THE_MACHINE = (MissingDependency, DeviceError)  # errors that say nothing about a candidate; it is tried again
Key = tuple[tuple[str, int], ...]


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


def excess(method: BudgetSearch, costs: Mapping[str, float]) -> dict[str, float]:
    """By which share of its limit each budget is exceeded."""
    return {budget.name: costs[budget.name] / max(budget.limit, 1e-30) - 1 for budget in method.budgets}


@dataclass(frozen=True, slots=True, eq=False)
class Claim:
    """A trial in progress, and what it is to measure."""

    trial: Any
    channels: float
    bits: Mapping[str, int]

    @property
    def key(self) -> Key:
        return _key(self.trial.params)


def _key(params: Mapping[str, int]) -> Key:
    """What makes two trials the same."""
    return tuple(sorted(params.items()))


@dataclass(slots=True, eq=False)
class Trials:
    """The trials of a study: which come next, and how they ended.

    Attributes:
        searched: for each share of channels, the slots with a choice of widths, rising.
        running: of this process, by number.
    """

    study: Any
    method: BudgetSearch
    searched: list[dict[str, tuple[int, ...]]]
    running: dict[int, Claim] = field(default_factory=dict)

    def next(self) -> Claim | None:
        """A candidate that was not tried; None where there are enough, or no others."""
        samplers = require("optuna", "search").samplers
        known = self._known()
        if len(known) >= min(self.method.trials, sum(self._sizes)):
            return None
        seed = self._seed()
        claim = self._drawn(samplers.GPSampler(seed=seed, n_startup_trials=self.method.initial))
        if claim.key in known:
            self._repeat(claim, known[claim.key])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # that this sampler is experimental
                given = samplers.PartialFixedSampler(self._untried(known, seed), samplers.RandomSampler(seed=seed))
            claim = self._drawn(given)
        self.running[claim.trial.number] = claim
        return claim

    def end(self, claim: Claim, outcome: Callable[[], Candidate]) -> None:
        """Write down what came of a trial: a candidate, or why there is none."""
        number = claim.trial.number
        try:
            candidate = outcome()
        except OF_THE_MACHINE:
            raise
        except PocketGnnError as error:
            claim.trial.set_user_attr("failure", str(error))
            self._fail(claim)
            logger.warning("trial %d: failed: %s", number, error)
        else:
            claim.trial.set_user_attr("candidate", asdict(candidate))
            self._complete(claim, candidate)
            logger.info("trial %d: %.2f %% on validation graphs, %s", number, 100 * candidate.accuracy, candidate.costs)
        del self.running[number]

    def abandon(self) -> None:
        """Give up what is running, so that a later search tries it again."""
        for number in list(self.running):
            self._fail(self.running.pop(number))

    def candidates(self) -> list[Candidate]:
        """What was measured, each once."""
        return [_candidate(trial) for trial in self._known().values() if trial is not None and not _has_failed(trial)]

    def failures(self) -> list[str]:
        """Why the others failed."""
        return [trial.user_attrs["failure"] for trial in self._known().values() if trial and _has_failed(trial)]

    def _known(self) -> dict[Key, Any]:
        """Every assignment that was tried with its trial, and those being tried with None."""
        known: dict[Key, Any] = {}
        for trial in self.study.get_trials(deepcopy=False):
            is_measured = trial.state.name == "COMPLETE" and "candidate" in trial.user_attrs
            if is_measured or _has_failed(trial):
                known.setdefault(_key(trial.params), trial)
        for claim in self.running.values():
            known.setdefault(claim.key, None)
        return known

    def _seed(self) -> int:
        """Of the next draw. It follows from the trials there are, so that a search that goes on draws other candidates."""
        drawn = len(self.study.get_trials(deepcopy=False))
        return int(np.random.SeedSequence([self.method.seed, drawn]).generate_state(1)[0])

    def _drawn(self, sampler: Any) -> Claim:
        self.study.sampler = sampler
        trial, shares = self.study.ask(), self.method.channels
        share = trial.suggest_int("channels", 0, len(shares) - 1)
        # Places in the rising list rather than the widths themselves, so that the process sees even steps.
        bits = {name: w[trial.suggest_int(name, 0, len(w) - 1)] for name, w in self.searched[share].items()}
        return Claim(trial, shares[share], bits)

    def _untried(self, known: Mapping[Key, Any], seed: int) -> dict[str, int]:
        """The first assignment after a random one that is not known; there must be one."""
        size = sum(self._sizes)
        start = random.Random(seed).randrange(size)
        following = (self._params((start + step) % size) for step in range(len(known) + 1))
        return next(params for params in following if _key(params) not in known)

    @property
    def _sizes(self) -> list[int]:
        """Assignments for each share of channels."""
        return [math.prod(map(len, searched.values())) for searched in self.searched]

    def _params(self, index: int) -> dict[str, int]:
        """The parameters of the index-th of all assignments."""
        share = 0
        while index >= self._sizes[share]:
            index -= self._sizes[share]
            share += 1
        params = {"channels": share}
        for name, widths in self.searched[share].items():
            index, params[name] = divmod(index, len(widths))
        return params

    def _repeat(self, claim: Claim, earlier: Any) -> None:
        """End a trial that another one has measured, or is measuring: with the result of that one, if it has any."""
        claim.trial.set_user_attr("repeats", None if earlier is None else earlier.number)
        if earlier is None or _has_failed(earlier):
            self._fail(claim)
        else:
            self._complete(claim, _candidate(earlier))

    def _complete(self, claim: Claim, candidate: Candidate) -> None:
        for name, share in excess(self.method, candidate.costs).items():
            claim.trial.set_constraint(name, share)
        self.study.tell(claim.trial, candidate.accuracy)

    def _fail(self, claim: Claim) -> None:
        self.study.tell(claim.trial, state=require("optuna", "search").trial.TrialState.FAIL)


def _has_failed(trial: Any) -> bool:
    return trial.state.name == "FAIL" and "failure" in trial.user_attrs


def _candidate(trial: Any) -> Candidate:
    return Candidate(**trial.user_attrs["candidate"])
