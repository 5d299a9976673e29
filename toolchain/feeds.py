"""Feeds: the arrays that a model file takes, each computed from a prepared graph by its kind. The whole host-side half of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from toolchain.errors import InvalidInput
from toolchain.inputs import PreparedGraph
from toolchain.topology import Topology, occurrences

Array = np.ndarray


class FeedKind(Enum):
    """What an input of a model file holds.

    N nodes, E edges of the feed's topology (added self-loops included), G graphs, Z entries of x other than 0.
    """

    X = "x"  # [N, F] float32
    # x by its entries, row after row
    X_START = "x_start"  # [N] int: where the entries of each row begin
    X_ROW = "x_row"  # [Z] int, not decreasing
    X_COLUMN = "x_column"  # [Z] int
    X_VALUE = "x_value"  # [Z, 1] float32
    X_ONES = "x_ones"  # [Z] int: X_COLUMN of features that are 0 or 1; others are refused
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
    # Neighbour lists: one row of K places per node, where K is the largest degree; unused places hold 0.
    NEIGHBOURS = "neighbours"  # [N, K] int: the source of each in-edge
    NEIGHBOUR_COEFFICIENT = "neighbour_coefficient"  # [N, 1, K] float32: COEFFICIENT of each in-edge
    IN_EDGES = "in_edges"  # [N, K] int: the row of each in-edge in the edge feeds
    IN_MASK = "in_mask"  # [N, 1, K] float32: 1 where a place of IN_EDGES is used
    OUT_EDGES = "out_edges"  # [N, K] int: the row of each out-edge
    OUT_MASK = "out_mask"  # [N, 1, K] float32: 1 where a place of OUT_EDGES is used


OF_ENTRIES = (FeedKind.X_START, FeedKind.X_ROW, FeedKind.X_COLUMN, FeedKind.X_VALUE, FeedKind.X_ONES)


@dataclass(frozen=True, slots=True)
class Feed:
    """One input of a model file.

    Attributes:
        name: the input's name in the file.
        topology: index into the contract's topologies, for kinds that belong to one.
        reduce: "sum" or "mean" where the kind depends on it.
        dtype: "float32", "int64" or "int32".
        dims: one entry per axis: "N", "E", "N+1", "G", "K", "Z", or a number. Purely descriptive.
        loops: the self-loops that the topology added are among the edges (SOURCE, TARGET, COEFFICIENT).
        factors: the row factors r and l are in the coefficients (COEFFICIENT, ADJACENCY); off where the model multiplies them.
        nodes_at_most, nodes_above: graphs that this feed is for, where a file holds one lowering for small graphs and
            one for large: the feeds of the other one are left out.
        min_rows: padded with rows of zeros to at least this many, for runtimes that take no empty array.
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
    min_rows: int = 0

    def is_for(self, num_nodes: int) -> bool:
        """Whether the file reads the array for a graph of this size."""
        return not (
            (self.nodes_at_most is not None and num_nodes > self.nodes_at_most)
            or (self.nodes_above is not None and num_nodes <= self.nodes_above)
        )

    def to_json(self) -> dict[str, object]:
        return {
            "name": self.name, "kind": self.kind.value, "topology": self.topology, "reduce": self.reduce,
            "dtype": self.dtype, "dims": list(self.dims), "loops": self.loops, "factors": self.factors,
            "nodes_at_most": self.nodes_at_most, "nodes_above": self.nodes_above, "min_rows": self.min_rows,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Feed:
        return cls(**{**data, "kind": FeedKind(data["kind"]), "dims": tuple(data["dims"])})


def build_feed(feed: Feed, prepared: PreparedGraph) -> Array:
    """The array of one feed, contiguous, in its dtype."""
    array = np.ascontiguousarray(_BUILDERS[feed.kind](feed, prepared), dtype=feed.dtype)
    missing = feed.min_rows - array.shape[0]
    return array if missing <= 0 else np.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)])


