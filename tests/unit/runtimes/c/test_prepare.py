"""The graph that C prepares is the one of toolchain.topology, array by array, and a bad graph is a status, never a write."""

from __future__ import annotations

import itertools
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.c_kernels import ENUMS, assert_guards, guarded, kernels, struct
from tests.graph_zoo import GRAPHS
from tests.unit.runtimes.c.prepared import ALL, NO_EDGE, WITHOUT_WEIGHT, prepare, prepared_edges
from toolchain.errors import InvalidInput
from toolchain.inputs import GraphInputs
from toolchain.ir.integer import rsqrt_q31
from toolchain.topology import Normalization, SelfLoops, TopologySpec, build_topology

SPECS = [
    TopologySpec(loops, normalization, weighted=weighted, loop_weight=loop_weight, reversed=reversed_)
    for loops, normalization, weighted, loop_weight, reversed_ in itertools.product(
        SelfLoops, Normalization, (False, True), (1.0, 2.0), (False, True)
    )
    if not (weighted and normalization is Normalization.SYMMETRIC_OUT)  # its sums are in float
]
OK = ENUMS["GNN_OK"]
QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


@pytest.fixture(scope="module")
def library():
    return kernels()


def assert_same(
    library,
    spec: TopologySpec,
    num_nodes: int,
    edges: np.ndarray,
    weight: np.ndarray | None,
    kinds: np.ndarray | None = None,
) -> None:
    """Every array equals build_topology's: integers and floats exactly."""
    expected = build_topology(spec, num_nodes, edges, weight, kinds)

    actual = prepare(library, spec, num_nodes, edges, weight, kinds)

    assert actual.status == OK
    assert np.array_equal(actual["row_pointer"], expected.row_pointer)
    assert np.array_equal(actual["source"], expected.source)
    assert np.array_equal(actual["origin"], np.where(expected.origin < 0, NO_EDGE, expected.origin))
    assert np.array_equal(actual["row_factor"], rsqrt_q31(expected.in_degree))
    assert np.array_equal(actual["weight"], expected_weight(spec, expected, weight))
    if expected.target_scale is not None:
        assert np.array_equal(actual["scale"], expected.target_scale)
    else:
        assert (actual["scale"] == 1).all()


def expected_weight(spec: TopologySpec, topology, weight: np.ndarray | None) -> np.ndarray:
    """The topology's weights; where it has none, the raw ones of an Input (ir.reference), or ones beside added loops."""
    if topology.weight is not None:
        return topology.weight
    if not spec.self_loops.adds:
        assert weight is not None
        return weight[topology.origin]
    return np.ones(topology.num_edges, np.float32)


@pytest.mark.parametrize("name", GRAPHS)
def test_graph_zoo_equals_build_topology(library, name):
    inputs = GraphInputs.from_pyg(GRAPHS[name](3))

    for spec in SPECS:
        assert_same(library, spec, inputs.num_nodes, inputs.edge_index, inputs.edge_weight)


@pytest.mark.parametrize("name", ["repeated_edges", "self_loops", "no_edges", "random_60"])
def test_topologies_of_one_relation_equal_build_topology(library, name):
    inputs = GraphInputs.from_pyg(GRAPHS[name](3))

    for spec in (replace(spec, relation=relation) for spec in SPECS for relation in (0, 2, 7)):
        assert_same(library, spec, inputs.num_nodes, inputs.edge_index, inputs.edge_weight, inputs.edge_type)


def test_a_relation_without_edge_types_is_refused(library):
    edges = np.array([[0], [1]])
    assert prepare(library, TopologySpec(relation=0), 2, edges).status == ENUMS["GNN_ERROR_NULL"]


@st.composite
def graphs(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray]:
    num_nodes = draw(st.integers(1, 12))
    ends = st.tuples(st.integers(0, num_nodes - 1), st.integers(0, num_nodes - 1))
    edges = np.array(draw(st.lists(ends, max_size=40)), np.int64).reshape(-1, 2).T
    weights = draw(st.lists(st.floats(-4, 4, width=32), min_size=edges.shape[1], max_size=edges.shape[1]))
    return num_nodes, edges, np.array(weights, np.float32)


