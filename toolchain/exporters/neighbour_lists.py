"""NeighbourLists: the feed-driven structure on padded neighbour lists, for runtimes whose scatter is slow or missing.

A sum over neighbours is an embedding lookup and a batched product of [1, K] coefficients with [K, C] neighbours; a
maximum is one over the K places. K is the largest degree of the graph.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from toolchain.exporters.edge_list import EdgeList, mean_or_sum
from toolchain.exporters.feed_module import feed
from toolchain.feeds import FeedKind
from toolchain.ir.ops import End, Reduce
from toolchain.topology import Normalization

FAR = 1e30  # added to an unused place, so that it loses every maximum; far from overflow in float32


class NeighbourLists(EdgeList):
    """Edge values stay [E, C], in at least one row; each node finds its edges through IN_EDGES or OUT_EDGES."""

    min_edges = 1

    def in_degree(self, topology: int) -> Tensor:
        return self._lists(topology, End.TARGET)[1].sum(dim=2)

    def weighted_sum(self, x: Tensor, topology: int, reduce: Reduce, factors: bool) -> Tensor:
        neighbours = self.feeds.take(feed(FeedKind.NEIGHBOURS, topology, dims=("N", "K"), dtype="int64"))
        coefficient = self.feeds.take(
            feed(
                FeedKind.NEIGHBOUR_COEFFICIENT,
                topology,
                reduce=mean_or_sum(reduce),
                dims=("N", 1, "K"),
                factors=factors,
            )
        )
        return torch.bmm(coefficient, F.embedding(neighbours, x)).squeeze(1)  # [N, 1, K] x [N, K, C]

    def gather(self, x: Tensor, topology: int, end: End) -> Tensor:
        return F.embedding(self.ends(topology, end), x)

    def _lists(self, topology: int, end: End) -> tuple[Tensor, Tensor]:
        """The edges at each node, [N, K], and their mask, [N, 1, K]."""
        incoming = end is End.TARGET
        edges = FeedKind.IN_EDGES if incoming else FeedKind.OUT_EDGES
        mask = FeedKind.IN_MASK if incoming else FeedKind.OUT_MASK
        return (
            self.feeds.take(feed(edges, topology, dims=("N", "K"), dtype="int64")),
            self.feeds.take(feed(mask, topology, dims=("N", 1, "K"))),
        )

    def aggregate(self, x: Tensor, topology: int, reduce: Reduce, end: End) -> Tensor:
        edges, mask = self._lists(topology, end)
        values = F.embedding(edges, x)  # [N, K, C]
        if reduce in (Reduce.MAX, Reduce.MIN):
            return _extreme(values, mask, reduce)
        if reduce is Reduce.PRODUCT:
            return _product(values, mask)
        total = torch.bmm(mask, values).squeeze(1)
        return total / mask.sum(dim=2).clamp(min=1.0) if reduce is Reduce.MEAN else total

    def edge_softmax(self, x: Tensor, topology: int) -> Tensor:
        edges, mask = self._lists(topology, End.TARGET)
        peak = _extreme(F.embedding(edges, x), mask, Reduce.MAX)  # [N, H]
        weights = (x - self.gather(peak, topology, End.TARGET)).exp()
        total = torch.bmm(mask, F.embedding(edges, weights)).squeeze(1)
        return weights / (self.gather(total, topology, End.TARGET) + 1e-16)

    def pool(self, x: Tensor, reduce: Reduce) -> Tensor:
        matrix = self.feeds.take(feed(FeedKind.POOL_MATRIX, reduce=mean_or_sum(reduce), dims=("G", "N")))
        if reduce in (Reduce.MAX, Reduce.MIN):
            return _extreme(x.unsqueeze(0), matrix.unsqueeze(1), reduce)  # [1, N, C] under [G, 1, N]
        if reduce is Reduce.PRODUCT:
            return _product(x.unsqueeze(0), matrix.unsqueeze(1))
        return torch.bmm(matrix.unsqueeze(0), x.unsqueeze(0)).squeeze(0)

    def broadcast(self, x: Tensor) -> Tensor:
        return F.embedding(self.graph_index(), x)


class ScatterAdd(NeighbourLists):
    """Sums with scatter_add, a slow kernel, but one whose memory and time depend on the edges and not on the degree."""

    def weighted_sum(self, x: Tensor, topology: int, reduce: Reduce, factors: bool) -> Tensor:
        # Also where all coefficients are 1: the edge that pads an empty graph has 0.
        kind, dims = FeedKind.COEFFICIENT, ("E", 1)
        coefficient = self.feeds.take(
            feed(kind, topology, reduce=mean_or_sum(reduce), dims=dims, factors=factors, min_rows=self.min_edges)
        )
        messages = self.gather(x, topology, End.SOURCE) * coefficient  # [E, C]
        return self.added(messages, self.ends(topology, End.TARGET), torch.zeros_like(x))

    def added(self, messages: Tensor, target: Tensor, zeros: Tensor) -> Tensor:
        """Every row of `messages` [E, C] added into the row of `zeros` [N, C] that `target` [E] names."""
        return zeros.scatter_add(0, target.unsqueeze(1).expand_as(messages), messages)


class IndexPut(ScatterAdd):
    """Sums with index_put, a slower kernel yet, but one without an index as large as the messages.

    Factors of nodes multiply nodes: messages are in memory once, where a product with a coefficient has them twice.
    """

    def weighted_sum(self, x: Tensor, topology: int, reduce: Reduce, factors: bool) -> Tensor:
        spec = self.specs[topology]
        normalized = spec.normalization is not Normalization.NONE
        # A target's scale has both, l and the division by the degree: not for a mean whose l the model multiplies itself.
        divides_only = reduce is Reduce.MEAN and normalized and not factors
        if spec.weighted or spec.loop_weight != 1.0 or divides_only:
            return super().weighted_sum(x, topology, reduce, factors)
        if normalized and factors:
            x = x * self.feeds.take(feed(FeedKind.SOURCE_SCALE, topology, dims=("N", 1)))
        total = self.added(self.gather(x, topology, End.SOURCE), self.ends(topology, End.TARGET), torch.zeros_like(x))
        ones = self.feeds.take(
            feed(
                FeedKind.COEFFICIENT, topology, reduce="sum", dims=("E", 1), factors=False, min_rows=self.min_edges
            )
        )  # fmt: skip
        total = total * ones.amax(dim=0)  # 0 where the only edge is the one that pads an empty graph
        if reduce is Reduce.MEAN or (normalized and factors):
            scale = feed(FeedKind.TARGET_SCALE, topology, reduce=mean_or_sum(reduce), dims=("N", 1))
            total = total * self.feeds.take(scale)
        return total

    def added(self, messages: Tensor, target: Tensor, zeros: Tensor) -> Tensor:
        return zeros.index_put((target,), messages, accumulate=True)


class DenseAdjacency(NeighbourLists):
    """Sums as products with a dense [N, N] adjacency, for small graphs and for degrees beyond any bound on K."""

    def weighted_sum(self, x: Tensor, topology: int, reduce: Reduce, factors: bool) -> Tensor:
        adjacency = self.feeds.take(
            feed(FeedKind.ADJACENCY, topology, reduce=mean_or_sum(reduce), dims=("N", "N"), factors=factors)
        )
        return torch.bmm(adjacency.unsqueeze(0), x.unsqueeze(0)).squeeze(0)  # XNNPACK takes bmm, not mm


def _extreme(values: Tensor, mask: Tensor, reduce: Reduce) -> Tensor:
    """Largest or smallest of the used places: [R, K, C] under [R, 1, K] to [R, C]; no used place gives 0."""
    # A transposition, as XNNPACK reshapes only where one axis is dynamic.
    unused = ((mask - 1.0) * FAR).transpose(1, 2)  # [R, K, 1]: 0 where used
    used = mask.amax(dim=2)  # [R, 1]
    if reduce is Reduce.MAX:
        return (values + unused).amax(dim=1) * used
    return (values - unused).amin(dim=1) * used


def _product(values: Tensor, mask: Tensor) -> Tensor:
    """Product of the used places: [R, K, C] under [R, 1, K] to [R, C]; no used place gives 1."""
    used = mask.transpose(1, 2)  # [R, K, 1]
    return (values * used + (1.0 - used)).prod(dim=1)
