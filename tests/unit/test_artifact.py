"""Artifacts on disk: all or nothing when written, checked byte for byte when read."""

from __future__ import annotations

import hashlib
import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import runtimes
import toolchain
from tests.cases import MODELS, case_inputs, example
from toolchain.artifact import MANIFEST, Artifact
from toolchain.errors import ArtifactError, OutsideContract, PocketGnnError
from toolchain.inputs import GraphInputs


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    graph = toolchain.lower(MODELS["gcn_graph"](), example("gcn_graph"))
    return toolchain.export(graph, "onnx", tmp_path_factory.mktemp("artifact") / "gcn")


@pytest.fixture
def artifact(original: Artifact, tmp_path: Path) -> Artifact:
    """A copy to damage."""
    shutil.copytree(original.path, tmp_path / "gcn")
    return replace(original, path=tmp_path / "gcn")


def test_what_is_loaded_is_what_was_saved(original: Artifact) -> None:
    loaded = Artifact.load(original.path)

    assert loaded.to_json() == original.to_json()
    assert loaded.model_bytes == original.model_path.stat().st_size


def test_a_manifest_holds_no_dates_and_no_machine(original: Artifact) -> None:
    text = (original.path / MANIFEST).read_text()

    assert str(original.path.parent) not in text
    assert "2026-" not in text


# --- damage ---


@pytest.mark.parametrize("kept", [0, 1, 0.5, -1])
def test_a_truncated_model_file_is_refused(kept: float, artifact: Artifact) -> None:
    content = artifact.model_path.read_bytes()
    artifact.model_path.write_bytes(content[: int(len(content) * kept)] if isinstance(kept, float) else content[:kept])

    with pytest.raises(ArtifactError, match="truncated or changed"):
        runtimes.load(artifact.path)


@pytest.mark.parametrize("place", [0.0, 0.3, 0.7, 0.999])
def test_a_flipped_bit_is_refused(place: float, artifact: Artifact) -> None:
    content = bytearray(artifact.model_path.read_bytes())
    content[int(len(content) * place)] ^= 4
    artifact.model_path.write_bytes(content)

    with pytest.raises(ArtifactError, match="sha256"):
        runtimes.load(artifact.path)


def test_a_missing_model_file_is_refused(artifact: Artifact) -> None:
    artifact.model_path.unlink()

    with pytest.raises(ArtifactError, match="missing"):
        runtimes.load(artifact.path)


@pytest.mark.parametrize("length", [0, 1, 100])
def test_a_truncated_manifest_is_refused(length: int, artifact: Artifact) -> None:
    path = artifact.path / MANIFEST
    path.write_bytes(path.read_bytes()[:length])

    with pytest.raises(ArtifactError, match=MANIFEST):
        runtimes.load(artifact.path)


def test_a_folder_without_manifest_is_no_artifact(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="not an artifact"):
        runtimes.load(tmp_path)


# --- a manifest that disagrees with the file ---


def _agreeing_but_for(change: Callable[[dict[str, Any]], None], artifact: Artifact) -> None:
    path = artifact.path / MANIFEST
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def _rename_input(data: dict[str, Any]) -> None:
    data["signature"]["inputs"][0]["name"] = "another"


def _retype_input(data: dict[str, Any]) -> None:
    data["signature"]["inputs"][0]["dtype"] = "int64"


def _drop_output(data: dict[str, Any]) -> None:
    data["signature"]["outputs"] = []


def _widen_output(data: dict[str, Any]) -> None:
    data["signature"]["outputs"][0]["channels"] = 99


def _widen_features(data: dict[str, Any]) -> None:
    data["contract"]["features"] = 99


def _other_format(data: dict[str, Any]) -> None:
    data["format"] = "torchscript"


def _unknown_format(data: dict[str, Any]) -> None:
    data["format"] = "tarball"


def _other_schema(data: dict[str, Any]) -> None:
    data["schema_version"] = 99


def _unknown_key(data: dict[str, Any]) -> None:
    data["surprise"] = 1


def _missing_key(data: dict[str, Any]) -> None:
    del data["contract"]


def _bad_type(data: dict[str, Any]) -> None:
    data["files"] = 3


def _unlisted_model(data: dict[str, Any]) -> None:
    data["model_file"] = "other.onnx"


DISAGREEMENTS = [
    _rename_input, _retype_input, _drop_output, _widen_output, _widen_features, _other_format, _unknown_format, _other_schema,
    _unknown_key, _missing_key, _bad_type, _unlisted_model,
]  # fmt: skip


@pytest.mark.parametrize("change", DISAGREEMENTS, ids=lambda change: change.__name__.strip("_"))
def test_a_manifest_that_disagrees_with_the_file_is_one_clear_error(
    change: Callable[[dict[str, Any]], None], artifact: Artifact
) -> None:
    _agreeing_but_for(change, artifact)

    with pytest.raises(PocketGnnError):
        runtimes.load(artifact.path).run(GraphInputs.from_pyg(case_inputs("gcn_graph", "path_isolated")))


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "sub/../../outside", "sub//file", "./file", "..", ""])
def test_a_file_outside_the_folder_is_not_followed(name: str, artifact: Artifact) -> None:
    def change(data: dict[str, Any]) -> None:
        data["files"][name] = {"sha256": "0" * 64, "bytes": 1}

    _agreeing_but_for(change, artifact)

    with pytest.raises(ArtifactError, match="plain file"):
        Artifact.load(artifact.path)