@settings(QUICK, max_examples=300)
@given(graphs(), st.sampled_from(SPECS))
def test_any_graph_equals_build_topology_or_is_refused_with_it(graph, spec):
    library = kernels()
    num_nodes, edges, weight = graph
    try:
        build_topology(spec, num_nodes, edges, weight)
    except InvalidInput:
        assert prepare(library, spec, num_nodes, edges, weight).status == ENUMS["GNN_ERROR_WEIGHT"]
    else:
        assert_same(library, spec, num_nodes, edges, weight)


def test_large_graph_with_a_hub_of_all_nodes_equals_build_topology(library):
    generator = np.random.default_rng(5)
    num_nodes = 65_535
    edges = np.concatenate(
        [
            np.stack([np.arange(num_nodes), np.full(num_nodes, 7)]),
            generator.integers(0, num_nodes, (2, 100_000)),
            np.full((2, 3), num_nodes - 1),
        ],
        axis=1,
    )
    weight = generator.uniform(0, 3, edges.shape[1]).astype(np.float32)

    for loops, weighted in itertools.product(SelfLoops, (False, True)):
        spec = TopologySpec(loops, Normalization.SYMMETRIC, weighted=weighted)
        assert_same(library, spec, num_nodes, edges, weight)


def test_arrays_that_are_not_wanted_are_not_needed(library):
    spec = TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC)
    edges = np.array([[0, 1, 2, 2], [1, 2, 2, 0]])
    complete = prepare(library, spec, 3, edges)

    for name in ("row_factor", "scale", "weight", "origin"):
        partial = prepare(library, spec, 3, edges, wanted=tuple(a for a in ALL if a != name))
        assert partial.status == OK
        assert all(np.array_equal(partial[a], complete[a]) for a in ALL if a != name)


def test_index_out_of_range_is_refused(library):
    for spec, (source, target) in itertools.product(SPECS, ((3, 0), (0, 3), (65_535, 65_535))):
        edges = np.array([[0, source], [1, target]])
        weight = np.ones(2, np.float32)
        assert prepare(library, spec, 3, edges, weight, max_edges=9).status == ENUMS["GNN_ERROR_INDEX"]


def test_more_edges_than_room_are_refused_before_a_write(library):
    generator = np.random.default_rng(0)
    edges = generator.integers(0, 5, (2, 30))
    weight = np.ones(30, np.float32)
    for spec in SPECS:
        needed = prepared_edges(spec.self_loops, edges, 5)
        assert prepare(library, spec, 5, edges, weight, max_edges=needed).status == OK
        for room in (0, 4, 5, needed - 1):
            assert prepare(library, spec, 5, edges, weight, max_edges=room).status == ENUMS["GNN_ERROR_EDGES"]


def test_repeated_self_loops_take_the_room_of_one(library):
    edges = np.array([[1] * 9 + [0], [1] * 9 + [1]])

    prepared = prepare(library, TopologySpec(SelfLoops.REMAINING), 2, edges, max_edges=3)

    assert prepared.status == OK
    assert prepared["row_pointer"].tolist() == [0, 1, 3]


@pytest.mark.parametrize("loops", SelfLoops)
def test_an_edge_count_of_the_whole_range_ends_where_the_room_does(library, loops):
    """Only as many edges as there is room for are read, so that a count far too large does no harm."""
    edges = np.array([[0, 1, 0, 1, 0], [1, 0, 1, 0, 1]])
    for claimed in (2**32 - 1, 2**31):
        prepared = prepare(
            library, TopologySpec(loops), 2, edges, max_edges=4, num_edges=claimed, wanted=WITHOUT_WEIGHT
        )
        assert prepared.status == ENUMS["GNN_ERROR_EDGES"]


