"""From the share and quantize steps of a recipe to the methods that do them."""

from __future__ import annotations

from dataclasses import replace

from toolchain.artifact_limits import Read, budgets
from toolchain.compression import QAT, DynamicInt8, Float16, KMeans, StaticInt8
from toolchain.compression.bit_search import MixedPrecision
from toolchain.compression.training import Watch
from toolchain.datasets import loader
from toolchain.export_bounds import bounds_for
from toolchain.model_source import GraphParts
from toolchain.qat_method import mixed_precision, training
from toolchain.recipe import Export, Quantize, ShareWeights


def sharing(step: ShareWeights, seed: int) -> KMeans:
    """The method that a share step names."""
    targets = None if step.targets is None else tuple(step.targets)
    return KMeans(step.clusters, step.scope, step.init, targets=targets, include_head=step.include_head, seed=seed)


def quantization(
    precision: str,
    step: Quantize,
    parts: GraphParts,
    seed: int,
    watch: Watch | None = None,
    latency: Read | None = None,
) -> Float16 | DynamicInt8 | StaticInt8 | QAT | MixedPrecision:
    """The method that a quantize step names for one precision.

    Args:
        latency: µs of an inference of an artifact; a search with a limit of it needs one.
    """
    if precision == "float16":
        return Float16()
    if precision == "dynamic-int8":
        return DynamicInt8()
    static = StaticInt8(
        parts.train[: step.calibration_graphs], mode=step.mode, calibration=step.calibration,
        percentile=step.percentile, weight_bits=step.weight_bits, min_agreement=step.min_agreement,
        edge_arithmetic=step.edge_arithmetic, seed=seed,
    )  # fmt: skip
    if step.training is None:
        return static
    method = training(step.training, loader(parts.train, step.batch_size, seed), static, parts.validation, seed)
    method = replace(method, watch=watch)
    search = step.training.search
    if search is None:
        return method
    limits = () if search.limits is None else budgets(search.limits, bounds_for(Export(), parts), latency)
    return mixed_precision(search, method, list(parts.validation), limits)
