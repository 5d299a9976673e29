"""Identity: what a board says of itself; graph_fields: a graph in, the bytes of each field that it has memory for out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolchain.errors import InvalidInput
from toolchain.inputs import GraphInputs

FLOATS = ("x", "edge_attr", "edge_weight")  # the others are numbers of nodes and graphs, uint16


@dataclass(frozen=True, slots=True)
class Field:
    """Memory of a board for one array: its region, and where it begins and how many bytes it has there."""

    region: int
    offset: int
    room: int


@dataclass(frozen=True, slots=True)
class Identity:
    """What a board says of itself.

    Attributes:
        build: first 8 bytes of the sha256 of the model.c that it runs.
        cycles_per_second: of its counter; 0 where it has none.
        block_bytes: of the input in one line.
        input_bytes, arena_bytes: memory of the features, and of the model.
    """

    model: str
    board: str
    build: bytes
    cycles_per_second: int
    block_bytes: int
    input_bytes: int
    arena_bytes: int
    max_nodes: int
    max_edges: int
    max_graphs: int
    max_degree: int
    features: int
    edge_features: int
    reads_edge_weight: bool
    reads_sparse_features: bool
    has_fixed_graph: bool
    num_outputs: int

    @property
    def region_bytes(self) -> tuple[int, int]:
        """Memory that can be written: of the features, and of the edges."""
        return self.input_bytes, 0 if self.has_fixed_graph else 4 * self.max_edges

    @property
    def fields(self) -> dict[str, Field]:
        """Where each array of a graph that the model reads lies, by its name in gnn_graph and gnn_features."""
        given = not self.has_fixed_graph
        inputs = (
            ("x", 4 * self.max_nodes * self.features), ("edge_attr", 4 * self.max_edges * self.edge_features),
            ("edge_weight", 4 * self.max_edges * (self.reads_edge_weight and given)),
            ("batch", 2 * self.max_nodes * (self.max_graphs > 1 and given)),
        )  # fmt: skip
        found, offset = {}, 0
        for name, room in inputs:
            if room:
                found[name] = Field(0, offset, room)
                offset += room
        if given:
            found |= {
                "source": Field(1, 0, 2 * self.max_edges),
                "target": Field(1, 2 * self.max_edges, 2 * self.max_edges),
            }
        return found


def graph_fields(graph: GraphInputs, who: Identity) -> dict[str, bytes]:
    """A graph as the values of `Identity.fields`.

    Raises:
        InvalidInput: it has more nodes, edges or graphs than the board has room for, or lacks what the model reads.
    """
    for name, count, limit in (
        ("nodes", graph.num_nodes, who.max_nodes), ("edges", graph.num_edges, who.max_edges),
        ("graphs", graph.num_graphs, who.max_graphs),
    ):  # fmt: skip
        if count > limit:
            raise InvalidInput(f"{count} {name}, the board has room for {limit}.")
    arrays: dict[str, np.ndarray | None] = {
        "x": graph.x, "edge_attr": graph.edge_attr, "edge_weight": graph.edge_weight, "batch": graph.graph_index,
        "source": graph.edge_index[0], "target": graph.edge_index[1],
    }  # fmt: skip
    found = {}
    for name, field in who.fields.items():
        values = arrays[name]
        if values is None:
            raise InvalidInput(f"{name}: missing, but the model reads it.")
        found[name] = np.ascontiguousarray(values, "<f4" if name in FLOATS else "<u2").tobytes()
        if len(found[name]) > field.room:
            raise InvalidInput(
                f"{name}: {values.size} values, {len(found[name])} B; the board has room for {field.room} B."
            )
    return found


def counts_of(graph: GraphInputs) -> tuple[int, int, int]:
    """Nodes, edges and graphs, as a board is told them."""
    return graph.num_nodes, graph.num_edges, graph.num_graphs
