"""Android projects: what is in them and how their files refer to each other, and their C for Android's processors."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

import runtimes
from runtimes import c_interface
from tests.c_tools import STRICT, ZIG, compile_objects, host_compilers, run
from tests.kotlin_tools import JNI_STRICT, jni_includes
from tests.package_builds import STAND_INS, beside_tiny
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError, ExportError
from toolchain.exporters.packages import Companion, Sample, write_package
from toolchain.exporters.packages.android import RUNTIMES
from toolchain.exporters.packages.status_codes import status_codes

PAGE = 16 * 1024
FREESTANDING = Path(runtimes.__file__).parent / "c" / "firmware" / "freestanding"


@pytest.fixture(scope="module")
def project(artifact: Artifact, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a file of every runtime."""
    folder = tmp_path_factory.mktemp("android")
    return write_package(artifact, "android", folder / "tiny", sample, beside_tiny(folder, sample, tuple(RUNTIMES)))


def texts(project: Path) -> Mapping[str, str]:
    """Every text of a project that is not an array, an asset or the model's C."""
    suffixes = (".kt", ".kts", ".toml", ".properties", ".xml", ".pro", ".md", ".txt", "_jni.c")
    return {
        path.relative_to(project).as_posix(): path.read_text()
        for path in sorted(project.rglob("*"))
        if path.name.endswith(suffixes)
    }


def test_every_placeholder_is_filled(project: Path) -> None:
    left = {name: re.findall(r"@[a-z_]+@", text) for name, text in texts(project).items()}

    assert [name for name, found in left.items() if found] == []
    assert not [name for name in left if "@" in name]


def test_every_included_module_has_a_build_file_of_its_own_namespace(project: Path) -> None:
    included = re.findall(r'":(\w+)"', (project / "settings.gradle.kts").read_text())
    namespaces = [
        re.findall(r'namespace = "([\w.]+)"', (project / name / "build.gradle.kts").read_text()) for name in included
    ]

    assert sorted(included) == ["app", "benchmark", "executorch", "litert", "model", "onnx", "recorded"]
    assert len({name for (name,) in namespaces}) == len(included)
    for name in included:
        used = re.findall(r'project\(":(\w+)"\)', (project / name / "build.gradle.kts").read_text())
        assert set(used) <= set(included)


def test_every_catalog_entry_that_gradle_files_name_exists(project: Path) -> None:
    catalog = tomllib.loads((project / "gradle" / "libs.versions.toml").read_text())
    known = {f"versions.{name}" for name in catalog["versions"]} | {f"plugins.{name}" for name in catalog["plugins"]}
    known |= set(catalog["libraries"])
    gradle = "\n".join(text for name, text in texts(project).items() if name.endswith(".gradle.kts"))
    used = {name.removesuffix(".get") for name in re.findall(r"\blibs\.([\w.]+)", gradle)}

    assert {name.replace("-", ".") for name in known} >= used
    assert {
        f"versions.{entry['version']['ref']}" for part in ("libraries", "plugins") for entry in catalog[part].values()
    } <= known
    for runtime in RUNTIMES.values():
        assert catalog["libraries"][runtime.module]["module"] == runtime.library
        assert catalog["versions"][runtime.module] == runtime.version


def test_kotlin_files_lie_where_their_package_says(project: Path) -> None:
    for name, text in texts(project).items():
        if name.endswith(".kt"):
            (package,) = re.findall(r"^package (\S+)$", text, re.MULTILINE)
            assert Path(name).parent.as_posix().endswith(f"kotlin/{package.replace('.', '/')}"), name


def test_manifests_are_xml_and_name_classes_that_exist(project: Path) -> None:
    for path in project.rglob("AndroidManifest.xml"):
        for activity in ElementTree.parse(path).iter("activity"):
            name = activity.attrib["{http://schemas.android.com/apk/res/android}name"]
            assert (path.parent / "kotlin" / f"{name.replace('.', '/')}.kt").is_file()


def test_the_class_that_native_code_looks_up_is_kept_by_its_name(project: Path) -> None:
    jni = (project / "model" / "src" / "main" / "cpp" / "model_jni.c").read_text()
    (name,) = re.findall(r'#define CLASS_NAME "(\S+)"', jni)

    assert (project / "model" / "src" / "main" / "kotlin" / f"{name}.kt").is_file()
    assert f"-keep class {name.replace('/', '.')} {{" in (project / "model" / "consumer-rules.pro").read_text()


def test_assets_are_the_model_files_and_manifests(project: Path, artifact: Artifact) -> None:
    assert (project / "model/src/main/assets/gnn_tiny/manifest.json").read_bytes() == (
        artifact.path / "manifest.json"
    ).read_bytes()
    for runtime in RUNTIMES.values():
        assets = project / runtime.module / "src" / "main" / "assets" / "gnn_tiny"
        kotlin = "\n".join(path.read_text() for path in (project / runtime.module).rglob("*File.kt"))
        (asset,) = re.findall(r'asset = "gnn_tiny/(\S+)"', kotlin)
        assert (assets / asset).read_bytes() == runtime.module.encode()
        assert (assets / f"{runtime.module}-manifest.json").is_file()


