"""How TorchScript aggregates: dense on small graphs, an edge list on large ones, chosen while the model runs."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from toolchain.exporters.edge_list import EdgeList, mean_or_sum
from toolchain.exporters.feed_module import FeedSource, feed
from toolchain.exporters.sparse_input import Features
from toolchain.feeds import FeedKind
from toolchain.ir.ops import End, Reduce
from toolchain.topology import TopologySpec

# A dense product costs N^2 C multiply-adds, an edge list about DENSE_RATIO times as much per edge. Measured with 64
# channels on one x86 core, GCN 3x64: N=39 E=185 dense 47 us, edges 62 us; N=128 E=650 dense 127 us, edges 112 us.
DENSE_RATIO = 16


def _adjacency(x: Tensor, source: Tensor, target: Tensor, coefficient: Tensor, limit: int) -> Tensor:
    """[N, N] with the coefficients at (target, source) where N^2 <= limit * E, otherwise [0, 0]."""
    n = x.shape[0]
    if n * n > limit * source.shape[0]:
        return torch.zeros(0, 0)
    return torch.zeros(n * n).index_add(0, target * n + source, coefficient[:, 0]).view(n, n)


def _sum_neighbours(x: Tensor, adjacency: Tensor, source: Tensor, target: Tensor, coefficient: Tensor) -> Tensor:
    if adjacency.shape[0] > 0:
        return torch.mm(adjacency, x)
    return torch.zeros_like(x).index_add(0, target, x.index_select(0, source) * coefficient)


def _sum_plain_neighbours(x: Tensor, adjacency: Tensor, source: Tensor, target: Tensor) -> Tensor:
    if adjacency.shape[0] > 0:
        return torch.mm(adjacency, x)
    return torch.zeros_like(x).index_add(0, target, x.index_select(0, source))


def _sum_nodes(x: Tensor, graph_index: Tensor, inverse_count: Tensor) -> Tensor:
    if inverse_count.shape[0] == 1:
        return x.sum(0, keepdim=True)
    return torch.zeros(inverse_count.shape[0], x.shape[1]).index_add(0, graph_index, x)


with warnings.catch_warnings():
    # torch 2.13 deprecates torch.jit as a whole; it is the format that was asked for.
    warnings.filterwarnings("ignore", message=".*torch.jit.script.* deprecated", category=DeprecationWarning)
    # Scripted, because a trace would keep only the branch that the example took.
    adjacency = torch.jit.script(_adjacency)
    sum_neighbours = torch.jit.script(_sum_neighbours)
    sum_plain_neighbours = torch.jit.script(_sum_plain_neighbours)
    sum_nodes = torch.jit.script(_sum_nodes)


class SwitchingEdgeList(EdgeList):
    """An edge list that multiplies with a dense adjacency, built once per run, where the graph is small.

    Args:
        dense_ratio: dense where N^2 <= dense_ratio * E.
    """

    def __init__(
        self, specs: tuple[TopologySpec, ...], feeds: FeedSource, dense_ratio: int = DENSE_RATIO,
        *, features: Features = Features.DENSE,
    ) -> None:  # fmt: skip
        super().__init__(specs, feeds, features=features)
        self.dense_ratio = dense_ratio
        self._adjacencies: dict[tuple[int, str, bool], Tensor] = {}

    def weighted_sum(self, x: Tensor, topology: int, reduce: Reduce, factors: bool) -> Tensor:
        source, target = self.ends(topology, End.SOURCE), self.ends(topology, End.TARGET)
        coefficient = self.coefficient(topology, reduce, factors)
        key = (topology, mean_or_sum(reduce), factors)
        if key not in self._adjacencies:
            values = x.new_ones(source.shape[0], 1) if coefficient is None else coefficient
            self._adjacencies[key] = adjacency(x, source, target, values, self.dense_ratio)
        if coefficient is None:
            return sum_plain_neighbours(x, self._adjacencies[key], source, target)
        return sum_neighbours(x, self._adjacencies[key], source, target, coefficient)

    def pool(self, x: Tensor, reduce: Reduce) -> Tensor:
        if reduce not in (Reduce.SUM, Reduce.MEAN):
            return super().pool(x, reduce)
        y = sum_nodes(x, self.graph_index(), self.inverse_count())
        return y * self.inverse_count() if reduce is Reduce.MEAN else y


class StoredAdjacency(EdgeList):
    """An edge list whose sums are products with a matrix that is known when the file is written."""

    def weighted_sum(self, x: Tensor, topology: int, reduce: Reduce, factors: bool) -> Tensor:
        adjacency = feed(FeedKind.ADJACENCY, topology, reduce=mean_or_sum(reduce), dims=("N", "N"), factors=factors)
        return torch.mm(self.feeds.take(adjacency), x)
