"""Workshop: a plan in, its artifact out, compared with the PyG model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from device_benchmarks.parity import ParityCheck, StageParity
from device_benchmarks.planner.limits import Limits
from device_benchmarks.planner.plan import Plan
from toolchain.artifact import Artifact
from toolchain.compression import quantize
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.ir import Graph
from toolchain.ir.ops import Order
from toolchain.model_source import GraphParts
from toolchain.passes.propagate_ordering import with_order
from toolchain.pipeline import quantization
from toolchain.recipe import Quantize


@dataclass(frozen=True, slots=True)
class Product:
    """An artifact, how far its outputs are from those of the PyG model, and why that is too far; empty where it is not."""

    artifact: Artifact
    parity: StageParity
    refusal: str


@dataclass(slots=True)
class Workshop:
    """Makes artifacts when they are asked for, each once.

    Attributes:
        graph: the lowered model.
        parts: its graphs: those for training calibrate.
        check: compares on the sample graphs.
    """

    graph: Graph
    parts: GraphParts
    bounds: Bounds
    limits: Limits
    check: ParityCheck
    folder: Path
    seed: int = 0
    progress: Callable[[str], None] = lambda line: None
    _variants: dict[tuple[str, Order | None], Graph] = field(default_factory=dict, init=False)
    _products: dict[Plan, Product] = field(default_factory=dict, init=False)

    def product(self, plan: Plan) -> Product:
        """Quantize, export and compare.

        Raises:
            PocketGnnError: it cannot be quantized, exported or run.
        """
        if plan not in self._products:
            self.progress(f"exporting {plan.name}")
            path = self.folder / plan.name.replace(" ", "-")
            options = plan.export_options(self.bounds)
            artifact = export(self._variant(plan), plan.format, path, overwrite=True, seed=self.seed, **options)
            parity = self.check.report(artifact).total
            self._products[plan] = Product(artifact, parity, self.limits.refusal(plan.precision, parity))
        return self._products[plan]

    def _variant(self, plan: Plan) -> Graph:
        key = plan.precision, plan.order
        if key not in self._variants:
            ordered = with_order(self.graph, plan.order)
            if plan.precision != "float32":
                self.progress(f"quantizing to {plan.precision}")
                step = Quantize(**quantize_options(plan.precision, self.limits))
                ordered = quantize(ordered, quantization(plan.precision, step, self.parts, self.seed))
            self._variants[key] = ordered
        return self._variants[key]


def quantize_options(precision: str, limits: Limits) -> dict[str, Any]:
    """The quantize step of a recipe for a precision."""
    options: dict[str, Any] = {"precisions": [precision]}
    agreement = limits.agreement_of(precision)
    if precision == "static-int8" and agreement is not None:
        options["min_agreement"] = agreement
    return options
