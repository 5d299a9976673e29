"""The ONNX exporter and its runtime on float graphs: values, lowerings, bytes, and what they refuse."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import runtimes
from runtimes.onnxruntime import OnnxRuntime, open_session
from tests.every_op import TOPOLOGIES, every_op, random_inputs, sums
from tests.parity import assert_close
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError, ExportError
from toolchain.exporters import export
from toolchain.exporters.emission import Emission
from toolchain.exporters.onnx import emit
from toolchain.exporters.onnx_segments import MAX_ELEMENTS
from toolchain.feeds import build_feeds
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, GraphBuilder, interpret, ops
from toolchain.ir.ops import Input, Reduce, Role
from toolchain.ir.types import node
from toolchain.topology import Normalization, SelfLoops, TopologySpec

SIZES = ((1, 0, 1), (7, 0, 1), (5, 30, 1), (40, 90, 3))  # nodes, edges, graphs


def run(emission: Emission, graph: Graph, inputs: GraphInputs, threads: int = 1) -> tuple[np.ndarray, ...]:
    feeds = build_feeds(emission.inputs, inputs.prepare(graph.topologies))
    return tuple(open_session(emission.model, threads).run(None, feeds))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_op_means_what_the_reference_says(size: tuple[int, int, int]) -> None:
    graph, inputs = every_op(), random_inputs(size[0], size[1], graphs=size[2])
    assert_close(run(emit(graph), graph, inputs), interpret(graph, inputs))


@pytest.mark.parametrize("lowering", ["auto", "dense", "scatter"])
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=str)
@pytest.mark.parametrize("reduce", [Reduce.SUM, Reduce.MEAN])
@pytest.mark.parametrize("source_scaled", [False, True])
def test_lowerings_agree_on_every_topology(
    topology: TopologySpec, reduce: Reduce, lowering: str, source_scaled: bool
) -> None:
    graph, inputs = sums(topology, reduce=reduce, source_scaled=source_scaled), random_inputs(30, 100)
    emission = emit(graph, lowering=lowering, dense_up_to_nodes=10)
    assert_close(run(emission, graph, inputs), interpret(graph, inputs))


def test_one_file_takes_small_graphs_dense_and_large_graphs_by_their_edges() -> None:
    graph = sums(TopologySpec())
    emission = emit(graph, dense_up_to_nodes=10)
    small, large = (build_feeds(emission.inputs, random_inputs(n, 20).prepare(graph.topologies)) for n in (10, 11))
    assert (set(small), set(large)) == ({"x", "adjacency"}, {"x", "source", "target"})


def test_large_sums_are_exact_on_several_threads() -> None:
    nodes, channels = 3, 64
    edges = 3 * MAX_ELEMENTS // channels
    graph = sums(TopologySpec(), channels)
    inputs = GraphInputs(np.ones((nodes, channels)), np.stack([np.arange(edges) % nodes, np.zeros(edges, np.int64)]))
    emission = emit(graph, lowering="scatter")
    session = open_session(emission.model, 4)
    feeds = build_feeds(emission.inputs, inputs.prepare(graph.topologies))
    results = {float(total) for _ in range(20) for total in session.run(None, feeds)[0][0]}
    assert results == {float(edges)}


@pytest.mark.parametrize("lowering", ["auto", "dense", "scatter"])
def test_the_file_satisfies_the_onnx_checker(lowering: str) -> None:
    graph = sums(TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC))
    onnx.checker.check_model(onnx.load_from_string(emit(graph, lowering=lowering).model), full_check=True)


def test_the_file_of_every_op_satisfies_the_onnx_checker() -> None:
    onnx.checker.check_model(onnx.load_from_string(emit(every_op()).model), full_check=True)


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert emit(every_op()).model == emit(every_op()).model


def test_equal_constants_are_stored_once() -> None:
    builder = GraphBuilder()
    x = builder.add(Input(Role.X, node(4)))
    for name in ("first", "second"):
        x = builder.add(ops.Linear(), x, builder.const(name, np.eye(4)))
    assert len(onnx.load_from_string(emit(builder.finish([x])).model).graph.initializer) == 1


def test_two_outputs_may_be_one_value() -> None:
    builder = GraphBuilder()
    x = builder.add(Input(Role.X, node(4)))
    graph = builder.finish([x, x])
    inputs = random_inputs(3, 0)
    assert_close(run(emit(graph), graph, inputs), (inputs.x, inputs.x))


def test_an_unknown_lowering_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ExportError, match=r"lowering 'csr' is unknown\. Lowerings: 'dense', 'scatter', 'spmm', 'auto'"):
        emit(sums(TopologySpec()), lowering="csr")


def test_the_dense_lowering_refuses_maxima() -> None:
    with pytest.raises(ExportError, match="'dense' cannot express"):
        emit(sums(TopologySpec(), reduce=Reduce.MAX), lowering="dense")


# --- the runtime ------------------------------------------------------------------------------------------------------


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return export(sums(TopologySpec()), "onnx", tmp_path / "model")


def test_a_loaded_artifact_runs_graphs_of_any_size(artifact: Artifact) -> None:
    runtime = runtimes.load(artifact.path, threads=2)
    graph = sums(TopologySpec())
    for nodes, edges, _ in SIZES:
        inputs = random_inputs(nodes, edges)
        assert_close(runtime.run(inputs), interpret(graph, inputs))


def test_telemetry_is_off() -> None:
    open_session(emit(sums(TopologySpec())).model, 1)
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


def test_a_file_that_is_no_onnx_model_is_refused(artifact: Artifact) -> None:
    artifact.model_path.write_bytes(artifact.model_path.read_bytes()[:100])
    with pytest.raises(ArtifactError, match=r"model\.onnx: onnxruntime cannot load it"):
        OnnxRuntime(artifact)


def test_a_manifest_that_names_other_inputs_is_refused(artifact: Artifact) -> None:
    feeds = artifact.signature.inputs
    renamed = replace(artifact.signature, inputs=(replace(feeds[0], name="features"), *feeds[1:]))
    with pytest.raises(ArtifactError, match=r"its inputs differ from the manifest's at \('features'"):
        OnnxRuntime(replace(artifact, signature=renamed))


def test_a_manifest_that_names_other_outputs_is_refused(artifact: Artifact) -> None:
    outputs = artifact.signature.outputs
    renamed = replace(artifact.signature, outputs=(replace(outputs[0], name="logits"),))
    with pytest.raises(ArtifactError, match=r"its outputs differ from the manifest's at \('logits'"):
        OnnxRuntime(replace(artifact, signature=renamed))


def test_weights_outside_the_file_are_refused(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = numpy_helper.from_array(np.ones((4, 4), np.float32), "weights")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="weights.bin")
    value = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 4])
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [None, 4])
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "weights"], ["output"])], "g", [value], [output], [weights]
    )
    artifact.model_path.write_bytes(helper.make_model(graph, ir_version=9).SerializeToString())
    (artifact.path / "weights.bin").write_bytes(np.ones((4, 4), np.float32).tobytes())
    monkeypatch.chdir(artifact.path)
    with pytest.raises(ArtifactError, match="onnxruntime cannot load it"):
        OnnxRuntime(artifact)
