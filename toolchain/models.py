"""Reference models in plain PyG, and the loop that trains them: what the demo, the studies and the tests start from."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader
from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv, global_add_pool, global_max_pool, global_mean_pool

from toolchain.datasets import loader
from toolchain.frontend.arguments import call_arguments

POOLS: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {
    "mean": global_mean_pool, "sum": global_add_pool, "max": global_max_pool,
}  # fmt: skip


class GCN(nn.Module):
    """Graph classifier: GCNConv and ReLU per layer, a pool, a Linear head (Kipf & Welling 2017)."""

    def __init__(self, features: int, classes: int, hidden: int = 64, layers: int = 3, pool: str = "mean") -> None:
        super().__init__()
        widths = [features] + [hidden] * layers
        self.convs = nn.ModuleList(GCNConv(a, b) for a, b in itertools.pairwise(widths))
        self.pool = POOLS[pool]
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).relu()
        return self.head(self.pool(x, batch))  # [G, classes]


class GIN(nn.Module):
    """Graph classifier: GINConv with MLP Linear-BatchNorm-ReLU-Linear(-ReLU) and trained eps, a pool, a Linear head.

    Source: Xu et al. 2019 (arXiv:1810.00826).
    """

    def __init__(
        self, features: int, classes: int, hidden: int = 64, layers: int = 5, pool: str = "sum", final_relu: bool = True
    ) -> None:
        super().__init__()
        widths = [features] + [hidden] * layers
        self.convs = nn.ModuleList(
            GINConv(self._mlp(a, b, final_relu), train_eps=True) for a, b in itertools.pairwise(widths)
        )
        self.pool = POOLS[pool]
        self.head = nn.Linear(hidden, classes)

    @staticmethod
    def _mlp(inputs: int, outputs: int, final_relu: bool) -> nn.Sequential:
        layers = [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU(), nn.Linear(outputs, outputs)]
        return nn.Sequential(*layers, nn.ReLU()) if final_relu else nn.Sequential(*layers)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index)
        return self.head(self.pool(x, batch))  # [G, classes]


class SAGE(nn.Module):
    """Graph classifier of SAGEConv layers (Hamilton et al. 2017, arXiv:1706.02216)."""

    def __init__(
        self,
        features: int,
        classes: int,
        hidden: int = 64,
        layers: int = 3,
        pool: str = "mean",
        aggregation: str = "mean",
    ) -> None:
        super().__init__()
        widths = [features] + [hidden] * layers
        self.convs = nn.ModuleList(SAGEConv(a, b, aggr=aggregation) for a, b in itertools.pairwise(widths))
        self.pool = POOLS[pool]
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        for conv in self.convs:
            x = conv(x, edge_index).relu()
        return self.head(self.pool(x, batch))  # [G, classes]


class GAT(nn.Module):
    """Graph classifier of GATConv layers with concatenated heads and ELU (Velickovic et al. 2018, arXiv:1710.10903)."""

    def __init__(
        self, features: int, classes: int, hidden: int = 64, layers: int = 2, heads: int = 4, pool: str = "mean"
    ) -> None:
        super().__init__()
        if hidden % heads:
            raise ValueError(f"hidden: {hidden} is not a multiple of {heads} heads")
        widths = [features] + [hidden] * layers
        self.convs = nn.ModuleList(GATConv(a, b // heads, heads=heads) for a, b in itertools.pairwise(widths))
        self.activation = nn.ELU()
        self.pool = POOLS[pool]
        self.head = nn.Linear(hidden, classes)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        for conv in self.convs:
            x = self.activation(conv(x, edge_index))
        return self.head(self.pool(x, batch))  # [G, classes]


class NodeGCN(nn.Module):
    """Node classifier GCN-16: two GCNConv with dropout and log_softmax, as in Kipf & Welling's Cora experiment."""

    def __init__(self, features: int, classes: int, hidden: int = 16, dropout: float = 0.5) -> None:
        super().__init__()
        self.conv1 = GCNConv(features, hidden)
        self.conv2 = GCNConv(hidden, classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.conv1(self.dropout(x), edge_index).relu()
        return functional.log_softmax(self.conv2(self.dropout(h), edge_index), dim=1)  # [N, classes]


MODELS: dict[str, type[nn.Module]] = {"gcn": GCN, "gin": GIN, "sage": SAGE, "gat": GAT, "node-gcn": NodeGCN}


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """Accuracy of the kept weights on the validation part, the epoch they come from, and the loss after each epoch."""

    validation_accuracy: float
    epoch: int
    losses: tuple[float, ...]


def train(
    model: nn.Module,
    training: Sequence[Data],
    validation: Sequence[Data],
    *,
    epochs: int,
    seed: int = 0,
    lr: float = 0.01,
    weight_decay: float = 0.0,
    batch_size: int = 64,
    criterion: Literal["accuracy", "loss"] = "accuracy",
    loss: Callable[[Tensor, Tensor], Tensor] = functional.cross_entropy,
    progress: Callable[[int, float, float], None] | None = None,
) -> TrainingResult:
    """Train in place with Adam and keep the weights of the best validation epoch, the last of equals.

    A node classifier gets one graph as both parts; its train_mask and val_mask say which nodes count.

    Args:
        criterion: of the best epoch: the highest "accuracy", or the lowest "loss".
        loss: of (output, y); anything but cross entropy needs the criterion "loss", and has no accuracy: 0.
        progress: called after every epoch with the epoch, the mean loss and the validation accuracy.
    """
    torch.manual_seed(seed)
    batches = loader(training, batch_size, seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=epochs, eta_min=lr / 20)
    best, best_accuracy, best_epoch, kept, losses = -math.inf, 0.0, 0, copy.deepcopy(model.state_dict()), []
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for batch in batches:
            optimizer.zero_grad()
            output, target = _masked(model(**call_arguments(model, batch)), batch, "train_mask")
            value = loss(output, target)
            value.backward()
            optimizer.step()
            total += float(value.detach())
        schedule.step()
        losses.append(total / len(batches))
        output, target = _predicted(model, validation, "val_mask", 256)
        correct = 0.0 if target.is_floating_point() else _share_correct(output, target)
        score = correct if criterion == "accuracy" else -float(loss(output, target))
        if score >= best:
            best, best_accuracy, best_epoch, kept = score, correct, epoch, copy.deepcopy(model.state_dict())
        if progress is not None:
            progress(epoch, losses[-1], correct)
    model.load_state_dict(kept)
    model.eval()
    return TrainingResult(best_accuracy, best_epoch, tuple(losses))


def accuracy(model: nn.Module, graphs: Sequence[Data], *, mask: str = "test_mask", batch_size: int = 256) -> float:
    """Share of graphs, or of the nodes that `mask` selects, whose class is predicted. Leaves the model in eval mode."""
    return _share_correct(*_predicted(model, graphs, mask, batch_size))


def _predicted(model: nn.Module, graphs: Sequence[Data], mask: str, batch_size: int) -> tuple[Tensor, Tensor]:
    """Outputs and labels of the rows that count. Leaves the model in eval mode."""
    model.eval()
    with torch.no_grad():
        parts = [
            _masked(model(**call_arguments(model, batch)), batch, mask)
            for batch in DataLoader(list(graphs), batch_size=batch_size)
        ]
    return torch.cat([output for output, _ in parts]), torch.cat([target for _, target in parts])


def _share_correct(output: Tensor, target: Tensor) -> float:
    return int((output.argmax(dim=1) == target).sum()) / max(target.shape[0], 1)


def _masked(output: Tensor, data: Data, mask: str) -> tuple[Tensor, Tensor]:
    chosen = getattr(data, mask, None)
    return (output, data.y) if chosen is None else (output[chosen], data.y[chosen])
