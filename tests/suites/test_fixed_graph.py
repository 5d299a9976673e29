"""A file that holds its graph takes features alone, and gives what the Graph gives on that graph, in every format."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtimes
from tests import cases, coreml_files, zoo_parity
from tests.parity import assert_close
from toolchain.compression.quantization import quantize
from toolchain.compression.static_int8 import StaticInt8
from toolchain.errors import ExportError, OutsideContract
from toolchain.exporters import export
from toolchain.feeds import FeedKind
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.passes import deployable

SEVERAL = (
    "gcn_weighted",
    "gat_mean_edge",
    "sage_max",
    "gine_edge_attr",
)  # weights, attention, maxima and edge features


def fixed(model: str, graph: str) -> GraphInputs:
    return GraphInputs.from_pyg(cases.case_inputs(model, graph))


def lowered(model: str) -> Graph:
    return deployable(zoo_parity.lowered(model))


def check(
    graph: Graph, inputs: GraphInputs, format: str, folder: Path, tolerance: float = 1e-5, **options: Any
) -> None:
    """Export with the graph inside, and run it on other features than those of the export."""
    artifact = export(graph, format, folder, fixed_graph=inputs, **options)
    assert [(feed.kind, feed.dims) for feed in artifact.signature.inputs] == [(FeedKind.X, inputs.x.shape)]
    x = np.random.default_rng(5).normal(size=inputs.x.shape).astype(np.float32)
    assert_close(runtimes.load(artifact).run(x), interpret(graph, replace(inputs, x=x)), tolerance)


@pytest.mark.parametrize("format", ["onnx", "litert", "torchscript"])
@pytest.mark.parametrize("model", cases.MODELS)
def test_files_without_a_largest_size_equal_the_reference(model: str, format: str, tmp_path: Path) -> None:
    check(lowered(model), fixed(model, "random_60"), format, tmp_path / "model")


@pytest.mark.parametrize("model", SEVERAL)
def test_executorch_files_equal_the_reference(model: str, tmp_path: Path) -> None:
    check(lowered(model), fixed(model, "random_60"), "executorch", tmp_path / "model")


@pytest.mark.parametrize("model", SEVERAL)
def test_core_ml_packages_equal_the_reference(model: str, tmp_path: Path) -> None:
    with coreml_files.coremltools():
        inputs, graph = fixed(model, "random_60"), lowered(model)
        artifact = export(graph, "coreml", tmp_path / "model", fixed_graph=inputs)
        assert [feed.dims for feed in artifact.signature.inputs] == [inputs.x.shape]
        found = coreml_files.run(coreml_files.mil_model(artifact), artifact, inputs)
        assert_close(found, interpret(graph, inputs))


@pytest.mark.parametrize("format", ["onnx", "litert", "torchscript", "executorch"])
def test_static_int8_files_are_close_to_the_reference(format: str, tmp_path: Path) -> None:
    inputs = fixed("gcn_weighted", "random_60")
    method = StaticInt8([inputs], mode="sums-int16", min_agreement=0.01)
    check(quantize(lowered("gcn_weighted"), method), inputs, format, tmp_path / "model", 3e-2)


@pytest.mark.parametrize("graph", ["no_edges", "single_node", "batch_of_three"])
@pytest.mark.parametrize("format", ["onnx", "litert", "torchscript", "executorch"])
def test_batches_and_graphs_without_edges_are_stored_or_refused(format: str, graph: str, tmp_path: Path) -> None:
    model, inputs = lowered("gin_graph"), fixed("gin_graph", graph)
    if format == "litert" and not inputs.num_edges:
        with pytest.raises(ExportError, match="the fixed graph has no edges, and LiteRT stores no empty array"):
            export(model, format, tmp_path / "model", fixed_graph=inputs)
    else:
        check(model, inputs, format, tmp_path / "model")


@pytest.mark.parametrize("format", ["onnx", "litert", "torchscript"])
@pytest.mark.parametrize("lowering", ["small", "large"])
def test_sums_over_few_nodes_are_products_and_over_many_go_along_the_edges(
    lowering: str, format: str, tmp_path: Path
) -> None:
    """A ring of 6 nodes as a matrix; 200 nodes with 400 edges would take 40,000 places for it."""
    nodes = 6 if lowering == "small" else 200
    ring = np.stack([np.arange(nodes), (np.arange(nodes) + 1) % nodes])
    x = np.random.default_rng(0).normal(size=(nodes, cases.FEATURES))
    inputs = GraphInputs(x, np.concatenate([ring, ring[::-1]], axis=1))
    check(lowered("gcn_graph"), inputs, format, tmp_path / "model")
    if lowering == "large":
        largest = sum(file.stat().st_size for file in (tmp_path / "model").iterdir())
        assert largest < 4 * nodes * nodes


@pytest.mark.parametrize("field", ["edge_index", "edge_weight", "batch"])
def test_another_graph_than_the_stored_one_is_refused(field: str, tmp_path: Path) -> None:
    """Its weights would be ignored without a word."""
    inputs = fixed("gcn_weighted", "ring")
    runtime = runtimes.load(export(lowered("gcn_weighted"), "onnx", tmp_path / "model", fixed_graph=inputs))
    others = {
        "edge_index": inputs.edge_index[::-1], "edge_weight": 2 * inputs.edge_weight,
        "batch": np.minimum(np.arange(inputs.num_nodes), 1),
    }  # fmt: skip

    with pytest.raises(OutsideContract, match=f"{field}: differs from the fixed graph"):
        runtime.run(replace(inputs, **{field: others[field]}, num_graphs=2 if field == "batch" else 1))
    runtime.run(replace(inputs, edge_weight=None))
