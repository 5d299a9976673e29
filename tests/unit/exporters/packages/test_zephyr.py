"""Zephyr modules, and every kind of package around exported models: built, and their self-tests run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.c_tools import host_compilers, run
from tests.package_builds import STAND_INS, build, ctest, sketch_program
from toolchain.artifact import Artifact
from toolchain.exporters.packages import Sample, write_package

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
