"""The static programs of C artifacts by zig and by gcc, for every processor that one is built for; foreign ones in QEMU."""

from __future__ import annotations

import importlib.util
import shutil

import pytest

import runtimes
from device_benchmarks import native_program
from device_benchmarks.device_target import MACHINES
from device_benchmarks.native_files import graphs_file, read_results
from device_benchmarks.native_program import GCC, build_program
from device_benchmarks.transports import LocalTransport

pytestmark = pytest.mark.devices
PLAYERS = {"x86_64": (), "aarch64": ("qemu-aarch64",), "armv7l": ("qemu-arm",)}
SMALL, LARGE = 100_000, 1_000_000  # with musl; with the static C library of a Linux distribution


@pytest.fixture(params=["zig", "gcc"])
def compiler(request, monkeypatch) -> str:
    """Who is there: zig and the system's compilers, or these alone."""
    name: str = request.param
    if name == "zig":
        pytest.importorskip("ziglang")
        return name
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None if module == "ziglang" else find(module))
    return name


@pytest.mark.parametrize("machine", sorted(PLAYERS))
def test_a_static_program_gives_the_outputs_of_the_host_bit_for_bit(machine, compiler, int8_artifact, graphs, tmp_path):
    player, zig = PLAYERS[machine], MACHINES[machine]
    if player and shutil.which(player[0]) is None:
        pytest.skip(f"{player[0]}: not installed")
    if compiler == "gcc" and not any(shutil.which(name) for name in GCC[zig[1]]):
        pytest.skip(f"none of {', '.join(GCC[zig[1]])}: not installed")
    runtime = runtimes.load(int8_artifact)

    program = build_program(int8_artifact, zig, tmp_path)
    (tmp_path / "graphs").write_bytes(graphs_file(runtime, graphs, program.build))
    command = [*player, str(program.path), str(tmp_path / "graphs"), str(tmp_path / "results"), "300", "0"]
    with LocalTransport() as transport:
        done = transport.run(command, seconds=300)

    assert done.status == 0, done.error
    answers = read_results((tmp_path / "results").read_bytes(), runtime, graphs, program.build)
    for graph, found in zip(graphs, answers.computed, strict=True):
        assert [output.tobytes() for output in found.outputs] == [output.tobytes() for output in runtime.run(graph)]
    is_small = compiler == "zig" or "musl" in program.compiler
    assert program.compiler.startswith("zig " if compiler == "zig" else tuple(GCC[zig[1]]))
    assert program.path.stat().st_size < (SMALL if is_small else LARGE)


def test_the_processor_of_a_target_is_said_to_gcc_in_its_own_words(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    if shutil.which("aarch64-linux-gnu-gcc") is None:
        pytest.skip("aarch64-linux-gnu-gcc: not installed")

    command, select, stated = native_program.cross_compiler(("-target", "aarch64-linux-musl", "-mcpu=cortex_a72"))

    assert select == ("-mcpu=cortex-a72",)
    assert "aarch64-linux" in command[0] and "gcc" in stated
