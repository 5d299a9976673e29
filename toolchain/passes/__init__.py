"""Graph → Graph. Each pass keeps the float meaning; `deployable` runs them all."""

from toolchain.passes.pipeline import PIPELINE, deployable

__all__ = ["PIPELINE", "deployable"]