@pytest.mark.parametrize("loops", SelfLoops)
def test_the_largest_room_does_not_overflow(library, loops):
    edges = np.array([[0, 1, 1], [1, 1, 0]])

    weight = np.ones(3, np.float32)
    limited = prepare(library, TopologySpec(loops), 2, edges, weight)
    unlimited = prepare(library, TopologySpec(loops), 2, edges, weight, max_edges=2**32 - 1)

    assert (limited.status, unlimited.status) == (OK, OK)
    assert all(np.array_equal(limited[name], unlimited[name]) for name in ALL)


@pytest.mark.parametrize("loops", SelfLoops)
def test_degree_beyond_the_bound_is_refused(library, loops):
    edges = np.array([[0, 1, 2, 0, 1], [3, 3, 3, 3, 2]])
    degree = 4 + loops.adds

    assert prepare(library, TopologySpec(loops), 4, edges, max_degree=degree, wanted=WITHOUT_WEIGHT).status == OK
    assert (
        prepare(library, TopologySpec(loops), 4, edges, max_degree=degree - 1, wanted=WITHOUT_WEIGHT).status
        == ENUMS["GNN_ERROR_DEGREE"]
    )


@pytest.mark.parametrize("value", [np.nan, -np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_refused_where_they_are_read(library, value):
    edges = np.array([[0, 1, 1], [1, 1, 0]])
    for place, spec in itertools.product(range(3), SPECS):
        weight = np.ones(3, np.float32)
        weight[place] = value
        reads = spec.weighted or not spec.self_loops.adds
        expected = ENUMS["GNN_ERROR_VALUE"] if reads else OK
        assert prepare(library, spec, 2, edges, weight).status == expected


def test_weights_that_are_not_finite_are_refused_under_fast_math():
    fast = kernels("-O3", "-ffast-math", only=("gnn_prepare_topology", "gnn_prepare_scale"))
    weight = np.array([1, np.nan], np.float32)

    prepared = prepare(fast, TopologySpec(weighted=True), 2, np.array([[0, 1], [1, 0]]), weight)

    assert prepared.status == ENUMS["GNN_ERROR_VALUE"]


def test_weights_that_sum_below_zero_cannot_be_normalized(library):
    edges = np.array([[0, 1, 2], [1, 2, 2]])
    weight = np.array([1, -3, 2], np.float32)
    spec = TopologySpec(SelfLoops.KEEP, Normalization.SYMMETRIC, weighted=True)

    assert prepare(library, spec, 3, edges, weight).status == ENUMS["GNN_ERROR_WEIGHT"]
    assert prepare(library, spec, 3, edges, weight + 1).status == OK
    assert prepare(library, TopologySpec(weighted=True), 3, edges, weight).status == OK


def test_weights_that_leave_a_node_are_summed_in_float(library):
    generator = np.random.default_rng(2)
    edges, weight = generator.integers(0, 20, (2, 300)), generator.uniform(0.1, 2, 300).astype(np.float32)
    for loops in SelfLoops:
        spec = TopologySpec(loops, Normalization.SYMMETRIC_OUT, weighted=True)
        scale = build_topology(spec, 20, edges, weight).source_scale
        assert np.allclose(prepare(library, spec, 20, edges, weight)["scale"], scale, rtol=1e-6, atol=0)


def test_sums_of_weights_that_cancel_are_exact(library):
    """In float32 the first sum would be 0 and the second -8."""
    edges = np.array([[0, 0, 0, 0], [1, 1, 1, 1]])
    spec = TopologySpec(SelfLoops.KEEP, Normalization.SYMMETRIC, weighted=True)
    for weight in ([1e8, 1, -1e8, 0], [1e8, -1e8, 3, -3], [-1e8, 4, 1e8, -2]):
        assert_same(library, spec, 2, edges, np.array(weight, np.float32))


@pytest.mark.parametrize("spec", [s for s in SPECS if s.weighted or not s.self_loops.adds], ids=str)
def test_a_missing_weight_is_refused_where_it_is_read(library, spec):
    edges = np.array([[0, 1], [1, 0]])

    assert prepare(library, spec, 2, edges, None).status == ENUMS["GNN_ERROR_NULL"]


def test_a_weighted_topology_needs_a_place_for_its_weights(library):
    spec = TopologySpec(weighted=True)
    wanted = tuple(a for a in ALL if a != "weight")

    status = prepare(library, spec, 2, np.array([[0], [1]]), np.ones(1, np.float32), wanted=wanted).status

    assert status == ENUMS["GNN_ERROR_NULL"]


# --- graphs side by side, sparse features, finite features --------------------------------------------------------------


def graph_pointer(library, batch: list[int] | None, num_graphs: int, num_nodes: int) -> tuple[int, np.ndarray]:
    pointer = guarded(num_graphs + 1, np.uint32)
    array = None if batch is None else np.array(batch, np.uint16)
    graph = struct("gnn_graph", num_nodes=num_nodes, num_graphs=num_graphs, batch=array)
    status = library.gnn_prepare_graphs(graph, pointer)
    assert_guards(pointer)
    return status, pointer


@settings(QUICK, max_examples=100)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=20).map(sorted), st.integers(0, 3))
def test_graph_pointer_counts_the_nodes_of_each_graph(batch, more):
    num_graphs = batch[-1] + 1 + more

    status, pointer = graph_pointer(kernels(), batch, num_graphs, len(batch))

    assert status == OK
    assert np.array_equal(np.diff(pointer), np.bincount(batch, minlength=num_graphs))


