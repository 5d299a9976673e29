"""FeedNames: which inputs a model file has, collected while it is emitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

import numpy as np

from toolchain.exporters.fixed_feeds import FixedFeeds
from toolchain.exporters.lowerings import Lowering
from toolchain.exporters.sparse_input import Features
from toolchain.feeds import Feed, FeedKind
from toolchain.ir import ops
from toolchain.ir.ops import End, Reduce, RowFactor
from toolchain.topology import Normalization, TopologySpec

_ROLE_KINDS = {
    ops.Role.X: FeedKind.X, ops.Role.EDGE_WEIGHT: FeedKind.EDGE_WEIGHT, ops.Role.EDGE_ATTR: FeedKind.EDGE_ATTR,
}  # fmt: skip
_ALWAYS = (Lowering.DENSE, Lowering.SCATTER)  # a graph's own arrays are there whatever reads them


Name = TypeVar("Name")


@dataclass(slots=True)
class FeedNames(Generic[Name]):
    """Hands out inputs by what the file calls them, and remembers which lowering reads which.

    Attributes:
        name: what the file being written calls a feed: its name, or the number of its tensor.
        index_dtype: of the feeds that hold indices.
        lowering: the lowering being emitted.
        features: how the file takes x.
        min_edges: rows that edge feeds are padded to, for runtimes that take no empty array.
        fixed: what is known of a fixed graph: its arrays are no inputs, but stored by `constant`.
    """

    topologies: tuple[TopologySpec, ...]
    name: Callable[[Feed], Name]
    index_dtype: str = "int64"
    lowering: Lowering = Lowering.SCATTER
    features: Features = Features.DENSE
    min_edges: int = 0
    fixed: FixedFeeds | None = None
    constant: Callable[[np.ndarray], Name] | None = None
    _feeds: dict[str, Feed] = field(default_factory=dict)
    _readers: dict[str, set[Lowering]] = field(default_factory=dict)

    def declared(self, dense_up_to: int | None) -> tuple[Feed, ...]:
        """The inputs in order of first use.

        Args:
            dense_up_to: in a file with both lowerings, the largest graph of the dense one: an input that only one
                lowering reads is left out for the graphs of the other.
        """
        if dense_up_to is None:
            return tuple(self._feeds.values())
        return tuple(self._bounded(feed, dense_up_to) for feed in self._feeds.values())

    def _bounded(self, feed: Feed, dense_up_to: int) -> Feed:
        readers = self._readers[feed.name]
        if readers == {Lowering.DENSE}:
            return replace(feed, nodes_at_most=dense_up_to)
        return replace(feed, nodes_above=dense_up_to) if readers == {Lowering.SCATTER} else feed

    # --- arrays of the graph ------------------------------------------------------------------------------------------

    def graph_array(self, op: ops.Input) -> Name:
        """x, edge_attr or edge_weight."""
        rows = "N" if op.role is ops.Role.X else "E"
        topology = op.type.topology
        return self._declare(op.role.value, _ROLE_KINDS[op.role], (rows, op.type.channels), topology, readers=_ALWAYS)

    def x_start(self) -> Name:
        """[N] indices: where the entries of each row of x begin."""
        return self._declare("x_start", FeedKind.X_START, ("N",), dtype=self.index_dtype, readers=_ALWAYS)

    def x_row(self) -> Name:
        """[Z] indices: the row of each entry of x."""
        return self._declare("x_row", FeedKind.X_ROW, ("Z",), dtype=self.index_dtype, readers=_ALWAYS)

    def x_column(self) -> Name:
        """[Z] indices: the column of each entry of x."""
        kind = FeedKind.X_ONES if self.features is Features.BINARY else FeedKind.X_COLUMN
        return self._declare("x_column", kind, ("Z",), dtype=self.index_dtype, readers=_ALWAYS)

    def x_value(self) -> Name | None:
        """[Z, 1]: the entries of x; None where all are 1."""
        if self.features is Features.BINARY:
            return None
        return self._declare("x_value", FeedKind.X_VALUE, ("Z", 1), readers=_ALWAYS)

    def graph_index(self) -> Name:
        """[N] indices."""
        return self._declare("graph_index", FeedKind.GRAPH_INDEX, ("N",), dtype=self.index_dtype)

    def inverse_count(self) -> Name:
        """[G, 1]: 1 over the number of nodes."""
        return self._declare("inverse_count", FeedKind.INVERSE_COUNT, ("G", 1))

    def pool_matrix(self, reduce: Reduce) -> Name:
        """[G, N]: sums or means of nodes."""
        return self._declare("pool_matrix", FeedKind.POOL_MATRIX, ("G", "N"), reduce=reduce)

    # --- arrays of a topology -----------------------------------------------------------------------------------------

    def is_normalized(self, topology: int) -> bool:
        return self.topologies[topology].normalization is not Normalization.NONE

    def has_weights(self, topology: int) -> bool:
        """Whether some edge may weigh other than 1."""
        spec = self.topologies[topology]
        return spec.weighted or (spec.self_loops.adds and spec.loop_weight != 1.0)

    def adds_unit_loops(self, topology: int) -> bool:
        """Whether every node gets one self-loop of weight 1."""
        return self.topologies[topology].self_loops.adds and not self.has_weights(topology)

    def source(self, topology: int, *, loops: bool = True) -> Name:
        """[E] indices."""
        return self._declare("source", FeedKind.SOURCE, ("E",), topology, dtype=self.index_dtype, loops=loops)

    def target(self, topology: int, *, loops: bool = True) -> Name:
        """[E] indices."""
        return self._declare("target", FeedKind.TARGET, ("E",), topology, dtype=self.index_dtype, loops=loops)

    def edge_weight(self, topology: int) -> Name:
        """[E, 1]: the weights of a topology, without its normalization."""
        return self._declare("weight", FeedKind.COEFFICIENT, ("E", 1), topology, factors=False)

    def coefficient(self, topology: int, reduce: Reduce, *, factors: bool) -> Name | None:
        """[E, 1]: what each message is multiplied by; None where that is 1."""
        if not (self.has_weights(topology) or reduce is Reduce.MEAN or (factors and self.is_normalized(topology))):
            return None
        stem = "coefficient" if factors else "coefficient_unscaled"
        return self._declare(stem, FeedKind.COEFFICIENT, ("E", 1), topology, reduce=reduce, factors=factors)

    def adjacency(self, topology: int, reduce: Reduce, *, factors: bool) -> Name:
        """[N, N]: the coefficients, row i = target i."""
        return self._declare("adjacency", FeedKind.ADJACENCY, ("N", "N"), topology, reduce=reduce, factors=factors)

    def row_factor(self, factor: RowFactor) -> Name:
        """[N, 1]: r or l of a topology. Those of a symmetric normalization are one array."""
        if factor.end is End.TARGET or self.topologies[factor.topology].normalization.is_symmetric:
            return self.target_scale(factor.topology, Reduce.SUM)
        return self._declare("source_scale", FeedKind.SOURCE_SCALE, ("N", 1), factor.topology)

    def row_pointer(self, topology: int) -> Name:
        """[N + 1] indices: the in-edges of node i are i to i + 1."""
        return self._declare("row_pointer", FeedKind.ROW_POINTER, ("N+1",), topology, dtype=self.index_dtype)

    def target_scale(self, topology: int, reduce: Reduce) -> Name:
        """[N, 1]: l, divided by the in-degree for MEAN."""
        return self._declare("target_scale", FeedKind.TARGET_SCALE, ("N", 1), topology, reduce=reduce)

    def _declare(
        self,
        stem: str,
        kind: FeedKind,
        dims: Sequence[str | int],
        topology: int | None = None,
        *,
        reduce: Reduce | None = None,
        dtype: str = "float32",
        loops: bool = True,
        factors: bool = True,
        readers: tuple[Lowering, ...] = (),
    ) -> Name:
        name = "_".join(
            [stem]
            + ([str(topology)] if topology is not None and len(self.topologies) > 1 else [])
            + (["mean"] if reduce is Reduce.MEAN else [])
            + ([] if loops else ["without_loops"])
            + ([] if factors or kind is FeedKind.COEFFICIENT else ["unscaled"])
        )
        reduction = None if reduce is None else "mean" if reduce is Reduce.MEAN else "sum"
        min_rows = self.min_edges if dims[0] == "E" else 0
        feed = Feed(name, kind, topology, reduction, dtype, tuple(dims), loops, factors, min_rows=min_rows)
        if self.fixed is not None:
            if not self.fixed.is_given(feed):
                assert self.constant is not None, "a fixed graph needs a place for its arrays"
                return self.constant(self.fixed.array(feed))
            feed = self.fixed.sized(feed)
        known = self._feeds.setdefault(name, feed)
        assert known == feed, f"two different feeds are named {name}: {known} and {feed}"
        self._readers.setdefault(name, set()).update({self.lowering, *readers})
        return self.name(feed)
