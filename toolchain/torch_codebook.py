"""Codebook: the values that constants share, as one parameter."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn


class Codebook(nn.Module):
    """Constants whose distinct values are trained in place of their elements; the gradient of a value is the sum over them.

    The value 0 is no parameter: it stays, and with it every pruned weight.

    Args:
        arrays: constant name → its array; the codebook is the set of their values.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], dtype: torch.dtype) -> None:
        super().__init__()
        distinct = np.unique(np.concatenate([array.ravel() for array in arrays.values()]))
        distinct = distinct[distinct != 0]
        self.values = nn.Parameter(torch.tensor(distinct, dtype=dtype))
        self._shapes = {name: array.shape for name, array in arrays.items()}
        self._attributes = {name: f"index_{number}" for number, name in enumerate(arrays)}
        for name, array in arrays.items():
            index = np.where(array == 0, 0, np.searchsorted(distinct, array) + 1).ravel()  # 0 is the value 0
            self.register_buffer(self._attributes[name], torch.tensor(index))

    def constant(self, name: str) -> Tensor:
        """The present weights of a constant."""
        table = torch.cat([self.values.new_zeros(1), self.values])
        return table.index_select(0, getattr(self, self._attributes[name])).view(self._shapes[name])
