"""Operation counts: the published totals of Planetoid, and what zeros, widths and sizes do to each figure."""

from __future__ import annotations

import numpy as np
import pytest

from toolchain.inputs import GraphInputs
from toolchain.ir import DType, Graph, GraphBuilder, QParams, TensorType
from toolchain.ir.attributes import End, Reduce
from toolchain.ir.operation_counts import GraphSizes, operation_counts, value_bits, value_counts, weight_bits
from toolchain.ir.ops import Aggregate, Gather, HeadDot, Input, Linear, Propagate, Quantize, Role
from toolchain.ir.types import const, node
from toolchain.topology import Normalization, SelfLoops, TopologySpec

# nodes, features, classes, directed edges without self-loops, non-zero features: of the public files
CORA = (2708, 1433, 7, 10556, 49216)
CITESEER = (3327, 3703, 6, 9104, 105165)
PUBMED = (19717, 500, 3, 88648, 988031)
HIDDEN = 128
IMPROVED = TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC, loop_weight=2.0)


def codes(type: TensorType, bits: int) -> TensorType:
    return type.with_dtype(DType.I8, QParams((1.0,), 0, bits))


def gcn(data: tuple[int, ...], bits: tuple[int, ...] | None = None) -> Graph:
    """Two layers as MixQ's, in its slots [X, XΘ1, Θ1, Â, ÂXΘ1, HΘ2, Θ2, Â, out]; None: float. Weights are all ones."""
    _, features, classes, *_ = data
    builder = GraphBuilder((IMPROVED,))

    def typed(type: TensorType, slot: int) -> TensorType:
        return type if bits is None else codes(type, bits[slot])

    def weight(name: str, out: int, width: int, slot: int) -> int:
        type_ = typed(const(out, width), slot)
        return builder.const(name, np.ones((out, width), type_.dtype.numpy), type=type_)

    h = builder.add(Input(Role.X, node(features)))
    if bits is not None:
        type_ = typed(node(features), 0)
        assert type_.qparams is not None
        h = builder.add(Quantize(DType.I8, type_.qparams), h, type=type_)
    for out, slots in ((HIDDEN, (1, 2, 4)), (classes, (5, 6, 8))):
        width = builder.type(h).channels
        h = builder.add(Linear(), h, weight(f"w{out}", out, width, slots[1]), type=typed(node(out), slots[0]))
        h = builder.add(Propagate(0), h, type=typed(node(out), slots[2]))
    return builder.finish([h])


def sizes(data: tuple[int, ...]) -> GraphSizes:
    nodes, features, _, edges, nonzeros = data
    spread = np.full(features, nonzeros / features)  # weights are all set, so only the sum over the columns matters
    return GraphSizes(nodes, (edges + nodes,), 1, spread)


# --- published totals, in G ---


@pytest.mark.parametrize(("data", "published"), [(CORA, 16.110), (CITESEER, 50.679), (PUBMED, 41.697)])
def test_float32_bit_operations_are_those_of_mixq(data: tuple[int, ...], published: float) -> None:
    assert operation_counts(gcn(data), sizes(data)).bit_operations / 1e9 == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize(
    ("bits", "published"),
    [
        ((8,) * 9, 4.028), ((4,) * 9, 2.014), ((2,) * 9, 1.007), ((4, 2, 2, 4, 8, 8, 2, 8, 8), 1.371),
        ((4, 4, 2, 8, 8, 8, 4, 8, 8), 1.705), ((8, 2, 2, 8, 4, 8, 4, 4, 8), 2.020),
    ],
)  # fmt: skip
def test_bit_operations_of_mixed_widths_are_those_of_mixq(bits: tuple[int, ...], published: float) -> None:
    assert operation_counts(gcn(CORA, bits), sizes(CORA)).bit_operations / 1e9 == pytest.approx(published, abs=5e-4)


@pytest.mark.parametrize(("data", "expected"), [(CORA, 513), (CITESEER, 1619), (PUBMED, 1314)])
def test_the_product_counts_both_factors(data: tuple[int, ...], expected: float) -> None:
    assert operation_counts(gcn(data), sizes(data)).bops / 1e9 == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize(("width", "expected"), [(8, 32.06), (4, 8.01), (2, 2.00)])
def test_the_product_takes_the_stated_width_of_the_adjacency(width: int, expected: float) -> None:
    counts = operation_counts(gcn(CORA, (width,) * 9), sizes(CORA), edge_bits=width)

    assert counts.bops / 1e9 == pytest.approx(expected, abs=5e-3)
    assert counts.bops == operation_counts(gcn(CORA), sizes(CORA)).bops * (width / 32) ** 2


