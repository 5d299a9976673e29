"""SparseProduct: the feed-driven structure whose sums over neighbours are one operator, pocketgnn::spmm.

The operator is that of runtimes/operators, which ExecuTorch is given when a file is loaded; here torch learns its schema, so that
a program with it can be exported and its memory planned. No message [E, C] exists, so the plan has none.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from toolchain.exporters.edge_list import has_coefficient, mean_or_sum
from toolchain.exporters.feed_module import feed
from toolchain.exporters.neighbour_lists import NeighbourLists
from toolchain.feeds import FeedKind
from toolchain.ir.ops import End, Reduce

NAMESPACE = "pocketgnn"
_OPERANDS = {
    "spmm": "Tensor x, Tensor row_pointer, Tensor source",
    "weighted_spmm": "Tensor x, Tensor row_pointer, Tensor source, Tensor coefficient",
}


class SparseProduct(NeighbourLists):
    """Feeds: the sources by target, where each target's begin, and one coefficient per edge where a topology has any."""

    def weighted_sum(self, x: Tensor, topology: int, reduce: Reduce, factors: bool) -> Tensor:
        define_operators()
        pointer = self.feeds.take(feed(FeedKind.ROW_POINTER, topology, dims=("N+1",), dtype="int64"))
        operands = (x, pointer, self.ends(topology, End.SOURCE))
        if not has_coefficient(self.specs[topology], reduce, factors):
            return torch.ops.pocketgnn.spmm(*operands)
        coefficient = self.feeds.take(
            feed(
                FeedKind.COEFFICIENT, topology, reduce=mean_or_sum(reduce), dims=("E", 1), factors=factors,
                min_rows=self.min_edges,
            )
        )  # fmt: skip
        return torch.ops.pocketgnn.weighted_spmm(*operands, coefficient)


@cache
def define_operators() -> torch.library.Library:
    """Tell torch of the operators: what they take, what they give, and how to compute it."""
    library = torch.library.Library(NAMESPACE, "FRAGMENT")
    for name, operands in _OPERANDS.items():
        library.define(f"{name}({operands}) -> Tensor")
        library.define(f"{name}.out({operands}, *, Tensor(a!) out) -> Tensor(a!)")
        library.impl(name, _spmm, "CompositeExplicitAutograd")
        library.impl(f"{name}.out", _spmm_out, "CompositeExplicitAutograd")
        torch.library.register_fake(f"{NAMESPACE}::{name}", _like_x, lib=library)
    return library


def _like_x(x: Tensor, row_pointer: Tensor, source: Tensor, coefficient: Tensor | None = None) -> Tensor:
    return torch.empty_like(x)


def _spmm(x: Tensor, row_pointer: Tensor, source: Tensor, coefficient: Tensor | None = None) -> Tensor:
    """y_i = sum over the in-edges e of i of coefficient_e * x_source(e). Edges beyond the last row offset are padding."""
    counts = row_pointer.diff()
    target = torch.repeat_interleave(torch.arange(len(counts)), counts)
    messages = x[source[: len(target)]] * (1 if coefficient is None else coefficient[: len(target)])
    return torch.zeros_like(x).index_add(0, target, messages)


def _spmm_out(*operands: Tensor, out: Tensor) -> Tensor:
    return out.copy_(_spmm(*operands))
