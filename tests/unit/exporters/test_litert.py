"""The LiteRT exporter and its runtime on float graphs: values, lowerings, bytes, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

import runtimes
from runtimes.litert import LiteRtRuntime
from tests.every_op import TOPOLOGIES, every_op, random_inputs, sums
from tests.parity import assert_close
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError, ExportError, MissingDependency
from toolchain.exporters import export
from toolchain.exporters.litert import emit
from toolchain.ir import Graph, GraphBuilder, interpret, ops
from toolchain.ir.ops import End, Function, Input, Reduce, Role
from toolchain.ir.types import node
from toolchain.topology import Normalization, SelfLoops, TopologySpec

SIZES = ((1, 0, 1), (7, 0, 1), (5, 30, 1), (40, 90, 3))  # nodes, edges, graphs


def model_of(graph: Graph, **options: str) -> schema.ModelT:
    """The file, read back."""
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(emit(graph, **options).model))


def test_every_op_means_what_the_reference_says_on_graphs_of_all_sizes(tmp_path: Path) -> None:
    graph = every_op()
    runtime = runtimes.load(export(graph, "litert", tmp_path / "model"), threads=2)
    for nodes, edges, graphs in (*SIZES, *SIZES[::-1]):
        inputs = random_inputs(nodes, edges, graphs=graphs)
        assert_close(runtime.run(inputs), interpret(graph, inputs))


@pytest.mark.parametrize("lowering", ["auto", "dense"])
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=str)
@pytest.mark.parametrize("reduce", [Reduce.SUM, Reduce.MEAN])
@pytest.mark.parametrize("source_scaled", [False, True])
def test_lowerings_agree_on_every_topology(
    topology: TopologySpec, reduce: Reduce, lowering: str, source_scaled: bool, tmp_path: Path
) -> None:
    graph, inputs = sums(topology, reduce=reduce, source_scaled=source_scaled), random_inputs(30, 100)
    runtime = runtimes.load(export(graph, "litert", tmp_path / "model", lowering=lowering))
    assert_close(runtime.run(inputs), interpret(graph, inputs))


@pytest.mark.parametrize("reduce", [Reduce.MAX, Reduce.MIN])
def test_extremes_over_added_self_loops_see_every_node(reduce: Reduce, tmp_path: Path) -> None:
    graph, inputs = sums(TopologySpec(SelfLoops.REMAINING), reduce=reduce), random_inputs(9, 12)
    runtime = runtimes.load(export(graph, "litert", tmp_path / "model"))
    assert_close(runtime.run(inputs), interpret(graph, inputs))


def test_an_elu_of_any_alpha_is_the_references(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.add(Input(Role.X, node(4)))
    graph = builder.finish([builder.add(ops.Activation(Function.ELU, alpha=a), x) for a in (1.0, 0.3)])
    inputs = random_inputs(9, 0)
    assert_close(runtimes.load(export(graph, "litert", tmp_path / "model")).run(inputs), interpret(graph, inputs))


def test_the_same_graph_gives_the_same_bytes() -> None:
    assert emit(every_op()).model == emit(every_op()).model


def test_constants_are_aligned_as_kernels_read_them() -> None:
    data = emit(every_op()).model
    model = schema.Model.GetRootAs(data)
    start = np.frombuffer(data, np.uint8).ctypes.data
    places = [model.Buffers(i).DataAsNumpy() for i in range(1, model.BuffersLength())]
    assert {(place.ctypes.data - start) % 16 for place in places} == {0}


def test_equal_constants_are_stored_once() -> None:
    builder = GraphBuilder()
    x = builder.add(Input(Role.X, node(4)))
    for name in ("first", "second"):
        x = builder.add(ops.Linear(), x, builder.const(name, np.eye(4)))
    stored = [b for b in model_of(builder.finish([x])).buffers if b.data is not None and len(b.data) == 64]
    assert len(stored) == 1


def test_two_outputs_may_be_one_value(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.add(Input(Role.X, node(4)))
    graph, inputs = builder.finish([x, x]), random_inputs(3, 0)
    assert_close(runtimes.load(export(graph, "litert", tmp_path / "model")).run(inputs), (inputs.x, inputs.x))


def test_the_file_has_a_signature_with_the_manifests_names(tmp_path: Path) -> None:
    from ai_edge_litert.interpreter import Interpreter

    graph, inputs = sums(TopologySpec()), random_inputs(5, 8)
    artifact = export(graph, "litert", tmp_path / "model")
    feeds = runtimes.load(artifact).prepare(inputs)
    runner = Interpreter(model_path=str(artifact.model_path)).get_signature_runner("serving_default")
    assert_close((runner(**feeds)["output"],), interpret(graph, inputs))


def test_axes_of_rows_are_free() -> None:
    tensors = model_of(sums(TopologySpec())).subgraphs[0].tensors
    free = {t.name.decode(): list(t.shapeSignature) for t in tensors if t.name}
    assert free == {"x": [-1, 4], "source": [-1], "target": [-1], "output": [-1, 4]}


def test_operators_whose_attributes_are_all_0_have_no_table_of_them() -> None:
    operators = model_of(sums(TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC))).subgraphs[0].operators
    assert [type(o.builtinOptions).__name__ for o in operators if o.builtinOptions is not None] == ["ShapeOptionsT"]


def test_a_symmetric_normalization_is_one_input() -> None:
    names = [feed.name for feed in emit(sums(TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC))).inputs]
    assert names == ["x", "target_scale", "source_without_loops", "target_without_loops"]


def test_an_unknown_lowering_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ExportError, match=r"lowering 'csr' is unknown\. Lowerings: 'dense', 'scatter', 'auto'"):
        emit(sums(TopologySpec()), lowering="csr")


def test_an_unknown_runtime_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ExportError, match=r"compat 'tflm' is unknown\. Runtimes: 'litert', 'tflite-runtime'"):
        emit(sums(TopologySpec()), compat="tflm")


# --- the runtime ------------------------------------------------------------------------------------------------------


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return export(sums(TopologySpec()), "litert", tmp_path / "model")


def test_results_stay_when_the_next_graph_runs(artifact: Artifact) -> None:
    runtime = runtimes.load(artifact.path)
    first = runtime.run(random_inputs(5, 8, seed=1))[0]
    kept = first.copy()
    runtime.run(random_inputs(5, 8, seed=2))
    np.testing.assert_array_equal(first, kept)


def test_a_file_that_is_no_tflite_model_is_refused(artifact: Artifact) -> None:
    artifact.model_path.write_bytes(b"not a model" * 40)
    with pytest.raises(ArtifactError, match=r"model\.tflite: ai_edge_litert cannot load it"):
        LiteRtRuntime(artifact)


def test_a_file_with_operators_of_a_newer_runtime_is_refused_by_their_name(artifact: Artifact) -> None:
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(artifact.model_path.read_bytes()))
    gather = next(c for c in model.operatorCodes if c.builtinCode == schema.BuiltinOperator.GATHER)
    gather.version = 99
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    artifact.model_path.write_bytes(builder.Output())
    with pytest.raises(ArtifactError, match=r"needs GATHER of version 99, which this ai_edge_litert is too old for"):
        LiteRtRuntime(artifact)


def test_a_library_that_is_not_installed_is_named(artifact: Artifact) -> None:
    with pytest.raises(MissingDependency, match="tflite_runtime is not installed"):
        LiteRtRuntime(artifact, library="tflite_runtime")


def test_graphs_of_growing_and_shrinking_sizes_get_the_answers_of_a_fresh_interpreter(tmp_path: Path) -> None:
    """Softmax over edges: its maxima have a size that LiteRT only knows when it runs."""
    builder = GraphBuilder((TopologySpec(SelfLoops.REPLACE),))
    x = builder.add(Input(Role.X, node(4)))
    scores = builder.add(ops.Linear(), x, builder.const("w", np.eye(2, 4)))
    alpha = builder.add(ops.EdgeSoftmax(), builder.add(ops.Gather(0, End.SOURCE), scores))
    graph = builder.finish([builder.add(ops.Propagate(0, operands=("weight",)), x, alpha)])
    runtime = runtimes.load(export(graph, "litert", tmp_path / "model"))
    for nodes in (5, 1, 60, 7, 300, 7):
        inputs = random_inputs(nodes, 4 * nodes)
        assert_close(runtime.run(inputs), interpret(graph, inputs))


def test_a_manifest_that_names_other_inputs_is_refused(artifact: Artifact) -> None:
    feeds = artifact.signature.inputs
    renamed = replace(artifact.signature, inputs=(replace(feeds[0], name="features"), *feeds[1:]))
    with pytest.raises(ArtifactError, match=r"its inputs differ from the manifest's at \('features'"):
        LiteRtRuntime(replace(artifact, signature=renamed))


def test_a_manifest_that_names_other_outputs_is_refused(artifact: Artifact) -> None:
    outputs = artifact.signature.outputs
    renamed = replace(artifact.signature, outputs=(replace(outputs[0], name="logits"),))
    with pytest.raises(ArtifactError, match=r"its outputs differ from the manifest's at \('logits'"):
        LiteRtRuntime(replace(artifact, signature=renamed))
