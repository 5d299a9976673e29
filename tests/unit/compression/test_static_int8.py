"""Static int8: the integer graph approximates the float graph, its types are those of ARITHMETIC, and it refuses honestly."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from device_benchmarks.layer_zoo import CASES, random_graph, restricted
from tests.unit.compression.hand_built import (
    PLAIN_EDGES,
    Layers,
    gcn_graph,
    gin_graph,
    many_inputs,
    node_gcn_graph,
    random_inputs,
    sage_graph,
)
from toolchain.compression import StaticInt8, quantize
from toolchain.compression.evaluation import agreement
from toolchain.compression.integer_constants import WeightFormat, largest_code, linear_codes, self_scale_codes
from toolchain.compression.integer_plan import MODES
from toolchain.compression.static_int8 import select
from toolchain.errors import OutsideContract, QuantizationRefused, RecipeError
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import DType, Graph, QParams, TensorType, interpret
from toolchain.ir.attributes import PROPAGATED
from toolchain.ir.ops import Activation, Add, Const, End, Function, Linear, Pool, Propagate, Quantize, Reduce, RowFactor
from toolchain.ir.types import node

MAKERS = {"gcn": (gcn_graph, 7), "gin": (gin_graph, 7), "sage": (sage_graph, 7), "node_gcn": (node_gcn_graph, 30)}


def quantized(graph: Graph, features: int = 7, **options: object) -> Graph:
    return quantize(
        graph, StaticInt8(many_inputs(60, features), **{"min_agreement": 0, "mode": "sums-int16", **options})
    )


def types(graph: Graph, kind: type) -> list[DType]:
    return [v.type.dtype for v in graph.values if isinstance(v.op, kind)]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize(("mode", "budget"), [("int8", 0.06), ("sums-int16", 0.05), ("all-int16", 0.025)])
def test_every_mode_approximates_the_float_graph(name, mode, budget):
    make, features = MAKERS[name]
    graph, inputs = make(), random_inputs(60, 200, features, 5)
    expected = interpret(graph, inputs)[0]
    actual = interpret(quantized(graph, features, mode=mode, calibration="minmax"), inputs)[0]

    assert np.abs(expected - actual).max() <= budget * np.abs(expected).max()


def test_gcn_has_the_types_of_the_arithmetic():
    graph = quantized(gcn_graph(layers=2))

    assert types(graph, Quantize) == [DType.I16, DType.I16]  # the input, and its row-scaled copy
    assert types(graph, Propagate) == [DType.I16, DType.I16]
    assert types(graph, Linear) == [DType.I8, DType.I8, DType.I32]
    assert types(graph, Pool) == [DType.I16]
    first, second, head = (v for v in graph.values if isinstance(v.op, Linear))
    assert (RowFactor(0, End.SOURCE), None) == (first.op.row_factor, second.op.row_factor)
    assert [v.type.qparams.zero_point for v in (first, second)] == [-128, -128]
    head_weight = graph.operand(head, "weight").type.qparams
    assert (head_weight.axis, len(head_weight.scale)) == (None, 1)


def test_int8_mode_keeps_hidden_values_in_8_bits_and_input_and_pool_in_16():
    graph = quantized(gin_graph(layers=2), mode="int8")

    assert (
        types(graph, Quantize), types(graph, Propagate), types(graph, Linear), types(graph, Pool),
    ) == ([DType.I16], [DType.I8] * 2, [DType.I8] * 4 + [DType.I32], [DType.I16])  # fmt: skip


def test_weights_are_stored_in_8_bits():
    graph = gin_graph(hidden=64)
    made = quantized(graph)

    assert made.weight_bytes < 0.3 * graph.weight_bytes
    for value in made.values:
        if isinstance(value.op, Const) and len(value.type.shape) == 2:
            assert made.constants[value.op.name].dtype == np.int8


def test_binary_features_are_stored_without_loss():
    ones = [GraphInputs((g.x > 0).astype(np.float32), g.edge_index) for g in many_inputs(20)]
    made = quantize(gin_graph(), StaticInt8(ones, min_agreement=0, mode="int8"))
    first = next(v for v in made.values if isinstance(v.op, Quantize))

    assert (DType.I8, QParams((1.0,), 0, 8)) == (first.type.dtype, first.type.qparams)


def test_a_value_with_several_readers_gets_a_row_scaled_copy():
    m = Layers("residual")
    x = m.relu(m.linear(m.input(7), 16, "encoder"))
    y = m.builder.add(Add(), m.relu(m.gcn(x, 16, "conv")), x)
    graph = m.finish(m.linear(y, 3, "head"))
    made, inputs = quantized(graph, calibration="minmax"), random_inputs(60, 200)
    copies = [v for v in made.values if isinstance(v.op, Quantize) and v.op.row_factor is not None]

    assert [c.type.dtype for c in copies] == [DType.I16]
    expected = interpret(graph, inputs)[0]
    assert np.abs(expected - interpret(made, inputs)[0]).max() < 0.05 * np.abs(expected).max()


def test_four_and_two_bit_weights_have_narrow_codes():
    for bits, top in ((4, 7), (2, 1)):
        made = quantized(gcn_graph(), weight_bits=bits)
        codes = [made.constants[v.op.name] for v in made.values if isinstance(v.op, Const) and v.type.dtype is DType.I8]
        assert max(int(np.abs(c).max()) for c in codes) == top


def test_a_single_graph_of_a_node_classifier_is_split_by_nodes():
    selection = select(node_gcn_graph(), StaticInt8([random_inputs(300, 900, 30)], min_agreement=0.9))

    assert (selection.split.calibration_nodes.sum(), selection.split.held_out_nodes.sum()) == (225, 75)
    assert selection.agreement >= 0.9


def test_graphs_are_split_into_disjoint_parts():
    graphs = many_inputs(40)
    split = select(gcn_graph(), StaticInt8(graphs, min_agreement=0)).split

    assert (len(split.calibration), len(split.held_out)) == (30, 10)
    assert len({id(g) for g in (*split.calibration, *split.held_out)}) == 40


def test_auto_takes_the_cheapest_mode_that_agrees():
    assert select(gcn_graph(), StaticInt8(many_inputs(80), min_agreement=0.5)).plan.mode == "int8"


def test_an_agreement_out_of_reach_is_refused_with_the_best_and_the_ways_out():
    with pytest.raises(
        QuantizationRefused, match=r"keeps \d+\.\d% of \d+ held-out.*100\.0% were asked.*QAT.*min_agreement"
    ):
        quantize(node_gcn_graph(), StaticInt8(many_inputs(60, 30), mode="int8", weight_bits=2, min_agreement=1.0))


def test_no_calibration_graphs_are_refused():
    with pytest.raises(RecipeError, match="calibration_graphs: none"):
        quantize(gcn_graph(), StaticInt8([]))


@pytest.mark.parametrize(
    "options",
    [{"mode": "int4"}, {"calibration": "mse"}, {"percentile": 20}, {"equalization": 2.0}, {"equalization": "on"},
     {"weight_bits": 3}, {"min_agreement": 1.5}, {"holdout": 0}, {"max_degree": 0}],
)  # fmt: skip
def test_malformed_options_are_refused(options):
    with pytest.raises(RecipeError, match=next(iter(options))):
        StaticInt8([], **options)


def test_a_stated_max_degree_below_the_calibration_graphs_is_refused():
    with pytest.raises(RecipeError, match="max_degree: 1"):
        quantize(gcn_graph(), StaticInt8(many_inputs(5), max_degree=1))


def test_a_quantized_graph_is_refused():
    with pytest.raises(RecipeError, match="quantized already"):
        quantize(quantized(gcn_graph()), StaticInt8(many_inputs(5)))


def test_the_same_graphs_and_options_give_the_same_integers():
    first, second = (quantized(gin_graph(), mode="auto") for _ in range(2))

    assert str(first) == str(second)
    for name, array in first.constants.items():
        np.testing.assert_array_equal(array, second.constants[name])


def test_a_large_degree_lowers_the_bits_of_the_self_term_until_the_sum_fits():
    x = TensorType(node(4).domain, (4,), DType.I16, QParams((2**-7,), 0, 16))
    for degree, bits in ((10, 8), (254, 8), (255, 7), (3062, 4), (65_000, 0)):
        codes, qparams = self_scale_codes(1.3, x, degree)
        assert (2.0**-bits, round(1.3 * 2**bits)) == (qparams.scale[0], codes[0])
        assert largest_code(x) * (degree * 2**bits + codes[0]) < 2**31
    with pytest.raises(OutsideContract, match="70000 in-edges"):
        self_scale_codes(1.3, x, 70_000)


def test_a_self_term_of_one_needs_no_bits():
    x = TensorType(node(4).domain, (4,), DType.I8, QParams((2**-7,), -128, 8))
    codes, qparams = self_scale_codes(1.0, x, 100)

    assert (codes[0], qparams.scale[0]) == (1, 1.0)


def test_weights_whose_sum_could_leave_int32_get_a_coarser_scale():
    x = TensorType(node(4000).domain, (4000,), DType.I16, QParams((2**-10,), 0, 16))
    weight, bias = np.ones((2, 4000), np.float32), np.array([0.5, -0.5], np.float32)
    weight[1] *= 1e-3
    codes = linear_codes(weight, bias, x, WeightFormat(8), per_tensor=False)
    bound = np.abs(codes.weight.astype(np.int64)).sum(axis=1) * 32767 + np.abs(codes.bias.astype(np.int64))

    assert (bound < 2**31).all()
    assert codes.weight.min() > 0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("reduce", PROPAGATED)
def test_every_reduction_but_the_product_has_an_integer_form(mode, reduce):
    m = Layers("reduce")
    h = m.relu(m.linear(m.input(7), 16, "encoder"))
    op = Propagate(m.builder.topology(PLAIN_EDGES), reduce)
    y = m.linear(m.builder.add(op, h), 8, "after")
    graph = m.finish(m.linear(m.builder.add(Pool(reduce), y), 3, "head"))
    made, inputs = quantized(graph, mode=mode), random_inputs(60, 200)

    assert all(t.is_integer for t in (*types(made, Propagate), *types(made, Pool)))
    expected = interpret(graph, inputs)[0]
    assert np.abs(expected - interpret(made, inputs)[0]).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("reduce", [Reduce.SUM, Reduce.MAX])
def test_an_activation_table_gets_8_bit_codes_or_runs_in_float(reduce):
    m = Layers("table")
    summed = m.builder.add(Propagate(m.builder.topology(PLAIN_EDGES), reduce), m.input(7))
    graph = m.finish(m.linear(m.builder.add(Activation(Function.TANH), summed), 3, "head"))
    inputs = random_inputs(60, 200)
    for mode in MODES:
        made = quantized(graph, mode=mode)
        is_table = mode != "all-int16" and reduce is Reduce.SUM
        assert [DType.I8 if is_table else DType.F32] == types(made, Activation)
        assert np.abs(interpret(graph, inputs)[0] - interpret(made, inputs)[0]).max() < 0.2


def test_numbers_agree_where_every_channel_is_within_2_percent_of_its_range():
    reference = np.array([[0.0, 0.0], [10.0, 1.0], [5.0, 0.5]])
    candidate = reference + np.array([[0.19, 0.0], [0.0, 0.021], [0.0, -0.019]])

    assert agreement(reference, candidate, are_numbers=True) == pytest.approx(2 / 3)
    assert agreement(reference, candidate) == 1  # the same top class


def test_graphs_with_real_valued_targets_are_held_to_their_numbers():
    """Their top channel never changes, and still 2 bits are refused."""
    graph = gcn_graph(classes=3)
    head = next(v.op.name for v in reversed(graph.values) if isinstance(v.op, Const) and v.type.shape == (3,))
    graph = graph.with_constants({head: np.array([100.0, 0.0, 0.0], np.float32)})
    classes = [labelled_like(inputs, torch.tensor([0])) for inputs in many_inputs(12)]
    numbers = [labelled_like(inputs, torch.zeros(1, 3)) for inputs in many_inputs(12)]
    method = {"mode": "int8", "weight_bits": 2, "min_agreement": 0.9}

    quantize(graph, StaticInt8(classes, **method))
    with pytest.raises(QuantizationRefused, match=r"keeps .* of 3 held-out decisions"):
        quantize(graph, StaticInt8(numbers, **method))


def labelled_like(inputs, y):
    return Data(torch.from_numpy(inputs.x), torch.from_numpy(inputs.edge_index), y=y)


def test_an_output_far_off_is_told_and_16_bits_cure_it(caplog: pytest.LogCaptureFixture) -> None:
    """Sums times degrees have a tail, which the percentile cuts: few rows, so that hardly a decision changes."""
    case = next(case for case in CASES if case.name == "PNAConv (sum and var, linear)")
    graph = lower(case.model(), restricted(random_graph(13, 40, 4), case.fields))
    graphs = [restricted(random_graph(40, 160, seed), case.fields) for seed in range(160)]
    with caplog.at_level(logging.WARNING, "pocketgnn"):
        cut = select(graph, StaticInt8(graphs, mode="int8", min_agreement=0))
    assert "an output is off by" in caplog.text and "use mode='all-int16'" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "pocketgnn"):
        whole = select(graph, StaticInt8(graphs, mode="all-int16", min_agreement=0))
    assert "an output is off" not in caplog.text
    assert 10 * whole.largest < 0.1 < cut.largest
