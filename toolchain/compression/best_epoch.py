"""BestEpoch: what training has made after the epoch that is best on validation graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from toolchain.compression.evaluation import accuracy, mean_loss

T = TypeVar("T")
Criterion = Literal["accuracy", "loss"]
CRITERIA: tuple[Criterion, ...] = ("accuracy", "loss")


def validation_score(data: Sequence[Any], outputs: Callable[[], np.ndarray], criterion: Criterion) -> float:
    """Of outputs [rows, C] on PyG graphs with labels (node tasks: in `val_mask`): accuracy, or minus the cross entropy."""
    return accuracy(data, outputs) if criterion == "accuracy" else -mean_loss(data, outputs)


class BestEpoch(Generic[T]):
    """Keeps the state of the epoch with the highest accuracy, or with the lowest cross entropy; of equals the first.

    Attributes:
        epoch: its number.
        state: None before the first epoch.
    """

    def __init__(self, data: Iterable[Any], criterion: Criterion) -> None:
        """
        Args:
            data: PyG graphs with labels; of node tasks, the nodes in `val_mask` count.
        """
        self._data, self._criterion = list(data), criterion
        self._score = -np.inf
        self.epoch = 0
        self.state: T | None = None

    def look(self, epoch: int, outputs: Callable[[], np.ndarray], state: Callable[[], T]) -> None:
        """Compare an epoch with the best one so far.

        Args:
            outputs: on the validation graphs, [rows, C].
            state: what is kept where it is better.
        """
        score = validation_score(self._data, outputs, self._criterion)
        if self.state is None or score > self._score:
            self._score, self.epoch, self.state = score, epoch, state()
