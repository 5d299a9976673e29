"""Limits: how far the outputs of a plan may be from those of the PyG model, so that it can be chosen."""

from __future__ import annotations

from dataclasses import dataclass

from device_benchmarks.parity import StageParity

FLOAT_DIFFERENCE = 1e-4  # what float32 is held to where nothing is stated
QUANTIZED_AGREEMENT = 0.98  # what the other precisions are held to where nothing is stated


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked for on the sample graphs. None: not stated.

    Attributes:
        max_difference: largest difference of an output over the largest output.
        min_agreement: smallest share of equal classes, in [0, 1].
    """

    max_difference: float | None = None
    min_agreement: float | None = None

    def agreement_of(self, precision: str) -> float | None:
        """The agreement that plans of a precision are held to."""
        is_quantized = precision != "float32"
        is_silent = self.min_agreement is None and self.max_difference is None
        return QUANTIZED_AGREEMENT if is_quantized and is_silent else self.min_agreement

    def refusal(self, precision: str, parity: StageParity) -> str:
        """Why a plan must not be chosen; empty where it may."""
        difference, agreement = self.max_difference, self.agreement_of(precision)
        if difference is None and precision == "float32":
            difference = FLOAT_DIFFERENCE
        if difference is not None and not parity.max_relative <= difference:
            return f"differs by {parity.max_relative:.2g} of the largest output, {difference:.2g} is allowed"
        if agreement is None:
            return ""
        if parity.agreement is None:
            return "one output has no classes that could agree; state --max-difference for this precision"
        if parity.agreement < agreement:
            return f"agrees on {parity.agreement:.1%} of the classes, {agreement:.1%} is asked for"
        return ""