@pytest.mark.parametrize(("data", "expected"), [(CORA, 10.8), (CITESEER, 18.1), (PUBMED, 152)])
def test_zero_features_cost_nothing_in_the_sparse_column(data: tuple[int, ...], expected: float) -> None:
    assert operation_counts(gcn(data), sizes(data)).bops_sparse / 1e9 == pytest.approx(expected, rel=5e-3)


# --- one op at a time ---


def test_loops_of_weight_two_take_two_bits_and_equal_edges_one() -> None:
    graph = gcn(CORA, (8,) * 9)
    along = [value_counts(graph, v, sizes(CORA)) for v in graph.values if isinstance(v.op, Propagate)]

    assert [c.bops / c.macs for c in along] == [16, 16]
    assert operation_counts(graph, sizes(CORA), edge_bits=1).bops == sum(
        c.bops for v in graph.values if not isinstance(v.op, Propagate) for c in [value_counts(graph, v, sizes(CORA))]
    ) + 8 * sum(c.macs for c in along)


def test_a_product_with_a_pruned_weight_is_not_in_the_sparse_column() -> None:
    """Column 0 of x has 3 non-zeros and meets 1 weight, column 1 has 5 and meets 2."""
    builder = GraphBuilder()
    x = builder.add(Input(Role.X, node(2)))
    w = builder.const("w", np.array([[1.0, 2.0], [0.0, 3.0]]))
    graph = builder.finish([builder.add(Linear(), x, w)])

    counts = operation_counts(graph, GraphSizes(6, (), 1, np.array([3, 5])))

    assert (counts.macs, counts.macs_sparse) == (24, 3 * 1 + 5 * 2)
    assert operation_counts(graph, GraphSizes(6, ())).macs_sparse == 6 * 3


def test_a_self_term_is_one_more_edge_at_every_node() -> None:
    builder = GraphBuilder((TopologySpec(),))
    x = builder.add(Input(Role.X, node(4)))
    scale = builder.const("eps", np.ones(1))
    graph = builder.finish([builder.add(Propagate(0, operands=("self_scale",)), x, scale)])

    counts = operation_counts(graph, GraphSizes(10, (30,)))

    assert (counts.macs, counts.operations) == ((30 + 10) * 4, 2 * (30 + 10 + 10) * 4)


def test_attention_and_edge_values_count_along_the_edges() -> None:
    builder = GraphBuilder((TopologySpec(),))
    x = builder.add(Input(Role.X, node(6)))
    gathered = builder.add(Gather(0, End.SOURCE), x)
    scores = builder.add(HeadDot(), gathered, builder.const("a", np.ones((2, 3))))
    attended = builder.add(Propagate(0, operands=("weight",)), x, scores)
    summed = builder.add(Aggregate(Reduce.SUM), gathered)
    graph = builder.finish([attended, summed])

    macs = {type(v.op).__name__: value_counts(graph, v, GraphSizes(5, (7,))).macs for v in graph.values}

    assert macs == {"Input": 0, "Gather": 0, "Const": 0, "HeadDot": 7 * 6, "Propagate": 7 * 6, "Aggregate": 7 * 6}


def test_a_float_value_beside_an_integer_weight_counts_the_8_bits_it_is_quantized_to() -> None:
    builder = GraphBuilder()
    x = builder.add(Input(Role.X, node(4)))
    w = builder.const("w", np.ones((3, 4), np.int8), type=codes(const(3, 4), 4))
    graph = builder.finish([builder.add(Linear(), x, w)])

    counts = operation_counts(graph, GraphSizes(10, ()))

    assert (counts.bops, counts.bit_operations) == (120 * 8 * 4, 120 * (8 + 4) / 2)


def test_mean_widths_are_over_elements_of_weights_and_over_values() -> None:
    bits = (8, 2, 4, 2, 8, 8, 2, 2, 6)

    assert weight_bits(gcn(CORA)) == value_bits(gcn(CORA)) == 32
    assert value_bits(gcn(CORA, bits)) == (8 + 2 + 8 + 8 + 6) / 5
    assert weight_bits(gcn(CORA, bits)) == (4 * 1433 * 128 + 2 * 128 * 7) / (1433 * 128 + 128 * 7)


# --- sizes ---


def test_sizes_are_means_over_the_graphs() -> None:
    edge, no_edge = np.array([[0], [1]]), np.zeros((2, 0), int)
    graphs = [GraphInputs(np.eye(2, 3), edge), GraphInputs(np.ones((4, 3)), no_edge)]

    mean = GraphSizes.mean_of((TopologySpec(), TopologySpec(SelfLoops.REPLACE)), graphs)

    assert (mean.nodes, mean.edges, mean.graphs) == (3, (0.5, 3.5), 1)
    assert np.array_equal(mean.feature_nonzeros, [2.5, 2.5, 2])


def test_no_graph_has_no_mean() -> None:
    with pytest.raises(ValueError, match="none given"):
        GraphSizes.mean_of((), [])
