"""A C artifact on a target: compared with the host, and refused where it does not fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from device_benchmarks.emulated_benchmark import default_engine, emulated_benchmark
from device_benchmarks.made_up_graph import made_up_graph
from device_benchmarks.target import load_target
from tests.firmware_artifact import firmware_artifact, random_graph
from toolchain.artifact import Artifact
from toolchain.errors import DoesNotFit, InvalidInput, MissingDependency

M4 = load_target("cortex-m4")


def _on_arm(folder, source: bytes) -> Artifact:
    """The hand-written model with other C in place of its scale, which only the emulated processor compiles."""
    artifact = firmware_artifact(folder)
    contents = {name: (folder / name).read_bytes() for name in artifact.files}
    contents["model.c"] = contents["model.c"].replace(
        b"static const float scale[4]", source + b"\nstatic const float scale[4]"
    )
    contents["model.c"] = contents["model.c"].replace(b"        float sum = 0.0f;", b"        float sum = START;")
    return Artifact.save(artifact, contents, overwrite=True)


def test_what_is_reported_is_what_the_image_has(c_artifact):
    graphs = [random_graph(seed) for seed in range(5)]

    found = emulated_benchmark(c_artifact, M4, graphs, counted=2, compiler="zig")

    assert (found.compared, found.differences, found.engine) == (5, {}, "unicorn")
    assert (found.nodes, found.edges) == (graphs[2].num_nodes, graphs[2].num_edges)
    assert found.ram_bytes == found.image.elf.ram_bytes + found.stack_bytes
    json = found.to_json()
    assert json["instructions"] == sum(json["instructions_by_function"].values()) == found.instructions
    assert json["flash_bytes"] == json["code_bytes"] + json["constant_bytes"]
    assert json["estimate"]["us"] == pytest.approx(
        found.instructions * M4.estimate.cycles_per_instruction / M4.clock_hz * 1e6
    )
    assert "estimate, 168 MHz" in found.estimate_note


def test_an_output_that_differs_on_the_target_is_found(tmp_path):
    source = b"#ifdef __arm__\n#define START (graph->num_nodes == 7u ? 1.0f : 0.0f)\n#else\n#define START 0.0f\n#endif"
    artifact = _on_arm(tmp_path / "other", source)
    graphs = [random_graph(seed) for seed in range(40)]
    seven = [position for position, graph in enumerate(graphs) if graph.num_nodes == 7]

    found = emulated_benchmark(artifact, M4, graphs, compiler="zig")

    assert seven
    assert list(found.differences) == seven
    assert "7 values differ from the host's, by 1 at most" in found.differences[seven[0]]


def test_a_stack_that_reaches_the_data_does_not_fit(tmp_path):
    source = (
        b"static float deep(void) { volatile float room[300]; for (int i = 0; i < 300; i++) room[i] = 0.0f; return room[9]; }\n"
        b"#ifdef __arm__\n#define START deep()\n#else\n#define START (0.0f * deep())\n#endif"
    )
    artifact = _on_arm(tmp_path / "deep", source)

    with pytest.raises(DoesNotFit, match=r"leaves \d+ B of RAM for the stack on cortex-m4, and all of it was used"):
        emulated_benchmark(artifact, replace(M4, ram_bytes=2048), [random_graph(0)], compiler="zig")


def test_a_graph_that_both_refuse_is_no_difference(c_artifact):
    ok, large = random_graph(0), random_graph(1)
    large = type(large).concatenate([large, large, large])

    found = emulated_benchmark(c_artifact, M4, [ok, large], compiler="zig")

    assert (found.refused, found.differences) == (1, {})


def test_a_graph_that_is_refused_cannot_be_counted(c_artifact):
    large = type(random_graph(1)).concatenate([random_graph(1)] * 3)

    with pytest.raises(InvalidInput, match="room for"):
        emulated_benchmark(c_artifact, M4, [large], compiler="zig")


def test_a_made_up_graph_is_as_large_as_the_artifact_takes(c_artifact):
    graph = made_up_graph(c_artifact)

    assert (graph.num_nodes, graph.num_edges) == (20, 40)
    assert np.bincount(graph.edge_index[1]).max() <= 40
    assert emulated_benchmark(c_artifact, M4, [graph], compiler="zig").differences == {}


def test_a_target_that_nothing_executes_names_what_to_install():
    nowhere = replace(M4, emulator=replace(M4.emulator, unicorn="", qemu=("qemu-system-nowhere",)))

    with pytest.raises(
        MissingDependency, match=r"nothing is installed here that executes code for cortex-m4.*qemu-system-nowhere"
    ):
        default_engine(nowhere)
