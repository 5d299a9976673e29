"""The sparse product as an operator of its own: models of the zoo in onnxruntime and ExecuTorch, and indices that lie."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import runtimes
from runtimes.operators import onnxruntime_operators
from tests import cases
from tests.every_op import every_op, gcn_gin, random_inputs
from tests.parity import assert_close
from tests.zoo_parity import check_file, lowered
from toolchain.compression.dynamic_int8 import DynamicInt8
from toolchain.compression.quantization import quantize
from toolchain.errors import ExportError, MissingDependency
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.exporters.lowerings import sums_neighbours
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, GraphBuilder, interpret, ops
from toolchain.ir.ops import Input, Reduce, Role
from toolchain.ir.types import node
from toolchain.topology import TopologySpec

BOUNDS = Bounds(nodes=96, edges=300, graphs=5, degree=24)
SHAPES = [(9, 24, 1), (1, 0, 1), (4, 0, 2), (60, 70, 2), (96, 200, 5)]  # nodes, edges, graphs
FAR = 10**12


@pytest.mark.parametrize("model", cases.MODELS)
def test_onnx_files_with_the_operator_equal_the_reference(model: str, tmp_path: Path) -> None:
    graph = lowered(model)
    if not sums_neighbours(graph):
        with pytest.raises(ExportError, match="lowering 'spmm' adds neighbours"):
            export(graph, "onnx", tmp_path / "model", lowering="spmm")
        return
    check_file(graph, "onnx", tmp_path / "model", 1e-5, lowering="spmm")


@pytest.mark.parametrize("graph", [gcn_gin(), every_op()], ids=["gcn_gin", "every_op"])
def test_executorch_files_with_the_operator_equal_the_reference(graph: Graph, tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="executorch is not installed")
    runtime = runtimes.load(export(graph, "executorch", tmp_path / "model", lowering="spmm", bounds=BOUNDS))
    has_edge_outputs = any(graph.values[o].type.domain.value == "edge" for o in graph.outputs)
    for nodes, edges, graphs in SHAPES:
        if edges or not has_edge_outputs:
            inputs = random_inputs(nodes, edges, graphs=graphs)
            assert_close(runtime.run(inputs), interpret(graph, inputs), 1e-5)


def test_a_quantized_model_keeps_the_operator(tmp_path: Path) -> None:
    graph, inputs = quantize(gcn_gin(), DynamicInt8()), random_inputs(40, 90, graphs=3)
    runtime = runtimes.load(export(graph, "onnx", tmp_path / "model", lowering="spmm"))
    assert_close(runtime.run(inputs), interpret(graph, inputs), 1e-3)


@pytest.mark.parametrize("channels", [1, 5, 16, 64, 67, 133])
def test_every_width_of_rows_is_added_whole(channels: int, tmp_path: Path) -> None:
    graph = sums(channels)
    x = np.random.default_rng(0).normal(size=(30, channels))
    inputs = GraphInputs(x, np.random.default_rng(1).integers(0, 30, (2, 100)))
    runtime = runtimes.load(export(graph, "onnx", tmp_path / "model", lowering="spmm"))
    assert_close(runtime.run(inputs), interpret(graph, inputs))


@pytest.mark.parametrize("format", ["onnx", "executorch"])
def test_indices_outside_of_their_arrays_are_an_error_and_no_crash(format: str, tmp_path: Path) -> None:
    if format == "executorch":
        pytest.importorskip("executorch", reason="executorch is not installed")
    graph, inputs = sums(4), random_inputs(40, 90)
    planned = {"bounds": BOUNDS} if format == "executorch" else {}
    runtime = runtimes.load(export(graph, format, tmp_path / "model", lowering="spmm", **planned))
    feeds = runtime.prepare(inputs)
    names = [name for name, array in feeds.items() if array.dtype == np.int64]
    assert len(names) == 2
    for name in names:
        for wrong in (-1, FAR, -FAR):
            hostile = {**feeds, name: feeds[name].copy()}
            hostile[name][3] = wrong
            with pytest.raises(Exception, match=r"source: not a row of x|row_pointer: decreases|execute\(\) failed"):
                runtime.run_feeds(hostile)
    assert_close(runtime.run(inputs), interpret(graph, inputs))


def test_a_format_without_the_operator_does_not_know_the_lowering(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"lowering 'spmm' is unknown\. Lowerings: 'dense', 'scatter', 'auto'"):
        export(sums(4), "litert", tmp_path / "model", lowering="spmm")


def test_without_a_compiler_the_way_out_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = export(sums(4), "onnx", tmp_path / "model", lowering="spmm")
    monkeypatch.setenv("CC", "no-such-compiler")
    onnxruntime_operators.cache_clear()
    with pytest.raises(MissingDependency, match=r"lowering='spmm' has to be compiled: CC is .* another lowering"):
        runtimes.load(artifact)


def sums(channels: int) -> Graph:
    """One sum over neighbours, nothing else."""
    builder = GraphBuilder((TopologySpec(),))
    x = builder.add(Input(Role.X, node(channels)))
    return builder.finish([builder.add(ops.Propagate(0, Reduce.SUM), x)])
