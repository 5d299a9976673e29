"""BestEpoch: what training has made after the epoch that is best on validation graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from toolchain.compression.evaluation import accuracy, mean_loss

T = TypeVar("T")
Loss = Callable[[Tensor, Tensor], Tensor]
Criterion = Literal["accuracy", "loss"]
CRITERIA: tuple[Criterion, ...] = ("accuracy", "loss")


def validation_score(
    data: Sequence[Any], outputs: Callable[[], np.ndarray], criterion: Criterion, loss: Loss | None = None
) -> float:
    """Of outputs [rows, C] on PyG graphs with labels (node tasks: in `val_mask`): accuracy, or minus the loss.

    Args:
        loss: of (outputs, y); None: cross entropy.
    """
    if criterion == "accuracy":
        return accuracy(data, outputs)
    if loss is None:
        return -mean_loss(data, outputs)
    return -mean_loss(data, outputs, loss=lambda found, y: float(loss(torch.from_numpy(found), torch.from_numpy(y))))


class BestEpoch(Generic[T]):
    """Keeps the state of the epoch with the highest accuracy, or with the lowest loss; of equals the first.

    Attributes:
        epoch: its number.
        state: None before the first epoch.
    """

    def __init__(self, data: Iterable[Any], criterion: Criterion, loss: Loss | None = None) -> None:
        """
        Args:
            data: PyG graphs with labels; of node tasks, the nodes in `val_mask` count.
            loss: of (outputs, y); None: cross entropy.
        """
        self._data, self._criterion, self._loss = list(data), criterion, loss
        self._score = -np.inf
        self.epoch = 0
        self.state: T | None = None

    def look(self, epoch: int, outputs: Callable[[], np.ndarray], state: Callable[[], T]) -> None:
        """Compare an epoch with the best one so far.

        Args:
            outputs: on the validation graphs, [rows, C].
            state: what is kept where it is better.
        """
        score = validation_score(self._data, outputs, self._criterion, self._loss)
        if self.state is None or score > self._score:
            self._score, self.epoch, self.state = score, epoch, state()
