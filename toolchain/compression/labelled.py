"""Labelled: checked graphs with their labels, how an epoch batches them, and the loss over the rows that count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from toolchain.compression.best_epoch import Loss
from toolchain.compression.evaluation import check_classes, numbered
from toolchain.errors import InvalidInput
from toolchain.inputs import GraphInputs

Item = TypeVar("Item")


def cross_entropy(output: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of logits [rows, C] and classes [rows]. Of log_softmax outputs it is the negative log-likelihood.

    Raises:
        InvalidInput: labels that are not one class per row, each of them a channel of the output.
    """
    if labels.is_floating_point() or labels.numel() != output.shape[0]:
        raise InvalidInput(
            f"y: {labels.dtype} of shape {list(labels.shape)} for an output of shape {list(output.shape)}; cross entropy needs "
            "one integer class per row. Pass loss=... for other targets."
        )
    labels = labels.reshape(-1)
    check_classes(labels.numpy(), output.shape[1])
    return functional.cross_entropy(output, labels)


@dataclass(frozen=True, slots=True, eq=False)
class Labelled:
    """Checked graphs with their labels, and for node tasks the nodes that count.

    Attributes:
        labels: [rows, ...], of all rows.
        mask: [rows] bool, or None where all rows count.
    """

    inputs: GraphInputs
    labels: Tensor
    mask: Tensor | None

    @classmethod
    def of(cls, data: Any) -> Labelled:
        """Read a PyG Data or Batch."""
        inputs, labels, mask = GraphInputs.from_pyg(data), getattr(data, "y", None), getattr(data, "train_mask", None)
        if labels is None:
            raise InvalidInput("y: missing on a training graph. Give every graph labels in y.")
        mask = None if mask is None else torch.as_tensor(mask, dtype=torch.bool)
        return cls(inputs, torch.atleast_1d(torch.as_tensor(labels)), mask)

    @classmethod
    def concatenate(cls, parts: Sequence[Labelled]) -> Labelled:
        """One batch of several."""
        if len(parts) == 1:
            return parts[0]
        masks = [p.mask for p in parts if p.mask is not None]
        if masks and len(masks) != len(parts):
            raise InvalidInput("train_mask: only some graphs have one; give it to all of them, or to none.")
        labels = torch.cat([p.labels for p in parts])
        return cls(GraphInputs.concatenate([p.inputs for p in parts]), labels, torch.cat(masks) if masks else None)

    def loss(self, output: Tensor, loss: Loss) -> Tensor:
        """Over the rows that count.

        Raises:
            InvalidInput: no row counts, or the loss is none that can be followed.
        """
        if self.mask is not None and not self.mask.any():
            raise InvalidInput("train_mask: selects no node of a batch, so there is nothing to learn from it.")
        output, labels = (output, self.labels) if self.mask is None else (output[self.mask], self.labels[self.mask])
        value = loss(output, labels)
        if not isinstance(value, Tensor) or value.numel() != 1:
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InvalidInput(f"loss: gave {shape}, expected one number for a batch. Take the mean over its rows.")
        if not value.requires_grad:
            raise InvalidInput(
                "loss: does not depend on any weight that trains. Compute it from the output, and freeze not all weights."
            )
        return value


def epoch_batches(loader: Iterable[Any], batch_size: int, seed: int) -> Callable[[], Iterator[Labelled]]:
    """A function that gives the batches of the next epoch.

    A list is checked once, then shuffled and grouped to batches of `batch_size` graphs in every epoch; any other iterable
    is a loader and iterated as it is, its own generator seeded first.

    Raises:
        InvalidInput: a graph without labels; in an epoch, that there are no graphs.
    """
    _seed_loader(loader, seed)
    if not isinstance(loader, list | tuple):
        return lambda: _some(numbered(loader, Labelled.of))
    parts = list(numbered(loader, Labelled.of))
    order = np.random.default_rng(seed)

    def shuffled() -> Iterator[Labelled]:
        group: list[Labelled] = []
        for index in _some(order.permutation(len(parts))):
            group.append(parts[index])
            if sum(p.inputs.num_graphs for p in group) >= batch_size:
                yield Labelled.concatenate(group)
                group = []
        if group:
            yield Labelled.concatenate(group)

    return shuffled


def _some(items: Iterable[Item]) -> Iterator[Item]:
    """All of them; refuses none."""
    is_empty = True
    for item in items:
        is_empty = False
        yield item
    if is_empty:
        raise InvalidInput("loader: holds no graphs, expected at least one with labels. Pass the training graphs.")


def _seed_loader(loader: Iterable[Any], seed: int) -> None:
    """Seed the generator of a DataLoader that brings its own; the others draw from torch's, which is seeded already."""
    for holder in (loader, getattr(loader, "sampler", None)):
        generator = getattr(holder, "generator", None)
        if isinstance(generator, torch.Generator):
            generator.manual_seed(seed)
