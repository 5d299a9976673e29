"""Dead channels of BatchNorms: the float function stays, and the codes of the other channels stay fine."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GINConv, global_mean_pool

from tests.unit.compression.hand_built import gin_graph, many_inputs
from toolchain.compression import StaticInt8, quantize
from toolchain.compression.dead_channels import settle_dead_channels
from toolchain.compression.evaluation import as_inputs
from toolchain.frontend import lower
from toolchain.ir import Graph, interpret
from toolchain.ir.ops import BatchNorm
from toolchain.passes import deployable

DEAD = 3


class Normalized(nn.Module):
    """ReLU, then BatchNorm, then Linear: the order in which a fold meets the columns of a weight."""

    def __init__(self) -> None:
        super().__init__()
        mlp = nn.Sequential(nn.Linear(7, 12), nn.ReLU(), nn.BatchNorm1d(12), nn.Linear(12, 12), nn.ReLU())
        self.conv, self.head = GINConv(mlp), nn.Linear(12, 4)

    def forward(self, x, edge_index, batch=None):
        return self.head(global_mean_pool(self.conv(x, edge_index), batch))


def normalized(dead_bias: float) -> Graph:
    """With statistics as training leaves them: channel `DEAD` of the hidden values has no variance."""
    torch.manual_seed(0)
    model = Normalized().eval()
    linear, norm = model.conv.nn[0], model.conv.nn[2]
    linear.bias.data[DEAD] = dead_bias
    norm.running_mean[:], norm.running_var[:] = 1.0, 2.0
    norm.running_mean[DEAD], norm.running_var[DEAD], norm.bias.data[DEAD] = 0.0, 1e-20, 0.25
    data = Data(x=torch.randn(5, 7), edge_index=torch.randint(0, 5, (2, 9)))
    return lower(model, data)


GRAPHS = many_inputs(12)


def error(graph: Graph, expected: Graph) -> float:
    return max(float(np.abs(interpret(graph, g)[0] - interpret(expected, g)[0]).max()) for g in GRAPHS)


def test_a_channel_that_no_node_activates_becomes_a_constant_of_the_same_function():
    graph = normalized(dead_bias=-1000.0)
    settled = settle_dead_channels(graph, GRAPHS)
    (norm,) = (v for v in settled.values if isinstance(v.op, BatchNorm))
    weight, bias = (settled.constant(settled.values[i]) for i in norm.inputs[1:3])

    assert error(settled, graph) < 1e-6
    assert np.flatnonzero(weight == 0).tolist() == [DEAD]
    assert bias[DEAD] == 0.25


def test_the_weights_behind_have_the_range_of_the_channels_that_live():
    graph = normalized(dead_bias=-1000.0)
    name = "conv.nn.3.weight"
    folded, settled = (deployable(g).constants[name] for g in (graph, settle_dead_channels(graph, GRAPHS)))

    assert np.abs(folded[:, DEAD]).max() > 50 * np.abs(np.delete(folded, DEAD, 1)).max()
    np.testing.assert_array_equal(settled[:, DEAD], 0)
    np.testing.assert_array_equal(np.delete(settled, DEAD, 1), np.delete(folded, DEAD, 1))


def test_static_int8_keeps_its_codes_for_the_channels_that_live():
    method = StaticInt8(GRAPHS, mode="int8", weight_bits=4, min_agreement=0, calibration="minmax")
    with_dead, without = (error(quantize(g, method), g) for g in (normalized(-1000.0), without_the_channel()))

    assert with_dead == pytest.approx(without, rel=0.2)


def without_the_channel() -> Graph:
    """The same function without its dead channel: its weight behind the BatchNorm is 0, its constant in the bias."""
    graph = normalized(-1000.0)
    weight, bias = graph.constants["conv.nn.3.weight"].copy(), graph.constants["conv.nn.3.bias"].copy()
    bias += 0.25 * weight[:, DEAD]
    weight[:, DEAD] = 0
    return graph.with_constants({"conv.nn.3.weight": weight, "conv.nn.3.bias": bias})


def test_a_channel_that_still_varies_stays_and_the_log_says_so(caplog: pytest.LogCaptureFixture):
    graph = normalized(dead_bias=0.0)
    with caplog.at_level(logging.WARNING, "pocketgnn"):
        settled = settle_dead_channels(graph, GRAPHS)

    assert error(settled, graph) == 0
    assert f"BatchNorm of conv.nn.2: channel {DEAD} has a running variance below eps and still varies" in caplog.text


def test_a_model_without_dead_channels_is_returned_as_it_is():
    graph = gin_graph()

    assert settle_dead_channels(graph, as_inputs(GRAPHS)) is graph
