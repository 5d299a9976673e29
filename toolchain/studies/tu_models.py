"""The GIN of graph classification studies, and its training in float."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GINConv, global_mean_pool

from toolchain.datasets import Split, tu_benchmark
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.models import train

DATA_SETS = ("REDDIT-BINARY", "IMDB-BINARY", "PROTEINS", "DD")
NormPlace = Literal["after", "before"]
LARGE = ("REDDIT-BINARY", "DD")  # hundreds of nodes a graph


class GraphGIN(nn.Module):
    """GINConv with trained eps and an MLP of two Linears with ReLU, mean pool, Linear-ReLU-Dropout-Linear.

    "after": BatchNorm follows the last ReLU of the MLP, the model of Degree-Quant (Tailor et al. 2021). No Linear can take it in:
    it stays five float ops. "before": BatchNorms ahead of the MLP and of its last ReLU, which the Linears take in: everything
    runs on integers.
    """

    def __init__(
        self, features: int, classes: int, hidden: int = 64, layers: int = 5, norm: NormPlace = "before"
    ) -> None:
        super().__init__()
        widths = [features] + [hidden] * layers
        mlp = _mlp_before if norm == "before" else _mlp_after
        self.convs = nn.ModuleList(GINConv(mlp(a, b), train_eps=True) for a, b in itertools.pairwise(widths))
        self.head = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.5), nn.Linear(hidden, classes))

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index)
        return self.head(global_mean_pool(x, batch))  # [G, classes]


def _mlp_after(inputs: int, outputs: int) -> nn.Sequential:
    first, second = nn.Linear(inputs, outputs), nn.Linear(outputs, outputs)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.BatchNorm1d(outputs))


def _mlp_before(inputs: int, outputs: int) -> nn.Sequential:
    first, second = nn.Linear(inputs, outputs), nn.Linear(outputs, outputs)
    # A channel that no node activates has no variance. Folded with torch's eps of 1e-5, its weights would be hundreds of times
    # as large as all others, and take the range of every row's codes.
    before = nn.BatchNorm1d(inputs, eps=0.1)
    return nn.Sequential(before, first, nn.ReLU(), second, nn.BatchNorm1d(outputs), nn.ReLU())


def first_weight(norm: NormPlace) -> str:
    """The constant of the weights that read the features."""
    return "convs.0.nn.1.weight" if norm == "before" else "convs.0.nn.0.weight"


def read_by_norms(norm: NormPlace) -> tuple[str, ...]:
    """Patterns of the values that BatchNorms read which stay float."""
    return () if norm == "before" else ("convs.*.nn.2.linear",)


def norm_place(name: str) -> NormPlace:
    """Of a data set's model: as published where its figures are those to reach, else where all runs on integers."""
    return "after" if name == "REDDIT-BINARY" else "before"


def load(data_root: Path | None, name: str) -> list[Data]:
    """All graphs of a set."""
    assert data_root is not None, "Study.scope refuses a missing folder"
    return tu_benchmark(data_root, name)


def batch_size(name: str) -> int:
    """Graphs per step."""
    return 32 if name in LARGE else 64


@dataclass(frozen=True, slots=True, eq=False)
class FloatModel:
    """A trained model, the epoch that its weights are of, and its accuracy on the validation graphs."""

    graph: Graph
    epoch: int
    validation: float


def float_model(
    parts: Split, epochs: int, seed: int, batch: int, *, layers: int = 5, norm: NormPlace = "before"
) -> FloatModel:
    """Trained by Adam; the weights of the epoch with the lowest validation loss are kept."""
    torch.manual_seed(seed)
    model = GraphGIN(parts.features, parts.classes, layers=layers, norm=norm)
    result = train(
        model, parts.train, parts.validation, epochs=epochs, seed=seed, lr=0.01, batch_size=batch, criterion="loss"
    )
    return FloatModel(lower(model, parts.train[0], name="gin"), result.epoch, result.validation_accuracy)
