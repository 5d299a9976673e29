"""The models that are fed with hostile graphs: small, with small bounds, so that limits are met often."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data

from tests.cases import FEATURES, example
from tests.graph_zoo import make_graph, random_edges
from tests.model_zoo import MODELS, randomize
from toolchain.compression import A2Q, QAT, Learned, StaticInt8, quantize
from toolchain.compression.a2q import Choice
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.passes import deployable

BOUNDS = Bounds(nodes=12, edges=40, graphs=3, degree=8)
BINARY_FEATURES = 24


class BinaryGcn(nn.Module):
    """Two GCN layers on wide binary features: the shape of the Cora model, whose first layer transforms first."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = pyg.GCNConv(BINARY_FEATURES, 6)
        self.conv2 = pyg.GCNConv(6, 3)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.conv2(self.conv1(x, edge_index).relu(), edge_index)


def _zoo(model: str) -> Graph:
    return lower(MODELS[model](), example(model), name=model)


def _calibration(features: int) -> list[GraphInputs]:
    graphs = [make_graph(8 + i % 5, random_edges(8 + i % 5, 20, i), features, i) for i in range(30)]
    for graph in graphs:
        graph.batch = torch.zeros(graph.num_nodes, dtype=torch.long)
    return [GraphInputs.from_pyg(graph) for graph in graphs]


def _int8(model: str) -> Graph:
    return quantize(_zoo(model), StaticInt8(_calibration(FEATURES), min_agreement=0, calibration="minmax"))


def _row_scales(model: str, choice: Choice) -> Graph:
    """Steps for three groups of nodes in every value that can have them, as calibration gives them."""
    static = StaticInt8(_calibration(FEATURES), mode="int8", min_agreement=0, calibration="minmax")
    scales = A2Q(3, choice, groups=3, others=Learned(8))
    return quantize(_zoo(model), QAT([], 0, static, quantizers={"*": scales}))


def _binary() -> Graph:
    torch.manual_seed(0)
    model = BinaryGcn().eval()
    randomize(model)
    rng = np.random.default_rng(0)
    graphs = []
    for graph in _calibration(BINARY_FEATURES):
        x = (rng.random(graph.x.shape) < 0.3).astype(np.float32)
        graphs.append(GraphInputs(x, graph.edge_index))
    data = Data(x=torch.from_numpy(graphs[0].x), edge_index=torch.from_numpy(graphs[0].edge_index))
    return quantize(lower(model, data, name="binary"), StaticInt8(graphs, min_agreement=0, calibration="minmax"))


# name → (Graph, exported with sparse features)
_GRAPHS: dict[str, tuple[Callable[[], Graph], bool]] = {
    "weighted": (lambda: _zoo("gcn_weighted"), False),  # float; edge weights and a normalization that can fail
    "attributed": (
        lambda: _zoo("gat_mean_edge"),
        False,
    ),  # float; edge attributes, self-loops that replace others, softmax
    "relations": (lambda: _zoo("relations"), False),  # float; a topology for each relation, edges of others left out
    "integer": (lambda: _int8("gin_graph"), False),
    "sparse": (_binary, True),  # integer; positions of ones instead of rows
    "degree_groups": (
        lambda: _row_scales("gcn_graph", "degree"),
        False,
    ),  # integer; a factor for each group, beside the degree's
    "peak_groups": (lambda: _row_scales("gin_graph", "nearest"), False),
}
NAMES = tuple(_GRAPHS)


@functools.cache
def fuzzed_graph(name: str) -> tuple[Graph, bool]:
    """The deployable Graph of a model, and whether it takes sparse features."""
    make, sparse = _GRAPHS[name]
    return deployable(make()), sparse