def test_the_record_is_the_run(project: Path, sample: Sample) -> None:
    recorded = project / "recorded" / "src" / "main" / "resources" / "gnn_tiny"

    np.testing.assert_array_equal(np.fromfile(recorded / "x.f32", "<f4"), sample.inputs.x.ravel())
    np.testing.assert_array_equal(np.fromfile(recorded / "source.i32", "<i4"), sample.inputs.edge_index[0])
    for format_ in ("c", *RUNTIMES):
        for place, output in enumerate(sample.outputs):
            np.testing.assert_array_equal(
                np.fromfile(recorded / format_ / f"output_{place}.f32", "<f4"), output.ravel()
            )


def test_status_codes_are_those_of_the_header(artifact: Artifact) -> None:
    codes = status_codes({"gnn.h": (artifact.path / "gnn.h").read_bytes()})

    assert {code.code for code in codes} == set(c_interface.STATUS)
    assert codes[5].name == "DEGREE"


@pytest.mark.parametrize("compiler", sorted(host_compilers()))
def test_the_jni_code_compiles_without_a_warning(compiler: str, project: Path, tmp_path: Path) -> None:
    cpp = project / "model" / "src" / "main" / "cpp"
    command = [*host_compilers()[compiler], "-std=c99", *JNI_STRICT, *jni_includes(), "-I", str(cpp)]

    run([*command, "-c", cpp / "model_jni.c", "-o", tmp_path / "jni.o"], tmp_path)


@pytest.mark.compilers
@pytest.mark.parametrize("target", ["aarch64-linux-android", "arm-linux-androideabi", "x86_64-linux-android"])
def test_every_c_file_compiles_for_android_and_links_for_pages_of_16_kb(
    target: str, exported: dict[str, tuple[Artifact, Sample]], tmp_path: Path
) -> None:
    """Android's C library is not here, so what it would provide stays undefined."""
    artifact, sample = exported["attributed"]
    cpp = write_package(artifact, "android", tmp_path / "project", sample) / "model" / "src" / "main" / "cpp"
    headers = ["-I", str(STAND_INS / "android_libc"), "-I", str(FREESTANDING), *jni_includes(), "-I", str(cpp)]
    command = [*ZIG, "-target", target, "-fPIC", "-O2", *STRICT, *headers]
    objects = compile_objects(command, sorted(cpp.rglob("*.c")), tmp_path)
    stated = re.findall(r"-Wl,-z,max-page-size=\d+", (cpp / "CMakeLists.txt").read_text())
    library = tmp_path / "library.so"
    run([*ZIG, "-target", target, "-shared", "-nostdlib", *stated, *objects, "-o", library], tmp_path)

    with open(library, "rb") as stream:
        alignments = [segment["p_align"] for segment in ELFFile(stream).iter_segments("PT_LOAD")]
    assert alignments
    assert all(alignment % PAGE == 0 for alignment in alignments)


# --- what is refused ---


def test_a_model_file_beside_the_c_model_is_refused_where_there_is_no_place_for_it(
    artifact: Artifact, sample: Sample, tmp_path: Path
) -> None:
    with pytest.raises(ExportError, match="a package for cmake carries no file of format 'onnx'"):
        write_package(artifact, "cmake", tmp_path / "project", sample, beside_tiny(tmp_path, sample, ["onnx"]))


def test_two_files_of_one_format_are_refused(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    (companion,) = beside_tiny(tmp_path, sample, ["onnx"])

    with pytest.raises(ExportError, match="Give one of each format"):
        write_package(artifact, "android", tmp_path / "project", sample, [companion, companion])


def test_a_model_file_with_edges_of_its_own_is_refused(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    (companion,) = beside_tiny(tmp_path, sample, ["onnx"])
    fixed = replace(companion.artifact, contract=replace(companion.artifact.contract, fixed_graph=True))

    with pytest.raises(ExportError, match="without a fixed graph"):
        write_package(artifact, "android", tmp_path / "project", sample, [replace(companion, artifact=fixed)])


def test_a_model_file_that_needs_an_operator_of_its_own_is_refused(
    artifact: Artifact, sample: Sample, tmp_path: Path
) -> None:
    (companion,) = beside_tiny(tmp_path, sample, ["onnx"])
    provenance = {**companion.artifact.provenance, "lowering": "spmm"}
    other = replace(companion, artifact=replace(companion.artifact, provenance=provenance))

    with pytest.raises(ExportError, match="lowering 'spmm' needs an operator"):
        write_package(artifact, "android", tmp_path / "project", sample, [other])


def test_a_model_file_that_changed_since_it_was_loaded_is_refused(
    artifact: Artifact, sample: Sample, tmp_path: Path
) -> None:
    (companion,) = beside_tiny(tmp_path, sample, ["onnx"])
    companion.artifact.model_path.write_bytes(b"other")

    with pytest.raises(ArtifactError, match="changed since the artifact was loaded"):
        write_package(artifact, "android", tmp_path / "project", sample, [companion])
    assert not (tmp_path / "project").exists()


def test_outputs_of_another_model_are_refused(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    (companion,) = beside_tiny(tmp_path, sample, ["onnx"])

    with pytest.raises(ExportError, match="Record it again"):
        write_package(artifact, "android", tmp_path / "p", sample, [Companion(companion.artifact, sample.outputs[:2])])
