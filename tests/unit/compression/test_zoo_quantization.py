"""Every model of the zoo quantizes: integers where there is an integer form, float in between, the same function throughout."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.cases import FEATURES, MODELS, case_inputs, example
from tests.graph_zoo import GRAPHS, make_graph, random_edges
from toolchain.compression import DynamicInt8, StaticInt8, quantize
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import DType, Graph, interpret
from toolchain.ir.ops import Dequantize, EdgeSoftmax, HeadDot, Input, LayerNorm, Linear, Quantize

GRAPHS_SEEN = 30


def calibration() -> list[GraphInputs]:
    """Random graphs with every field a model may read."""
    made = []
    for i in range(GRAPHS_SEEN):
        graph = make_graph(10 + i % 9, random_edges(10 + i % 9, 40, i), FEATURES, 200 + i)
        graph.batch = torch.zeros(graph.num_nodes, dtype=torch.long)
        made.append(GraphInputs.from_pyg(graph))
    return made


def zoo_graph(name: str) -> Graph:
    return lower(MODELS[name](), example(name), name=name)


def relative_error(expected: Graph, actual: Graph, inputs: GraphInputs) -> float:
    outputs = zip(interpret(expected, inputs), interpret(actual, inputs), strict=True)
    return max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in outputs)


@pytest.mark.parametrize("name", MODELS)
def test_static_int8_approximates_the_model_on_every_graph(name):
    graph = zoo_graph(name)
    graphs = calibration()
    made = quantize(graph, StaticInt8(graphs, min_agreement=0, calibration="minmax"))

    assert relative_error(graph, made, GraphInputs.concatenate(graphs[:5])) < 0.07
    for kind in GRAPHS:
        outputs = interpret(made, GraphInputs.from_pyg(case_inputs(name, kind)))
        assert all(np.isfinite(array).all() for array in outputs)


@pytest.mark.parametrize("name", MODELS)
def test_all_16_bits_are_closer_still(name):
    graph, graphs = zoo_graph(name), calibration()
    made = quantize(graph, StaticInt8(graphs, min_agreement=0, mode="all-int16"))

    assert relative_error(graph, made, GraphInputs.concatenate(graphs[:5])) < 0.02


@pytest.mark.parametrize("name", MODELS)
def test_every_linear_runs_on_codes_and_float_ops_on_floats(name):
    made = quantize(zoo_graph(name), StaticInt8(calibration(), min_agreement=0, mode="int8"))
    for value in made.values:
        if isinstance(value.op, Linear):
            assert all(t.dtype.is_integer for t in (made.values[i].type for i in value.inputs))
        if isinstance(value.op, EdgeSoftmax | HeadDot | LayerNorm | Dequantize):
            assert value.type.dtype is DType.F32
    assert any(isinstance(v.op, Quantize) for v in made.values)


@pytest.mark.parametrize("name", MODELS)
def test_dynamic_int8_approximates_the_model(name):
    graph = zoo_graph(name)
    made = quantize(graph, DynamicInt8())

    assert relative_error(graph, made, calibration()[0]) < 0.05
    linears = [v for v in made.values if isinstance(v.op, Linear)]
    weights = {v.id: made.values[v.inputs[1]].type for v in linears}
    most = DynamicInt8().float_input_share * sum(math.prod(t.shape) for t in weights.values())
    for v in linears:
        is_small = isinstance(made.values[v.inputs[0]].op, Input) and math.prod(weights[v.id].shape) <= most
        assert weights[v.id].dtype is (DType.F32 if is_small else DType.I8)
