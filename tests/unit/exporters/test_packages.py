"""Projects around a C artifact: built with the tools that are here, run, and held against their formats' rules."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import runtimes
import toolchain
from tests.c_tools import STRICT, compile_objects, cortex_m4_compilers, host_compilers, private_cache, run
from tests.cases import MODELS, example
from tests.fuzz.models import BOUNDS, fuzzed_graph
from tests.small_model import last_error
from tests.tiny_c_model import tiny_graph, write_tiny
from toolchain.artifact import Artifact
from toolchain.cli import main
from toolchain.errors import ArtifactError, ExportError
from toolchain.exporters.packages import PACKAGES, Sample, synthetic_graph, write_package
from toolchain.exporters.packages.arduino import library_name
from toolchain.inputs import GraphInputs

STAND_INS = Path(__file__).parent / "stand_ins"
# what the Arduino library specification (format 1.5, rev. 2.2) requires
ARDUINO_FIELDS = {
    "name",
    "version",
    "author",
    "maintainer",
    "sentence",
    "paragraph",
    "category",
    "url",
    "architectures",
}
ARDUINO_CATEGORIES = {
    "Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage",
    "Data Processing", "Other",
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        private_cache(patch, tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return write_tiny(tmp_path_factory.mktemp("packages") / "tiny")


@pytest.fixture(scope="module")
def sample(artifact: Artifact) -> Sample:
    graph = tiny_graph()
    return Sample(graph, runtimes.load(artifact).run(graph))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Artifact, Sample]]:
    """A float model, an integer model with sparse features, and one with a fixed graph, each with a recorded run."""
    folder, made = tmp_path_factory.mktemp("exported"), {}
    for name in ("attributed", "sparse", "fixed"):
        graph, sparse = fuzzed_graph("weighted" if name == "fixed" else name)
        fixed = GraphInputs.from_pyg(example("gcn_weighted")) if name == "fixed" else None
        artifact = toolchain.export(graph, "c", folder / name, bounds=BOUNDS, sparse_features=sparse, fixed_graph=fixed)
        runtime, given = runtimes.load(artifact), synthetic_graph(artifact)
        inputs = runtime.checked(given.x if fixed is not None else given)
        made[name] = artifact, Sample(inputs, runtime.run(inputs))
    return made


def wrong(sample: Sample) -> Sample:
    """A record that no machine reproduces, to see the self-test fail."""
    outputs = tuple(array.copy() for array in sample.outputs)
    outputs[2][-1, -1] += 0.01
    return replace(sample, outputs=outputs)


# --- every kind ---


@pytest.mark.parametrize("kind", sorted(PACKAGES))
def test_the_artifacts_files_are_packed_unchanged(
    kind: str, artifact: Artifact, sample: Sample, tmp_path: Path
) -> None:
    folder = write_package(artifact, kind, tmp_path / "project", sample)

    packed = {path.name: path.read_bytes() for path in (folder / "src" / "gnn_tiny").iterdir()}
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
    with pytest.raises(ExportError, match="arduino, cmake, zephyr"):
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


# --- CMake ---


def cmake() -> str:
    """CMake of the Python package, else of the system."""
    beside = Path(sys.executable).parent / "cmake"
    found = str(beside) if beside.exists() else shutil.which("cmake")
    if found is None:
        pytest.skip("cmake is not installed (pip install cmake)")
    return found


def build(folder: Path, *options: str) -> Path:
    run([cmake(), "-S", folder, "-B", folder / "build", *options], folder)
    run([cmake(), "--build", folder / "build"], folder)
    return folder / "build"


def ctest(built: Path) -> int:
    return subprocess.run(
        [Path(cmake()).with_name("ctest"), "--test-dir", built], capture_output=True, check=False
    ).returncode


@pytest.mark.parametrize("compiler", sorted(set(host_compilers()) - {"zig"}) or ["cc"])
def test_the_cmake_project_builds_and_its_self_test_passes(
    compiler: str, artifact: Artifact, sample: Sample, tmp_path: Path
) -> None:
    built = build(write_package(artifact, "cmake", tmp_path / "project", sample), f"-DCMAKE_C_COMPILER={compiler}")

    assert ctest(built) == 0


def test_the_cmake_self_test_fails_where_an_output_differs(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    built = build(write_package(artifact, "cmake", tmp_path / "project", wrong(sample)))

    assert ctest(built) != 0
    printed = subprocess.run([built / "gnn_tiny_self_test"], capture_output=True, text=True, check=False).stdout
    assert printed == "gnn_tiny: self-test failed (102)\n"


def test_an_installed_cmake_project_is_found_by_another(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    built = build(write_package(artifact, "cmake", tmp_path / "project", sample))
    run([cmake(), "--install", built, "--prefix", tmp_path / "installed"], tmp_path)
    user = tmp_path / "user"
    user.mkdir()
    (user / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.15...4.0)\nproject(user C)\nfind_package(gnn_tiny REQUIRED)\n"
        "add_executable(user user.c)\ntarget_link_libraries(user PRIVATE gnn::tiny)\n"
    )
    (user / "user.c").write_text(
        "#include <gnn_tiny.h>\nint main(void) { return gnn_tiny_required_bytes() == GNN_TINY_ARENA_BYTES ? 0 : 1; }\n"
    )

    run([build(user, f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}") / "user"], user)


# --- Arduino ---


def test_library_properties_has_what_the_specification_requires(
    artifact: Artifact, sample: Sample, tmp_path: Path
) -> None:
    folder = write_package(artifact, "arduino", tmp_path / "project", sample)
    fields = dict(line.split("=", 1) for line in (folder / "library.properties").read_text().splitlines())

    assert set(fields) >= ARDUINO_FIELDS
    assert all(fields.values())
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9 _.-]{0,62}", fields["name"])
    assert re.fullmatch(r"\d+\.\d+\.\d+", fields["version"])
    assert fields["category"] in ARDUINO_CATEGORIES
    assert (folder / "src" / fields["includes"]).is_file()
    sketches = list((folder / "examples").rglob("*.ino"))
    assert [sketch.stem for sketch in sketches] == [sketch.parent.name for sketch in sketches] == ["SelfTest"]


def test_keywords_are_separated_by_one_tab(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    lines = (write_package(artifact, "arduino", tmp_path / "p", sample) / "keywords.txt").read_text().splitlines()

    assert all(re.fullmatch(r"\w+\t(KEYWORD1|KEYWORD2|LITERAL1)", line) for line in lines)
    assert "gnn_tiny_run\tKEYWORD2" in lines


def test_a_long_name_is_shortened_to_what_a_library_may_have() -> None:
    names = {library_name("a" * 80), library_name("a" * 79 + "b")}

    assert len(names) == 2
    assert all(len(name) <= 63 for name in names)


def sketch_program(folder: Path, compiler: tuple[str, ...]) -> Path:
    """The sketch linked with a stand-in for the core, as the Arduino builder does: C files as C, the sketch as C++."""
    objects = []
    include = ["-I", folder / "src"]
    sketch = folder / "examples" / "SelfTest"
    for file in (*(folder / "src").rglob("*.c"), *sketch.glob("*.c")):
        objects.append(folder / f"{file.stem}.o")
        run([*compiler, "-Wall", "-Werror", "-c", file, *include, "-o", objects[-1]], folder)
    main_file = folder / "main.cpp"
    text = (sketch / "SelfTest.ino").read_text()
    main_file.write_text(f'#include <Arduino.h>\n#line 1 "SelfTest.ino"\n{text}\nint main() {{ setup(); loop(); }}\n')
    flags = [
        "-x",
        "c++",
        "-std=gnu++11",
        "-Wall",
        "-Wextra",
        "-Werror",
        *include,
        "-I",
        STAND_INS / "arduino",
        "-I",
        sketch,
    ]
    run([*compiler, *flags, "-c", main_file, "-o", folder / "main.o"], folder)
    run([*compiler, folder / "main.o", *objects, "-o", folder / "program"], folder)
    return folder / "program"


@pytest.mark.parametrize("compiler", sorted(host_compilers()))
def test_the_arduino_sketch_compiles_and_its_self_test_passes(
    compiler: str, artifact: Artifact, sample: Sample, tmp_path: Path
) -> None:
    folder = write_package(artifact, "arduino", tmp_path / "project", sample)

    printed = run([sketch_program(folder, host_compilers()[compiler])], folder)
    assert printed.startswith("gnn_tiny: self-test passed (0)\nprepare us: ")


@pytest.mark.parametrize("compiler", sorted(cortex_m4_compilers()))
def test_every_c_file_of_the_arduino_library_compiles_for_cortex_m4(
    compiler: str, exported: dict[str, tuple[Artifact, Sample]], tmp_path: Path
) -> None:
    artifact, sample = exported["sparse"]
    folder = write_package(artifact, "arduino", tmp_path / "project", sample)
    files = [*(folder / "src").rglob("*.c"), *(folder / "examples").rglob("*.c")]
    command = [*cortex_m4_compilers()[compiler], "-Os", *STRICT, "-I", str(folder / "src")]

    assert len(compile_objects(command, files, tmp_path)) == len(files) > 10


@pytest.mark.parametrize("compiler", sorted(host_compilers()))
def test_every_header_of_the_library_compiles_as_cpp_by_itself(
    compiler: str, artifact: Artifact, sample: Sample, tmp_path: Path
) -> None:
    folder = write_package(artifact, "arduino", tmp_path / "project", sample)
    flags = ["-x", "c++", "-std=c++11", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-c", "-o", "one.o"]

    for header in sorted((folder / "src").rglob("*.h")):
        (folder / "one.cpp").write_text(f'#include "{header}"\n')
        run([*host_compilers()[compiler], *flags, "one.cpp"], folder)


# --- Zephyr ---


def zephyr_app(project: Path, *modules: Path) -> Path:
    """Build the application of a project against the stand-in for Zephyr; returns its program."""
    options = [f"-DZephyr_DIR={STAND_INS / 'zephyr'}", f"-DEXTRA_ZEPHYR_MODULES={';'.join(map(str, modules))}"]
    return build(project, *options) / "app"


def test_the_zephyr_module_builds_and_its_self_test_passes(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    folder = write_package(artifact, "zephyr", tmp_path / "project", sample)

    printed = run([zephyr_app(folder / "samples" / "self_test")], tmp_path)
    assert printed == "gnn_tiny: self-test passed (0)\n"


def test_the_zephyr_sample_expects_what_its_program_prints(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    folder = write_package(artifact, "zephyr", tmp_path / "project", sample)
    stated = yaml.safe_load((folder / "samples" / "self_test" / "sample.yaml").read_text())

    (test,) = stated["tests"].values()
    assert re.search(test["harness_config"]["regex"][0], "gnn_tiny: self-test passed (0)")


def test_the_zephyr_module_names_its_parts(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    folder = write_package(artifact, "zephyr", tmp_path / "project", sample)
    module = yaml.safe_load((folder / "zephyr" / "module.yml").read_text())

    assert module["name"] == "gnn_tiny"
    assert (folder / module["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert (folder / module["build"]["kconfig"]).read_text().startswith("config GNN_TINY\n")
    assert [(folder / place).is_dir() for place in module["samples"]] == [True]
    assert (folder / "samples" / "self_test" / "prj.conf").read_text() == "CONFIG_GNN_TINY=y\n"


# --- exported models ---


@pytest.mark.parametrize("name", ["attributed", "sparse", "fixed"])
def test_the_self_test_of_an_exported_model_passes(
    name: str, exported: dict[str, tuple[Artifact, Sample]], tmp_path: Path
) -> None:
    artifact, sample = exported[name]
    built = build(write_package(artifact, "cmake", tmp_path / "project", sample))
    library = f"gnn_{artifact.provenance['name_in_c']}"

    assert ctest(built) == 0
    rows = [len(output) for output in sample.outputs]
    assert run([built / f"{library}_example"], tmp_path).count("row") == sum(rows)


def test_integer_models_are_held_to_every_bit(exported: dict[str, tuple[Artifact, Sample]], tmp_path: Path) -> None:
    artifact, sample = exported["sparse"]
    folder = write_package(artifact, "arduino", tmp_path / "project", sample)

    assert "tolerance" not in (folder / "examples" / "SelfTest" / "sample.c").read_text()
    nearly = tuple(np.nextafter(output, np.float32(np.inf), dtype=np.float32) for output in sample.outputs)
    other = write_package(artifact, "arduino", tmp_path / "other", Sample(sample.inputs, nearly))
    compiler = host_compilers()[sorted(host_compilers())[0]]
    assert "passed (0)" in run([sketch_program(folder, compiler)], folder)
    assert "failed (100)" in run([sketch_program(other, compiler)], other)


def test_two_zephyr_modules_in_one_image_share_their_kernels(
    exported: dict[str, tuple[Artifact, Sample]], tmp_path: Path
) -> None:
    """Zephyr links every object, so a kernel that both brought along would be defined twice."""
    first, second = (
        write_package(exported[name][0], "zephyr", tmp_path / name, exported[name][1])
        for name in ("attributed", "sparse")
    )
    app = first / "samples" / "self_test"
    with open(app / "prj.conf", "a") as stream:
        stream.write("CONFIG_GNN_BINARY=y\n")

    assert run([zephyr_app(app, second)], tmp_path) == "gnn_gat_mean_edge: self-test passed (0)\n"


def test_zephyr_modules_of_different_versions_are_refused(
    exported: dict[str, tuple[Artifact, Sample]], tmp_path: Path
) -> None:
    first, second = (
        write_package(exported[name][0], "zephyr", tmp_path / name, exported[name][1])
        for name in ("attributed", "sparse")
    )
    lists = second / "CMakeLists.txt"
    lists.write_text(re.sub(r'"[0-9a-f]{16}"', '"0000000000000000"', lists.read_text()))
    app = first / "samples" / "self_test"
    with open(app / "prj.conf", "a") as stream:
        stream.write("CONFIG_GNN_BINARY=y\n")

    with pytest.raises(AssertionError, match="exported by different"):
        zephyr_app(app, second)


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
