"""Swift packages: what is in them, their C for devices, and their self-tests run by XCTest where Swift is installed."""

from __future__ import annotations

import json
import plistlib
import re
from pathlib import Path

import numpy as np
import pytest
from elftools.elf.elffile import ELFFile

from tests.c_tools import STRICT, ZIG, compile_objects
from tests.package_builds import wrong
from tests.swift_tools import swift
from toolchain.artifact import Artifact
from toolchain.exporters.packages import Sample, write_package

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
