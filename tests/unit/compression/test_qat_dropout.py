"""Dropout of codes while training through the integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.compression.hand_built import node_gcn_graph, random_inputs
from tests.unit.compression.test_qat import differing_codes
from toolchain.compression import StaticInt8
from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.static_int8 import select
from toolchain.errors import RecipeError
from toolchain.inputs import GraphInputs
from toolchain.torch_module import TorchGraph


def sparse_inputs() -> GraphInputs:
    """Features of which 5 % are 1."""
    graph = random_inputs(400, 1200, 40)
    return replace(graph, x=(np.random.default_rng(1).random(graph.x.shape) < 0.05).astype(np.float32))


def module_of(inputs: GraphInputs, dropout: dict[str, float]) -> CodeDomainModule:
    selection = select(
        node_gcn_graph(inputs.x.shape[1]), StaticInt8([inputs], mode="int8", equalization=None), accept_best=True
    )
    return CodeDomainModule(selection.source, selection.plan, dropout=dropout)


def test_hidden_codes_become_zero_in_training_and_the_rest_grows():
    inputs = random_inputs(400, 1200, 30)
    module = module_of(inputs, {"conv1.propagate": 0.25})
    batch, seen = TorchGraph.of(inputs.prepare(module.graph.topologies)), []
    for mode in (False, True):
        torch.manual_seed(0)
        module.train(mode)
        found: dict[int, torch.Tensor] = {}
        module(batch, lambda value, tensor, found=found: found.__setitem__(value.id, tensor.detach()))
        seen.append(found[next(i for i, g in module.made.grids.items() if g.source in module._dropout)])
    whole, dropped = seen
    kept = dropped != 0

    assert kept.sum() / (whole != 0).sum() == pytest.approx(0.75, abs=0.03)
    torch.testing.assert_close(dropped[kept], whole[kept] / 0.75)


def test_a_sparse_input_stays_sparse_and_is_dropped_anew_in_every_step():
    inputs = sparse_inputs()
    module = module_of(inputs, {"x": 0.5})
    batch = TorchGraph.of(inputs.prepare(module.graph.topologies))
    module.train()
    module(batch)  # dense: nobody knows yet that the graph comes again
    torch.manual_seed(0)
    outputs = [module(batch)[0] for _ in range(2)]
    (codes,) = module._sparse.values()

    assert codes is not None
    assert int((codes.values == 0).sum()) / codes.values.numel() == pytest.approx(0.5, abs=0.08)
    assert (outputs[0] != outputs[1]).any()


def test_what_was_trained_with_dropout_is_what_ships():
    inputs = sparse_inputs()
    module = module_of(inputs, {"*": 0.0, "x": 0.3, "conv1.propagate": 0.5})
    batch = TorchGraph.of(inputs.prepare(module.graph.topologies))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    module.train()
    for _ in range(4):
        optimizer.zero_grad()
        module(batch)[0][:, 0].sum().backward()
        optimizer.step()
    module.eval()

    assert differing_codes(module, inputs)[0] == 0


@pytest.mark.parametrize(
    ("dropout", "message"),
    [
        ({"x": 1.0}, "dropout of 'x': 1.0, expected a probability in"),
        ({"conv1.lin.weight": 0.5}, "is a weight; dropout is of values"),
        ({"conv7.*": 0.5}, "'conv7.*': no value or weight has this name"),
    ],
)
def test_dropout_of_what_cannot_be_dropped_is_refused(dropout, message):
    with pytest.raises(RecipeError, match=message.replace("*", r"\*")):
        module_of(random_inputs(50, 100, 30), dropout)
