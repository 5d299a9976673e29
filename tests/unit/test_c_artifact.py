"""The version of the C interface: artifacts of another one are refused by all that would compile them, before a compiler runs."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

import runtimes
from device_benchmarks.firmware import build_firmware
from device_benchmarks.native_program import build_program
from device_benchmarks.target import load_target
from tests.tiny_c_model import tiny_graph, tiny_outputs, write_tiny
from toolchain.artifact import Artifact
from toolchain.c_artifact import INTERFACE_VERSION, c_sources
from toolchain.errors import ArtifactError
from toolchain.exporters.packages import Sample, write_package

HEADER = Path("runtimes/c/include/gnn.h").read_text()
DEFINE = f"#define GNN_INTERFACE_VERSION {INTERFACE_VERSION}\n"
BEFORE_RELATIONS = HEADER.replace(DEFINE, "")
SAMPLE = Sample(tiny_graph(), tiny_outputs(tiny_graph()))
USERS = {
    "in process": lambda artifact, folder: runtimes.load(artifact),
    "as a program": lambda artifact, folder: build_program(artifact, (), folder),
    "as firmware": lambda artifact, folder: build_firmware(artifact, load_target("cortex-m4"), folder),
    "as a package": lambda artifact, folder: write_package(artifact, "cmake", folder / "package", SAMPLE),
}


def written(folder: Path, header: str) -> Artifact:
    write_tiny(folder, extra={"gnn.h": header.encode()})
    return Artifact.load(folder)


def test_the_header_has_the_version_that_programs_are_written_for():
    assert DEFINE in HEADER


def test_what_programs_share_with_a_model_changes_with_its_version_alone():
    """Where this fails, count GNN_INTERFACE_VERSION and INTERFACE_VERSION up, and put the new sum here."""
    declarations = re.sub(r"\s+", " ", re.sub(r"/\*.*?\*/", "", HEADER.replace(DEFINE, ""), flags=re.DOTALL))

    found = INTERFACE_VERSION, hashlib.sha256(declarations.encode()).hexdigest()[:16]
    assert found == (2, "103d517a00ecc845")


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize(
    ("header", "version"),
    [(BEFORE_RELATIONS, "none, as before version 2"), (HEADER.replace(DEFINE, "#define GNN_INTERFACE_VERSION 3\n"), "3")],
)  # fmt: skip
def test_an_artifact_of_another_version_is_refused_before_it_is_compiled(user, header, version, tmp_path):
    artifact = written(tmp_path / "old", header + "#error compiled\n")

    words = (
        rf"old/gnn\.h: version of the C interface {version}, this version of pocketgnn .* {INTERFACE_VERSION}\. Export"
    )
    with pytest.raises(ArtifactError, match=words):
        USERS[user](artifact, tmp_path)


def test_an_artifact_of_this_version_is_read(tmp_path):
    assert "model.c" in c_sources(written(tmp_path / "new", HEADER))
