"""A user's model file, small enough to lower, train and export in a moment; used by the tests of everything around a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

MODEL_FILE = """
import torch
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv, global_mean_pool


class SmallGCN(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = GCNConv(5, 8), GCNConv(8, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x, edge_index, batch=None):
        x = self.conv1(x, edge_index).relu()
        return self.head(global_mean_pool(self.conv2(x, edge_index).relu(), batch))


def get_model():
    torch.manual_seed(0)
    return SmallGCN()


def get_graphs():
    random = torch.Generator().manual_seed(0)
    graphs = []
    for i in range(40):
        nodes, edges = 4 + i % 9, 6 + i % 14
        graphs.append(Data(
            x=torch.randn(nodes, 5, generator=random),
            edge_index=torch.randint(0, nodes, (2, edges), generator=random),
            y=torch.tensor([i % 3]),
        ))
    return graphs
"""


def write_model_file(folder: Path, text: str = MODEL_FILE, name: str = "small_model.py") -> Path:
    """Write the file and return its path."""
    path = folder / name
    path.write_text(text)
    return path


def last_error(captured: Any) -> str:
    """The last line on stderr; the tests below need it to be the one line that says what went wrong."""
    lines = captured.err.strip().splitlines()
    assert "Traceback" not in captured.err
    return lines[-1]
