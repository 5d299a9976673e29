"""InputCodes: the codes of a model's input, computed once for a graph that training sees again and again."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from toolchain.ir import QParams
from toolchain.torch_structure import Structure

SPARSE = 0.1  # share of codes other than 0 below which a product with a sparse matrix is the faster one (0.013 in Cora)

MOST_KEPT = 2


@dataclass(slots=True, eq=False)
class InputCodes:
    """Codes of one value for one batch.

    Attributes:
        value, batch, qparams: id of the value and the graphs whose codes they are, and at which scale.
        codes: minus zero point, [rows, C] float32, without a gradient.
        sparse: the same as a sparse matrix where most of them are 0; made when the batch comes a second time.
    """

    value: int
    batch: Structure
    qparams: QParams
    codes: Tensor
    sparse: Tensor | None = None
    _is_tried: bool = False

    def dropped(self, p: float) -> Tensor:
        """The same with elements set to 0 at random, as `dropout` does: a sparse matrix where there is one."""
        if self.sparse is None:
            return functional.dropout(self.codes, p)
        return _with_values(self.sparse, functional.dropout(self.sparse.values(), p))

    def fits(self, value: int, batch: Structure, qparams: QParams) -> bool:
        """Whether these are the codes of a value for a batch at a scale; then they are in use again."""
        if self.value != value or self.batch is not batch or self.qparams != qparams:
            return False
        if not self._is_tried:
            self._is_tried, self.sparse = True, _sparse(self.codes)
        return True


def _with_values(sparse: Tensor, values: Tensor) -> Tensor:
    rows, columns = sparse.crow_indices(), sparse.col_indices()
    return torch.sparse_csr_tensor(rows, columns, values, sparse.shape, check_invariants=False)


def _sparse(codes: Tensor) -> Tensor | None:
    if torch.count_nonzero(codes) >= SPARSE * codes.numel():
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        return codes.to_sparse_csr()
