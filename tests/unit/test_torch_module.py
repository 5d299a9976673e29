"""GraphModule: the same function as the reference interpreter, trainable, and written back exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose

from tests.every_op import every_op, random_inputs
from toolchain.errors import InvalidInput, TypeMismatch
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, GraphBuilder, interpret, ops
from toolchain.ir.ops import Input, Role
from toolchain.ir.types import DType, QParams, node
from toolchain.torch_module import GraphModule, TorchGraph

SHAPES = [(9, 24, 1), (13, 40, 3), (1, 0, 1), (4, 0, 2), (2, 5, 1)]


@pytest.mark.parametrize(("nodes", "edges", "graphs"), SHAPES)
def test_every_op_computes_what_the_reference_computes(nodes: int, edges: int, graphs: int) -> None:
    graph, inputs = every_op(), random_inputs(nodes, edges, graphs=graphs)
    module = GraphModule(graph).eval()

    actual = module(TorchGraph.of(inputs.prepare(graph.topologies)))

    for one, expected in zip(actual, interpret(graph, inputs), strict=True):
        assert_allclose(one.detach().numpy(), expected, rtol=1e-4, atol=1e-4)


def test_gradients_equal_finite_differences_in_float64() -> None:
    graph = every_op()
    module = GraphModule(graph, dtype=torch.float64).eval()
    batch = TorchGraph.of(random_inputs(6, 14, graphs=2).prepare(graph.topologies), dtype=torch.float64)

    for name in ("lin.w", "att.w", "eps", "gcn.b"):
        parameter = module.constant(name)

        def function(tensor: torch.Tensor, parameter: torch.Tensor = parameter) -> torch.Tensor:
            return torch.func.functional_call(module, {parameter_name(module, parameter): tensor}, (batch,))[1]

        assert torch.autograd.gradcheck(function, (parameter.detach().clone().requires_grad_(),), eps=1e-7, atol=1e-3)


def parameter_name(module: GraphModule, parameter: torch.Tensor) -> str:
    return next(name for name, other in module.named_parameters() if other is parameter)


def batch_norm_graph() -> Graph:
    b = GraphBuilder()
    x = b.add(Input(Role.X, node(4)))
    weight = np.arange(16).reshape(4, 4) % 3
    h = b.add(ops.Linear(), x, b.const("a.b", weight, pruned=True), b.const("a_b", np.ones(4)))
    stats = (b.const("w", np.ones(4)), b.const("b", np.zeros(4)), b.const("mean", np.zeros(4), trainable=False),
             b.const("variance", np.ones(4), trainable=False))  # fmt: skip
    return b.finish([b.add(ops.BatchNorm(), h, *stats)])


def test_training_updates_batch_norm_statistics_as_torch_does() -> None:
    graph, inputs = batch_norm_graph(), random_inputs(9, 0)
    module, norm = GraphModule(graph), torch.nn.BatchNorm1d(4)

    (y,) = module(TorchGraph.of(inputs.prepare(())))
    expected = norm(torch.tensor(inputs.x @ graph.constants["a.b"].T + 1))

    assert_allclose(y.detach().numpy(), expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    written = module.to_graph().constants
    assert_allclose(written["mean"], norm.running_mean.numpy(), rtol=1e-6)
    assert_allclose(written["variance"], norm.running_var.numpy(), rtol=1e-6)


def test_pruned_zeros_stay_zero_through_an_optimizer_step() -> None:
    graph = batch_norm_graph()
    module = GraphModule(graph)
    optimizer = torch.optim.Adam(module.parameters(), lr=0.1)
    (y,) = module(TorchGraph.of(random_inputs(9, 0).prepare(())))
    (y[:, 0] ** 3).sum().backward()
    optimizer.step()

    written = module.to_graph()

    weight = written.constants["a.b"]
    assert (weight[graph.constants["a.b"] == 0] == 0).all()
    assert (weight != graph.constants["a.b"]).any()
    assert written.values == graph.values  # names, flags and types are kept


def test_writing_back_untouched_weights_changes_nothing() -> None:
    graph = every_op()

    written = GraphModule(graph).to_graph()

    assert all((written.constants[name] == array).all() for name, array in graph.constants.items())


def test_dropout_drops_only_in_train_mode() -> None:
    b = GraphBuilder()
    graph = b.finish([b.add(ops.Dropout(0.5), b.add(Input(Role.X, node(4))))])
    batch = TorchGraph.of(random_inputs(50, 0).prepare(()))
    module = GraphModule(graph)

    dropped = (module(batch)[0] == 0).sum()

    assert 50 < dropped < 150
    assert (module.eval()(batch)[0] == batch.x).all()


def test_a_missing_edge_attr_is_refused() -> None:
    graph = every_op()
    inputs = GraphInputs(np.zeros((3, 4)), np.zeros((2, 0)), np.zeros(0))

    with pytest.raises(InvalidInput, match="edge_attr: missing"):
        GraphModule(graph)(TorchGraph.of(inputs.prepare(graph.topologies)))


def test_a_quantized_graph_is_refused() -> None:
    b = GraphBuilder()
    codes = b.add(ops.Quantize(DType.I8, QParams((0.5,))), b.add(Input(Role.X, node(4))))
    b.values.append(b.values[codes])

    with pytest.raises(TypeMismatch, match="Quantize"):
        GraphModule(b.finish([codes]))(TorchGraph.of(random_inputs(3, 0).prepare(())))
