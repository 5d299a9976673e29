"""Gradients of the training loss with respect to the weights of a Graph, on a few batches."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from toolchain.compression.labelled import cross_entropy, epoch_batches
from toolchain.compression.training import Loss, check_finite
from toolchain.errors import RecipeError
from toolchain.ir import Graph
from toolchain.ir.ops import Const
from toolchain.passes.codebook_removal import remove_codebooks
from toolchain.passes.dropout_removal import remove_dropout
from toolchain.torch_module import GraphModule, TorchGraph


def check_trainable(graph: Graph, names: Sequence[str]) -> None:
    """Refuse weights that have no gradient.

    Raises:
        RecipeError: names the first.
    """
    fixed = {v.op.name for v in graph.values if isinstance(v.op, Const) and not v.op.trainable}
    for name in names:
        if name in fixed:
            raise RecipeError(f"{name}: is not trainable, so it has no gradient. Leave it out with targets.")


def weight_gradients(
    graph: Graph,
    names: Sequence[str],
    loader: Iterable[Any],
    *,
    batches: int = 1,
    batch_size: int = 64,
    loss: Loss | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Mean gradient over the first batches of an epoch: name → float64 array of the weight's shape.

    BatchNorm uses the statistics of each batch, as in training; there is no dropout. Weights from a codebook have gradients of
    their own. The graph is not changed.

    Args:
        loader, batch_size, loss, seed: as for `fine_tune`.

    Raises:
        InvalidInput: the loader holds nothing, or a batch has no fitting labels.
        RecipeError: a weight is not trainable.
        TrainingDiverged: the loss is not finite.
    """
    check_trainable(graph, names)
    module = GraphModule(remove_codebooks(remove_dropout(graph)))
    total = {name: np.zeros(graph.constants[name].shape) for name in names}
    rng_state = torch.get_rng_state()
    torch.manual_seed(seed)
    count = 0
    try:
        module.train()
        for batch in itertools.islice(epoch_batches(loader, batch_size, seed)(), batches):
            module.zero_grad()
            output = module(TorchGraph.of(batch.inputs.prepare(module.graph.topologies)))[0]
            value = batch.loss(output, loss or cross_entropy)
            check_finite(value, f"gradients, batch {count + 1}")
            value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            for name, sum_of_gradients in total.items():
                gradient = module.constant(name).grad
                if gradient is not None:
                    sum_of_gradients += gradient.numpy()
            count += 1
    finally:
        torch.set_rng_state(rng_state)
    return {name: array / count for name, array in total.items()}
