"""The planner: which format, lowering, order and precision a model should have on a target, predicted first, then measured."""

from device_benchmarks.planner.limits import Limits
from device_benchmarks.planner.plan import Plan
from device_benchmarks.planner.tuning import Goal, Tuning, tune

__all__ = ["Goal", "Limits", "Plan", "Tuning", "tune"]