def test_without_batch_all_nodes_are_one_graph(library):
    status, pointer = graph_pointer(library, None, 1, 9)

    assert (status, pointer.tolist()) == (OK, [0, 9])
    assert graph_pointer(library, None, 2, 9)[0] == ENUMS["GNN_ERROR_NULL"]


@pytest.mark.parametrize("batch", [[0, 1, 0], [2, 2, 2], [0, 0, 65_535], [1, 0, 1]])
def test_a_bad_batch_is_refused(library, batch):
    assert graph_pointer(library, batch, 2, 3)[0] == ENUMS["GNN_ERROR_BATCH"]


@pytest.mark.parametrize(
    ("pointer", "index", "valid"),
    [
        ([0, 0, 0], [], True),
        ([0, 2, 4], [0, 4, 1, 2], True),
        ([1, 2, 4], [0, 4, 1, 2], False),  # does not start at 0
        ([0, 4_000_000_000, 2], [0, 1], False),  # decreases after a row that no array could hold
        ([0, 1, 4_000_000_000], [0, 1], False),
        ([0, 2, 1], [0, 1], False),
        ([0, 1, 2], [0, 5], False),  # no such column
        ([0, 2, 2], [3, 3], False),  # twice
        ([0, 2, 2], [3, 1], False),  # not sorted
        ([0, 1, 3], [3, 0, 4], True),  # a new row may start anywhere
    ],
)
def test_sparse_features_are_checked(library, pointer, index, valid):
    status = library.gnn_check_sparse(np.array(pointer, np.uint32), np.array(index, np.uint16), len(pointer) - 1, 5)

    assert status == (OK if valid else ENUMS["GNN_ERROR_VALUE"])


@pytest.mark.parametrize("flags", [("-O0",), ("-O3",), ("-O3", "-ffast-math")])
def test_only_finite_features_pass(flags):
    library = kernels(*flags, only=("gnn_check_finite_f32",))
    largest = np.finfo(np.float32).max
    x = np.array([0, -0.0, 1e-45, largest, -largest, 1.5, 2, 3, 4], np.float32)
    assert library.gnn_check_finite_f32(x, x.size) == OK
    assert library.gnn_check_finite_f32(x, 0) == OK

    for place, bits in itertools.product(range(x.size), (0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFFFFFFF)):
        bad = x.copy()
        bad.view(np.uint32)[place] = bits
        assert library.gnn_check_finite_f32(bad, x.size) == ENUMS["GNN_ERROR_VALUE"]
