"""Searches over bits: which value and weight takes how many, within a budget or against a penalty."""

from toolchain.compression.bit_search.additive import Assignment, best_assignments
from toolchain.compression.bit_search.budget_search import Budget, BudgetSearch, budget_search
from toolchain.compression.bit_search.exploration import Trial, assignments, explore, front, main_effects
from toolchain.compression.bit_search.mixed_precision import MixedPrecision, mixed_precision
from toolchain.compression.bit_search.relaxed import MixQ, relaxed_search
from toolchain.compression.bit_search.sensitivity import Choice, SensitivitySearch, sensitivity_search
from toolchain.compression.bit_search.space import SearchSpace

__all__ = [
    "Assignment",
    "Budget",
    "BudgetSearch",
    "Choice",
    "MixQ",
    "MixedPrecision",
    "SearchSpace",
    "SensitivitySearch",
    "Trial",
    "assignments",
    "best_assignments",
    "budget_search",
    "explore",
    "front",
    "main_effects",
    "mixed_precision",
    "relaxed_search",
    "sensitivity_search",
]
