"""prune: a float Graph and a method in, a pruned Graph out."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

from toolchain.compression.pruning.magnitude import L1Unstructured
from toolchain.compression.pruning.methods import PruningMethod
from toolchain.compression.step_report import Log, reported, sparsity
from toolchain.errors import RecipeError
from toolchain.ir import Graph, check_graph

logger = logging.getLogger("pocketgnn")


def prune(
    graph: Graph,
    method: PruningMethod | None = None,
    *,
    validation: Iterable[Any] | None = None,
    log: Log | None = None,
) -> Graph:
    """Prune a float Graph. What is pruned stays pruned in every later step.

    Args:
        method: L1Unstructured() if None.
        validation: PyG graphs with labels, for the accuracy in the StepReport.
        log: called with the StepReport.

    Raises:
        RecipeError: the graph is quantized, has nothing that the method could prune, or the method's options do not fit it.
        TrainingDiverged: a method that trains met a loss that is not finite.
    """
    check_graph(graph)
    method = method or L1Unstructured()
    if not isinstance(method, PruningMethod):
        raise RecipeError(f"method: {method!r}, expected a pruning method such as L1Unstructured(0.2).")
    if graph.has_halves:
        raise RecipeError(f"{graph.name}: is quantized already. Prune the float graph, then quantize.")
    made = reported(method.name, graph, lambda: method.apply(graph), validation, log)
    if sparsity(made) <= sparsity(graph) and made.weight_bytes == graph.weight_bytes:
        logger.warning("%s: nothing more is zero than before; take a larger share", method.name)
    return made
