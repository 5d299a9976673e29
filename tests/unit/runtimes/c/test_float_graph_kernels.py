"""Float kernels that know edges or graphs against toolchain.ir.reference, on the graph zoo, in blocks of rows."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.c_kernels import ENUMS, assert_guards, guarded, kernels, struct
from tests.graph_zoo import GRAPHS
from tests.unit.runtimes.c.prepared import Prepared, prepare
from tests.unit.runtimes.c.reference_op import assert_near, reference
from toolchain.inputs import GraphInputs, PreparedGraph
from toolchain.ir import ops
from toolchain.ir.attributes import PROPAGATED
from toolchain.ir.ops import End, Extent, Function, Reduce, RowFactor
from toolchain.topology import Normalization, SelfLoops, TopologySpec

PLAIN = TopologySpec()
GCN = TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC)
WEIGHTED = TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC, weighted=True)
IMPROVED = TopologySpec(SelfLoops.REPLACE, Normalization.NONE, loop_weight=2.0)
SPECS = (PLAIN, GCN, WEIGHTED, IMPROVED, TopologySpec(weighted=True, reversed=True))
HUB = 60_000
WORST = 8.042237  # of many, the value of which a plain sum of HUB sums of 64 is off the most: by 1.4e-5


@pytest.fixture(scope="module")
def library():
    return kernels()


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def zoo(name: str) -> GraphInputs:
    return GraphInputs.from_pyg(GRAPHS[name](3))


def hub(equal: bool) -> GraphInputs:
    """A node with almost as many in-edges as there can be, of equal or of random features and weights."""
    ends = np.stack([np.arange(1, HUB + 1), np.zeros(HUB)]).astype(np.int64)
    generator = np.random.default_rng(0)
    x = np.full((HUB + 1, 3), WORST) if equal else generator.normal(size=(HUB + 1, 3))
    return GraphInputs(x, ends, np.full(HUB, 0.3) if equal else generator.uniform(0.1, 2, HUB))


def in_c(library, spec: TopologySpec, inputs: GraphInputs) -> Prepared:
    """The topology with the arrays that an exporter asks for."""
    wanted = ["row_pointer", "source", "origin"]
    wanted += ["weight"] if spec.weighted or spec.loop_weight != 1 else []
    wanted += ["scale"] if spec.normalization is Normalization.SYMMETRIC else []
    prepared = prepare(library, spec, inputs.num_nodes, inputs.edge_index, inputs.edge_weight, wanted=tuple(wanted))
    assert prepared.status == ENUMS["GNN_OK"]
    return prepared


def blocks(rows: int, size: int) -> list[tuple[int, int]]:
    """(first, rows) of each block."""
    return [(first, min(size, rows - first)) for first in range(0, rows, size)]


# --- Propagate ----------------------------------------------------------------------------------------------------------


def propagate(library, prepared: Prepared, op: ops.Propagate, x, operands, scale, block=4) -> np.ndarray:
    weight = operands.get("weight")
    c_op = struct(
        "gnn_propagate_f32_op",
        channels=x.shape[1],
        heads=0 if weight is None else weight.shape[1],
        reduce=ENUMS[f"GNN_{op.reduce.name}"],
        relu=op.activation is not None,
        source_scaled=op.source_scaled,
        self_scale=operands.get("self_scale"),
        bias=operands.get("bias"),
    )
    y = guarded(x.shape, np.float32)
    for first, rows in blocks(x.shape[0], block):
        part = None if scale is None else scale[first : first + rows]
        library.gnn_propagate_f32(c_op, prepared.topology, x, weight, part, first, rows, y[first : first + rows])
    assert_guards(y)
    return y


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("reduce", PROPAGATED)
def test_propagate_equals_the_reference(library, name, reduce):
    """Every operand, on and off, for channels below, at and beyond a tile."""
    inputs = zoo(name)
    for spec, channels, scaled in itertools.product(SPECS, (1, 5, 16, 33), (False, True)):
        graph, prepared = inputs.prepare((spec,)), in_c(library, spec, inputs)
        x = normal(inputs.num_nodes, channels)
        names = ("self_scale", "bias") if scaled else ()
        operands = {"self_scale": normal(1, seed=1), "bias": normal(channels, seed=2)} if scaled else {}
        op = ops.Propagate(
            0, reduce, names, Function.RELU if scaled else None, RowFactor(0, End.SOURCE) if scaled else None, scaled
        )
        scale = graph.topologies[0].source_scale if scaled else None

        actual = propagate(library, prepared, op, x, operands, scale)

        assert_near(actual, reference(op, x, *operands.values(), prepared=graph))


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize(("heads", "width"), [(1, 20), (2, 16), (4, 1), (3, 19)])
def test_propagate_with_a_weight_per_head_equals_the_reference(library, name, heads, width):
    inputs = zoo(name)
    for spec, reduce in itertools.product((PLAIN, WEIGHTED), PROPAGATED):
        graph, prepared = inputs.prepare((spec,)), in_c(library, spec, inputs)
        x, weight = normal(inputs.num_nodes, heads * width), normal(prepared.num_edges, heads, seed=1)
        op = ops.Propagate(0, reduce, ("weight",))

        assert_near(
            propagate(library, prepared, op, x, {"weight": weight}, None), reference(op, x, weight, prepared=graph)
        )


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("spec", [PLAIN, GCN, WEIGHTED], ids=str)
def test_propagate_into_a_hub_of_almost_all_nodes_is_as_exact_as_into_others(library, equal, spec):
    inputs = hub(equal)
    graph, prepared = inputs.prepare((spec,)), in_c(library, spec, inputs)
    for reduce in (Reduce.SUM, Reduce.MEAN):
        op = ops.Propagate(0, reduce)
        actual, expected = propagate(library, prepared, op, inputs.x, {}, None), reference(op, inputs.x, prepared=graph)
        assert_near(actual, expected)
        assert_near(actual[:1], expected[:1])


def test_propagate_does_not_depend_on_how_rows_are_blocked(library):
    inputs = zoo("random_60")
    prepared, x = in_c(library, WEIGHTED, inputs), normal(60, 21)
    together = propagate(library, prepared, ops.Propagate(0), x, {}, None, block=60)

    for block in (1, 3, 7):
        assert np.array_equal(together, propagate(library, prepared, ops.Propagate(0), x, {}, None, block))


# --- Aggregate and Pool -------------------------------------------------------------------------------------------------


def aggregate(library, reduce: Reduce, x, index, num_nodes: int, compensated: bool, block=4) -> np.ndarray:
    kind, channels = ENUMS[f"GNN_{reduce.name}"], x.shape[1]
    y, error = guarded((num_nodes, channels), np.float32), guarded((num_nodes, channels), np.float32)
    counts = guarded(num_nodes, np.uint32) if reduce is Reduce.MEAN else None
    kept = error if compensated else None
    library.gnn_aggregate_start_f32(kind, num_nodes, channels, y, counts, kept)
    for first, rows in blocks(x.shape[0], block):
        library.gnn_aggregate_f32(
            kind, x[first : first + rows], index[first : first + rows], rows, channels, y, counts, kept
        )
    library.gnn_aggregate_finish_f32(kind, num_nodes, channels, y, counts)
    assert_guards(y, counts, error)
    return y


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("reduce", Reduce)
@pytest.mark.parametrize("end", End)
def test_aggregate_equals_the_reference(library, name, reduce, end):
    inputs = zoo(name)
    graph = inputs.prepare((GCN,))
    topology = graph.topologies[0]
    index = (topology.target if end is End.TARGET else topology.source).astype(np.uint16)
    x = normal(topology.num_edges, 5)
    expected = reference(ops.Aggregate(reduce, end), x, prepared=graph)

    for compensated in (False, True):
        assert_near(aggregate(library, reduce, x, index, inputs.num_nodes, compensated), expected)


@pytest.mark.parametrize("reduce", Reduce)
def test_aggregate_leaves_nodes_without_edges_at_zero_or_one(library, reduce):
    x, index = np.array([[3], [-4]], np.float32), np.array([1, 1], np.uint16)

    y = aggregate(library, reduce, x, index, 3, False)

    assert y[[0, 2]].tolist() == [[reduce.of_nothing], [reduce.of_nothing]]


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("reduce", [Reduce.SUM, Reduce.MEAN])
def test_aggregate_of_thousands_is_as_exact_as_of_few_with_a_place_for_the_error(library, equal, reduce):
    x = np.full((HUB, 3), 0.21, np.float32) if equal else normal(HUB, 3)
    index = np.zeros(HUB, np.uint16)
    total = x.astype(np.float64).sum(axis=0, keepdims=True) / (HUB if reduce is Reduce.MEAN else 1)

    assert_near(aggregate(library, reduce, x, index, 1, True), total)


def pool(library, reduce: Reduce, x, pointer, compensated=True, block=4) -> np.ndarray:
    kind, channels, graphs = ENUMS[f"GNN_{reduce.name}"], x.shape[1], pointer.size - 1
    y, error = guarded((graphs, channels), np.float32), guarded((graphs, channels), np.float32)
    kept = error if compensated else None
    library.gnn_pool_start_f32(kind, graphs, channels, y, kept)
    for first, rows in blocks(x.shape[0], block):
        library.gnn_pool_f32(kind, x[first : first + rows], pointer, graphs, first, rows, channels, y, kept)
    library.gnn_pool_finish_f32(kind, pointer, graphs, channels, y)
    assert_guards(y, error)
    return y


BATCHES = (
    [0] * 9,
    [0, 0, 1, 1, 1, 2],
    [1, 1, 4, 4, 4, 4, 4, 4, 4, 4, 6],
    [3],
)  # graphs without nodes, at both ends too


def batched(batch: list[int], more: int, channels: int = 5) -> tuple[PreparedGraph, np.ndarray]:
    """Nodes of these graphs and of `more` empty ones, and the graph pointer."""
    graphs = batch[-1] + 1 + more
    inputs = GraphInputs(
        normal(len(batch), channels), np.zeros((2, 0), np.int64), batch=np.array(batch), num_graphs=graphs
    )
    pointer = np.concatenate([[0], np.cumsum(inputs.nodes_per_graph)]).astype(np.uint32)
    return inputs.prepare(()), pointer


@pytest.mark.parametrize("batch", BATCHES, ids=str)
@pytest.mark.parametrize("more", [0, 2])
@pytest.mark.parametrize("reduce", Reduce)
def test_pool_equals_the_reference(library, batch, more, reduce):
    graph, pointer = batched(batch, more)
    x = graph.inputs.x
    expected = reference(ops.Pool(reduce), x, prepared=graph)

    for compensated, block in itertools.product((False, True), (1, 4, 100)):
        assert_near(pool(library, reduce, x, pointer, compensated, block), expected)


@pytest.mark.parametrize("equal", [True, False])
@pytest.mark.parametrize("reduce", [Reduce.SUM, Reduce.MEAN])
def test_pool_of_all_nodes_that_there_can_be_is_as_exact_as_of_few(library, equal, reduce):
    count = 65_535
    x = np.full((count, 2), 0.21, np.float32) if equal else np.abs(normal(count, 2))
    total = x.astype(np.float64).sum(axis=0, keepdims=True) / (count if reduce is Reduce.MEAN else 1)

    assert_near(pool(library, reduce, x, np.array([0, count], np.uint32), block=1000), total)


# --- softmax over edges, statistics over graphs -------------------------------------------------------------------------


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("heads", [1, 4])
@pytest.mark.parametrize("spread", [0.01, 1.0, 200.0])
def test_edge_softmax_equals_the_reference_also_in_place(library, name, heads, spread):
    inputs = zoo(name)
    for spec in (PLAIN, GCN):
        graph, prepared = inputs.prepare((spec,)), in_c(library, spec, inputs)
        x = normal(prepared.num_edges, heads) * np.float32(spread)
        y, place = guarded(x.shape, np.float32), x.copy()

        library.gnn_edge_softmax_f32(prepared["row_pointer"], inputs.num_nodes, heads, x, y)
        library.gnn_edge_softmax_f32(prepared["row_pointer"], inputs.num_nodes, heads, place, place)

        assert_guards(y)
        assert np.array_equal(y, place)
        assert_near(y, reference(ops.EdgeSoftmax(), x, prepared=graph))


@pytest.mark.parametrize("equal", [True, False])
def test_edge_softmax_into_a_hub_of_almost_all_nodes_equals_the_reference(library, equal):
    inputs = hub(equal)
    graph, prepared = inputs.prepare((PLAIN,)), in_c(library, PLAIN, inputs)
    x = np.where(np.arange(HUB)[:, None] == 0, np.float32(1), np.float32(0.123)) if equal else normal(HUB, 2) * 3
    y = guarded(x.shape, np.float32)

    library.gnn_edge_softmax_f32(prepared["row_pointer"], inputs.num_nodes, x.shape[1], np.ascontiguousarray(x), y)

    expected = reference(ops.EdgeSoftmax(), x, prepared=graph)
    assert np.abs(y / expected - 1).max() < 1e-5


@pytest.mark.parametrize("batch", BATCHES, ids=str)
@pytest.mark.parametrize("eps_outside", [False, True])
@pytest.mark.parametrize("offset", [0.0, 20.0])
def test_graph_norm_equals_the_reference(library, batch, eps_outside, offset):
    graph, pointer = batched(batch, 1)
    x = graph.inputs.x + np.float32(offset)
    weight, bias = normal(5, seed=1), normal(5, seed=2)
    op = struct("gnn_layer_norm_op", weight=weight, bias=bias, channels=5, eps_outside=eps_outside, eps=1e-5)
    statistics, y = guarded((pointer.size - 1, 2), np.float32), guarded(x.shape, np.float32)

    library.gnn_graph_statistics_f32(op, x, pointer, pointer.size - 1, statistics)
    for first, rows in blocks(x.shape[0], 4):
        library.gnn_graph_norm_f32(
            op, statistics, pointer, pointer.size - 1, x[first : first + rows], first, rows, y[first : first + rows]
        )

    assert_guards(statistics, y)
    assert_near(y, reference(ops.LayerNorm(1e-5, Extent.GRAPH, eps_outside), x, weight, bias, prepared=graph))


def test_graph_norm_of_a_large_graph_equals_the_reference(library):
    graph, pointer = batched([0] * 20_000, 0, channels=8)
    x = np.maximum(graph.inputs.x, 0) + np.float32(3)
    op = struct("gnn_layer_norm_op", weight=np.ones(8, np.float32), bias=np.zeros(8, np.float32), channels=8, eps=1e-5)
    statistics, y = np.empty(2, np.float32), np.empty_like(x)

    library.gnn_graph_statistics_f32(op, x, pointer, 1, statistics)
    library.gnn_graph_norm_f32(op, statistics, pointer, 1, x, 0, x.shape[0], y)

    ones, zeros = np.ones(8, np.float32), np.zeros(8, np.float32)
    assert_near(y, reference(ops.LayerNorm(1e-5, Extent.GRAPH), x, ones, zeros, prepared=graph))
