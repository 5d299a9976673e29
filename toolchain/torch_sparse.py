"""SparseMatrix: a mostly zero matrix as the left operand of a product, with gradients to both sides."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

SPARSE = 0.2  # share of elements other than 0 below which the sparse product is the faster one (PubMed 0.1, Cora 0.01)


@dataclass(frozen=True, slots=True, eq=False)
class SparseMatrix:
    """Compressed rows, and where each element is in the transpose: torch's own gradient transposes anew in every step.

    Attributes:
        values: [elements], those of the first row first.
        rows: [R + 1] int64, where each row starts.
        columns: [elements] int64.
        transposed_rows, transposed_columns: the same of the transpose.
        order: [elements] int64, where the elements of the transpose are in `values`.
        shape: (R, C).
    """

    values: Tensor
    rows: Tensor
    columns: Tensor
    transposed_rows: Tensor
    transposed_columns: Tensor
    order: Tensor
    shape: tuple[int, int]

    @classmethod
    def of(cls, dense: Tensor) -> SparseMatrix:
        """The non-zeros of a matrix [R, C]."""
        row, column = dense.nonzero(as_tuple=True)
        order = torch.sort(column, stable=True).indices
        count, width = dense.shape
        return cls(
            dense[row, column], _starts(row, count), column, _starts(column, width), row[order], order, (count, width)
        )

    def with_values(self, values: Tensor) -> SparseMatrix:
        """Other elements in the same places."""
        return replace(self, values=values)

    def product(self, right: Tensor) -> Tensor:
        """[R, K] for a right operand [C, K] of any float dtype."""
        result: Tensor = _Product.apply(self.values.to(right.dtype), right, self)  # type: ignore[no-untyped-call]  # torch's
        return result

    def dense(self) -> Tensor:
        """The whole matrix, [R, C]."""
        return self._matrix(self.values).to_dense()

    def _matrix(self, values: Tensor) -> Tensor:
        return _compressed(self.rows, self.columns, values, self.shape)

    def _transpose(self, values: Tensor) -> Tensor:
        count, width = self.shape
        return _compressed(self.transposed_rows, self.transposed_columns, values[self.order], (width, count))


def mostly_zero(dense: Tensor) -> SparseMatrix | None:
    """A matrix by its non-zeros, where they are few enough that products are faster."""
    return SparseMatrix.of(dense) if torch.count_nonzero(dense) < SPARSE * dense.numel() else None


def _starts(index: Tensor, count: int) -> Tensor:
    return torch.cat([torch.zeros(1, dtype=torch.int64), torch.bincount(index, minlength=count).cumsum(0)])


def _compressed(rows: Tensor, columns: Tensor, values: Tensor, shape: tuple[int, int]) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return torch.sparse_csr_tensor(rows, columns, values, shape, check_invariants=False)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, right: Tensor, sparse: SparseMatrix) -> Tensor:
        ctx.save_for_backward(values, right)
        ctx.sparse = sparse
        return sparse._matrix(values) @ right

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (gradient,), (values, right), sparse = gradients, ctx.saved_tensors, ctx.sparse
        to_values = to_right = None
        if ctx.needs_input_grad[0]:
            places = sparse._matrix(torch.zeros_like(values))
            to_values = torch.sparse.sampled_addmm(places, gradient.contiguous(), right.T).values()
        if ctx.needs_input_grad[1]:
            to_right = sparse._transpose(values) @ gradient
        return to_values, to_right, None
