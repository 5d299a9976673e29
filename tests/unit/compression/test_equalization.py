"""Equalization and row scaling change how a function is computed, not the function."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.compression.hand_built import (
    Layers,
    gcn_graph,
    gin_graph,
    many_inputs,
    node_gcn_graph,
    random_inputs,
    sage_graph,
)
from toolchain.compression import L1Unstructured, prune
from toolchain.compression.calibration import observe
from toolchain.compression.equalization import equalize
from toolchain.compression.row_scaling import scale_sources
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.ir.ops import Activation, Function, Linear, Mul, Pool, Propagate, Reduce
from toolchain.passes import deployable

MAKERS = {"gcn": (gcn_graph, 7), "gin": (gin_graph, 7), "sage": (sage_graph, 7), "node_gcn": (node_gcn_graph, 30)}


def assert_same_function(expected: Graph, actual: Graph, inputs: GraphInputs) -> None:
    reference = interpret(expected, inputs)[0]
    assert np.abs(reference - interpret(actual, inputs)[0]).max() <= 1e-5 * np.abs(reference).max()


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_equalization_keeps_the_function(name, alpha):
    make, features = MAKERS[name]
    graph = deployable(prune(make(), L1Unstructured(0.3)))
    equalized = equalize(graph, observe(graph, many_inputs(20, features)), alpha)

    assert any(isinstance(v.op, Mul) for v in equalized.values)
    assert_same_function(graph, equalized, random_inputs(60, 200, features, 5))


def test_equalization_levels_the_channels_of_a_hidden_value():
    graph = deployable(gin_graph())
    before = observe(graph, many_inputs(20))
    after_graph = equalize(graph, before, 1.0)
    after = observe(after_graph, many_inputs(20))
    read = [v.inputs[0] for v in graph.values if isinstance(v.op, Linear)][1]
    shifted = [v.inputs[0] for v in after_graph.values if isinstance(v.op, Linear)][1]

    def ratio(peaks: np.ndarray) -> float:
        return float(peaks.max() / peaks[peaks > 0].min())

    assert ratio(before[read].channel_peak) > 1.5
    assert ratio(after[shifted].channel_peak) == pytest.approx(1, abs=1e-3)


def test_binary_features_are_left_as_they_are():
    graph = deployable(gcn_graph())
    ones = [GraphInputs((g.x > 0).astype(np.float32), g.edge_index) for g in many_inputs(10)]

    assert not any(isinstance(v.op, Mul) for v in equalize(graph, observe(graph, ones), 0.25).values)


def test_a_value_that_a_table_activation_reads_is_left_alone():
    m = Layers("gelu")
    h = m.builder.add(Activation(Function.GELU), m.linear(m.input(7), 16, "first"))
    graph = m.finish(m.linear(h, 3, "second"))
    equalized = equalize(graph, observe(graph, many_inputs(10)), 0.25)

    assert_same_function(graph, equalized, random_inputs(40, 80))
    np.testing.assert_array_equal(graph.constants["second.weight"], equalized.constants["second.weight"])


def test_a_value_whose_rows_are_multiplied_is_left_alone():
    m = Layers("product")
    h = m.builder.add(Pool(Reduce.PRODUCT), m.linear(m.input(7), 16, "first"))
    graph = m.finish(m.linear(h, 3, "second"))
    equalized = equalize(graph, observe(graph, many_inputs(10)), 0.25)

    np.testing.assert_array_equal(graph.constants["second.weight"], equalized.constants["second.weight"])


@pytest.mark.parametrize("name", MAKERS)
def test_row_scaling_keeps_the_function(name):
    make, features = MAKERS[name]
    graph = deployable(make())

    assert_same_function(graph, scale_sources(graph), random_inputs(60, 200, features, 5))


def test_the_linear_before_a_normalized_propagate_takes_its_row_factor():
    scaled = scale_sources(deployable(gcn_graph(layers=3)))
    factors = [v.op.row_factor is not None for v in scaled.values if isinstance(v.op, Linear)]
    sources = [v.op.source_scaled for v in scaled.values if isinstance(v.op, Propagate)]

    assert (factors, sources) == ([True, True, False, False], [False, True, True])
