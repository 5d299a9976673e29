"""PROTEINS in ten folds and the float models of its studies."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn
from torch_geometric.data import Data

from toolchain.datasets import Split, tu
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.models import GCN, GIN, train

MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "GCN 3x64 mean": lambda features, classes: GCN(features, classes, hidden=64, layers=3, pool="mean"),
    "GIN 5x64 mean": lambda features, classes: GIN(features, classes, hidden=64, layers=5, pool="mean"),
    "GIN 5x64 sum": lambda features, classes: GIN(features, classes, hidden=64, layers=5, pool="sum"),
}
DEFAULT_MODELS = ("GCN 3x64 mean", "GIN 5x64 mean")


def proteins(data_root: Path | None) -> list[Data]:
    """All graphs."""
    assert data_root is not None, "Study.scope refuses a missing folder"
    return tu(data_root, "PROTEINS")


def dense(name: str, parts: Split, epochs: int, seed: int) -> Graph:
    """A trained model; the weights of the best validation epoch are kept."""
    torch.manual_seed(seed)
    model = MODELS[name](parts.features, parts.classes)
    train(model, parts.train, parts.validation, epochs=epochs, seed=seed, lr=0.005)
    return lower(model, parts.train[0], name=name.split()[0].lower())
