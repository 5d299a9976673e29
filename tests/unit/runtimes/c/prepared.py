"""gnn_prepare_topology called from Python, for tests."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from tests.c_kernels import ENUMS, assert_guards, guarded, struct
from toolchain.topology import Normalization, SelfLoops, TopologySpec

LOOPS = {
    SelfLoops.KEEP: ENUMS["GNN_KEEP"],
    SelfLoops.REMAINING: ENUMS["GNN_REMAINING"],
    SelfLoops.REPLACE: ENUMS["GNN_REPLACE"],
    SelfLoops.REMOVE: ENUMS["GNN_REMOVE"],
}
DTYPES = {
    "row_pointer": np.uint32, "source": np.uint16, "row_factor": np.int32, "scale": np.float32, "origin": np.uint32,
    "weight": np.float32,
}  # fmt: skip
NO_EDGE = 2**32 - 1
ALL = tuple(DTYPES)
WITHOUT_WEIGHT = ALL[:-1]


@dataclass
class Prepared:
    """What the C function left: its status, and the arrays that were asked for, with as many places for edges as they need."""

    status: int
    arrays: dict[str, np.ndarray]
    topology: ctypes.Structure

    @property
    def num_edges(self) -> int:
        return int(self.arrays["row_pointer"][-1])

    def __getitem__(self, name: str) -> np.ndarray:
        """An array without the places that no edge took."""
        array = self.arrays[name]
        return array[: self.num_edges] if name in ("source", "weight", "origin") else array


def c_spec(spec: TopologySpec) -> ctypes.Structure:
    return struct(
        "gnn_topology_spec",
        self_loops=LOOPS[spec.self_loops],
        loop_weight=spec.loop_weight,
        normalization=list(Normalization).index(spec.normalization),
        weighted=int(spec.weighted),
        reversed=int(spec.reversed),
        relation=0 if spec.relation is None else spec.relation + 1,
    )


def prepare(
    library: ctypes.CDLL,
    spec: TopologySpec,
    num_nodes: int,
    edges: np.ndarray,
    edge_weight: np.ndarray | None = None,
    edge_type: np.ndarray | None = None,
    *,
    max_edges: int | None = None,
    max_degree: int = 2**32 - 1,
    wanted: tuple[str, ...] = ALL,
    num_edges: int | None = None,
) -> Prepared:
    """Prepare edges [2, E] in C, with exactly as much room as they need unless told, and nothing written beyond it."""
    needed = prepared_edges(spec.self_loops, edges, num_nodes)
    max_edges = needed if max_edges is None else max_edges
    sizes = {"row_pointer": num_nodes + 1, "row_factor": num_nodes, "scale": num_nodes}
    room = min(needed, max_edges)
    arrays = {name: guarded(sizes.get(name, room), DTYPES[name]) for name in DTYPES if name in wanted}
    topology = struct("gnn_topology", **arrays)
    source, target = np.ascontiguousarray(edges, np.uint16)
    graph = struct(
        "gnn_graph",
        num_nodes=num_nodes,
        num_edges=edges.shape[1] if num_edges is None else num_edges,
        num_graphs=1,
        source=source,
        target=target,
        edge_weight=edge_weight,
        edge_type=None if edge_type is None else np.ascontiguousarray(edge_type, np.uint16),
    )
    status = library.gnn_prepare_topology(c_spec(spec), graph, max_edges, max_degree, topology)
    if status == 0 and "scale" in wanted:
        status = library.gnn_prepare_scale(c_spec(spec), num_nodes, topology)
    assert_guards(*arrays.values())
    return Prepared(status, arrays, topology)


def prepared_edges(loops: SelfLoops, edges: np.ndarray, num_nodes: int) -> int:
    """Edges of a topology."""
    if loops is SelfLoops.KEEP:
        return int(edges.shape[1])
    return kept(edges) + num_nodes if loops.adds else kept(edges)


def kept(edges: np.ndarray) -> int:
    """Edges that are no self-loops."""
    return int((edges[0] != edges[1]).sum())
