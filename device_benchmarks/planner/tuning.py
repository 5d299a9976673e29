"""tune: a model, sample graphs and a target in, the best plan and the table of all that was tried out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from device_benchmarks.planner.attempt import Attempt, mean_over
from device_benchmarks.planner.cost_model import CostModel
from device_benchmarks.planner.meter import Meter
from device_benchmarks.planner.plan import Plan
from device_benchmarks.planner.search import FINALISTS, MARGIN, MOST, search
from device_benchmarks.planner.size_buckets import SizeBucket
from device_benchmarks.planner.stopwatch import median_us
from device_benchmarks.planner.timing import Timing
from device_benchmarks.planner.tuning_record import TuningRecord
from device_benchmarks.planner.workshop import Workshop
from toolchain.errors import ExportError, GateFailed, MeasurementError, OutsideContract, PocketGnnError
from toolchain.exporters.emission import Bounds
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.passes import deployable
from toolchain.passes.propagate_ordering import with_order

Progress = Callable[[str], None]


class Goal(Enum):
    """What the best plan has least of."""

    LATENCY = "latency"  # the mean time of an inference over the sample graphs
    SIZE = "size"  # the bytes of the model; of equals the faster


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was chosen, and why.

    Attributes:
        target: where times are from, in words.
        attempts: every plan: chosen, measured, refused, or only predicted.
    """

    goal: Goal
    target: str
    buckets: tuple[SizeBucket, ...]
    bounds: Bounds
    chosen: Attempt
    default: Attempt
    attempts: tuple[Attempt, ...]

    @property
    def speed_up(self) -> float | None:
        """How many times as fast as the default plan; None where that has no time."""
        ours, theirs = self.chosen.mean_us(self.buckets), self.default.mean_us(self.buckets)
        return theirs / ours if ours and theirs else None

    def to_json(self) -> dict[str, Any]:
        return {
            "goal": self.goal.value, "target": self.target, "buckets": [bucket.to_json() for bucket in self.buckets],
            "chosen": self.chosen.plan.name, "default": self.default.plan.name, "speed_up": self.speed_up,
            "measured": sum(bool(attempt.us) for attempt in self.attempts),
            "attempts": [attempt.to_json(self.buckets) for attempt in self.attempts],
        }  # fmt: skip


def tune(
    candidates: Sequence[Plan],
    workshop: Workshop,
    meter: Meter,
    buckets: tuple[SizeBucket, ...],
    record: TuningRecord,
    *,
    goal: Goal = Goal.LATENCY,
    margin: float = MARGIN,
    most: int = MOST,
    progress: Progress = lambda line: None,
) -> Tuning:
    """Choose among plans.

    Args:
        candidates: the first is the default: what any other has to beat.
        margin, most: of the search, see there.

    Raises:
        GateFailed: plans run, but none agrees with the PyG model as asked.
        ExportError: no plan could be made and run; the first reason of each format.
        DeviceError: the device can no longer be reached; what was measured is in the record.
    """
    attempts = predictions(candidates, workshop.graph, buckets)
    trial = _Trial(attempts, workshop, meter, buckets, record)
    default = candidates[0]
    try:
        if goal is Goal.SIZE:
            chosen = _smallest(candidates, default, trial, progress)
        else:
            predicted = {plan: attempt.predicted_us for plan, attempt in attempts.items()}
            found = search(candidates, default, predicted, trial.measure, margin=margin, most=most)
            for plan, expected in found.predicted.items():
                attempts[plan] = replace(attempts[plan], predicted_us=expected)
            assert found.chosen is not None
            chosen = found.chosen
    except MeasurementError as error:
        raise _nothing_fits(attempts) from error
    best_first = sorted(attempts.values(), key=lambda attempt: (not attempt.us, _rank(attempt, goal, buckets)))
    return Tuning(
        goal, meter.description, buckets, workshop.bounds, attempts[chosen], attempts[default], tuple(best_first)
    )


def predictions(candidates: Sequence[Plan], graph: Graph, buckets: Sequence[SizeBucket]) -> dict[Plan, Attempt]:
    """Every plan with its predicted time, as on the machine that the cost model was fitted on."""
    model = CostModel.load()
    ready = {plan.order: deployable(with_order(graph, plan.order)) for plan in candidates}

    def expected(plan: Plan) -> float:
        return mean_over([model.predict_us(plan, ready[plan.order], bucket.graph) for bucket in buckets], buckets)

    return {plan: Attempt(plan, expected(plan)) for plan in candidates}


def check_bounds(graphs: Sequence[GraphInputs], graph: Graph, bounds: Bounds) -> None:
    """Refuse bounds that a graph does not fit, before anything is measured.

    Raises:
        OutsideContract: names the first such graph, and which bound.
    """
    for position, inputs in enumerate(graphs):
        topologies = inputs.prepare(graph.topologies).topologies
        sizes = {
            "nodes": inputs.num_nodes, "edges": max((t.num_edges for t in topologies), default=0),
            "degree": max((int(t.in_degree.max(initial=0)) for t in topologies), default=0),
        }  # fmt: skip
        for name, size in sizes.items():
            if size > (limit := getattr(bounds, name)):
                raise OutsideContract(
                    f"graph {position}: {name} {size}, but --max-{name} is {limit}. Raise the bound, or leave such graphs out."
                )


