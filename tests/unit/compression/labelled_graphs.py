"""Labelled random graphs, and a plain MLP as a Graph."""

from __future__ import annotations

import torch
from torch_geometric.data import Data

from tests.unit.compression.hand_built import Layers, many_inputs
from toolchain.ir import Graph


def labelled(count: int, seed: int = 0) -> list[Data]:
    """Graphs whose class, 0 or 1, is the sign of their mean first feature."""
    return [
        Data(
            x=torch.from_numpy(g.x),
            edge_index=torch.from_numpy(g.edge_index),
            y=torch.tensor([int(g.x[:, 0].mean() > 0)]),
        )
        for g in many_inputs(count, seed=seed)
    ]


def mlp_graph(widths: tuple[int, ...] = (7, 12, 10, 2), seed: int = 0) -> Graph:
    """Linear and ReLU per layer on every node, the last Linear the head; no edge is read."""
    layers = Layers("mlp", seed)
    x = layers.input(widths[0])
    for number, width in enumerate(widths[1:-1]):
        x = layers.relu(layers.linear(x, width, f"lins.{number}"))
    return layers.finish(layers.linear(x, widths[-1], "head"))


def points(count: int, seed: int = 0) -> list[Data]:
    """Single nodes whose class, 0 or 1, is the sign of their first feature."""
    x = torch.randn(count, 7, generator=torch.Generator().manual_seed(seed))
    no_edges = torch.zeros(2, 0, dtype=torch.long)
    return [Data(x=row[None], edge_index=no_edges, y=(row[:1] > 0).long()) for row in x]
