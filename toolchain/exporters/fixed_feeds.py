"""FixedFeeds: the inputs of a model file for a graph that is known at export, all but the features stored in the file."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from toolchain.exporters.emission import Bounds
from toolchain.feeds import OF_ENTRIES, Feed, FeedKind, build_feed
from toolchain.inputs import GraphInputs, PreparedGraph
from toolchain.ir import Domain, Graph, TensorType


@dataclass(frozen=True, slots=True)
class FixedFeeds:
    """What is constant in a file of one graph.

    Attributes:
        prepared: the graph with the topologies of the model.
    """

    prepared: PreparedGraph

    @classmethod
    def of(cls, graph: Graph, fixed: GraphInputs | None) -> FixedFeeds | None:
        """Those of a fixed graph; None where the graph is an input."""
        return None if fixed is None else cls(fixed.prepare(graph.topologies))

    def is_given(self, feed: Feed) -> bool:
        """Whether the array comes with every run: x, whole or by its entries."""
        return feed.kind is FeedKind.X or feed.kind in OF_ENTRIES

    def sized(self, feed: Feed) -> Feed:
        """A feed that is given, with the number of nodes in its dimensions."""
        return replace(feed, dims=tuple(self.num_nodes if dim == "N" else dim for dim in feed.dims))

    def array(self, feed: Feed) -> np.ndarray:
        """What a feed that is not given holds."""
        return build_feed(feed, self.prepared)

    def rows(self, type: TensorType) -> int:
        """The number of rows of a value."""
        if type.domain is Domain.EDGE:
            assert type.topology is not None, f"{type} belongs to a topology"
            return self.prepared.topologies[type.topology].num_edges
        return self.prepared.inputs.num_graphs if type.domain is Domain.GRAPH else self.num_nodes

    @property
    def num_nodes(self) -> int:
        return self.prepared.inputs.num_nodes

    @property
    def num_edges(self) -> int:
        """Edges of the largest topology."""
        return max((t.num_edges for t in self.prepared.topologies), default=0)

    @property
    def bounds(self) -> Bounds:
        """The sizes of this graph."""
        degree = max((int(t.in_degree.max(initial=1)) for t in self.prepared.topologies), default=1)
        return Bounds(self.num_nodes, self.num_edges, self.prepared.inputs.num_graphs, degree)
