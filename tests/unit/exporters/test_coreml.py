"""The Core ML exporter: values, lowerings, the package's files and ranges, and what it refuses."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
import pytest

import runtimes
from tests.coreml_files import coremltools, mil_model, run
from tests.every_op import TOPOLOGIES, every_op, gcn_gin, random_inputs, sums
from tests.parity import assert_close
from toolchain.artifact import Artifact
from toolchain.compression.dynamic_int8 import DynamicInt8
from toolchain.compression.quantization import quantize
from toolchain.errors import ArtifactError, ExportError, MissingDependency
from toolchain.exporters import export
from toolchain.exporters.coreml import emit
from toolchain.exporters.emission import Bounds
from toolchain.inputs import GraphInputs
from toolchain.ir import GraphBuilder, interpret, ops
from toolchain.ir.ops import Input, Reduce, Role
from toolchain.ir.types import node
from toolchain.topology import TopologySpec

SIZES = ((1, 0, 1), (7, 0, 1), (5, 30, 1), (40, 90, 3))  # nodes, edges, graphs


@pytest.fixture(scope="module", autouse=True)
def library() -> Iterator[None]:
    with coremltools():
        yield


def test_every_op_means_what_the_reference_says_on_graphs_of_all_sizes(tmp_path: Path) -> None:
    graph = every_op()
    artifact = export(graph, "coreml", tmp_path / "model")
    model = mil_model(artifact)
    for nodes, edges, graphs in SIZES:
        inputs = random_inputs(nodes, edges, graphs=graphs)
        expected = interpret(graph, inputs)
        outputs = run(model, artifact, inputs)
        # an array of edges has at least one row
        assert [len(o) for o in outputs] == [max(len(e), 1) for e in expected]
        assert_close(tuple(o[: len(e)] for o, e in zip(outputs, expected, strict=True)), expected)


@pytest.mark.parametrize("lowering", ["auto", "dense"])
@pytest.mark.parametrize("reduce", [Reduce.SUM, Reduce.MEAN])
@pytest.mark.parametrize("topology", TOPOLOGIES, ids=str)
@pytest.mark.parametrize("source_scaled", [False, True])
def test_lowerings_agree_on_every_topology(
    topology: TopologySpec, reduce: Reduce, lowering: str, source_scaled: bool, tmp_path: Path
) -> None:
    graph = sums(topology, reduce=reduce, source_scaled=source_scaled)
    artifact = export(graph, "coreml", tmp_path / "model", lowering=lowering)
    model = mil_model(artifact)
    assert ("matmul" in model.kinds, "scatter" in model.kinds) == (lowering == "dense", lowering == "auto")
    for inputs in (random_inputs(30, 100), random_inputs(3, 0)):
        assert_close(run(model, artifact, inputs), interpret(graph, inputs))


def test_what_a_graph_without_edges_is_padded_with_does_not_reach_the_sums(tmp_path: Path) -> None:
    artifact = export(sums(TopologySpec()), "coreml", tmp_path / "model")
    inputs = GraphInputs(np.ones((3, 4)), np.zeros((2, 0), int))

    assert [f.min_rows for f in artifact.signature.inputs if f.dims == ("E",)] == [1, 1]
    assert (run(mil_model(artifact), artifact, inputs)[0] == 0).all()


def test_the_same_graph_gives_the_same_bytes() -> None:
    first, second = emit(gcn_gin()), emit(gcn_gin())
    assert (first.model, first.extra_files) == (second.model, second.extra_files)


def test_the_package_lists_its_specification_and_weights(tmp_path: Path) -> None:
    artifact = export(gcn_gin(), "coreml", tmp_path / "model")
    package = tmp_path / "model" / "model.mlpackage"
    listed = json.loads((package / "Manifest.json").read_text())
    items = {entry["path"]: name for name, entry in listed["itemInfoEntries"].items()}

    assert items.keys() == {"com.apple.CoreML/model.mlmodel", "com.apple.CoreML/weights"}
    assert items["com.apple.CoreML/model.mlmodel"] == listed["rootModelIdentifier"]
    assert all((package / "Data" / path).exists() for path in items)
    assert {PurePosixPath(name).parts[0] for name in artifact.files} == {"model.mlpackage"}
    assert artifact.model_bytes == sum(path.stat().st_size for path in package.rglob("*") if path.is_file())


def test_coremltools_opens_the_package_and_finds_the_same_specification(tmp_path: Path) -> None:
    import coremltools

    artifact = export(gcn_gin(), "coreml", tmp_path / "model")
    opened = coremltools.models.MLModel(str(tmp_path / "model" / "model.mlpackage"), skip_model_load=True)

    assert opened.get_spec() == mil_model(artifact).specification
    assert opened.get_spec().specificationVersion == coremltools._SPECIFICATION_VERSION_IOS_17
    assert Artifact.load(artifact.path) == artifact  # opening a package writes its manifest again


def test_inputs_range_up_to_the_bounds(tmp_path: Path) -> None:
    artifact = export(gcn_gin(), "coreml", tmp_path / "model", bounds=Bounds(50, 400, 2, degree=9))
    ranges = {
        name: [(r.lowerBound, r.upperBound) for r in type.shapeRange.sizeRanges]
        for name, type in mil_model(artifact).inputs.items()
    }

    assert ranges == {
        "x": [(1, 50), (4, 4)],
        "source_0": [(1, 400)],
        "target_0": [(1, 400)],
        "source_1": [(1, 400)],
        "target_1": [(1, 400)],
        "target_scale_0": [(1, 50), (1, 1)],
        "row_pointer_1": [(2, 51)],
        "pool_matrix_mean": [(1, 2), (1, 50)],
    }
    contract = artifact.contract
    assert (contract.max_nodes, contract.max_edges, contract.max_graphs, contract.max_degree) == (50, 400, 2, None)


def test_weights_are_stored_once_and_half_as_large_in_half_precision(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.add(Input(Role.X, node(32)))
    for name in ("first", "second"):
        x = builder.add(ops.Linear(), x, builder.const(name, np.eye(32)))
    graph = builder.finish([x])
    sizes = {
        precision: len(emit(graph, precision=precision).extra_files[WEIGHTS]) for precision in ("float32", "float16")
    }

    assert 4096 < sizes["float32"] < 2 * 4096
    assert 2048 < sizes["float16"] < 2 * 2048


WEIGHTS = "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin"


@pytest.mark.parametrize(
    ("reduce", "precision", "warned"),
    [(Reduce.SUM, "float16", True), (Reduce.MEAN, "float16", True), (Reduce.MAX, "float16", False), (Reduce.SUM, "float32", False)],
)  # fmt: skip
def test_sums_in_half_precision_are_warned_of_with_the_mean_that_overflows(
    reduce: Reduce, precision: str, warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("WARNING", logger="pocketgnn"):
        emit(sums(TopologySpec(), reduce=reduce), bounds=Bounds(50, 400, 1, 64), precision=precision)
    words = [
        message for message in caplog.messages if "over 64 in-edges is one where their mean is above 1024" in message
    ]
    assert (len(words), len(caplog.messages)) == (int(warned), int(warned))


def test_two_outputs_may_be_one_value(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.add(Input(Role.X, node(4)))
    artifact, inputs = export(builder.finish([x, x]), "coreml", tmp_path / "model"), random_inputs(3, 0)

    assert_close(run(mil_model(artifact), artifact, inputs), (inputs.x, inputs.x))


def test_a_quantized_graph_is_refused_with_the_way_out() -> None:
    with pytest.raises(
        ExportError, match=r"is quantized \(%\d+ is const.*i8.*Export the float graph, with precision='float16'"
    ):
        emit(quantize(gcn_gin(), DynamicInt8()))


def test_unknown_options_are_refused_with_the_known_ones() -> None:
    with pytest.raises(ExportError, match=r"precision 'int8' is unknown to coreml\. Precisions: float32, float16"):
        emit(gcn_gin(), precision="int8")
    with pytest.raises(ExportError, match=r"lowering 'csr' is unknown"):
        emit(gcn_gin(), lowering="csr")


def test_sizes_without_a_bound_are_refused() -> None:
    with pytest.raises(ExportError, match=r"x: Core ML needs a largest size of every input"):
        emit(gcn_gin(), bounds=replace(Bounds(), nodes=None))


def test_loading_one_here_says_where_it_runs(tmp_path: Path) -> None:
    artifact: Artifact = export(gcn_gin(), "coreml", tmp_path / "model")
    with pytest.raises(ArtifactError, match=r"Core ML runs on Apple's systems only: .*--for ios --with"):
        runtimes.load(artifact)


def test_a_missing_coremltools_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "coremltools", None)
    with pytest.raises(MissingDependency, match=r"pip install 'pocketgnn\[coreml\]'"):
        emit(gcn_gin())
