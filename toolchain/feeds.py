"""Feeds: the arrays that a model file takes, each computed from a prepared graph by its kind. The whole host-side half of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from toolchain.errors import InvalidInput
from toolchain.inputs import PreparedGraph
from toolchain.topology import Topology

Array = np.ndarray


class FeedKind(Enum):
    """What an input of a model file holds. N nodes, E edges of the feed's topology (added self-loops included), G graphs."""

    X = "x"  # [N, F] float32
    EDGE_ATTR = "edge_attr"  # [E, D] float32, in topology order
    EDGE_WEIGHT = "edge_weight"  # [E, 1] float32, in topology order
    SOURCE = "source"  # [E] int
    TARGET = "target"  # [E] int, not decreasing
    ROW_POINTER = "row_pointer"  # [N + 1] int
    COEFFICIENT = "coefficient"  # [E, 1] float32: l_i * w_ij * r_j, divided by the in-degree for reduce "mean"
    ADJACENCY = "adjacency"  # [N, N] float32: the coefficients as a dense matrix, row i = target i
    SOURCE_SCALE = "source_scale"  # [N, 1] float32: r
    TARGET_SCALE = "target_scale"  # [N, 1] float32: l, divided by the in-degree for reduce "mean"
    GRAPH_INDEX = "graph_index"  # [N] int: the graph of each node
    POOL_MATRIX = "pool_matrix"  # [G, N] float32: 1 where node belongs to graph, 1/n for reduce "mean"
    INVERSE_COUNT = "inverse_count"  # [G, 1] float32: 1 / max(nodes of the graph, 1)


@dataclass(frozen=True, slots=True)
class Feed:
    """One input of a model file.

    Attributes:
        name: the input's name in the file.
        topology: index into the contract's topologies, for kinds that belong to one.
        reduce: "sum" or "mean" where the kind depends on it.
        dtype: "float32", "int64" or "int32".
        dims: one entry per axis: "N", "E", "N+1", "G", or a number. A feed that is left empty has 0 for every name.
        loops: the self-loops that the topology added are among the edges (SOURCE, TARGET, COEFFICIENT).
        factors: the row factors r and l are in the coefficients (COEFFICIENT, ADJACENCY); off where the model multiplies them.
        nodes_at_most, nodes_above: graphs that this feed is for, where a file holds one lowering for small graphs and one
            for large: the feeds of the other one are empty arrays, and the file takes the branch whose feeds are there.
    """

    name: str
    kind: FeedKind
    topology: int | None = None
    reduce: str | None = None
    dtype: str = "float32"
    dims: tuple[str | int, ...] = ()
    loops: bool = True
    factors: bool = True
    nodes_at_most: int | None = None
    nodes_above: int | None = None

    def is_for(self, num_nodes: int) -> bool:
        """Whether a graph of this size needs the array."""
        return not (
            (self.nodes_at_most is not None and num_nodes > self.nodes_at_most)
            or (self.nodes_above is not None and num_nodes <= self.nodes_above)
        )

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name, "kind": self.kind.value, "topology": self.topology, "reduce": self.reduce,
            "dtype": self.dtype, "dims": list(self.dims), "loops": self.loops, "factors": self.factors,
            "nodes_at_most": self.nodes_at_most, "nodes_above": self.nodes_above,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Feed:
        return cls(**{**data, "kind": FeedKind(data["kind"]), "dims": tuple(data["dims"])})


def build_feed(feed: Feed, prepared: PreparedGraph) -> Array:
    """The array of one feed, contiguous, in its dtype; empty where the feed is not for graphs of this size."""
    if not feed.is_for(prepared.inputs.num_nodes):
        return np.zeros([d if isinstance(d, int) else 0 for d in feed.dims], feed.dtype)
    return np.ascontiguousarray(_BUILDERS[feed.kind](feed, prepared), dtype=feed.dtype)


def build_feeds(feeds: tuple[Feed, ...], prepared: PreparedGraph) -> dict[str, Array]:
    """All inputs of a model file, by name."""
    return {feed.name: build_feed(feed, prepared) for feed in feeds}


def _topology(feed: Feed, prepared: PreparedGraph) -> Topology:
    assert feed.topology is not None, f"{feed.name}: {feed.kind.value} belongs to a topology"
    return prepared.topologies[feed.topology]


