"""SparseFeatures: node features as the entries other than 0, row after row (CSR)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolchain.errors import InvalidInput


@dataclass(frozen=True, slots=True, eq=False)
class SparseFeatures:
    """The Z entries other than 0 of an [N, F] matrix.

    Attributes:
        pointer: [N + 1] int64; the entries of row i are pointer[i] to pointer[i + 1].
        column: [Z] int64, ascending within a row.
        value: [Z] float32.
    """

    pointer: np.ndarray
    column: np.ndarray
    value: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray) -> SparseFeatures:
        """The entries of a dense matrix."""
        places = np.flatnonzero(x)
        row, column = np.divmod(places, max(x.shape[1], 1))
        pointer = np.searchsorted(row, np.arange(len(x) + 1))
        return cls(pointer, column, x.reshape(-1)[places])

    @property
    def row(self) -> np.ndarray:
        """[Z] int64: the row of each entry, not decreasing."""
        return np.repeat(np.arange(len(self.pointer) - 1), np.diff(self.pointer))

    @property
    def is_binary(self) -> bool:
        """Whether every entry is 1."""
        return bool((self.value == 1).all())

    def ones(self) -> np.ndarray:
        """`column` of features that are 0 or 1.

        Raises:
            InvalidInput: names the first entry that is neither.
        """
        others = np.flatnonzero(self.value != 1)
        if others.size:
            place = int(others[0])
            raise InvalidInput(
                f"x: {self.value[place]:g} at {[int(self.row[place]), int(self.column[place])]}, but the model was exported "
                "with sparse features, which are 0 or 1. Export it with sparse_features='values', or without, to use others."
            )
        return self.column
