"""Android projects of several models, compiled by Kotlin and run through JNI on a desktop JVM."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from tests.graph_zoo import GRAPHS
from tests.kotlin_tools import KotlinProgram, compile_kotlin, native_library
from tests.package_builds import beside_tiny, every_feed, wrong
from toolchain.artifact import Artifact
from toolchain.exporters.packages import Sample, write_package
from toolchain.exporters.packages.recorded_arrays import array_file
from toolchain.feeds import build_feeds
from toolchain.inputs import GraphInputs

pytestmark = pytest.mark.packages

HARNESS = Path(__file__).parent / "kotlin"
MODELS = ("attributed", "fixed", "sparse", "tiny")


@pytest.fixture(scope="module")
def projects(
    artifact: Artifact,
    sample: Sample,
    exported: dict[str, tuple[Artifact, Sample]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("android")
    companions = beside_tiny(folder, sample, ("onnx", "executorch", "litert"))
    made = {"tiny": write_package(artifact, "android", folder / "tiny", sample, companions)}
    return made | {name: write_package(model, "android", folder / name, run) for name, (model, run) in exported.items()}


@pytest.fixture(scope="module")
def program(projects: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> KotlinProgram:
    """All modules of all projects at once, which takes the compiler little longer than one of them."""
    sources = [project / module / "src" for project in projects.values() for module in _modules(project)]
    return compile_kotlin([*sources, HARNESS], tmp_path_factory.mktemp("kotlin"))


@pytest.fixture(scope="module")
def libraries(projects: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    folder = tmp_path_factory.mktemp("native")
    return {name: native_library(project, folder / name) for name, project in projects.items()}


@pytest.mark.parametrize("name", MODELS)
def test_the_self_test_passes_through_jni(
    name: str, projects: Mapping[str, Path], program: KotlinProgram, libraries: Mapping[str, Path]
) -> None:
    status, printed = _junit(program, projects[name], libraries[name], "SelfTest")

    assert status == 0, printed
    assert "OK (4 tests)" in printed
    assert "WARNING" not in printed


def test_the_self_test_fails_where_an_output_differs(
    artifact: Artifact, sample: Sample, program: KotlinProgram, libraries: Mapping[str, Path], tmp_path: Path
) -> None:
    project = write_package(artifact, "android", tmp_path / "wrong", wrong(sample))
    status, printed = _junit(program, project, libraries["tiny"], "SelfTest")

    assert status != 0
    assert "output_2: " in printed
    assert ", recorded is " in printed


def test_the_kotlin_class_keeps_its_promises(
    projects: Mapping[str, Path], program: KotlinProgram, libraries: Mapping[str, Path]
) -> None:
    status, printed = _junit(program, projects["tiny"], libraries["tiny"], "ModelTest")

    assert status == 0, printed
    assert "WARNING" not in printed


def test_inputs_of_model_files_equal_those_of_the_toolchain(program: KotlinProgram, tmp_path: Path) -> None:
    """Every kind of input over many topologies, for the whole graph zoo: integers and floats to the last bit."""
    contract, feeds = every_feed()
    graphs = {name: GraphInputs.from_pyg(make(contract.features)) for name, make in GRAPHS.items()}
    for name, graph in graphs.items():
        _write_graph(graph, tmp_path / name)

    status, printed = program.run("org.pocketgnn.gnn_tiny.DumpInputsKt", *(str(tmp_path / name) for name in graphs))
    assert status == 0, printed
    compared = 0
    for name, graph in graphs.items():
        expected = build_feeds(feeds, graph.prepare(contract.topologies))
        shapes = dict(line.split(" ", 1) for line in (tmp_path / name / "shapes").read_text().splitlines())
        assert list(shapes) == list(expected)
        for feed, array in expected.items():
            assert shapes[feed].strip() == " ".join((array.dtype.name.upper(), *map(str, array.shape)))
            found = np.fromfile(tmp_path / name / f"{feed}.out", "<f4" if array.dtype == np.float32 else "<i4")
            np.testing.assert_array_equal(found, array.ravel(), f"{name}: {feed}")
            compared += 1
    assert compared > 1000


def _modules(project: Path) -> list[str]:
    return [path.parent.name for path in project.glob("*/build.gradle.kts")]


def _junit(program: KotlinProgram, project: Path, library: Path, test: str) -> tuple[int, str]:
    (package,) = (project / "model" / "src" / "main" / "kotlin" / "org" / "pocketgnn").iterdir()
    resources = project / "recorded" / "src" / "main" / "resources"
    return program.run(
        "org.junit.runner.JUnitCore", f"org.pocketgnn.{package.name}.{test}", resources=resources, library=library
    )


def _write_graph(graph: GraphInputs, folder: Path) -> None:
    folder.mkdir()
    (folder / "sizes").write_text(f"{graph.num_nodes} {graph.num_graphs}")
    arrays = {
        "x": graph.x, "source": graph.edge_index[0], "target": graph.edge_index[1], "edge_weight": graph.edge_weight,
        "edge_attr": graph.edge_attr, "batch": graph.graph_index,
    }  # fmt: skip
    for name, array in arrays.items():
        assert array is not None
        (folder / name).write_bytes(array_file(name, array)[1])
