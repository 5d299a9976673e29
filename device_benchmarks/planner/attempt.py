"""Attempt: what is known of one plan: its prediction, and what was found where it was tried."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from device_benchmarks.planner.plan import Plan
from device_benchmarks.planner.size_buckets import SizeBucket
from device_benchmarks.planner.timing import Timing


@dataclass(frozen=True, slots=True)
class Attempt:
    """One row of the table.

    Attributes:
        predicted_us: of the mean inference over the sample graphs, brought to the target by what was measured there.
        bytes, difference, agreement: of the artifact; None where none was made.
        us: median microseconds for each bucket, of the last time that it was measured; empty where it was not.
        rounds: the mean over the sample graphs in each round of that time.
        refusal: why it cannot be chosen; empty where it can, or was not tried. is_too_far: that is since its outputs are.
    """

    plan: Plan
    predicted_us: float
    bytes: int | None = None
    difference: float | None = None
    agreement: float | None = None
    us: tuple[float, ...] = ()
    rounds: tuple[float, ...] = ()
    refusal: str = ""
    is_too_far: bool = False

    def mean_us(self, buckets: Sequence[SizeBucket]) -> float | None:
        """The time of an inference on average over the sample graphs."""
        return mean_over(self.us, buckets) if self.us else None

    def timing(self, buckets: Sequence[SizeBucket]) -> Timing | None:
        """The same with each round; None where there is none."""
        mean = self.mean_us(buckets)
        return None if mean is None else Timing(mean, self.rounds)

    def to_json(self, buckets: Sequence[SizeBucket] = ()) -> dict[str, Any]:
        plan = self.plan
        return {
            "plan": plan.name, "format": plan.format, "precision": plan.precision,
            "order": plan.order.value if plan.order else None, "options": plan.options,
            "predicted_us": self.predicted_us, "mean_us": self.mean_us(buckets), **self.found(),
        }  # fmt: skip

    def found(self) -> dict[str, Any]:
        """What was found, for the record of an interrupted run."""
        return {
            "bytes": self.bytes, "difference": self.difference, "agreement": self.agreement, "us": list(self.us),
            "rounds": list(self.rounds), "refusal": self.refusal, "is_too_far": self.is_too_far,
        }  # fmt: skip

    def with_found(self, data: dict[str, Any]) -> Attempt:
        """The same with what a record says was found."""
        return replace(self, **{**data, "us": tuple(data["us"]), "rounds": tuple(data["rounds"])})


def mean_over(values: Sequence[float], buckets: Sequence[SizeBucket]) -> float:
    """The mean over the sample graphs of a value that is known for each bucket."""
    return sum(bucket.share * value for bucket, value in zip(buckets, values, strict=True))
