"""Where training computes with real numbers, and where its integers are held in float: both as the interpreter has them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.unit.compression.hand_built import Layers
from toolchain.compression.code_domain import emit_real
from toolchain.compression.code_rounding import exact_dtype
from toolchain.inputs import GraphInputs
from toolchain.ir import interpret
from toolchain.torch_ops import Call
from toolchain.torch_structure import TorchGraph


def test_a_batchnorm_is_rounded_as_in_the_interpreter():
    layers = Layers("norm")
    graph = layers.finish(layers.batch_norm(layers.input(16), "norm"))
    x = layers.rng.standard_normal((4000, 16)) * 10.0 ** layers.rng.uniform(-3, 6, (4000, 1))
    inputs = GraphInputs(x.astype(np.float32), np.zeros((2, 0), np.int64)).prepare(graph.topologies)
    value = graph.values[graph.outputs[0]]
    stored = [graph.constants[graph.values[i].op.name] for i in value.inputs[1:]]
    tensors = tuple(torch.tensor(array) for array in (inputs.inputs.x, *stored))
    types = tuple(graph.values[i].type for i in value.inputs)
    found = emit_real(value.op, Call(value, tensors, types, TorchGraph.of(inputs), lambda name: torch.empty(0)))

    np.testing.assert_array_equal(found.numpy(), interpret(graph, inputs)[0])


@pytest.mark.parametrize(("bound", "dtype"), [(2**24 - 1, torch.float32), (2**24, torch.float64)])
def test_sums_of_integers_are_held_where_every_one_of_them_has_its_own_number(bound, dtype):
    assert exact_dtype(bound) is dtype
    assert torch.tensor(bound, dtype=dtype) + 1 != torch.tensor(bound, dtype=dtype)
