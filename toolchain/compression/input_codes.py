"""InputCodes: the codes of a model's input, computed once for a graph that training sees again and again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor
from torch.nn import functional

from toolchain.ir import QParams
from toolchain.torch_sparse import SparseMatrix, mostly_zero
from toolchain.torch_structure import Structure

MOST_KEPT = 3  # batches of a node task: as trained on, as validated on, as looked at after an epoch


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
    sparse: SparseMatrix | None = None
    _is_tried: bool = False

    def dropped(self, p: float) -> InputCodes:
        """The same with elements set to 0 at random, as `dropout` does. `codes` stay whole where there is a sparse matrix."""
        if self.sparse is None:
            return replace(self, codes=functional.dropout(self.codes, p))
        return replace(self, sparse=self.sparse.with_values(functional.dropout(self.sparse.values, p)))

    def fits(self, value: int, batch: Structure, qparams: QParams) -> bool:
        """Whether these are the codes of a value for a batch at a scale; then they are in use again."""
        if self.value != value or self.batch is not batch or self.qparams != qparams:
            return False
        if not self._is_tried:
            self._is_tried, self.sparse = True, mostly_zero(self.codes)
        return True
