"""Models on a graph that never changes: traffic of the next hour (METR-LA) and gestures (NATOPS), in float."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import GraphConv, global_max_pool, global_mean_pool

from toolchain.models import train
from toolchain.temporal_datasets import HORIZONS, Windows

TRAFFIC_LR, GESTURE_LR = 5e-3, 5e-3
GESTURE_WEIGHT_DECAY = 1e-3


class TrafficGNN(nn.Module):
    """Two weighted graph convolutions on the last hour of every sensor, and a Linear on them and on that hour itself.

    The output [N, 3] is in miles per hour once `speak_miles_per_hour` was called, after training.
    """

    def __init__(self, steps: int, hidden: int = 64) -> None:
        super().__init__()
        self.conv1, self.conv2 = GraphConv(steps, hidden), GraphConv(hidden, hidden)
        self.head = nn.Linear(hidden + steps, len(HORIZONS))

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        h = self.conv1(x, edge_index, edge_weight).relu()
        h = self.conv2(h, edge_index, edge_weight).relu()
        return self.head(torch.cat([h, x], dim=1))

    @torch.no_grad()
    def speak_miles_per_hour(self, mean: float, deviation: float) -> None:
        """Make the last layer undo the normalization of the training targets."""
        self.head.weight.mul_(deviation)
        self.head.bias.mul_(deviation).add_(mean)


class GestureGNN(nn.Module):
    """Two graph convolutions on the whole course of every joint, mean and maximum over the joints, and a Linear."""

    def __init__(self, features: int, classes: int, hidden: int = 64) -> None:
        super().__init__()
        self.conv1, self.conv2 = GraphConv(features, hidden, aggr="mean"), GraphConv(hidden, hidden, aggr="mean")
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(2 * hidden, classes)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        h = self.conv1(x, edge_index).relu()
        h = self.dropout(self.conv2(self.dropout(h), edge_index).relu())
        return self.head(torch.cat([global_mean_pool(h, batch), global_max_pool(h, batch)], dim=1))


def masked_mae(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error over the targets that are there: 0 stands for no measurement."""
    known = target != 0
    return ((output - target).abs() * known).sum() / known.sum().clamp(min=1)


def horizon_errors(outputs: np.ndarray, graphs: Sequence[Data]) -> dict[str, float]:
    """Mean absolute and root mean square error of outputs [rows, 3] at every horizon, over the measurements that are there."""
    target = np.concatenate([data.y.numpy() for data in graphs])
    found = {}
    for column, minutes in enumerate(HORIZONS):
        known = target[:, column] != 0
        error = outputs[known, column].astype(np.float64) - target[known, column]
        found[f"mae{minutes}"] = float(np.abs(error).mean())
        found[f"rmse{minutes}"] = float(np.sqrt((error**2).mean()))
    return found


def traffic_model(data: Windows, epochs: int, seed: int) -> TrafficGNN:
    """A trained model with the weights of the best validation epoch."""
    torch.manual_seed(seed)
    model = TrafficGNN(data.parts.features)

    def loss(output: Tensor, target: Tensor) -> Tensor:
        return masked_mae(output * data.deviation + data.mean, target)

    parts = data.parts
    train(model, parts.train, parts.validation, epochs=epochs, seed=seed, lr=TRAFFIC_LR, loss=loss, criterion="loss")
    model.speak_miles_per_hour(data.mean, data.deviation)
    return model


def gesture_model(training: Sequence[Data], validation: Sequence[Data], epochs: int, seed: int) -> GestureGNN:
    """A trained model with the weights of the best validation epoch."""
    torch.manual_seed(seed)
    model = GestureGNN(int(training[0].x.shape[1]), 1 + max(int(data.y) for data in training))
    train(
        model, training, validation, epochs=epochs, seed=seed, lr=GESTURE_LR, weight_decay=GESTURE_WEIGHT_DECAY,
        batch_size=32, criterion="loss",
    )  # fmt: skip
    return model
