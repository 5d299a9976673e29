"""rehearse: the steps of a recipe once without their training, so that what cannot work is refused before any of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from toolchain.artifact_limits import Read
from toolchain.compression import QAT, DynamicInt8, Float16, StaticInt8
from toolchain.compression.bit_search import MixedPrecision
from toolchain.compression.dynamic_int8 import dynamic_int8
from toolchain.compression.half_weights import half_weights
from toolchain.compression.pruning import masked
from toolchain.compression.pruning.gradients import check_trainable
from toolchain.compression.pruning.relational import check_nodes
from toolchain.compression.pruning.selection import selected_weights
from toolchain.compression.qat import check_names
from toolchain.ir import Graph
from toolchain.model_source import GraphParts
from toolchain.prune_steps import Prune, PruneBlocks, PruneBogp, PruneChannels, PruneEcs, PruneSnip, PruneStep
from toolchain.pruning_methods import pruning
from toolchain.recipe import Quantize, Recipe, ShareWeights
from toolchain.step_methods import quantization, sharing

FEW = 8  # graphs; which ranges they give does not matter here


def rehearse(recipe: Recipe, graph: Graph, parts: GraphParts, latency: Read | None = None) -> None:
    """Check the compression steps of a recipe against a model: names of layers and values, widths, sizes of codebooks.

    Args:
        latency: as for `build`.

    Raises:
        RecipeError, QuantizationRefused: what the step itself would say after the training of those before it.
    """
    for step in recipe.steps:
        match step:
            case PruneStep():
                graph = _pruned(graph, step, parts, recipe.seed)
            case ShareWeights():
                graph = sharing(step, recipe.seed).apply(graph)
            case Quantize():
                if "float16" in step.precisions:
                    half_weights(graph, Float16())
                if "dynamic-int8" in step.precisions:
                    dynamic_int8(graph, DynamicInt8())
                if step.training is not None:
                    _check_training(graph, quantization("static-int8", step, parts, recipe.seed, None, latency))


def _pruned(graph: Graph, step: PruneStep, parts: GraphParts, seed: int) -> Graph:
    """With the channels removed, or with all weights marked that the step may prune: which they are takes training to say."""
    if isinstance(step, Prune | PruneBlocks):
        step = step.model_copy(update={"rounds": 1, "epochs": 0})
    if isinstance(step, Prune | PruneBlocks | PruneChannels):
        return pruning(step, lambda: parts, seed).apply(graph)  # without the report of a step
    targets = None if step.targets is None else tuple(step.targets)
    names = selected_weights(graph, targets, getattr(step, "include_head", False))
    if isinstance(step, PruneBogp) and step.nodes is not None:
        check_nodes(step.nodes, max(max(graph.constants[name].shape) for name in names))
    if isinstance(step, PruneSnip | PruneEcs):
        check_trainable(graph, names)
    return masked(graph, {name: np.ones(graph.constants[name].shape, bool) for name in names})


def _check_training(graph: Graph, method: object) -> None:
    searched = method.widths if isinstance(method, MixedPrecision) and isinstance(method.widths, Mapping) else {}
    qat = method.qat if isinstance(method, MixedPrecision) else method
    assert isinstance(qat, QAT)
    static: StaticInt8 = replace(qat.static, calibration_graphs=list(qat.static.calibration_graphs)[:FEW])
    check_names(graph, replace(qat, static=static), searched)
