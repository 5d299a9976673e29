"""Sparse initializers: chosen by size, the same outputs, off by default."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from runtimes.onnxruntime import open_session
from tests.every_op import random_inputs
from tests.unit.compression.hand_built import gin_graph, many_inputs
from toolchain.compression import DynamicInt8, L1Unstructured, prune, quantize
from toolchain.compression.pruning import FixedMasks
from toolchain.exporters.emission import Emission
from toolchain.exporters.onnx import emit
from toolchain.feeds import build_feeds
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, GraphBuilder
from toolchain.ir.ops import Input, Linear, Role
from toolchain.ir.types import node
from toolchain.passes import deployable


def linear(zeros: float, shape: tuple[int, int] = (300, 4)) -> Graph:
    """x W^T + b with a share of zeros in W."""
    rng, builder = np.random.default_rng(0), GraphBuilder()
    x = builder.add(Input(Role.X, node(shape[1])))
    weight = builder.const("lin.weight", rng.normal(size=shape))
    bias = builder.const("lin.bias", rng.normal(size=shape[0]))
    graph = builder.finish([builder.add(Linear(), x, weight, bias)])
    keep = rng.permutation(np.arange(weight_size := shape[0] * shape[1]) >= round(zeros * weight_size)).reshape(shape)
    return prune(graph, FixedMasks({"lin.weight": keep}))


def run(emission: Emission, graph: Graph, inputs: GraphInputs) -> tuple[np.ndarray, ...]:
    feeds = build_feeds(emission.inputs, inputs.prepare(graph.topologies))
    return tuple(open_session(emission.model, 1).run(None, feeds))


def sparse_tensors(emission: Emission) -> list[list[int]]:
    return [list(tensor.dims) for tensor in onnx.load_from_string(emission.model).graph.sparse_initializer]


def test_a_weight_of_many_zeros_is_stored_sparse_and_computes_the_same():
    graph = linear(0.9)
    dense, sparse = emit(graph), emit(graph, sparse_weights=True)

    assert sparse_tensors(dense) == []
    assert sparse_tensors(sparse) == [[300, 4]]
    assert len(dense.model) - len(sparse.model) > 4 * 1200 - 12 * 120 - 100
    inputs = random_inputs(40, 90)
    np.testing.assert_array_equal(run(sparse, graph, inputs)[0], run(dense, graph, inputs)[0])


@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.66])
def test_a_weight_that_would_take_more_bytes_stays_dense(zeros: float):
    graph = linear(zeros)

    assert emit(graph, sparse_weights=True).model == emit(graph).model


def test_a_weight_of_zeros_only_stays_dense():
    graph = linear(1.0)

    assert emit(graph, sparse_weights=True).model == emit(graph).model


def test_codes_stay_dense_because_their_zero_is_stored_as_128():
    graph = quantize(linear(0.95), DynamicInt8(float_input_share=0))

    assert emit(graph, sparse_weights=True).model == emit(graph).model


def test_sparse_weights_work_in_both_branches_of_a_file():
    graph = deployable(prune(gin_graph(), L1Unstructured(0.9, scope="global", include_head=True)))
    dense, sparse = emit(graph), emit(graph, sparse_weights=True)
    inputs = many_inputs(1)[0]

    assert sparse.facts["lowering"] == "auto"
    assert sparse_tensors(sparse)
    np.testing.assert_array_equal(run(sparse, graph, inputs)[0], run(dense, graph, inputs)[0])
