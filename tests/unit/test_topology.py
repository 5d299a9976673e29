"""Prepared edges agree with PyG's self-loop and normalization functions on any graph."""

from __future__ import annotations

from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_remaining_self_loops, add_self_loops, remove_self_loops

from toolchain.errors import InvalidInput
from toolchain.topology import LoopAttributes, Normalization, SelfLoops, Topology, TopologySpec, build_topology

QUICK = settings(max_examples=60, deadline=None)


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of nodes, edge_index with self-loops and repeated edges, positive weights."""
    num_nodes = draw(st.integers(1, 9))
    ends = st.tuples(st.integers(0, num_nodes - 1), st.integers(0, num_nodes - 1))
    edges = np.array(draw(st.lists(ends, max_size=25)), np.int64).reshape(-1, 2).T
    weights = draw(st.lists(st.floats(0.125, 4, width=32), min_size=edges.shape[1], max_size=edges.shape[1]))
    return num_nodes, edges, np.array(weights, np.float32)


def dense(topology: Topology) -> np.ndarray:
    """[target, source] coefficients l_i * w_ij * r_j, repeated edges added up."""
    weight = np.ones(topology.num_edges, np.float32) if topology.weight is None else topology.weight
    if topology.source_scale is not None and topology.target_scale is not None:
        weight = topology.target_scale[topology.target] * weight * topology.source_scale[topology.source]
    matrix = np.zeros((topology.num_nodes, topology.num_nodes))
    np.add.at(matrix, (topology.target, topology.source), weight)
    return matrix


def dense_pyg(edge_index: torch.Tensor, weight: torch.Tensor | None, num_nodes: int) -> np.ndarray:
    values = np.ones(edge_index.shape[1]) if weight is None else weight.numpy()
    matrix = np.zeros((num_nodes, num_nodes))
    np.add.at(matrix, (edge_index[1].numpy(), edge_index[0].numpy()), values)
    return matrix


@QUICK
@given(graphs(), st.booleans(), st.booleans(), st.booleans())
def test_symmetric_normalization_equals_gcn_norm(
    graph: tuple[int, np.ndarray, np.ndarray], weighted: bool, loops: bool, improved: bool
) -> None:
    num_nodes, edges, weights = graph
    spec = TopologySpec(
        SelfLoops.REMAINING if loops else SelfLoops.KEEP,
        Normalization.SYMMETRIC,
        weighted=weighted,
        loop_weight=2.0 if improved and weighted else 1.0,  # PyG ignores improved without weights
    )
    given_weight = torch.from_numpy(weights) if weighted else None
    expected = gcn_norm(torch.from_numpy(edges), given_weight, num_nodes, improved, loops)
    np.testing.assert_allclose(
        dense(build_topology(spec, num_nodes, edges, weights)), dense_pyg(*expected, num_nodes), rtol=1e-5, atol=1e-6
    )


@QUICK
@given(graphs(), st.booleans())
def test_reversed_normalization_equals_gcn_norm_against_the_flow(
    graph: tuple[int, np.ndarray, np.ndarray], weighted: bool
) -> None:
    num_nodes, edges, weights = graph
    spec = TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC, weighted=weighted, reversed=True)
    given_weight = torch.from_numpy(weights) if weighted else None
    edge_index, values = gcn_norm(
        torch.from_numpy(edges), given_weight, num_nodes, flow="target_to_source", dtype=torch.float32
    )
    np.testing.assert_allclose(
        dense(build_topology(spec, num_nodes, edges, weights)),
        dense_pyg(edge_index.flip(0), values, num_nodes),
        rtol=1e-5,
        atol=1e-6,
    )


@QUICK
@given(graphs())
def test_remaining_loops_equal_add_remaining_self_loops(graph: tuple[int, np.ndarray, np.ndarray]) -> None:
    num_nodes, edges, weights = graph
    topology = build_topology(TopologySpec(SelfLoops.REMAINING, weighted=True), num_nodes, edges, weights)
    expected = add_remaining_self_loops(torch.from_numpy(edges), torch.from_numpy(weights), 1.0, num_nodes)
    np.testing.assert_array_equal(dense(topology), dense_pyg(*expected, num_nodes))


@QUICK
@given(graphs())
def test_replaced_loops_and_their_attributes_equal_pyg(graph: tuple[int, np.ndarray, np.ndarray]) -> None:
    num_nodes, edges, weights = graph
    attributes = np.stack([weights, weights**2], axis=1)
    spec = TopologySpec(SelfLoops.REPLACE, loop_attributes=LoopAttributes.MEAN)
    topology = build_topology(spec, num_nodes, edges, None)
    without = remove_self_loops(torch.from_numpy(edges), torch.from_numpy(attributes))
    edge_index, expected = add_self_loops(*without, fill_value="mean", num_nodes=num_nodes)
    order = np.argsort(edge_index[1].numpy(), kind="stable")
    np.testing.assert_array_equal(topology.source, edge_index[0].numpy()[order])
    np.testing.assert_array_equal(topology.target, edge_index[1].numpy()[order])
    np.testing.assert_allclose(topology.edge_values(attributes), expected.numpy()[order], rtol=1e-6)


@QUICK
@given(graphs(), st.sampled_from(SelfLoops), st.booleans())
def test_edges_are_sorted_by_target_and_indexed_by_row(
    graph: tuple[int, np.ndarray, np.ndarray], loops: SelfLoops, backwards: bool
) -> None:
    num_nodes, edges, weights = graph
    topology = build_topology(TopologySpec(loops, reversed=backwards), num_nodes, edges, weights)
    assert (np.diff(topology.target) >= 0).all()
    for node in range(num_nodes):
        row = slice(topology.row_pointer[node], topology.row_pointer[node + 1])
        assert (topology.target[row] == node).all()
    assert topology.row_pointer[-1] == topology.num_edges
    assert (topology.in_degree == np.bincount(topology.target, minlength=num_nodes)).all()


@QUICK
@given(graphs(), st.sampled_from(SelfLoops))
def test_origin_names_the_edge_of_the_user(graph: tuple[int, np.ndarray, np.ndarray], loops: SelfLoops) -> None:
    num_nodes, edges, weights = graph
    topology = build_topology(TopologySpec(loops), num_nodes, edges, weights)
    kept = topology.origin >= 0
    np.testing.assert_array_equal(edges[0, topology.origin[kept]], topology.source[kept])
    np.testing.assert_array_equal(edges[1, topology.origin[kept]], topology.target[kept])
    assert (topology.source[~kept] == topology.target[~kept]).all()


def test_last_of_several_loops_gives_the_weight_of_the_remaining_one() -> None:
    edges = np.array([[0, 0, 1], [0, 0, 0]])
    topology = build_topology(TopologySpec(SelfLoops.REMAINING, weighted=True), 2, edges, np.float32([3, 5, 7]))
    np.testing.assert_array_equal(dense(topology), [[5, 7], [0, 1]])


def test_isolated_node_without_loop_has_factor_zero() -> None:
    spec = TopologySpec(normalization=Normalization.SYMMETRIC)
    topology = build_topology(spec, 3, np.array([[0], [1]]), None)
    np.testing.assert_array_equal(topology.target_scale, [0, 1, 0])


def test_negative_degree_is_refused_with_its_node() -> None:
    spec = TopologySpec(normalization=Normalization.SYMMETRIC, weighted=True)
    with pytest.raises(InvalidInput, match=r"weights into node 1 sum to -2; .* non-negative"):
        build_topology(spec, 2, np.array([[0], [1]]), np.float32([-2]))


def test_missing_weight_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"edge_weight: missing, but the model was lowered with it"):
        build_topology(TopologySpec(weighted=True), 2, np.array([[0], [1]]), None)


def test_a_relation_is_prepared_as_if_there_were_no_other_edges() -> None:
    edges, weight, kinds = (
        np.array([[0, 1, 2, 2], [1, 1, 0, 1]]),
        np.array([1, 2, 3, 4], np.float32),
        np.array([5, 0, 5, 5]),
    )
    spec = TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC, weighted=True)
    alone = build_topology(spec, 3, edges[:, kinds == 5], weight[kinds == 5])
    chosen = build_topology(replace(spec, relation=5), 3, edges, weight, kinds)
    for name in ("source", "target", "weight", "source_scale"):
        np.testing.assert_array_equal(getattr(chosen, name), getattr(alone, name))
    assert chosen.origin.tolist() == [2, -1, 0, 3, -1, -1]


def test_missing_edge_type_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"edge_type: missing, but the model reads it"):
        build_topology(TopologySpec(relation=0), 2, np.array([[0], [1]]), None)


def test_attributes_of_loops_that_no_rule_fills_are_refused() -> None:
    topology = build_topology(TopologySpec(SelfLoops.REPLACE), 2, np.array([[0], [1]]), None)
    with pytest.raises(InvalidInput, match="states no values for them"):
        topology.edge_values(np.ones((1, 3), np.float32))


@given(
    st.builds(
        TopologySpec,
        st.sampled_from(SelfLoops),
        st.sampled_from(Normalization),
        st.booleans(),
        st.sampled_from([1.0, 2.0]),
        st.sampled_from(LoopAttributes),
        st.booleans(),
        st.sampled_from([None, 0, 3]),
    )
)
def test_spec_survives_json(spec: TopologySpec) -> None:
    assert TopologySpec.from_json(spec.to_json()) == spec