def _given(name: str, array: Array | None) -> Array:
    if array is None:
        raise InvalidInput(f"{name}: missing, but the model reads it. Pass {name} with one row per edge.")
    return array


def _edge_weight(feed: Feed, prepared: PreparedGraph) -> Array:
    topology = _topology(feed, prepared)
    if topology.weight is not None:
        return topology.weight[:, None]
    return _given("edge_weight", prepared.inputs.edge_weight)[topology.origin][:, None]


def _inverse_degree(topology: Topology) -> Array:
    return (1.0 / topology.in_degree.clip(min=1)).astype(np.float32)


def _target_scale(feed: Feed, prepared: PreparedGraph) -> Array:
    topology = _topology(feed, prepared)
    scale = topology.target_scale if topology.target_scale is not None else np.ones(topology.num_nodes, np.float32)
    return scale * _inverse_degree(topology) if feed.reduce == "mean" else scale


def _source_scale(feed: Feed, prepared: PreparedGraph) -> Array:
    topology = _topology(feed, prepared)
    return topology.source_scale if topology.source_scale is not None else np.ones(topology.num_nodes, np.float32)


def _edges(feed: Feed, topology: Topology, values: Array) -> Array:
    """The edges' values that the feed asks for: all, or without the self-loops that were added."""
    return values if feed.loops else values[topology.origin >= 0]


def _coefficient(feed: Feed, prepared: PreparedGraph) -> Array:
    topology = _topology(feed, prepared)
    values = topology.weight if topology.weight is not None else np.ones(topology.num_edges, np.float32)
    if feed.factors and topology.source_scale is not None:
        values = values * topology.source_scale[topology.source]
    if feed.factors and topology.target_scale is not None:
        values = values * topology.target_scale[topology.target]
    if feed.reduce == "mean":
        values = values * _inverse_degree(topology)[topology.target]
    return _edges(feed, topology, values)[:, None]


def _adjacency(feed: Feed, prepared: PreparedGraph) -> Array:
    topology = _topology(feed, prepared)
    n = topology.num_nodes
    place = topology.target * n + topology.source
    dense = np.bincount(place, weights=_coefficient(feed, prepared)[:, 0], minlength=n * n)  # repeated edges add up
    return dense.reshape(n, n)


def _pool_matrix(feed: Feed, prepared: PreparedGraph) -> Array:
    inputs = prepared.inputs
    matrix = np.zeros((inputs.num_graphs, inputs.num_nodes), np.float32)
    matrix[inputs.graph_index, np.arange(inputs.num_nodes)] = 1.0
    return matrix * _inverse_count(feed, prepared) if feed.reduce == "mean" else matrix


def _inverse_count(feed: Feed, prepared: PreparedGraph) -> Array:
    return (1.0 / prepared.inputs.nodes_per_graph.clip(min=1)).astype(np.float32)[:, None]


_BUILDERS: dict[FeedKind, Callable[[Feed, PreparedGraph], Array]] = {
    FeedKind.X: lambda feed, prepared: prepared.inputs.x,
    FeedKind.EDGE_ATTR: lambda feed, prepared: _topology(feed, prepared).edge_values(
        _given("edge_attr", prepared.inputs.edge_attr)
    ),
    FeedKind.EDGE_WEIGHT: _edge_weight,
    FeedKind.SOURCE: lambda feed, prepared: _edges(feed, _topology(feed, prepared), _topology(feed, prepared).source),
    FeedKind.TARGET: lambda feed, prepared: _edges(feed, _topology(feed, prepared), _topology(feed, prepared).target),
    FeedKind.ROW_POINTER: lambda feed, prepared: _topology(feed, prepared).row_pointer,
    FeedKind.COEFFICIENT: _coefficient,
    FeedKind.ADJACENCY: _adjacency,
    FeedKind.SOURCE_SCALE: lambda feed, prepared: _source_scale(feed, prepared)[:, None],
    FeedKind.TARGET_SCALE: lambda feed, prepared: _target_scale(feed, prepared)[:, None],
    FeedKind.GRAPH_INDEX: lambda feed, prepared: prepared.inputs.graph_index,
    FeedKind.POOL_MATRIX: _pool_matrix,
    FeedKind.INVERSE_COUNT: _inverse_count,
}
