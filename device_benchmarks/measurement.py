"""Measurement: one quantity of one artifact on one target, with every raw sample and the conditions it depends on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from toolchain.errors import MeasurementError

TRIMMED = 0.1  # share of the samples that the trimmed mean leaves out at each end


class Quantity(Enum):
    """What was measured."""

    FILE_SIZE = "file_size"  # bytes of the model file; of the constants where the file is C
    LOAD = "load"  # opening the model file, its library already imported
    FIRST_INFERENCE = "first_inference"
    WARM_UP = "warm_up"  # inferences before the samples: reported, never mixed in
    LATENCY = "latency"
    WEIGHTS_MEMORY = "weights_memory"  # proportional set size after loading minus before
    WORKING_SET = "working_set"  # proportional set size after the warm-up minus after loading
    WEIGHTS_PRIVATE = "weights_private"  # the same two by private dirty pages
    WORKING_SET_PRIVATE = "working_set_private"
    PEAK_RSS = "peak_rss"  # of the whole process, libraries included


class Scope(Enum):
    """How much of an inference a latency covers."""

    MODEL = "session_run"  # the model file on prepared arrays
    WITH_GRAPH = "graph_build+session_run"  # from x and edge_index: checks, normalization, sorting, then the model


@dataclass(frozen=True, slots=True, eq=False)
class Measurement:
    """One measured quantity.

    Attributes:
        artifact: name of what was measured.
        target: where: "host", or the name of a device.
        unit: "us", "ms" or "B".
        samples: every raw sample in the order taken, float64. Empty when the target cannot measure it.
        conditions: scope, threads, graph size, protocol and whatever else the value depends on.
        unavailable: why there are no samples; empty when there are.
    """

    artifact: str
    target: str
    quantity: Quantity
    unit: str
    samples: np.ndarray
    conditions: Mapping[str, Any] = field(default_factory=dict)
    unavailable: str = ""

    def __post_init__(self) -> None:
        samples = np.ascontiguousarray(self.samples, dtype=np.float64)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise MeasurementError(
                f"{self.artifact}: {self.quantity.value} has samples of shape {samples.shape} that are not all finite."
            )
        if (samples.size == 0) != bool(self.unavailable):
            raise MeasurementError(
                f"{self.artifact}: {self.quantity.value} needs samples, or the reason why there are none, not both."
            )
        object.__setattr__(self, "samples", samples)

    @property
    def is_available(self) -> bool:
        return not self.unavailable

    @property
    def median(self) -> float:
        """The 50th percentile by nearest rank: a sample that really occurred."""
        return self.percentile(50)

    def percentile(self, p: float) -> float:
        """Nearest rank: the smallest sample that at least p percent of all samples do not exceed.

        Raises:
            MeasurementError: the quantity is not available on this target.
        """
        if self.unavailable:
            raise MeasurementError(f"{self.artifact}: {self.quantity.value} is not available ({self.unavailable}).")
        return nearest_rank(self.samples, p)

    def statistics(self) -> dict[str, float | int]:
        """Those of `statistics`; empty when not available."""
        return {} if self.unavailable else statistics(self.samples)

    def to_json(self) -> dict[str, Any]:
        """Everything but the raw samples, which go into samples.npz beside the report."""
        return {
            "artifact": self.artifact, "target": self.target, "quantity": self.quantity.value, "unit": self.unit,
            "statistics": self.statistics(), "conditions": dict(self.conditions),
            "unavailable": self.unavailable or None,
        }  # fmt: skip


def statistics(samples: np.ndarray) -> dict[str, float | int]:
    """n, min, p25, p50, p75, p90, p99, max, mean, std, cv and trimmed_mean of at least one sample.

    Percentiles are by nearest rank, cv is std over mean, and the trimmed mean leaves out `TRIMMED` of the samples at each end.
    """
    ordered = np.sort(samples)
    ranks = {f"p{p}": nearest_rank(ordered, p, is_sorted=True) for p in (25, 50, 75, 90, 99)}
    mean, deviation, cut = float(ordered.mean()), float(ordered.std()), int(TRIMMED * ordered.size)
    return {
        "n": int(ordered.size), "min": float(ordered[0]), **ranks, "max": float(ordered[-1]), "mean": mean, "std": deviation,
        "cv": deviation / mean if mean else 0.0, "trimmed_mean": float(ordered[cut : ordered.size - cut].mean()),
    }  # fmt: skip


def nearest_rank(samples: np.ndarray, p: float, *, is_sorted: bool = False) -> float:
    """The sample of rank ceil(p / 100 * n), counted from 1; p in (0, 100]."""
    if samples.size == 0 or not 0 < p <= 100:
        raise MeasurementError(f"percentile {p} of {samples.size} samples is undefined; p lies in (0, 100] and n >= 1.")
    ordered = samples if is_sorted else np.sort(samples)
    # p * n / 100 in this order: 0.07 * 100 would round up to rank 8.
    return float(ordered[max(math.ceil(p * samples.size / 100), 1) - 1])
