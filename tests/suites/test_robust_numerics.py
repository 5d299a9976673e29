"""Numbers and graphs at their limits mean in every format what they mean to PyG: large logits, no neighbours, very many of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv

import runtimes
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import interpret

FEATURES = 4
ANY_SIZE = ("onnx", "litert", "torchscript")
BOUNDED = ("c", "executorch")
HUB = 65_534  # in-edges of one node: with itself 65,535 nodes, the most that C takes

LAYERS = {
    "gcn": lambda: GCNConv(FEATURES, 3),
    "sage_mean": lambda: SAGEConv(FEATURES, 3),
    "sage_max": lambda: SAGEConv(FEATURES, 3, aggr="max"),
    "gin": lambda: GINConv(nn.Linear(FEATURES, 3)),
    "gat": lambda: GATConv(FEATURES, 3, heads=2),
}


def random_x(num_nodes: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(num_nodes, FEATURES)).astype(np.float32)


def as_data(inputs: GraphInputs) -> Data:
    return Data(x=torch.from_numpy(inputs.x), edge_index=torch.from_numpy(inputs.edge_index))


def options(format: str) -> dict[str, Any]:
    return {"bounds": Bounds(16, 64, 1, 16)} if format in BOUNDED else {}


@pytest.mark.parametrize("format", [*ANY_SIZE, *BOUNDED])
def test_attention_with_logits_of_ten_thousand_is_finite_and_right(format: str, tmp_path: Path) -> None:
    """exp of the logits themselves would be 0 or infinite; a node without edges is among the targets."""
    torch.manual_seed(0)
    layer = GATConv(FEATURES, 3, heads=2, add_self_loops=False).eval()
    for vector in (layer.att_src, layer.att_dst):
        vector.data.mul_(1e4)
    inputs = GraphInputs(random_x(6), np.array([[0, 1, 2, 3, 0, 1], [1, 2, 3, 1, 2, 1]]))
    data = as_data(inputs)
    transformed = layer.lin(data.x).view(-1, 2, 3)
    logits = (transformed * layer.att_src).sum(2)
    assert logits.abs().max() > 1e4
    with torch.no_grad():
        expected = layer(data.x, data.edge_index).numpy()

    graph = lower(layer, data, name="attention")
    (found,) = runtimes.load(export(graph, format, tmp_path / "model", **options(format))).run(inputs)

    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("format", ANY_SIZE)
@pytest.mark.parametrize("name", LAYERS)
def test_a_node_with_65534_neighbours_is_aggregated_within_float_rounding(
    name: str, format: str, tmp_path: Path
) -> None:
    """Against PyG in float64. C and ExecuTorch have tests of their own: their memory is planned for the degree."""
    torch.manual_seed(0)
    layer = LAYERS[name]().eval()
    hub = GraphInputs(random_x(HUB + 1), np.stack([np.arange(1, HUB + 1), np.zeros(HUB, np.int64)]))
    graph = lower(layer, as_data(GraphInputs(random_x(5), np.array([[0, 1], [1, 2]]))), name=name)
    with torch.no_grad():
        x, edges = torch.from_numpy(hub.x).double(), torch.from_numpy(hub.edge_index)
        expected = layer.double()(x, edges).numpy()

    (found,) = runtimes.load(export(graph, format, tmp_path / "model")).run(hub)

    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert np.abs(interpret(graph, hub)[0] - expected).max() <= 1e-6 * np.abs(expected).max()


class LinearLogSoftmax(nn.Module):
    """Logits of one Linear, and their log_softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(FEATURES, 3)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        return self.linear(x).log_softmax(dim=1)


@pytest.mark.parametrize("format", [*ANY_SIZE, *BOUNDED])
def test_log_softmax_of_logits_of_ten_thousand_is_finite_and_right(format: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = LinearLogSoftmax().eval()
    model.linear.weight.data.mul_(1e4)
    inputs = GraphInputs(random_x(6), np.zeros((2, 0)))
    graph = lower(model, as_data(inputs), name="logits")
    with torch.no_grad():
        expected = model(torch.from_numpy(inputs.x), None).numpy()
    assert np.abs(expected).max() > 1e4

    (found,) = runtimes.load(export(graph, format, tmp_path / "model", **options(format))).run(inputs)

    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