def test_a_symbolic_link_is_not_followed(artifact: Artifact, tmp_path: Path) -> None:
    content = artifact.model_path.read_bytes()
    (tmp_path / "elsewhere").write_bytes(content)
    artifact.model_path.unlink()
    artifact.model_path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(ArtifactError, match="plain file"):
        Artifact.load(artifact.path)


def test_a_symbolic_link_on_the_way_to_a_file_is_not_followed(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(b"1")
    (artifact.path / "package").symlink_to(tmp_path / "elsewhere")

    def change(data: dict[str, Any]) -> None:
        data["files"]["package/file"] = {"sha256": hashlib.sha256(b"1").hexdigest(), "bytes": 1}

    _agreeing_but_for(change, artifact)

    with pytest.raises(ArtifactError, match="plain file"):
        Artifact.load(artifact.path)


def test_a_model_may_be_a_package_of_files_which_all_count(artifact: Artifact, tmp_path: Path) -> None:
    contents = {"model.package/model": b"123", "model.package/data/weights": b"45", "beside": b"6"}
    packaged = replace(artifact, path=tmp_path / "packaged", model_file="model.package/model")

    loaded = Artifact.load(Artifact.save(packaged, contents).path)

    assert loaded.model_files == ("model.package/data/weights", "model.package/model")
    assert loaded.model_bytes == 5
    (loaded.path / "model.package/data/weights").write_bytes(b"46")
    with pytest.raises(ArtifactError, match=r"weights: sha256"):
        Artifact.load(loaded.path)


# --- graphs outside the contract ---


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (GraphInputs(np.zeros((3, 2)), np.zeros((2, 0), int)), "2 features"),
        (np.zeros((3, 7), np.float32), "no fixed graph"),
    ],
)
def test_a_graph_outside_the_contract_is_refused(inputs: Any, message: str, artifact: Artifact) -> None:
    with pytest.raises(OutsideContract, match=message):
        runtimes.load(artifact.path).run(inputs)


def test_a_graph_larger_than_the_bounds_is_refused(artifact: Artifact) -> None:
    def change(data: dict[str, Any]) -> None:
        data["contract"]["max_nodes"] = 2

    _agreeing_but_for(change, artifact)

    with pytest.raises(OutsideContract, match="at most 2"):
        runtimes.load(artifact.path).run(GraphInputs.from_pyg(case_inputs("gcn_graph", "path_isolated")))


# --- writing: all or nothing ---


def _leftovers(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_existing_folder_is_not_overwritten_unasked(artifact: Artifact) -> None:
    before = (artifact.path / MANIFEST).read_bytes()

    with pytest.raises(ArtifactError, match="already exists"):
        Artifact.save(artifact, {artifact.model_file: b"new"})
    assert (artifact.path / MANIFEST).read_bytes() == before
    assert _leftovers(artifact.path.parent) == ["gcn"]


def test_a_folder_that_is_no_artifact_is_never_overwritten(artifact: Artifact, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "thesis.tex").write_text("years")

    with pytest.raises(ArtifactError, match="not an artifact folder"):
        Artifact.save(replace(artifact, path=precious), {artifact.model_file: b"new"}, overwrite=True)
    assert (precious / "thesis.tex").read_text() == "years"


def test_overwriting_replaces_the_folder_and_leaves_nothing_else(artifact: Artifact) -> None:
    Artifact.save(artifact, {artifact.model_file: b"new"}, overwrite=True)

    assert artifact.model_path.read_bytes() == b"new"
    assert _leftovers(artifact.path.parent) == ["gcn"]


FILL_THE_DISK = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from toolchain.artifact import Artifact

artifact = Artifact.load(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    Artifact.save(replace(artifact, path=Path(sys.argv[2])), {artifact.model_file: b"x" * 200_000}, overwrite=True)
except OSError as error:
    print("refused", error.errno)
"""


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("target", ["new", "gcn"])
def test_a_disk_that_fills_leaves_nothing_behind_and_the_old_artifact_intact(target: str, artifact: Artifact) -> None:
    before = hashlib.sha256(artifact.model_path.read_bytes()).hexdigest()

    done = subprocess.run(
        [sys.executable, "-c", FILL_THE_DISK, str(artifact.path), str(artifact.path.parent / target)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip

    assert done.stdout.startswith("refused")
    assert _leftovers(artifact.path.parent) == ["gcn"]
    assert hashlib.sha256(Artifact.load(artifact.path).model_path.read_bytes()).hexdigest() == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_one_clear_error(artifact: Artifact, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)

    with pytest.raises(OSError, match="Permission denied"):
        Artifact.save(replace(artifact, path=locked / "new"), {artifact.model_file: b"x"})
