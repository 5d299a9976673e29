"""A model file for pocketgnn: get_model() gives the torch module, get_graphs() the labelled graphs.

pocketgnn inspect examples/digits_gin.py
pocketgnn run examples/digits_recipe.yaml --output out/digits
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_geometric.nn import GINConv, global_mean_pool

from toolchain.datasets import Split, digits, split
from toolchain.models import train

WEIGHTS = Path("out/digits_gin.pt")


class DigitsGIN(nn.Module):
    """Three GIN layers that tell handwritten digits apart by the graph of their ink pixels."""

    def __init__(self, hidden: int = 32) -> None:
        super().__init__()
        widths = [3, hidden, hidden, hidden]
        self.convs = nn.ModuleList(
            GINConv(nn.Sequential(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU(), nn.Linear(b, b)), train_eps=True)
            for a, b in pairwise(widths)
        )
        self.head = nn.Linear(hidden, 10)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).relu()
        return self.head(global_mean_pool(x, batch))


def get_graphs() -> Split:
    """Training, validation and test graphs."""
    return split(digits(), seed=0)


def get_model() -> nn.Module:
    """The trained model. The first call trains it for a few seconds and keeps its weights in out/digits_gin.pt."""
    torch.manual_seed(0)
    model, parts = DigitsGIN(), get_graphs()
    if not WEIGHTS.is_file():
        train(model, parts.train, parts.validation, epochs=8, seed=0)
        WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
        torch.save(model.state_dict(), WEIGHTS)
    model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return model
