"""TensorBoard: the epochs of a training as event files that `tensorboard --logdir` shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.errors import require


@dataclass(slots=True, eq=False)
class TensorBoard:
    """Writes what every epoch reports: pass it as `watch` to `fine_tune`, `QAT` or a `Schedule`.

    Attributes:
        folder: of the event files; every training needs one of its own.

    Raises:
        MissingDependency: the tensorboard package is not installed.
    """

    folder: Path
    _writer: Any = None

    def __post_init__(self) -> None:
        require("tensorboard", "tensorboard")

    def __call__(self, epoch: int, values: Mapping[str, float]) -> None:
        if self._writer is None:  # the folder appears with the first epoch
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.folder))
        for name, value in values.items():
            self._writer.add_scalar(name, value, epoch)
        self._writer.flush()
