"""Every model of the zoo with weights in 16 bits: the files mean what the rounded Graph means, which is near PyG.

A file is within 1e-5 of the rounded Graph, as any float file; the rounding of the weights, 2^-11 of each, moves no output of the
zoo by more than 4e-3 of the largest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import runtimes
from tests import cases
from tests.parity import assert_close
from tests.zoo_parity import lowered
from toolchain.compression import Float16, quantize
from toolchain.errors import ExportError
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret

ROUNDING = 4e-3
BOUNDS = Bounds(64, 512, 4, 64)
SEVERAL = ("gcn_graph", "gat_mean_edge", "gine_edge_attr", "multi_output")


def halved(model: str) -> Graph:
    """With the small weights of the zoo among the halves."""
    return quantize(lowered(model), Float16(least=1))


@pytest.mark.parametrize("model", cases.MODELS)
def test_rounded_graphs_are_near_pyg(model: str) -> None:
    graph, original = halved(model), cases.MODELS[model]()
    assert graph.has_halves
    for name in cases.GRAPHS:
        data = cases.case_inputs(model, name)
        assert_close(interpret(graph, GraphInputs.from_pyg(data)), cases.expected_outputs(original, data), ROUNDING)


@pytest.mark.parametrize("format", ["onnx", "litert", "torchscript"])
@pytest.mark.parametrize("model", cases.MODELS)
def test_files_equal_the_rounded_graph(model: str, format: str, tmp_path: Path) -> None:
    check(halved(model), format, tmp_path / "model")


@pytest.mark.parametrize(
    ("model", "format"), [*((model, "c") for model in SEVERAL), *((model, "executorch") for model in SEVERAL[:2])]
)
def test_files_with_bounds_equal_the_rounded_graph(model: str, format: str, tmp_path: Path) -> None:
    check(halved(model), format, tmp_path / "model", bounds=BOUNDS)


def test_files_for_the_old_runtime_and_lite_ones_are_written_too(tmp_path: Path) -> None:
    check(halved("gcn_graph"), "litert", tmp_path / "old", compat="tflite-runtime")
    check(halved("gcn_graph"), "torchscript", tmp_path / "lite", lite=True)


def check(graph: Graph, format: str, folder: Path, **options: Any) -> None:
    artifact = export(graph, format, folder, **options)
    assert artifact.precision == "float16"
    runtime = runtimes.load(artifact)
    for name in ("random_60", "batch_of_three", "hub", "no_edges"):
        if (graph.name, name) in cases.CASES:
            inputs = GraphInputs.from_pyg(cases.case_inputs(graph.name, name))
            assert_close(runtime.run(inputs), interpret(graph, inputs))


@pytest.mark.parametrize("format", ["onnx", "litert", "torchscript", "c"])
def test_a_file_of_a_wide_model_is_little_more_than_half_of_that_in_float32(format: str, tmp_path: Path) -> None:
    import torch

    from toolchain.models import GCN

    torch.manual_seed(0)
    graph = lower(GCN(4, 2, hidden=128, layers=3).eval(), cases.example("gcn_graph", width=4), name="wide")
    options: dict[str, Any] = {"bounds": BOUNDS} if format == "c" else {}
    full = export(graph, format, tmp_path / "full", **options)
    half = export(quantize(graph, Float16()), format, tmp_path / "half", **options)

    saved = 2 * (2 * 128 * 128 + 4 * 128 + 2 * 128)  # of the weights of four Linears
    if format != "c":  # numbers are text there
        assert saved - 1500 < full.model_bytes - half.model_bytes <= saved
    text = (tmp_path / "half" / "model.c").read_text() if format == "c" else ""
    assert format != "c" or text.count("gnn_linear_half_f32(") == 4


def test_sparse_features_refuse_halves_with_the_cause(tmp_path: Path) -> None:
    graph = halved("gcn_graph")

    with pytest.raises(ExportError, match=r"a Linear on sparse features adds rows of float32 ones\. Leave"):
        export(graph, "onnx", tmp_path / "model", sparse_features=True)
