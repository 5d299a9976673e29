"""Firmware images: what is in them, and what is said when there can be none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from device_benchmarks.firmware import MIN_STACK_BYTES, build_firmware, compiler_command
from device_benchmarks.target import load_target
from tests.firmware_artifact import firmware_artifact
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError, DoesNotFit, MissingDependency
from toolchain.inputs import GraphInputs

M4 = load_target("cortex-m4")


def _variant(folder, **changes: bytes) -> Artifact:
    """The hand-written model with other files."""
    artifact = firmware_artifact(folder)
    contents = {name: (folder / name).read_bytes() for name in artifact.files}
    return Artifact.save(artifact, contents | {f"{name}.c": text for name, text in changes.items()}, overwrite=True)


def test_an_image_holds_vectors_first_and_its_memories_where_the_target_has_them(firmware):
    image = firmware("cortex-m33")

    assert image.elf.address_of("vectors") == image.target.board.flash_origin
    assert image.elf.address_of("arena") >= image.target.board.ram_origin
    assert image.elf.flash_bytes == sum(image.elf.sections[name] for name in (".text", ".rodata"))
    assert image.elf.ram_bytes == image.elf.sections[".bss"]


def test_start_up_and_protocol_take_little_flash(firmware):
    image = firmware("cortex-m4")

    model = sum(s.size for s in image.elf.distinct_symbols() if s.name.startswith("gnn_") or s.name in ("put", "scale"))
    assert image.elf.flash_bytes - model < 1500


def test_the_same_artifact_gives_the_same_image(c_artifact, tmp_path):
    images = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        image = build_firmware(c_artifact, M4, tmp_path / name, compiler="zig")
        images.append([segment.content for segment in image.elf.segments])

    assert images[0] == images[1]


def test_an_image_too_large_for_the_flash_is_refused_with_the_largest_constants(tmp_path):
    artifact = firmware_artifact(tmp_path / "large", padding_bytes=200_000)
    (tmp_path / "build").mkdir()

    with pytest.raises(
        DoesNotFit,
        match=r"tiny needs 20\d,\d{3} B of flash, cortex-m3 has 131,072 B. Largest constants: scale \(200,016 B\)",
    ):
        build_firmware(artifact, load_target("cortex-m3"), tmp_path / "build", compiler="zig")


def test_data_too_large_for_the_ram_is_refused_with_the_largest_objects(c_artifact, tmp_path):
    small = replace(M4, ram_bytes=1024)

    with pytest.raises(
        DoesNotFit, match=r"needs 1,\d{3} B of RAM \(256 B of it for the stack\), .* input \(760 B\), arena \(536 B\)"
    ):
        build_firmware(c_artifact, small, tmp_path, compiler="zig")
    assert MIN_STACK_BYTES == 256


def test_an_artifact_of_another_format_is_refused(exported, tmp_path):
    with pytest.raises(ArtifactError, match=r"format 'torchscript', cortex-m4 runs c. Export the model with --to c"):
        build_firmware(exported.float_artifact, M4, tmp_path)


def test_sources_that_do_not_compile_are_named_with_the_first_error(tmp_path):
    artifact = _variant(tmp_path / "broken", model=b'#include "model.h"\nint x = ;\n')
    (tmp_path / "build").mkdir()

    with pytest.raises(ArtifactError, match=r"model.c cannot be built .*error: expected expression"):
        build_firmware(artifact, M4, tmp_path / "build", compiler="zig")


def test_a_function_that_no_source_defines_is_named(tmp_path):
    source = (firmware_artifact(tmp_path / "whole").path / "model.c").read_bytes()
    artifact = _variant(tmp_path / "half", model=source.replace(b"put(outputs, 0", b"gnn_elsewhere(outputs, 0"))
    (tmp_path / "build").mkdir()

    with pytest.raises(ArtifactError, match="gnn_elsewhere"):
        build_firmware(artifact, M4, tmp_path / "build", compiler="zig")


def test_a_compiler_that_is_not_installed_is_named():
    nowhere = replace(M4, compile=replace(M4.compile, gcc_command="nobodys-gcc"))

    with pytest.raises(MissingDependency, match=r"nobodys-gcc is not installed.*--compiler zig"):
        compiler_command("gcc", nowhere)


def test_sparse_features_are_stored_in_the_image(tmp_path):
    artifact = firmware_artifact(tmp_path / "tiny")
    contents = {name: (artifact.path / name).read_bytes() for name in artifact.files}
    artifact = Artifact.save(
        replace(artifact, provenance={**artifact.provenance, "sparse_features": True}), contents, overwrite=True
    )
    graph = GraphInputs(np.array([[0, 1, 1], [0, 0, 0], [1, 0, 0]]), np.zeros((2, 0)))
    (tmp_path / "build").mkdir()

    image = build_firmware(artifact, M4, tmp_path / "build", compiler="zig", sparse_features=graph)

    start = image.elf.address_of("firmware_x_pointer")
    segment = next(s for s in image.elf.segments if s.address <= start < s.address + len(s.content))
    assert np.frombuffer(segment.content, "<u4", 4, start - segment.address).tolist() == [0, 2, 2, 3]
    with pytest.raises(ArtifactError, match="Pass the graph that they belong to"):
        build_firmware(artifact, M4, tmp_path / "build", compiler="zig")
