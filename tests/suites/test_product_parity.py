"""Products over neighbours and over graphs, in every format: zeros, signs, repeated edges, and 1 where there is nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import MulAggregation, SimpleConv

import runtimes
from tests.parity import assert_close
from toolchain.compression import StaticInt8, quantize
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower, run_model
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.ir.ops import Aggregate, Pool, Reduce

FEATURES = 5
FORMATS = ("onnx", "litert", "torchscript", "c", "executorch")


class Products(nn.Module):
    """Of neighbours, of edge attributes at both ends, and of the nodes of each graph; then a Linear."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = SimpleConv("mul"), MulAggregation()
        self.linear = nn.Linear(FEATURES, 4)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x, edge_index)
        return y, self.pool(self.linear(y).tanh(), batch)


def data(nodes: int, edges: int, graphs: int, seed: int) -> Data:
    """The last node has no edges; an edge comes twice; some features are 0."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(nodes, FEATURES, generator=generator)
    x[x.abs() < 0.1] = 0.0
    ends = torch.randint(0, max(nodes - 1, 1), (2, edges), generator=generator)
    ends[:, :2] = ends[:, :1]
    return Data(x=x, edge_index=ends, batch=torch.arange(nodes) * graphs // nodes)


GRAPHS = (data(1, 0, 1, 0), data(7, 0, 2, 1), data(9, 20, 1, 2), data(60, 150, 3, 3))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return Products().eval()


@pytest.fixture(scope="module")
def lowered(model: nn.Module) -> Graph:
    return lower(model, data(11, 30, 2, 4), name="products")


def options(format: str) -> dict[str, Any]:
    return {"bounds": Bounds(64, 160, 3, 16)} if format in ("c", "executorch") else {}


@pytest.mark.parametrize("format", FORMATS)
def test_products_equal_pyg(format: str, model: nn.Module, lowered: Graph, tmp_path: Path) -> None:
    runtime = runtimes.load(export(lowered, format, tmp_path / format, **options(format)))
    for graph in GRAPHS:
        assert_close(runtime.run(GraphInputs.from_pyg(graph)), run_model(model, graph))


def test_a_node_without_neighbours_has_the_product_one(lowered: Graph) -> None:
    of_neighbours, _ = interpret(lowered, GraphInputs.from_pyg(GRAPHS[1]))
    assert (of_neighbours == np.ones((7, FEATURES), np.float32)).all()


def test_products_stay_float_between_integer_layers(lowered: Graph, tmp_path: Path) -> None:
    calibration = [GraphInputs.from_pyg(graph) for graph in GRAPHS[2:]]
    quantized = quantize(lowered, StaticInt8(calibration, min_agreement=0.01))
    products = [v for v in quantized.values if isinstance(v.op, Aggregate | Pool)]

    assert [v.op.reduce for v in products] == [Reduce.PRODUCT, Reduce.PRODUCT]
    assert not [v for v in products if v.type.dtype.is_integer]
    runtime = runtimes.load(export(quantized, "onnx", tmp_path / "onnx"))
    assert_close(runtime.run(calibration[0]), interpret(quantized, calibration[0]), 3e-2)
