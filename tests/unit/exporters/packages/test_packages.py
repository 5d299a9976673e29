"""Projects around a C artifact: what is in them, what is refused, and the command that writes them."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import toolchain
from tests.cases import MODELS, example
from tests.package_builds import beside_tiny
from tests.small_model import last_error
from tests.tiny_c_model import tiny_graph
from toolchain.artifact import Artifact
from toolchain.cli import main
from toolchain.errors import ArtifactError, ExportError
from toolchain.exporters.packages import PACKAGES, Sample, synthetic_graph, write_package

# --- every kind ---


@pytest.mark.parametrize("kind", sorted(PACKAGES))
def test_the_artifacts_files_are_packed_unchanged(
    kind: str, artifact: Artifact, sample: Sample, tmp_path: Path
) -> None:
    folder = write_package(artifact, kind, tmp_path / "project", sample)

    sources = PACKAGES[kind].sources.format(library="gnn_tiny", module="GnnTiny")
    packed = {path.name: path.read_bytes() for path in (folder / sources / "gnn_tiny").iterdir()}
    assert packed == {name: (artifact.path / name).read_bytes() for name in artifact.files}


@pytest.mark.parametrize("kind", sorted(PACKAGES))
def test_the_same_artifact_and_run_give_the_same_bytes(
    kind: str, artifact: Artifact, sample: Sample, tmp_path: Path
) -> None:
    first, second = (write_package(artifact, kind, tmp_path / name, sample) for name in ("a", "b"))

    contents = [
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        for folder in (first, second)
    ]
    assert contents[0] == contents[1]
    assert str(tmp_path).encode() not in b"".join(contents[0].values())


@pytest.mark.parametrize("kind", sorted(PACKAGES))
def test_the_readme_says_what_was_not_checked(kind: str, artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    text = (write_package(artifact, kind, tmp_path / "project", sample) / "README.md").read_text()

    assert re.search(r"was not tried|Not checked", text)


def test_a_folder_that_exists_is_left_alone(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()

    with pytest.raises(ArtifactError, match="already exists"):
        write_package(artifact, "cmake", tmp_path / "mine", sample)
    assert list((tmp_path / "mine").iterdir()) == []


def test_nothing_is_left_where_writing_fails(
    artifact: Artifact, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with pytest.raises(OSError, match="No space"):
        write_package(artifact, "cmake", tmp_path / "project", sample)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_kind_names_the_known_ones(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="android, arduino, cmake, ios, zephyr"):
        write_package(artifact, "bazel", tmp_path / "project", sample)


def test_a_run_of_another_model_is_refused(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="Record it again"):
        write_package(artifact, "cmake", tmp_path / "project", replace(sample, outputs=sample.outputs[:2]))


def test_an_artifact_of_another_format_is_refused(sample: Sample, tmp_path: Path) -> None:
    graph = toolchain.lower(MODELS["gcn_graph"](), example("gcn_graph"))
    other = toolchain.export(graph, "torchscript", tmp_path / "other")

    with pytest.raises(ArtifactError, match="--to c"):
        write_package(other, "cmake", tmp_path / "project", sample)


# --- the graph of a self-test without data ---


@pytest.mark.parametrize("degree", [1, 2, 3, 64])
@pytest.mark.parametrize(("nodes", "edges"), [(1, 1), (1, 4), (3, 3), (8, 24), (100, 110), (5, 0)])
def test_a_synthetic_graph_lies_in_any_contract(nodes: int, edges: int, degree: int, artifact: Artifact) -> None:
    contract = replace(artifact.contract, max_nodes=nodes, max_edges=edges, max_degree=degree, max_graphs=1)
    graph = synthetic_graph(replace(artifact, contract=contract))

    contract.check(graph)
    assert graph.num_edges == 0 or graph.num_edges + graph.num_nodes <= edges  # with a self-loop each
    for ends in graph.edge_index:
        assert np.bincount(ends, minlength=1).max() <= max(degree - 1, 0)


# --- the command ---


@pytest.mark.parametrize("kind", sorted(PACKAGES))
def test_package_writes_a_project(
    kind: str, artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "project"

    assert main(["package", str(artifact.path), "--for", kind, "--to", str(target), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["package"]["path"] == str(target)
    assert (target / "README.md").is_file()


def test_package_refuses_what_exists_before_it_compiles(
    artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["package", str(artifact.path), "--for", "cmake", "--to", str(tmp_path)]) == 1
    assert "already exists" in last_error(capsys.readouterr())


def test_package_refuses_another_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = toolchain.lower(MODELS["gcn_graph"](), example("gcn_graph"))
    other = toolchain.export(graph, "torchscript", tmp_path / "other")

    assert main(["package", str(other.path), "--for", "cmake", "--to", str(tmp_path / "project")]) == 1
    assert "expected 'c'" in last_error(capsys.readouterr())


def test_package_carries_a_file_of_another_format_with_what_it_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = toolchain.lower(MODELS["gcn_graph"](), example("gcn_graph"))
    native, onnx = (toolchain.export(graph, format_, tmp_path / format_) for format_ in ("c", "onnx"))
    target = tmp_path / "project"

    assert main(["package", str(native.path), "--for", "android", "--with", str(onnx.path), "--to", str(target)]) == 0
    assets = target / "onnx" / "src" / "main" / "assets"
    assert [path.read_bytes() for path in assets.rglob("*.onnx")] == [onnx.model_path.read_bytes()]
    recorded = target / "recorded" / "src" / "main" / "resources"
    outputs = [np.fromfile(path, "<f4") for path in sorted(recorded.rglob("output_0.f32"))]
    assert len(outputs) == 2
    np.testing.assert_allclose(outputs[0], outputs[1], rtol=0, atol=1e-5 * np.abs(outputs[0]).max())


def test_package_refuses_a_format_that_the_kind_cannot_carry_before_it_compiles(
    artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (other,) = beside_tiny(tmp_path, Sample(tiny_graph(), ()), ["torchscript"])
    command = ["package", str(artifact.path), "--for", "android", "--with", str(other.artifact.path)]

    assert main([*command, "--to", str(tmp_path / "project")]) == 1
    assert "It can carry: onnx, executorch, litert" in last_error(capsys.readouterr())