def degree(feed: Feed, prepared: PreparedGraph) -> int | None:
    """Places that a neighbour list needs for a graph (at least one); None for other feeds."""
    if feed.kind not in _NEIGHBOUR_LISTS:
        return None
    topology = _topology(feed, prepared)
    ends = topology.source if feed.kind in (FeedKind.OUT_EDGES, FeedKind.OUT_MASK) else topology.target
    return int(occurrences(ends, 1).max(initial=1))


def build_feeds(feeds: tuple[Feed, ...], prepared: PreparedGraph) -> dict[str, Array]:
    """The inputs of a model file for a graph of this size, by name."""
    num_nodes = prepared.inputs.num_nodes
    return {feed.name: build_feed(feed, prepared) for feed in feeds if feed.is_for(num_nodes)}


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
    return topology.edge_values(_given("edge_weight", prepared.inputs.edge_weight)[:, None])


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
    dense = occurrences(place, n * n, _coefficient(feed, prepared)[:, 0])  # repeated edges add up
    return dense.reshape(n, n)


def _pool_matrix(feed: Feed, prepared: PreparedGraph) -> Array:
    inputs = prepared.inputs
    matrix = np.zeros((inputs.num_graphs, inputs.num_nodes), np.float32)
    matrix[inputs.graph_index, np.arange(inputs.num_nodes)] = 1.0
    return matrix * _inverse_count(feed, prepared) if feed.reduce == "mean" else matrix


def _inverse_count(feed: Feed, prepared: PreparedGraph) -> Array:
    return (1.0 / prepared.inputs.nodes_per_graph.clip(min=1)).astype(np.float32)[:, None]


def _neighbour_list(feed: Feed, prepared: PreparedGraph) -> Array:
    """[N, K] or [N, 1, K]: the values of each node's edges, side by side."""
    topology = _topology(feed, prepared)
    outgoing = feed.kind in (FeedKind.OUT_EDGES, FeedKind.OUT_MASK)
    edges = np.argsort(topology.source, kind="stable") if outgoing else np.arange(topology.num_edges)
    rows = (topology.source if outgoing else topology.target)[edges]  # not decreasing
    places = np.arange(len(rows)) - np.searchsorted(rows, rows)
    width = degree(feed, prepared)
    assert width is not None
    values: Array = edges
    if feed.kind is FeedKind.NEIGHBOURS:
        values = topology.source
    elif feed.kind is FeedKind.NEIGHBOUR_COEFFICIENT:
        values = _coefficient(feed, prepared)[:, 0]
    elif feed.kind in (FeedKind.IN_MASK, FeedKind.OUT_MASK):
        values = np.ones(len(rows))
    out = np.zeros((topology.num_nodes, width), feed.dtype)
    out[rows, places] = values
    return out[:, None, :] if len(feed.dims) == 3 else out


_NEIGHBOUR_LISTS = (
    FeedKind.NEIGHBOURS, FeedKind.NEIGHBOUR_COEFFICIENT, FeedKind.IN_EDGES, FeedKind.IN_MASK, FeedKind.OUT_EDGES,
    FeedKind.OUT_MASK,
)  # fmt: skip

_BUILDERS: dict[FeedKind, Callable[[Feed, PreparedGraph], Array]] = {
    FeedKind.X: lambda feed, prepared: prepared.inputs.x,
    FeedKind.X_START: lambda feed, prepared: prepared.inputs.sparse_x.pointer[:-1],
    FeedKind.X_ROW: lambda feed, prepared: prepared.inputs.sparse_x.row,
    FeedKind.X_COLUMN: lambda feed, prepared: prepared.inputs.sparse_x.column,
    FeedKind.X_VALUE: lambda feed, prepared: prepared.inputs.sparse_x.value[:, None],
    FeedKind.X_ONES: lambda feed, prepared: prepared.inputs.sparse_x.ones(),
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
    **dict.fromkeys(_NEIGHBOUR_LISTS, _neighbour_list),
}