@dataclass(slots=True)
class _Trial:
    """What the search asks for: makes, compares and measures plans, and keeps what was found in the attempts."""

    attempts: dict[Plan, Attempt]
    workshop: Workshop
    meter: Meter
    buckets: tuple[SizeBucket, ...]
    record: TuningRecord

    def measure(self, plans: Sequence[Plan], is_final: bool) -> dict[Plan, Timing]:
        """Mean times of plans that took turns, without those that cannot be chosen."""
        names = {plan.name: plan for plan in plans}
        found = self.record.known(list(names), is_final)
        if found is None:
            self._measure(names, is_final)
            self.record.add({name: self.attempts[plan].found() for name, plan in names.items()}, is_final)
        else:
            for name, plan in names.items():
                self.attempts[plan] = self.attempts[plan].with_found(found[name])
        times = {plan: self.attempts[plan].timing(self.buckets) for plan in plans}
        return {plan: time for plan, time in times.items() if time is not None}

    def make(self, plan: Plan) -> None:
        """Make the artifact of a plan, or note why there is none."""
        try:
            made = self.workshop.product(plan)
        except PocketGnnError as error:
            self.attempts[plan] = replace(self.attempts[plan], refusal=_words(error))
        else:
            parity = made.parity
            self.attempts[plan] = replace(
                self.attempts[plan], bytes=made.artifact.model_bytes, difference=parity.max_relative, agreement=parity.agreement,
                refusal=made.refusal, is_too_far=bool(made.refusal),
            )  # fmt: skip

    def _measure(self, names: Mapping[str, Plan], is_final: bool) -> None:
        for plan in names.values():
            self.make(plan)
        sound = {name: plan for name, plan in names.items() if not self.attempts[plan].refusal}
        artifacts = {name: self.workshop.product(plan).artifact for name, plan in sound.items()}
        rounds, failed = self.meter.measure(artifacts, is_final) if artifacts else ({}, {})
        for name, plan in sound.items():
            if name in failed:
                self.attempts[plan] = replace(self.attempts[plan], refusal=failed[name], us=(), rounds=())
            else:
                timing = Timing.of(rounds[name], [bucket.share for bucket in self.buckets])
                times = tuple(median_us(taken) for taken in rounds[name])
                self.attempts[plan] = replace(self.attempts[plan], us=times, rounds=timing.rounds)


def _smallest(candidates: Sequence[Plan], default: Plan, trial: _Trial, progress: Progress) -> Plan:
    """The plan whose model takes fewest bytes, of equals the fastest; a few of the smallest are measured to see that they run."""
    attempts = trial.attempts
    for number, plan in enumerate(candidates):
        progress(f"plan {number + 1} of {len(candidates)}")
        trial.make(plan)

    def rank(plan: Plan) -> tuple[float, float]:
        attempt = attempts[plan]
        return attempt.bytes or 0, attempt.mean_us(trial.buckets) or attempt.predicted_us

    left = sorted((plan for plan in candidates if not attempts[plan].refusal), key=rank)
    while left:
        batch, left = left[:FINALISTS], left[FINALISTS:]
        times = trial.measure(list(dict.fromkeys([*batch, default])), True)
        if runs := [plan for plan in batch if plan in times]:
            best = min(runs, key=rank)
            is_no_larger = default in times and attempts[default].bytes == attempts[best].bytes
            return default if is_no_larger and not times[best].is_surely_faster(times[default]) else best
    raise MeasurementError("no plan is left")


def _rank(attempt: Attempt, goal: Goal, buckets: Sequence[SizeBucket]) -> tuple[float, float]:
    time = attempt.mean_us(buckets) or attempt.predicted_us
    return (attempt.bytes or 0, time) if goal is Goal.SIZE and attempt.us else (time, 0)


def _nothing_fits(attempts: Mapping[Plan, Attempt]) -> PocketGnnError:
    """The error for a search in which every plan that was tried is refused."""
    refused = [attempt for attempt in attempts.values() if attempt.refusal]
    too_far = [attempt for attempt in refused if attempt.is_too_far]
    if too_far:
        nearest = min(too_far, key=lambda attempt: attempt.difference or 0)
        return GateFailed(
            f"no plan agrees with the PyG model as asked; nearest is {nearest.plan.name}, which {nearest.refusal}. Loosen "
            "--max-difference or --min-agreement, or train the model in the precision (quantize --qat-epochs)."
        )
    reasons = {attempt.plan.format: attempt.refusal for attempt in reversed(refused)}
    return ExportError(
        f"no format takes this model on this target. {' '.join(f'{format}: {reason}' for format, reason in reasons.items())}"
    )


def _words(error: PocketGnnError) -> str:
    return " ".join(str(error).split())
