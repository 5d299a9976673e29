"""Models that people train, side by side in one file for each format: PyG's own, pools by attention, code around edges.

ExecuTorch gets a file for each: its compiler traces the program again for every pass, and once more within each part that it
delegates, so that all of them in one take minutes. The quick ones are always tested, the others with -m executorch_models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.utils import scatter, softmax

import runtimes
from device_benchmarks.layer_zoo import CASES, EDGE_FEATURES, FEATURES, HIDDEN, example, graphs
from toolchain.exporters import PLANS_MEMORY, export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower, run_model
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph

FORMATS = ("onnx", "litert", "torchscript", "c")
BOUNDS = Bounds(nodes=160, edges=800, graphs=3, degree=64)
TOLERANCE = 1e-4
LAYERS = (
    "PNAConv", "EdgeConv", "ResGatedGraphConv", "TransformerConv", "TAGConv", "SGConv", "APPNP", "ChebConv", "ARMAConv",
    "GatedGraphConv", "NNConv", "GENConv", "SuperGATConv",
)  # fmt: skip


class Layer(nn.Module):
    """A layer of the layer zoo, or a model of PyG, whose forward takes a part of what a graph has."""

    def __init__(self, inner: nn.Module, fields: tuple[str, ...]) -> None:
        super().__init__()
        self.inner, self.fields = inner, fields

    def forward(self, **given: Tensor) -> Tensor:
        return self.inner(given["x"], given["edge_index"], **{name: given[name] for name in self.fields})


class Pool(nn.Module):
    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, **given: Tensor) -> Tensor:
        return self.pool(given["x"], given["batch"])


class OwnCode(nn.Module):
    """index_select, an MLP on edges, softmax, scatter to both ends and to graphs, concatenation, a skip connection."""

    def __init__(self) -> None:
        super().__init__()
        self.edge, self.score = (
            nn.Sequential(nn.Linear(2 * FEATURES + EDGE_FEATURES, HIDDEN), nn.ReLU()),
            nn.Linear(HIDDEN, 1),
        )
        self.out = nn.Linear(2 * HIDDEN + FEATURES, 3)

    def forward(self, **given: Tensor) -> Tensor:
        x, (row, col) = given["x"], given["edge_index"]
        ends = [x.index_select(0, row), x[col], given["edge_attr"]]
        message = self.edge(torch.cat(ends, dim=-1))
        weight = softmax(self.score(message), col, num_nodes=x.size(0))
        inward = scatter(weight * message, col, dim=0, dim_size=x.size(0), reduce="sum")
        outward = scatter(message, row, dim=0, dim_size=x.size(0), reduce="mean")
        h = self.out(torch.cat([inward, outward, x], dim=-1))
        return h + scatter(h, given["batch"], dim=0, reduce="max")[given["batch"]]


def _deep_gcn() -> nn.Module:
    layers: list[Any] = [(nn.Linear(FEATURES, HIDDEN), "x -> x")]
    for _ in range(2):
        layer = pyg.DeepGCNLayer(pyg.GENConv(HIDDEN, HIDDEN), nn.LayerNorm(HIDDEN), nn.ReLU(), dropout=0.1)
        layers.append((layer, "x, edge_index -> x"))
    return pyg.Sequential("x, edge_index", layers)


F, H = FEATURES, HIDDEN
QUICK = ("GIN", "attention pool", "code of one's own")  # in ExecuTorch
MODELS: dict[str, Callable[[], nn.Module]] = {
    "GCN": lambda: Layer(pyg.GCN(F, H, 2, 4, norm="batch", jk="cat"), ("edge_weight",)),
    "GraphSAGE": lambda: Layer(pyg.GraphSAGE(F, H, 2, 4, aggr="max"), ()),
    "GIN": lambda: Layer(pyg.GIN(F, H, 2, 4), ()),
    "GAT": lambda: Layer(pyg.GAT(F, H, 2, 4, heads=2, v2=True, edge_dim=EDGE_FEATURES), ("edge_attr",)),
    "PNA": lambda: Layer(
        pyg.PNA(F, H, 2, 4, aggregators=["mean", "std", "max"], scalers=["identity", "linear"], deg=torch.ones(5)), ()
    ),
    "EdgeCNN": lambda: Layer(pyg.EdgeCNN(F, H, 2, 4), ()),
    "DeeperGCN": lambda: Layer(_deep_gcn(), ()),
    "DynamicEdgeConv on a given graph": lambda: Layer(pyg.EdgeConv(nn.Linear(2 * F, H), aggr="mean"), ()),
    "attention pool": lambda: Pool(pyg.aggr.AttentionalAggregation(nn.Linear(F, 1), nn.Linear(F, 5))),
    "Set2Set": lambda: Pool(pyg.aggr.Set2Set(F, processing_steps=2)),
    "code of one's own": OwnCode,
}  # fmt: skip
NAMES = (*LAYERS, *MODELS)


def made(name: str) -> nn.Module:
    if name in MODELS:
        return MODELS[name]()
    case = next(case for case in CASES if case.name == name)
    return Layer(case.model(), case.fields)


class SideBySide(nn.Module):
    """Some of them on one graph, each an output."""

    def __init__(self, names: Sequence[str] = NAMES) -> None:
        super().__init__()
        self.models = nn.ModuleList(made(name) for name in names)

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor, edge_attr: Tensor, batch: Tensor
    ) -> tuple[Tensor, ...]:
        given = {"x": x, "edge_index": edge_index, "edge_weight": edge_weight, "edge_attr": edge_attr, "batch": batch}
        return tuple(model(**given) for model in self.models)


def batched(data: Data, graphs: int) -> Data:
    """The nodes of a graph told to belong to several."""
    return Data(**data.to_dict(), batch=torch.arange(data.num_nodes) * graphs // data.num_nodes)


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(7)
    return SideBySide().eval()


@pytest.fixture(scope="module")
def lowered(model: nn.Module) -> Graph:
    return lower(model, batched(example(), 2), name="side_by_side")


@pytest.mark.parametrize("format", FORMATS)
def test_every_named_model_equals_pyg(format: str, model: nn.Module, lowered: Graph, tmp_path: Path) -> None:
    options: dict[str, Any] = {"bounds": BOUNDS} if format in PLANS_MEMORY else {}
    found = errors(runtimes.load(export(lowered, format, tmp_path / format, **options)), model, NAMES)
    assert {name: error for name, error in found.items() if not error <= TOLERANCE} == {}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.executorch_models) for name in NAMES]
)
def test_a_named_model_equals_pyg_in_executorch(name: str, tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="executorch is not installed")
    assert executorch_error(name, tmp_path) <= TOLERANCE


def executorch_error(name: str, folder: Path) -> float:
    """The largest error of one of them, in a file of its own."""
    torch.manual_seed(7)
    model = SideBySide((name,)).eval()
    lowered = lower(model, batched(example(), 2), name="named")
    return errors(runtimes.load(export(lowered, "executorch", folder / "model", bounds=BOUNDS)), model, (name,))[name]


def errors(runtime: Any, model: nn.Module, names: Sequence[str]) -> dict[str, float]:
    """The largest error of each output on all graphs, relative to the largest output or 1; nan where one is."""
    worst = dict.fromkeys(names, 0.0)
    for data in graphs().values():
        data = batched(data, min(3, data.num_nodes))
        found, expected = runtime.run(GraphInputs.from_pyg(data)), run_model(model, data)
        for name, ours, theirs in zip(names, found, expected, strict=True):
            error = np.abs(ours - theirs.reshape(ours.shape)).max() / max(1, np.abs(theirs).max())
            worst[name] = float(np.maximum(worst[name], error))
    return worst
