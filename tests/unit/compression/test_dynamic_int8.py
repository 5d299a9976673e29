"""Dynamic int8: weights become codes, everything else stays float."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.compression.hand_built import gcn_graph, gin_graph, many_inputs, random_inputs
from tests.unit.compression.test_training import labelled
from toolchain.compression import DynamicInt8, StaticInt8, StepReport, evaluate, quantize
from toolchain.compression.evaluation import predict
from toolchain.errors import RecipeError
from toolchain.ir import DType, interpret
from toolchain.ir.ops import Const, Linear


def test_every_weight_has_one_scale_per_output_channel_and_every_value_is_float():
    made = quantize(gin_graph(layers=2), DynamicInt8())
    for value in made.values:
        if isinstance(value.op, Linear):
            weight = made.operand(value, "weight").type
            assert (DType.I8, weight.shape[0], 0) == (weight.dtype, len(weight.qparams.scale), weight.qparams.axis)
        if not isinstance(value.op, Const):
            assert value.type.dtype is DType.F32


def test_a_small_linear_that_reads_the_features_stays_float():
    def weight_types(share: float) -> list[DType]:
        made = quantize(gin_graph(layers=3), DynamicInt8(float_input_share=share))
        return [made.operand(v, "weight").type.dtype for v in made.values if isinstance(v.op, Linear)]

    assert weight_types(0.0) == [DType.I8] * len(weight_types(0.0))
    assert weight_types(0.2) == [DType.F32] + [DType.I8] * (len(weight_types(0.0)) - 1)


def test_it_approximates_the_float_graph():
    graph, inputs = gin_graph(), random_inputs(60, 200)
    expected = interpret(graph, inputs)[0]

    assert np.abs(expected - interpret(quantize(graph, DynamicInt8()), inputs)[0]).max() < 0.05 * np.abs(expected).max()


def test_four_bit_codes_are_narrow():
    made = quantize(gcn_graph(), DynamicInt8(weight_bits=4))
    assert max(int(np.abs(a).max()) for a in made.constants.values() if a.dtype == np.int8) == 7


def test_other_widths_are_refused():
    with pytest.raises(RecipeError, match="weight_bits: 6"):
        DynamicInt8(weight_bits=6)


def test_predictions_do_not_depend_on_the_other_graphs():
    made, graphs = quantize(gin_graph(), DynamicInt8()), many_inputs(8)

    np.testing.assert_array_equal(predict(made, graphs)[3:4], interpret(made, graphs[3])[0])


def test_the_report_states_what_quantization_did():
    data, reports = labelled(40), []
    graph = gin_graph(classes=2)
    made = quantize(graph, StaticInt8(data, min_agreement=0), validation=data, log=reports.append)
    report: StepReport = reports[0]

    assert (graph.weight_bytes, made.weight_bytes) == (report.before.bytes, report.after.bytes)
    assert (evaluate(graph, data), evaluate(made, data)) == (report.before.accuracy, report.after.accuracy)
    assert "static int8" in str(report)
    assert "accuracy" in str(report)


def test_an_unknown_method_is_refused():
    with pytest.raises(RecipeError, match=r"expected .*DynamicInt8"):
        quantize(gcn_graph(), "int8")
