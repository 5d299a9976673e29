"""An artifact of the hand-written model in tests/firmware_model, and what it must answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolchain.artifact import Artifact, GraphContract, Output, Signature
from toolchain.feeds import Feed, FeedKind
from toolchain.inputs import GraphInputs
from toolchain.topology import TopologySpec

FOLDER = Path(__file__).with_name("firmware_model")
HEADERS = Path(__file__).parent.parent / "runtimes" / "c" / "include"


def firmware_artifact(path: Path, padding_bytes: int = 0) -> Artifact:
    """Write it to a folder; `padding_bytes` more of constants make it too large for a target."""
    contents = {file.name: file.read_bytes() for file in (*FOLDER.iterdir(), *HEADERS.glob("*.h"))}
    if padding_bytes:
        contents["model.c"] = contents["model.c"].replace(b"scale[4] =", b"scale[%d] =" % (padding_bytes // 4 + 4))
    contract = GraphContract((TopologySpec(),), 3, 2, True, 20, 40, 3, 40)
    inputs = (Feed("x", FeedKind.X), Feed("edge_attr", FeedKind.EDGE_ATTR, 0))
    outputs = (Output("nodes", "node", 1), Output("graphs", "graph", 3))
    artifact = Artifact(
        path,
        "c",
        "float32",
        "model.c",
        Signature(inputs, outputs),
        contract,
        provenance={"name": "tiny", "name_in_c": "tiny"},
    )
    return Artifact.save(artifact, contents)


def random_graph(seed: int, num_graphs: int = 3) -> GraphInputs:
    """Small whole numbers, so that sums of floats are exact in any order."""
    random = np.random.default_rng(seed)
    nodes, edges = int(random.integers(num_graphs, 21)), int(random.integers(0, 41))
    return GraphInputs(
        random.integers(-9, 10, (nodes, 3)), random.integers(0, nodes, (2, edges)), random.integers(-9, 10, edges),
        random.integers(-9, 10, (edges, 2)), np.sort(random.integers(0, num_graphs, nodes)), num_graphs,
    )  # fmt: skip


def expected_outputs(graph: GraphInputs) -> tuple[np.ndarray, np.ndarray]:
    """The formulas of model.h in numpy."""
    assert graph.edge_weight is not None and graph.edge_attr is not None
    nodes, graphs = np.zeros((graph.num_nodes, 1), np.float32), np.zeros((graph.num_graphs, 3), np.float32)
    source, target = graph.edge_index
    np.add.at(nodes[:, 0], target, graph.edge_weight * graph.x[source, 0] + graph.edge_attr[:, 0])
    np.add.at(graphs, graph.graph_index, graph.x)
    return nodes, graphs
