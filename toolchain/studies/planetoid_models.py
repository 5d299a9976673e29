"""Cora, CiteSeer and PubMed with the public split, and the float models of their studies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data
from torch_geometric.nn import GATConv, GCNConv, GINConv

from toolchain.datasets import planetoid
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.models import train

DATA_SETS = ("Cora", "CiteSeer", "PubMed")
LR, WEIGHT_DECAY = 0.01, 2e-4


class TwoLayers(nn.Module):
    """Two graph convolutions with an activation between, and dropout before each."""

    def __init__(
        self, first: nn.Module, second: nn.Module, activation: Callable[[Tensor], Tensor], dropout: float
    ) -> None:
        super().__init__()
        self.conv1, self.conv2 = first, second
        self._activation, self._dropout = activation, dropout

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self._activation(self.conv1(functional.dropout(x, self._dropout, self.training), edge_index))
        return self.conv2(functional.dropout(h, self._dropout, self.training), edge_index)  # [N, classes]


def _gcn(features: int, classes: int, hidden: int) -> nn.Module:
    """Without biases and with self-loops of weight 2 (Â of A + 2I), as in the published tables of mixed precision.

    PyG's `improved` has no effect without edge weights, so the loops are in the graph: see `load`.
    """
    first = GCNConv(features, hidden, bias=False, add_self_loops=False)
    second = GCNConv(hidden, classes, bias=False, add_self_loops=False)
    return TwoLayers(first, second, functional.relu, 0.5)


def _gat(features: int, classes: int) -> nn.Module:
    """8 heads of 8 channels, then one head per class (Velickovic et al. 2018)."""
    return TwoLayers(GATConv(features, 8, heads=8), GATConv(64, classes), functional.elu, 0.6)


def _gin(features: int, classes: int) -> nn.Module:
    first, second = nn.Linear(features, 16), nn.Linear(16, classes)
    return TwoLayers(GINConv(first, train_eps=True), GINConv(second, train_eps=True), functional.relu, 0.5)


MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "GCN 128": lambda features, classes: _gcn(features, classes, 128),
    "GCN 16": lambda features, classes: _gcn(features, classes, 16),
    "GAT 8x8": _gat,
    "GIN 16": _gin,
}


def dropout(model: str) -> dict[str, float]:
    """Where training through the integers drops codes: where the float model drops, and as often."""
    return {"x": 0.6, "activation": 0.6} if model == "GAT 8x8" else {"x": 0.5, "conv1.propagate": 0.5}


def load(data_root: Path | None, name: str, model: str) -> Data:
    """One data set as a model reads it, rows of x normalized to sum 1; for a GCN, every node has two self-loops."""
    assert data_root is not None, "Study.scope refuses a missing folder"
    data = planetoid(data_root, name)
    if model.startswith("GCN"):
        nodes = torch.arange(data.num_nodes).repeat(2)
        data.edge_index = torch.cat([data.edge_index, torch.stack([nodes, nodes])], dim=1)
    return data


def float_model(name: str, data: Data, epochs: int, seed: int) -> Graph:
    """A trained model with the weights of the epoch of the lowest validation loss."""
    torch.manual_seed(seed)
    model = MODELS[name](data.x.shape[1], int(data.y.max()) + 1)
    train(model, [data], [data], epochs=epochs, seed=seed, lr=LR, weight_decay=WEIGHT_DECAY, criterion="loss")
    return lower(model, data, name=name.split()[0].lower())
