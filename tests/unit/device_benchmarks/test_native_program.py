"""The program that runs on devices, here: its outputs, its times, and files that are damaged."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

import runtimes
from device_benchmarks.device_answers import Timing
from device_benchmarks.device_facts import read_facts
from device_benchmarks.device_session import bench_on, verify_on
from device_benchmarks.measurement import Scope
from device_benchmarks.native_files import graphs_file, read_results
from device_benchmarks.native_program import build_program
from device_benchmarks.native_runner import NativeRunner
from device_benchmarks.protocol import Protocol
from device_benchmarks.transports import LocalTransport, RunFolder
from tests.tiny_c_model import SOURCE, tiny_graph, write_tiny
from toolchain.errors import ArtifactError, DeviceError, InvalidInput, MeasurementError, MissingDependency

SHORT = Protocol("short", samples=8, seconds=0.05, warmup_samples=2, warmup_seconds=0.01, rounds=2)
GRAPHS = [tiny_graph(seed, nodes=2 + seed % 5, edges=seed % 9, graphs=1 + seed % 2) for seed in range(30)]


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return write_tiny(tmp_path_factory.mktemp("tiny") / "tiny-c")


@pytest.fixture(scope="module")
def results(artifact, tmp_path_factory):
    """Runtime, program, and the file of results of two graphs."""
    runtime, folder = runtimes.load(artifact), tmp_path_factory.mktemp("program")
    program = build_program(artifact, (), folder)
    (folder / "graphs").write_bytes(graphs_file(runtime, GRAPHS[:2], program.build))
    with LocalTransport() as transport:
        done = transport.run(
            [str(program.path), str(folder / "graphs"), str(folder / "results"), "60", "0"], seconds=60
        )
    assert done.status == 0, done.error
    return runtime, program, (folder / "results").read_bytes()


def test_outputs_are_those_of_the_host_bit_for_bit(artifact, place):
    report = verify_on(LocalTransport(), artifact, GRAPHS)

    assert (report.graphs, report.identical, report.differences) == (30, 30, {})
    assert (report.max_abs, report.max_relative, report.is_exact) == (0.0, 0.0, True)
    assert list(place.iterdir()) == []


def test_a_run_that_times_nothing_tells_the_memory_of_the_program(artifact):
    """A device that is emulated, and never timed, keeps its account of memory as any other."""
    memory = verify_on(LocalTransport(), artifact, GRAPHS).memory

    assert 2**16 < memory["pss_bytes"] <= memory["peak_rss_bytes"] < 10 * 2**20


def test_every_graph_of_a_model_with_nodes_batches_and_edge_attributes_is_compared(artifact):
    large = tiny_graph(1, nodes=6, edges=10)
    too_large = type(large).concatenate([large, large])

    report = verify_on(LocalTransport(), artifact, [large, too_large])

    assert (report.graphs, report.refused, report.identical) == (2, 1, 1)


def test_an_output_that_differs_on_the_device_is_found(tmp_path):
    there = '__has_include("benchmark_model.h")'  # the library of the host is built without it
    source = SOURCE.replace("float sum = features->x[2 * i + c];", "float sum = features->x[2 * i + c] + START;")
    source = (
        f"#if {there}\n#define START (a->num_nodes == 3u ? 1.0f : 0.0f)\n#else\n#define START 0.0f\n#endif\n{source}"
    )

    report = verify_on(LocalTransport(), write_tiny(tmp_path / "lying", source=source), GRAPHS)

    assert list(report.differences) == [position for position, graph in enumerate(GRAPHS) if graph.num_nodes == 3]
    assert report.identical == len(GRAPHS) - len(report.differences)
    assert "values differ from the host's, by" in next(iter(report.differences.values()))


def test_a_benchmark_has_samples_of_both_scopes_memory_and_why_it_is_valid(artifact):
    result = bench_on(LocalTransport(), artifact, GRAPHS[0], protocol=SHORT, source="a test")
    found = result.to_json()

    assert result.is_valid and result.reasons == []
    met = ("min_samples_met", "min_duration_met", "outputs_equal", "not_emulated")
    assert [found["validity"][flag] for flag in met] == [True] * 4
    for scope in Scope:
        latency = found["latency_us"][scope.value]
        samples = np.concatenate([window["samples_us"] for window in latency["windows"]])
        assert len(latency["windows"]) == SHORT.rounds
        assert latency["n"] == samples.size == result.samples_us(scope).size
        assert (latency["mean"], latency["std"]) == pytest.approx((samples.mean(), samples.std()))
        assert latency["cv"] == pytest.approx(samples.std() / samples.mean())
        assert latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"]
        assert all(window["inferences"] >= SHORT.window.samples for window in latency["windows"])
        assert all(window["warm_up"] >= SHORT.warmup_samples for window in latency["windows"])
        assert all(w["stride"] * (len(w["samples_us"]) - 1) < w["inferences"] for w in latency["windows"])
    assert found["seconds"]["wall"] > found["seconds"]["measuring"] >= 2 * SHORT.seconds
    assert found["inputs"]["nodes"] == GRAPHS[0].num_nodes
    assert (found["tool"], found["version"]) == ("pocketgnn", metadata.version("pocketgnn"))


@pytest.mark.parametrize(
    ("asked", "reason"), [({"samples": 10**9}, "min samples met"), ({"seconds": 1e9}, "min duration met")]
)
def test_too_few_samples_or_too_little_time_make_a_result_invalid(artifact, asked, reason):
    result = bench_on(LocalTransport(), artifact, GRAPHS[0], protocol=SHORT)

    strict = dataclasses.replace(result, protocol=dataclasses.replace(SHORT, **asked))

    assert result.is_valid and not strict.is_valid
    assert strict.reasons == [reason]


def test_a_result_is_written_once(artifact, tmp_path):
    result = bench_on(LocalTransport(), artifact, GRAPHS[0], protocol=SHORT)
    path = result.write(tmp_path / "out" / "result.json")

    assert json.loads(path.read_text())["valid"] is True
    with pytest.raises(ArtifactError, match=r"result\.json: already exists"):
        result.write(path)
    assert [item.name for item in path.parent.iterdir()] == ["result.json"]


def test_results_that_were_cut_off_are_refused(results):
    runtime, program, data = results

    for end in [*range(40), len(data) - 13, len(data) - 12, len(data) - 4, len(data) - 1]:
        with pytest.raises(MeasurementError):
            read_results(data[:end], runtime, GRAPHS[:2], program.build)


def test_results_with_a_changed_bit_are_refused(results):
    runtime, program, data = results

    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 4
        with pytest.raises(MeasurementError):
            read_results(bytes(damaged), runtime, GRAPHS[:2], program.build)


def test_results_of_another_build_are_refused(results):
    runtime, _, data = results

    with pytest.raises(MeasurementError, match="are not of this program"):
        read_results(data, runtime, GRAPHS[:2], bytes(8))


@pytest.mark.parametrize(
    ("change", "status", "words"),
    [
        (lambda data: b"", 3, "too short"),
        (lambda data: data[:100], 3, "too short"),
        (lambda data: b"X" + data[1:], 3, "the graphs are not for this model"),
        (lambda data: data[:8] + bytes(8) + data[16:], 3, "the graphs are not for this model"),
        (lambda data: data[:24] + b"\xff\xff\xff\xff" + data[28:], 3, "larger than the model takes"),
    ],
)
def test_the_program_refuses_a_file_of_graphs_that_is_damaged(results, tmp_path, change, status, words):
    runtime, program, _ = results
    (tmp_path / "graphs").write_bytes(change(graphs_file(runtime, GRAPHS[:2], program.build)))

    with LocalTransport() as transport:
        done = transport.run(
            [str(program.path), str(tmp_path / "graphs"), str(tmp_path / "results"), "60", "0"], seconds=60
        )

    assert (done.status, words in done.error) == (status, True)


def test_a_disk_that_is_full_is_told_by_the_program(results, tmp_path):
    runtime, program, _ = results
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full: this system has none")
    (tmp_path / "graphs").write_bytes(graphs_file(runtime, GRAPHS[:2], program.build))

    with LocalTransport() as transport:
        done = transport.run([str(program.path), str(tmp_path / "graphs"), "/dev/full", "60", "0"], seconds=60)

    assert done.status == 4
    assert "the results cannot be written: No space left" in done.error


def test_a_program_without_its_arguments_says_which_they_are(results):
    _, program, _ = results

    with LocalTransport() as transport:
        done = transport.run([str(program.path)], seconds=60)

    assert (done.status, done.first_line[:27]) == (2, "benchmark GRAPHS RESULTS SE")


def test_no_graphs_are_refused(artifact):
    with pytest.raises(InvalidInput, match="no graphs to compare on"):
        verify_on(LocalTransport(), artifact, [])


def test_timing_runs_on_the_cores_that_were_asked_for(artifact):
    runtime = runtimes.load(artifact)
    with LocalTransport() as transport:
        runner = NativeRunner(runtime, read_facts(transport), local=True)
        runner.build()
        with RunFolder(transport) as folder:
            runner.install(folder)
            assert runner.run(folder, GRAPHS[:1], Timing(0, SHORT, 0b1)).windows
            with pytest.raises(DeviceError, match="the device does not have these cores"):
                runner.run(folder, GRAPHS[:1], Timing(0, SHORT, 1 << 63))


def test_without_any_compiler_for_a_processor_the_ways_to_one_are_named(artifact, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda module: None)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingDependency, match=r"compiles for arm-linux-musleabihf.*ziglang.*arm-linux-gnueabihf-gcc"):
        build_program(artifact, ("-target", "arm-linux-musleabihf"), tmp_path)
