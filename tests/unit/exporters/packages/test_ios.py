"""Swift packages: what is in them, their C for devices, and their self-tests run by XCTest where Swift is installed."""

from __future__ import annotations

import json
import plistlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

import toolchain
from tests.c_tools import STRICT, ZIG, compile_objects
from tests.coreml_files import coremltools
from tests.fuzz.models import BOUNDS, fuzzed_graph
from tests.package_builds import wrong
from tests.swift_tools import swift
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError, ExportError
from toolchain.exporters.packages import Companion, Sample, write_package
from toolchain.exporters.packages.ios_coreml import KINDS
from toolchain.feeds import FeedKind, build_feeds

MACH_O_64 = bytes.fromhex("cffaedfe")
TEXTS = (".swift", ".md", ".modulemap", ".xcprivacy")


@pytest.fixture(scope="module")
def package(artifact: Artifact, sample: Sample, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_package(artifact, "ios", tmp_path_factory.mktemp("ios") / "tiny", sample)


def kernel_defines(package: Path) -> list[str]:
    """Compiler options that the package manager makes of the manifest's C settings."""
    text = (package / "Package.swift").read_text()
    (names,) = re.findall(r"let kernels: \[String\] = \[(.*?)\]", text, re.DOTALL)
    (prefix,) = re.findall(r'to: "(\w+_)\\\(\$0\)"', text)
    return [f"-D{name}={prefix}{name}" for name in re.findall(r'"(\w+)"', names)]


def test_every_placeholder_is_filled(package: Path) -> None:
    files = [path for path in package.rglob("*") if path.name.endswith(TEXTS)]

    assert len(files) > 10
    assert [path for path in files if re.search(r"@[a-z]+@", path.read_text())] == []
    assert not [path for path in package.rglob("*") if "@" in path.relative_to(package).as_posix()]


def test_every_target_of_the_manifest_has_a_folder(package: Path) -> None:
    text = (package / "Package.swift").read_text()
    declared = re.findall(r'\.(target|executableTarget|testTarget)\(\s*name: "(\w+)"', text)
    folders = {path.name for path in (*(package / "Sources").iterdir(), *(package / "Tests").iterdir())}

    assert {name for _, name in declared} == folders
    for target, resource in re.findall(r'name: "(\w+)",[^)]*?resources: \[(.*?)\]', text, re.DOTALL):
        for path in re.findall(r'\.copy\("(\S+?)"\)', resource):
            assert (package / "Sources" / target / path).exists()


def test_the_privacy_manifest_declares_that_nothing_is_tracked(package: Path) -> None:
    declared = plistlib.loads((package / "Sources/GnnTiny/Resources/PrivacyInfo.xcprivacy").read_bytes())

    assert declared == {
        "NSPrivacyTracking": False,
        "NSPrivacyTrackingDomains": [],
        "NSPrivacyCollectedDataTypes": [],
        "NSPrivacyAccessedAPITypes": [],
    }


def test_the_module_map_names_the_header_and_the_manifest_is_a_resource(package: Path) -> None:
    (header,) = re.findall(r'header "(\S+)"', (package / "Sources/CGnnTiny/module.modulemap").read_text())
    manifest = json.loads((package / "Sources/GnnTiny/Resources/manifest.json").read_text())

    assert (package / "Sources" / "CGnnTiny" / header).is_file()
    assert manifest["provenance"]["name_in_c"] == "tiny"


def test_the_record_is_the_run(package: Path, sample: Sample) -> None:
    recorded = package / "Sources" / "GnnTinyRecorded" / "recorded"

    np.testing.assert_array_equal(np.fromfile(recorded / "target.i32", "<i4"), sample.inputs.edge_index[1])
    np.testing.assert_array_equal(np.fromfile(recorded / "c" / "output_0.f32", "<f4"), sample.outputs[0].ravel())


@pytest.mark.compilers
def test_every_c_file_compiles_for_ios(exported: dict[str, tuple[Artifact, Sample]], tmp_path: Path) -> None:
    artifact, sample = exported["attributed"]
    package = write_package(artifact, "ios", tmp_path / "package", sample)
    command = [*ZIG, "-target", "aarch64-ios.15.0", "-O2", *STRICT, *kernel_defines(package)]
    objects = compile_objects(command, sorted((package / "Sources").rglob("*.c")), tmp_path)

    assert len(objects) > 10
    assert {path.read_bytes()[:4] for path in objects} == {MACH_O_64}


@pytest.mark.compilers
@pytest.mark.parametrize("name", ["attributed", "sparse"])
def test_no_function_that_models_share_keeps_its_name(
    name: str, exported: dict[str, tuple[Artifact, Sample]], tmp_path: Path
) -> None:
    """An app that links two packages would have it twice."""
    artifact, sample = exported[name]
    package = write_package(artifact, "ios", tmp_path / "package", sample)
    command = [*ZIG, "-target", "aarch64-linux-musl", "-O2", *STRICT, *kernel_defines(package)]
    defined = set()
    for path in compile_objects(command, sorted((package / "Sources").rglob("*.c")), tmp_path):
        with open(path, "rb") as stream:
            table = ELFFile(stream).get_section_by_name(".symtab")
            defined |= {
                symbol.name
                for symbol in table.iter_symbols()
                if symbol["st_info"]["bind"] == "STB_GLOBAL" and symbol["st_shndx"] != "SHN_UNDEF"
            }

    prefix = f"gnn_{artifact.provenance['name_in_c']}_"
    assert len(defined) > 10
    assert [symbol for symbol in defined if not symbol.startswith(prefix)] == []


@pytest.mark.packages
@pytest.mark.parametrize("name", ["attributed", "fixed", "sparse"])
def test_the_self_tests_and_benchmarks_of_an_exported_model_pass(
    name: str, exported: dict[str, tuple[Artifact, Sample]], tmp_path: Path
) -> None:
    artifact, sample = exported[name]
    printed = swift(write_package(artifact, "ios", tmp_path / "package", sample), "test")

    assert re.search(r"Executed 7 tests, with (1 test skipped and )?0 failures", printed)


@pytest.mark.packages
def test_the_self_test_fails_where_an_output_differs(artifact: Artifact, sample: Sample, tmp_path: Path) -> None:
    package = write_package(artifact, "ios", tmp_path / "package", wrong(sample))

    with pytest.raises(AssertionError, match=r"output_2: .* recorded is"):
        swift(package, "test", "--filter", "SelfTests")


@pytest.mark.packages
def test_an_app_links_two_models(exported: dict[str, tuple[Artifact, Sample]], tmp_path: Path) -> None:
    for name in ("attributed", "sparse"):
        write_package(exported[name][0], "ios", tmp_path / name, exported[name][1])
    app = tmp_path / "app"
    (app / "Sources" / "app").mkdir(parents=True)
    (app / "Package.swift").write_text(
        "// swift-tools-version:5.9\nimport PackageDescription\nlet package = Package(\n"
        '    name: "app",\n'
        '    dependencies: [.package(path: "../attributed"), .package(path: "../sparse")],\n'
        '    targets: [.executableTarget(name: "app", dependencies: [\n'
        '        .product(name: "GnnGatMeanEdge", package: "attributed"), .product(name: "GnnBinary", package: "sparse"),\n'
        "    ])]\n)\n"
    )
    (app / "Sources" / "app" / "main.swift").write_text(
        "import GnnBinary\nimport GnnGatMeanEdge\n"
        "print(try GnnBinary.Model().contract.name, try GnnGatMeanEdge.Model().contract.name)\n"
    )

    assert swift(app, "run", "app").splitlines()[-1] == "binary gat_mean_edge"


# --- with a Core ML file ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def beside(exported: dict[str, tuple[Artifact, Sample]], tmp_path_factory: pytest.TempPathFactory) -> Companion:
    """A Core ML file of the float model with edge attributes, with the record of its C model."""
    with coremltools():
        folder = tmp_path_factory.mktemp("coreml") / "attributed"
        artifact = toolchain.export(fuzzed_graph("attributed")[0], "coreml", folder, bounds=BOUNDS)
    return Companion(artifact, exported["attributed"][1].outputs)


@pytest.fixture(scope="module")
def with_coreml(
    exported: dict[str, tuple[Artifact, Sample]], beside: Companion, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    artifact, sample = exported["attributed"]
    return write_package(artifact, "ios", tmp_path_factory.mktemp("ios") / "with_coreml", sample, [beside])


def test_the_core_ml_file_is_a_resource_unchanged(with_coreml: Path, beside: Companion) -> None:
    resources = with_coreml / "Sources" / "GnnGatMeanEdge" / "Resources"
    listed = re.findall(r'\.copy\("Resources/(\S+?)"\)', (with_coreml / "Package.swift").read_text())

    assert {"model.mlpackage", "coreml-manifest.json"} <= set(listed)
    assert all((resources / name).exists() for name in listed)
    for name in beside.artifact.files:
        assert (resources / name).read_bytes() == (beside.artifact.path / name).read_bytes()
    assert not [path for path in with_coreml.rglob("*.swift") if re.search(r"@[a-z]+@", path.read_text())]


def test_the_record_holds_what_the_core_ml_file_is_given(
    with_coreml: Path, beside: Companion, exported: dict[str, tuple[Artifact, Sample]]
) -> None:
    contract, recorded = beside.artifact.contract, with_coreml / "Sources" / "GnnGatMeanEdgeRecorded" / "recorded"
    prepared = exported["attributed"][1].inputs.prepare(contract.topologies)

    for name, array in build_feeds(beside.artifact.signature.inputs, prepared).items():
        kind = "f32" if array.dtype == np.float32 else "i32"
        np.testing.assert_array_equal(
            np.fromfile(recorded / "coreml" / "inputs" / f"{name}.{kind}", f"<{kind[0]}4"), array.ravel()
        )


def test_the_package_s_swift_knows_every_kind_of_input_that_it_may_be_asked_for(with_coreml: Path) -> None:
    text = (with_coreml / "Sources" / "GnnGatMeanEdge" / "CoreML" / "Feeds.swift").read_text()
    cases = {
        re.sub(r"([A-Z])", r"_\1", name).lower() for name in re.findall(r"^    case (\w+)  //", text, re.MULTILINE)
    }

    assert cases == {kind.value for kind in KINDS}
    assert FeedKind.IN_EDGES not in KINDS


def test_core_ml_beside_an_integer_model_or_another_graph_is_refused(
    exported: dict[str, tuple[Artifact, Sample]], beside: Companion, tmp_path: Path
) -> None:
    attributed, sample = exported["attributed"]
    integer = replace(attributed, precision="static-int8")
    with pytest.raises(ExportError, match=r"goes beside a float32 C model only"):
        write_package(integer, "ios", tmp_path / "package", sample, [beside])
    other = replace(beside.artifact, provenance={**beside.artifact.provenance, "graph_sha256": "0"})
    with pytest.raises(ExportError, match=r"was not exported from the Graph of"):
        write_package(attributed, "ios", tmp_path / "package", sample, [replace(beside, artifact=other)])


def test_a_core_ml_file_that_changed_since_it_was_loaded_is_refused(
    exported: dict[str, tuple[Artifact, Sample]], beside: Companion, tmp_path: Path
) -> None:
    copy = shutil.copytree(beside.artifact.path, tmp_path / "copy")
    changed = replace(beside, artifact=Artifact.load(copy))
    (copy / "model.mlpackage" / "Data" / "com.apple.CoreML" / "weights" / "weight.bin").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"weight\.bin: changed since"):
        write_package(exported["attributed"][0], "ios", tmp_path / "package", exported["attributed"][1], [changed])


@pytest.mark.packages
def test_swift_computes_the_inputs_of_a_core_ml_file_bit_for_bit(
    exported: dict[str, tuple[Artifact, Sample]], beside: Companion, tmp_path: Path
) -> None:
    artifact, sample = exported["attributed"]
    printed = swift(
        write_package(artifact, "ios", tmp_path / "package", sample, [beside]), "test", "--filter", "CoreML"
    )

    assert re.search(r"Executed 2 tests, with 0 failures", printed)
