"""A checked graph in an .npz file: how a graph reaches a measuring process."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolchain.inputs import GraphInputs

FIELDS = ("x", "edge_index", "edge_weight", "edge_attr", "batch", "edge_type")


def write_graph(graph: GraphInputs, path: str | Path) -> None:
    """Store every array that the graph has."""
    arrays = {name: getattr(graph, name) for name in FIELDS if getattr(graph, name) is not None}
    np.savez(path, num_graphs=np.int64(graph.num_graphs), **arrays)


def read_graph(path: str | Path) -> GraphInputs:
    """The graph of `write_graph`, checked again."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    num_graphs = int(arrays.pop("num_graphs"))
    return GraphInputs(**arrays, num_graphs=num_graphs)
