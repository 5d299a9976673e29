"""scikit-learn's digits for the pruning studies: as 64 pixels for an MLP, and as graphs of ink pixels for a GIN."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from toolchain.compression import fine_tune
from toolchain.datasets import Split, digits, split
from toolchain.errors import require
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.models import GIN

MODELS = ("mlp", "gin")


class PixelMLP(nn.Module):
    """64-128-64-10 with ReLU, on every node; no edge is read."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)
        )  # fmt: skip

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.layers(x)  # [N, 10]


@dataclass(frozen=True, slots=True)
class Subject:
    """A model of the studies, before any training.

    Attributes:
        graph: with newly drawn weights.
        parts: 70 / 15 / 15 % of the digits.
    """

    graph: Graph
    parts: Split


def subject(name: str, seed: int, limit: int | None = None) -> Subject:
    """Model and data by name; the seed draws the split and the weights.

    Args:
        limit: only the first so many images.
    """
    parts = split(pixels(limit) if name == "mlp" else digits(limit), seed=seed, validation=0.15, test=0.15)
    torch.manual_seed(seed)
    model = PixelMLP() if name == "mlp" else GIN(3, 10, hidden=32, layers=3, pool="mean")
    return Subject(lower(model.eval(), parts.train[0], name=name), parts)


def pixels(limit: int | None = None) -> list[Data]:
    """Every digit as one node with its 64 intensities in [0, 1], and no edge."""
    load_digits = require("sklearn.datasets", "demo").load_digits
    images, labels = load_digits().data[:limit], load_digits().target[:limit]
    no_edges = torch.zeros(2, 0, dtype=torch.long)
    return [
        Data(x=torch.tensor(image[None] / 16, dtype=torch.float32), edge_index=no_edges, y=torch.tensor([int(label)]))
        for image, label in zip(images, labels, strict=True)
    ]


def trained(graph: Graph, parts: Split, epochs: int, seed: int, lr: float = 3e-3) -> Graph:
    """Adam with a cosine schedule on the training part; the last weights are kept."""
    return fine_tune(graph, list(parts.train), epochs=epochs, lr=lr, seed=seed)
