"""GraphInputs takes every legal graph and refuses every malformed one with the field, the value and its place."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torch_geometric.data import Batch, Data

from tests.cases import FEATURES, GRAPHS
from toolchain.errors import InvalidInput
from toolchain.inputs import GraphInputs
from toolchain.topology import Normalization, SelfLoops, TopologySpec

X = np.ones((3, 2), np.float32)
EDGES = np.array([[0, 1], [1, 2]])

MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "no nodes": ({"x": np.zeros((0, 2))}, r"x: shape \[0, 2\], expected \[N, F\] with N >= 1"),
    "one-dimensional x": ({"x": np.zeros(3)}, r"x: shape \[3\]"),
    "nan": ({"x": np.array([[0, 1], [np.nan, 1], [0, 0]])}, r"x: nan at \[1, 0\]"),
    "infinity": ({"x": np.array([[0, 1], [0, 1], [0, np.inf]])}, r"x: inf at \[2, 1\]"),
    "overflow in float32": ({"x": np.array([[1e300, 1], [0, 1], [0, 0]])}, r"x: inf at \[0, 0\]"),
    "complex x": ({"x": np.zeros((3, 2), complex)}, "x: dtype complex128, expected real numbers"),
    "text x": ({"x": np.array([["a", "b"]])}, "x: dtype <U1"),
    "ragged x": ({"x": [[1, 2], [3]]}, "x: is no array"),
    "transposed edges": ({"edge_index": np.zeros((4, 2), int)}, r"edge_index: shape \[4, 2\], expected \[2, E\]"),
    "float edges": ({"edge_index": np.zeros((2, 1))}, "edge_index: dtype float64, expected integers"),
    "node beyond the last": ({"edge_index": np.array([[0], [3]])}, r"node 3 at \[1, 0\], but there are 3 nodes"),
    "negative node": ({"edge_index": np.array([[-1], [0]])}, r"edge_index: node -1 at \[0, 0\]"),
    "missing weight": ({"edge_weight": np.ones(3)}, r"edge_weight: shape \[3\], expected \[2\]"),
    "wide weight": ({"edge_weight": np.ones((2, 2))}, "edge_weight: shape"),
    "non-finite weight": ({"edge_weight": np.array([1, np.nan])}, r"edge_weight: nan at \[1\]"),
    "missing attribute": ({"edge_attr": np.ones((1, 4))}, r"edge_attr: shape \[1, 4\], expected \[2, D\]"),
    "three-dimensional attribute": ({"edge_attr": np.ones((2, 1, 1))}, "edge_attr: shape"),
    "short batch": ({"batch": np.array([0, 0])}, r"batch: shape \[2\], expected \[3\]"),
    "unsorted batch": ({"batch": np.array([0, 1, 0])}, "batch: not sorted"),
    "negative batch": ({"batch": np.array([-1, 0, 0])}, r"batch: graph -1 at \[0\]"),
    "batch beyond num_graphs": ({"batch": np.array([0, 0, 2]), "num_graphs": 2}, r"batch: graph 2 at \[2\]"),
    "several graphs without batch": ({"num_graphs": 2}, "batch: missing, but num_graphs is 2"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_graph_is_refused_with_its_field(name: str) -> None:
    change, message = MALFORMED[name]
    with pytest.raises(InvalidInput, match=message):
        GraphInputs(**{"x": X, "edge_index": EDGES, **change})


@pytest.mark.parametrize("name", GRAPHS)
def test_every_graph_of_the_zoo_is_legal(name: str) -> None:
    data = GRAPHS[name](FEATURES)
    inputs = GraphInputs.from_pyg(data)
    assert (inputs.num_nodes, inputs.num_edges) == (data.num_nodes, data.num_edges)
    assert inputs.num_graphs == (3 if name == "batch_of_three" else 1)
    assert inputs.nodes_per_graph.sum() == data.num_nodes


def test_edgeless_graph_may_have_float_edges_and_attributes_keep_their_width() -> None:
    inputs = GraphInputs(X, np.zeros((2, 0)), edge_attr=np.zeros((0, 5)))
    assert inputs.edge_index.dtype == np.int64
    assert inputs.edge_attr is not None
    assert inputs.edge_attr.shape == (0, 5)


def test_columns_and_vectors_of_edges_are_both_taken() -> None:
    inputs = GraphInputs(X, EDGES, edge_weight=np.ones((2, 1)), edge_attr=np.ones(2))
    assert inputs.edge_weight is not None
    assert inputs.edge_attr is not None
    assert (inputs.edge_weight.shape, inputs.edge_attr.shape) == ((2,), (2, 1))


@pytest.mark.parametrize(
    ("kinds", "cause"), [([0.5, 1], "dtype float64"), ([0], "expected \\[2\\]"), ([0, -1], "numbered from 0")]
)
def test_edge_types_are_numbers_of_relations(kinds: list[float], cause: str) -> None:
    with pytest.raises(InvalidInput, match=f"edge_type: .*{cause}"):
        GraphInputs(X, EDGES, edge_type=np.array(kinds))


def test_integer_features_become_float32() -> None:
    assert GraphInputs(np.array([[1, 2]]), np.zeros((2, 0), int)).x.dtype == np.float32


def test_graphs_without_nodes_are_counted() -> None:
    inputs = GraphInputs(X, EDGES, batch=np.array([0, 2, 2]), num_graphs=4)
    np.testing.assert_array_equal(inputs.nodes_per_graph, [1, 0, 2, 0])


def test_batch_of_pyg_and_concatenate_agree() -> None:
    graphs = [GRAPHS[name](FEATURES) for name in ("ring", "single_node", "hub")]
    joined = GraphInputs.concatenate([GraphInputs.from_pyg(g) for g in graphs])
    batch = GraphInputs.from_pyg(Batch.from_data_list(graphs))
    for name in ("x", "edge_index", "edge_weight", "edge_attr", "batch", "edge_type"):
        np.testing.assert_array_equal(getattr(joined, name), getattr(batch, name))
    assert joined.num_graphs == batch.num_graphs == 3


def test_data_without_features_or_edges_is_refused() -> None:
    with pytest.raises(InvalidInput, match="edge_index: missing from a Data"):
        GraphInputs.from_pyg(Data(x=torch.ones(2, 1)))
    with pytest.raises(InvalidInput, match="x: missing from a Data"):
        GraphInputs.from_pyg(Data(edge_index=torch.zeros(2, 0, dtype=torch.long)))


def test_sparse_edges_are_refused() -> None:
    sparse = torch.eye(2).to_sparse()
    with pytest.raises(InvalidInput, match="edge_index: sparse tensors are not taken here"):
        GraphInputs.from_pyg(Data(x=torch.ones(2, 1), edge_index=sparse))


def test_preparing_builds_every_topology_once() -> None:
    specs = (TopologySpec(), TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC))
    prepared = GraphInputs(X, EDGES).prepare(specs)
    assert [topology.num_edges for topology in prepared.topologies] == [2, 5]


@pytest.mark.parametrize("layout", ["csr", "coo", "csc"])
def test_sparse_features_are_taken_in_every_layout(layout: str) -> None:
    dense = torch.tensor([[0.0, 2.0], [0.0, 0.0], [1.0, 3.0]])
    sparse = {"csr": dense.to_sparse_csr, "coo": dense.to_sparse, "csc": dense.to_sparse_csc}[layout]()
    graph = GraphInputs.from_pyg(Data(x=sparse, edge_index=torch.tensor(EDGES)))
    assert np.array_equal(graph.x, dense.numpy())
    entries = graph.sparse_x
    assert [a.tolist() for a in (entries.pointer, entries.row, entries.column, entries.value)] == [
        [0, 1, 1, 3], [0, 2, 2], [1, 0, 1], [2.0, 1.0, 3.0],
    ]  # fmt: skip


def test_features_of_scipy_are_taken() -> None:
    sparse = scipy.sparse.csr_array(X)
    assert np.array_equal(GraphInputs.from_pyg(Data(x=sparse, edge_index=EDGES)).x, X)
