"""CMake projects and Arduino libraries: built with the tools that are here, run, and held against their rules."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.c_tools import STRICT, compile_objects, cortex_m4_compilers, host_compilers, run
from tests.package_builds import build, cmake, ctest, sketch_program, wrong
from toolchain.artifact import Artifact
from toolchain.exporters.packages import Sample, write_package
from toolchain.exporters.packages.arduino import library_name

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
