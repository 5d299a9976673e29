"""benchmark: real measuring processes, their windows, their failures."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_benchmarks.benchmark import Benchmark, Candidate, benchmark
from device_benchmarks.checks import median_graph
from device_benchmarks.graph_file import read_graph, write_graph
from device_benchmarks.measurement import Quantity, Scope
from device_benchmarks.measuring_child import MeasuringChild
from device_benchmarks.protocol import Protocol
from toolchain.errors import MeasurementError
from toolchain.inputs import GraphInputs
from toolchain.model_source import ModelSource

BRIEF = Protocol("brief", samples=24, seconds=0.1, warmup_samples=3, warmup_seconds=0.02, rounds=2)


@pytest.fixture(scope="module")
def measured(exported: Any) -> Benchmark:
    graph = GraphInputs.from_pyg(exported.parts.test[0])
    candidates = [
        Candidate.of_eager(exported.source, "small"),
        Candidate.of_artifact(exported.float_artifact, "small"),
        Candidate.of_eager(ModelSource("no_such_module"), "missing"),
        Candidate(
            "small rival", {}, "small", "torch.onnx dynamo", "float32", is_rival=True, failure="the export failed"
        ),
    ]
    return benchmark(candidates, graph, protocol=BRIEF)


def test_every_scope_has_the_samples_and_seconds_of_the_protocol(measured: Benchmark) -> None:
    for name in ("small PyG eager", "small-float32"):
        for scope in Scope:
            latency = measured.find(name, Quantity.LATENCY, scope)
            assert latency is not None
            assert latency.samples.size >= BRIEF.samples
            assert latency.conditions["seconds"] >= BRIEF.seconds
            assert len(latency.conditions["window_sizes"]) == BRIEF.rounds
            assert (latency.samples > 0).all()


def test_warm_up_is_reported_apart_from_the_samples(measured: Benchmark) -> None:
    warm_up = measured.find("small-float32", Quantity.WARM_UP)
    latency = measured.find("small-float32", Quantity.LATENCY, Scope.MODEL)

    assert warm_up is not None
    assert latency is not None
    assert warm_up.samples.size >= BRIEF.warmup_samples * (1 + 2 * BRIEF.rounds)
    assert sum(latency.conditions["window_sizes"]) == latency.samples.size


def test_graph_preparation_costs_something(measured: Benchmark) -> None:
    alone = measured.find("small-float32", Quantity.LATENCY, Scope.MODEL)
    with_graph = measured.find("small-float32", Quantity.LATENCY, Scope.WITH_GRAPH)

    assert alone is not None
    assert with_graph is not None
    assert with_graph.median > alone.median


def test_file_size_is_that_of_the_model_file(measured: Benchmark, exported: Any) -> None:
    size = measured.find("small-float32", Quantity.FILE_SIZE)

    assert size is not None
    assert size.samples.tolist() == [exported.float_artifact.model_bytes]
    assert measured.find("small PyG eager", Quantity.FILE_SIZE) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_memory_is_split_into_weights_and_working_set(measured: Benchmark) -> None:
    peak = measured.find("small-float32", Quantity.PEAK_RSS)
    weights = measured.find("small-float32", Quantity.WEIGHTS_PRIVATE)

    assert peak is not None
    assert weights is not None
    assert weights.median < peak.median


def test_a_candidate_that_fails_is_reported_and_the_others_are_measured(measured: Benchmark) -> None:
    assert set(measured.failures) == {"missing PyG eager", "small rival"}
    assert "no_such_module" in measured.failures["missing PyG eager"]
    assert measured.find("missing PyG eager", Quantity.LATENCY) is None


def test_nothing_to_measure_is_an_error(exported: Any) -> None:
    graph = GraphInputs.from_pyg(exported.parts.test[0])

    with pytest.raises(MeasurementError, match="nothing could be measured"):
        benchmark([Candidate.of_eager(ModelSource("no_such_module"))], graph, protocol=BRIEF)


def test_two_candidates_of_one_name_are_refused(exported: Any) -> None:
    candidate = Candidate.of_artifact(exported.float_artifact)

    with pytest.raises(MeasurementError, match="share a name"):
        benchmark([candidate, candidate], GraphInputs.from_pyg(exported.parts.test[0]), protocol=BRIEF)


def test_a_damaged_artifact_fails_alone(exported: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for name in ("manifest.json", exported.float_artifact.model_file):
        (broken / name).write_bytes((exported.float_artifact.path / name).read_bytes()[:-1] + b"\n")
    candidates = [
        Candidate.of_artifact(replace(exported.float_artifact, path=broken)),
        Candidate.of_artifact(exported.float_artifact),
    ]

    found = benchmark(candidates, GraphInputs.from_pyg(exported.parts.test[0]), protocol=BRIEF, scopes=(Scope.MODEL,))

    assert list(found.failures) == ["broken"]
    assert "sha256" in found.failures["broken"]


def test_a_process_that_dies_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with MeasuringChild("dying", tmp_path / "child", threads=1) as child:
        child._process.kill()

        with pytest.raises(MeasurementError, match="dying: the measuring process ended with status -9"):
            child.ask({"command": "open"}, 1.0)


def test_what_a_library_prints_does_not_break_the_protocol(exported: Any, tmp_path: Path) -> None:
    noisy = tmp_path / "noisy.py"
    noisy.write_text("import os\nprint('hello')\nos.write(1, b'raw')\n" + Path(exported.source.target).read_text())

    found = benchmark(
        [Candidate.of_eager(ModelSource(str(noisy)), "noisy")], GraphInputs.from_pyg(exported.parts.test[0]), protocol=BRIEF,
        scopes=(Scope.MODEL,),
    )  # fmt: skip

    assert not found.failures


def test_a_command_out_of_order_is_answered_with_an_error(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "device_benchmarks.child"], input='{"command": "open", "warmup": {}}\n', text=True,
        capture_output=True, check=True,
    )  # fmt: skip

    assert json.loads(done.stdout)["type"] == "MeasurementError"


def test_a_graph_survives_the_way_to_the_measuring_process(tmp_path: Path) -> None:
    graph = GraphInputs(
        np.ones((3, 2)), np.array([[0, 1], [1, 2]]), edge_attr=np.ones((2, 4)), batch=np.array([0, 0, 1]), num_graphs=3
    )
    write_graph(graph, tmp_path / "graph.npz")

    read = read_graph(tmp_path / "graph.npz")

    assert read.num_graphs == 3
    assert read.edge_weight is None
    for name in ("x", "edge_index", "edge_attr", "batch"):
        np.testing.assert_array_equal(getattr(read, name), getattr(graph, name))


def test_the_median_graph_is_one_of_the_graphs(exported: Any) -> None:
    graphs = exported.parts.train
    sizes = sorted(graph.num_nodes for graph in graphs)

    assert median_graph(graphs).num_nodes == sizes[(len(sizes) - 1) // 2]
