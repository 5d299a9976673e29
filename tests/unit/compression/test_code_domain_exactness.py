"""Where training computes with real numbers, and where its integers are held in float: both as the interpreter has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.unit.compression.hand_built import GCN_EDGES, Layers
from toolchain.compression.code_domain import emit_real
from toolchain.compression.code_rounding import exact_dtype
from toolchain.inputs import GraphInputs
from toolchain.ir import interpret
from toolchain.ir.ops import Dropout, LogSoftmax, Pool, Propagate, Reduce
from toolchain.torch_ops import Call
from toolchain.torch_structure import TorchGraph

OPS: dict[str, Callable[[Layers, int], int]] = {
    "batch norm": lambda layers, x: layers.batch_norm(x, "norm"),
    "mean over the nodes of a graph": lambda layers, x: layers.builder.add(Pool(Reduce.MEAN), x),
    "normalized sum over neighbours": lambda layers, x: layers.builder.add(
        Propagate(layers.builder.topology(GCN_EDGES)), x
    ),
    "log-softmax": lambda layers, x: layers.builder.add(LogSoftmax(), x),
    "dropout": lambda layers, x: layers.builder.add(Dropout(0.5), x),
}


@pytest.mark.parametrize("name", OPS)
def test_an_evaluation_gives_the_interpreters_real_numbers(name: str) -> None:
    layers = Layers("real")
    graph = layers.finish(OPS[name](layers, layers.input(16)))
    x = layers.rng.standard_normal((4000, 16)) * 10.0 ** layers.rng.uniform(-3, 6, (4000, 1))
    inputs = GraphInputs(x.astype(np.float32), layers.rng.integers(0, 4000, (2, 16000))).prepare(graph.topologies)
    value = graph.values[graph.outputs[0]]
    stored = [graph.constants[graph.values[i].op.name] for i in value.inputs[1:]]
    tensors = tuple(torch.tensor(array) for array in (inputs.inputs.x, *stored))
    types = tuple(graph.values[i].type for i in value.inputs)
    call = Call(value, tensors, types, TorchGraph.of(inputs), lambda name: torch.empty(0))

    np.testing.assert_array_equal(emit_real(value.op, call).numpy(), interpret(graph, inputs)[0])


def test_a_real_number_that_learns_keeps_its_gradient() -> None:
    layers = Layers("gradient")
    graph = layers.finish(layers.builder.add(LogSoftmax(), layers.input(4)))
    inputs = GraphInputs(np.ones((3, 4), np.float32), np.zeros((2, 0), np.int64)).prepare(())
    value = graph.values[graph.outputs[0]]
    x = torch.ones(3, 4, requires_grad=True)
    call = Call(value, (x,), (graph.values[0].type,), TorchGraph.of(inputs), lambda name: torch.empty(0))
    emit_real(value.op, call)[:, 0].sum().backward()

    np.testing.assert_allclose(x.grad, np.tile([0.75, -0.25, -0.25, -0.25], (3, 1)))


@pytest.mark.parametrize(("bound", "dtype"), [(2**24 - 1, torch.float32), (2**24, torch.float64)])
def test_sums_of_integers_are_held_where_every_one_of_them_has_its_own_number(bound, dtype):
    assert exact_dtype(bound) is dtype
    assert torch.tensor(bound, dtype=dtype) + 1 != torch.tensor(bound, dtype=dtype)
