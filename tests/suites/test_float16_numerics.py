"""Files with weights in 16 bits compute in float32: numbers far beyond 65,504, the largest half, mean what they mean to PyG.

Weights are halves before, so that rounding moves nothing and every result is held to the bound of float32 files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.nn import GATConv, GCNConv, GINConv, SAGEConv

import runtimes
from tests import coreml_files
from tests.suites.test_robust_numerics import FEATURES, HUB, LinearLogSoftmax, as_data, options, random_x
from toolchain.compression import Float16, quantize
from toolchain.errors import ExportError
from toolchain.exporters import export
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph

FORMATS = ("onnx", "litert", "torchscript", "c", "executorch")
LARGEST_HALF = 65_504.0

LAYERS = {
    "gcn": lambda: GCNConv(FEATURES, 3),
    "sage_mean": lambda: SAGEConv(FEATURES, 3),
    "gin": lambda: GINConv(nn.Linear(FEATURES, 3)),
}


@torch.no_grad()
def with_halves(model: nn.Module) -> nn.Module:
    for parameter in model.parameters():
        parameter.copy_(parameter.half().float())
    return model.eval()


def halved(model: nn.Module, inputs: GraphInputs) -> Graph:
    graph = quantize(lower(model, as_data(inputs), name="half"), Float16(least=1))
    assert graph.has_halves
    return graph


def check(graph: Graph, inputs: GraphInputs, expected: np.ndarray, format: str, folder: Path, **how: Any) -> None:
    (found,) = runtimes.load(export(graph, format, folder, **how)).run(inputs)

    assert np.isfinite(found).all()
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("format", FORMATS)
def test_logits_beyond_the_largest_half_are_right_after_softmax(format: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = with_halves(LinearLogSoftmax())
    inputs = GraphInputs(1e6 * random_x(6), np.zeros((2, 0)))
    with torch.no_grad():
        expected = model(torch.from_numpy(inputs.x), None).numpy()
    assert np.abs(expected).max() > 10 * LARGEST_HALF

    check(halved(model, inputs), inputs, expected, format, tmp_path / "model", **options(format))


@pytest.mark.parametrize("format", FORMATS)
def test_attention_with_logits_beyond_the_largest_half_is_right(format: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = GATConv(FEATURES, 3, heads=2, add_self_loops=False)
    for vector in (layer.att_src, layer.att_dst):
        vector.data.mul_(1e3)
    layer = with_halves(layer)
    inputs = GraphInputs(1e3 * random_x(6), np.array([[0, 1, 2, 3, 0, 1], [1, 2, 3, 1, 2, 1]]))
    data = as_data(inputs)
    with torch.no_grad():
        expected = layer(data.x, data.edge_index).numpy()
        logits = (layer.lin(data.x).view(-1, 2, 3) * layer.att_src).sum(2)
    assert logits.abs().max() > 10 * LARGEST_HALF

    check(halved(layer, inputs), inputs, expected, format, tmp_path / "model", **options(format))


@pytest.mark.parametrize("format", ["onnx", "litert", "torchscript"])
@pytest.mark.parametrize("name", LAYERS)
def test_a_hub_whose_sum_no_half_holds_is_added_in_float32(name: str, format: str, tmp_path: Path) -> None:
    """65,534 neighbours around 10. In halves their sum would be infinite, and a mean by way of it too."""
    torch.manual_seed(0)
    layer = with_halves(LAYERS[name]())
    hub = GraphInputs(random_x(HUB + 1) + 10, np.stack([np.arange(1, HUB + 1), np.zeros(HUB, np.int64)]))
    assert hub.x.sum() > LARGEST_HALF
    small = GraphInputs(random_x(5), np.array([[0, 1], [1, 2]]))
    graph = halved(layer, small)
    with torch.no_grad():
        expected = layer.double()(torch.from_numpy(hub.x).double(), torch.from_numpy(hub.edge_index)).numpy()

    check(graph, hub, expected, format, tmp_path / "model")


def test_core_ml_in_float16_refuses_weights_that_would_be_infinite(tmp_path: Path) -> None:
    with coreml_files.coremltools():
        torch.manual_seed(0)
        layer = LAYERS["gcn"]().eval()
        layer.lin.weight.data[0, 0] = 1e5
        graph = lower(layer, as_data(GraphInputs(random_x(5), np.array([[0, 1], [1, 2]]))), name="large")

        with pytest.raises(
            ExportError, match=r"a stored number of 100000 is infinite in float16\. Use precision='float32'"
        ):
            export(graph, "coreml", tmp_path / "model", precision="float16")
