"""EdgeList: the feed-driven structure on an edge list: gather, scale, index_add. Sizes are never baked in."""

from __future__ import annotations

import torch
from torch import Tensor

from toolchain.exporters.feed_module import FeedSource, feed
from toolchain.exporters.sparse_input import Features
from toolchain.feeds import FeedKind
from toolchain.ir.ops import End, Input, Reduce, Role, RowFactor
from toolchain.topology import Normalization, TopologySpec
from toolchain.torch_structure import Structure, weigh_heads

EMBEDDING_BAG_SUM = 0  # a mode of torch.embedding_bag


def has_coefficient(spec: TopologySpec, reduce: Reduce, factors: bool = True) -> bool:
    """Whether an aggregation multiplies anything but ones into its messages; `factors`: r and l are still to do."""
    normalized = factors and spec.normalization is not Normalization.NONE
    return reduce is Reduce.MEAN or spec.weighted or spec.loop_weight != 1.0 or normalized


def mean_or_sum(reduce: Reduce) -> str:
    """The `reduce` of a feed: means divide by the number of in-edges, everything else does not."""
    return "mean" if reduce is Reduce.MEAN else "sum"


class EdgeList(Structure):
    """Feeds: source and target of each edge, and one coefficient l_i w_ij r_j per edge where a topology has any.

    The coefficient also carries l_i under a maximum: l_i >= 0, so l_i max(m) = max(l_i m).
    """

    min_edges = 0  # edge feeds are padded to this many rows, for runtimes that take no empty array

    def __init__(
        self, specs: tuple[TopologySpec, ...], feeds: FeedSource, *, features: Features = Features.DENSE
    ) -> None:
        self.specs = specs
        self.feeds = feeds
        self.features = features
        self.num_nodes: Tensor | int = 0  # set by the input x, which every model reads

    def input(self, op: Input) -> Tensor:
        if op.role is Role.X and self.features is not Features.DENSE:
            starts = self.feeds.take(feed(FeedKind.X_START, dims=("N",), dtype="int64"))
            self.num_nodes = starts.shape[0]
            return starts
        if op.role is Role.X:
            x = self.feeds.take(feed(FeedKind.X, dims=("N", op.type.channels)))
            self.num_nodes = x.shape[0]
            return x
        kind = FeedKind.EDGE_ATTR if op.role is Role.EDGE_ATTR else FeedKind.EDGE_WEIGHT
        dims = ("E", op.type.channels)
        return self.feeds.take(feed(kind, op.type.topology, dims=dims, min_rows=self.min_edges))

    def sparse_linear(self, weight: Tensor) -> Tensor:
        """x W^T of features that are given by their entries, with W [out, F]: [N, out]."""
        starts = self.feeds.take(feed(FeedKind.X_START, dims=("N",), dtype="int64"))
        is_binary = self.features is Features.BINARY
        columns = self.feeds.take(feed(FeedKind.X_ONES if is_binary else FeedKind.X_COLUMN, dims=("Z",), dtype="int64"))
        values = None if is_binary else self.feeds.take(feed(FeedKind.X_VALUE, dims=("Z", 1))).squeeze(1)
        table = weight.t().contiguous()  # [F, out]
        # Of `torch`, as the function of torch.nn.functional compares sizes in Python, which a trace would keep as they are.
        sums, *_ = torch.embedding_bag(table, columns, starts, mode=EMBEDDING_BAG_SUM, per_sample_weights=values)
        return sums

    def ends(self, topology: int, end: End) -> Tensor:
        """[E] node at one end of each edge."""
        kind = FeedKind.SOURCE if end is End.SOURCE else FeedKind.TARGET
        return self.feeds.take(feed(kind, topology, dims=("E",), dtype="int64", min_rows=self.min_edges))

    def coefficient(self, topology: int, reduce: Reduce, factors: bool) -> Tensor | None:
        """[E, 1] l_i w_ij r_j, or w_ij without the factors; divided by the in-degree for a mean. None means ones."""
        if not has_coefficient(self.specs[topology], reduce, factors):
            return None
        return self.feeds.take(
            feed(
                FeedKind.COEFFICIENT, topology, reduce=mean_or_sum(reduce), dims=("E", 1), factors=factors,
                min_rows=self.min_edges,
            )
        )  # fmt: skip

    def row_factor(self, factor: RowFactor) -> Tensor | None:
        if self.specs[factor.topology].normalization is Normalization.NONE:
            return None
        if factor.end is End.SOURCE:
            return self.feeds.take(feed(FeedKind.SOURCE_SCALE, factor.topology, dims=("N", 1)))
        return self.feeds.take(feed(FeedKind.TARGET_SCALE, factor.topology, reduce="sum", dims=("N", 1)))

    def in_degree(self, topology: int) -> Tensor:
        ends = self.feeds.take(feed(FeedKind.ROW_POINTER, topology, dims=("N+1",), dtype="int64"))
        return (ends[1:] - ends[:-1]).float().unsqueeze(1)

    def propagate(
        self, x: Tensor, topology: int, reduce: Reduce, weight: Tensor | None, heads: int, source_scaled: bool
    ) -> Tensor:
        y = self.reduce_messages(x, topology, reduce, weight, heads, not source_scaled)
        if source_scaled and self.specs[topology].normalization is not Normalization.NONE:
            y = y * self.feeds.take(feed(FeedKind.TARGET_SCALE, topology, reduce="sum", dims=("N", 1)))
        return y

    def reduce_messages(
        self, x: Tensor, topology: int, reduce: Reduce, weight: Tensor | None, heads: int, factors: bool
    ) -> Tensor:
        """Reduce coefficient * h * x_j over in-edges: [N, C]. The coefficient turns a mean into a sum."""
        if weight is None and reduce in (Reduce.SUM, Reduce.MEAN):
            return self.weighted_sum(x, topology, reduce, factors)
        messages = self.gather(x, topology, End.SOURCE)  # [E, C]
        coefficient = self.coefficient(topology, reduce, factors)
        if coefficient is not None:
            messages = messages * coefficient
        if weight is not None:
            messages = weigh_heads(messages, weight, heads)
        reduce = Reduce.SUM if reduce is Reduce.MEAN else reduce
        return self.aggregate(messages, topology, reduce, End.TARGET)

    def weighted_sum(self, x: Tensor, topology: int, reduce: Reduce, factors: bool) -> Tensor:
        """Sum coefficient * x_j over in-edges: the form that most layers take."""
        messages, coefficient = self.gather(x, topology, End.SOURCE), self.coefficient(topology, reduce, factors)
        messages = messages if coefficient is None else messages * coefficient
        return self.aggregate(messages, topology, Reduce.SUM, End.TARGET)

    def gather(self, x: Tensor, topology: int, end: End) -> Tensor:
        return x.index_select(0, self.ends(topology, end))

    def aggregate(self, x: Tensor, topology: int, reduce: Reduce, end: End) -> Tensor:
        return self.segment_reduce(x, self.ends(topology, end), self.num_nodes, reduce)

    def edge_softmax(self, x: Tensor, topology: int) -> Tensor:
        target = self.ends(topology, End.TARGET)
        peak = self.segment_reduce(x, target, self.num_nodes, Reduce.MAX)
        weights = (x - peak.index_select(0, target)).exp()
        total = self.segment_reduce(weights, target, self.num_nodes, Reduce.SUM)
        return weights / (total.index_select(0, target) + 1e-16)

    def segment_reduce(self, values: Tensor, segments: Tensor, count: Tensor | int, reduce: Reduce) -> Tensor:
        """Reduce rows by segment: [E, C] to [count, C]. `count` may be a traced size."""
        if reduce is Reduce.PRODUCT:
            ones = values.new_ones(count, values.shape[1])  # type: ignore[arg-type]  # traced sizes are tensors
            return ones.scatter_reduce(0, segments.unsqueeze(1).expand_as(values), values, "prod")
        zeros = values.new_zeros(count, values.shape[1])  # type: ignore[arg-type]  # traced sizes are tensors
        if reduce in (Reduce.MAX, Reduce.MIN):
            index = segments.unsqueeze(1).expand_as(values)
            extreme = "amax" if reduce is Reduce.MAX else "amin"
            return zeros.scatter_reduce(0, index, values, extreme, include_self=False)
        total = zeros.index_add(0, segments, values)
        if reduce is Reduce.MEAN:
            ones = values.new_ones(values.shape[0], 1)
            rows = values.new_zeros(count, 1).index_add(0, segments, ones)  # type: ignore[arg-type]  # as above
            total = total / rows.clamp(min=1)
        return total

    def graph_index(self) -> Tensor:
        """[N] graph of each node."""
        return self.feeds.take(feed(FeedKind.GRAPH_INDEX, dims=("N",), dtype="int64"))

    def inverse_count(self) -> Tensor:
        """[G, 1] one over the nodes of each graph; its length is the number of graphs."""
        return self.feeds.take(feed(FeedKind.INVERSE_COUNT, dims=("G", 1)))

    def pool(self, x: Tensor, reduce: Reduce) -> Tensor:
        inverse_count = self.inverse_count()
        summed = Reduce.SUM if reduce is Reduce.MEAN else reduce
        y = self.segment_reduce(x, self.graph_index(), inverse_count.shape[0], summed)
        return y * inverse_count if reduce is Reduce.MEAN else y

    def broadcast(self, x: Tensor) -> Tensor:
        return x.index_select(0, self.graph_index())
