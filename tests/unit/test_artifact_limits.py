"""Limits of a search: what is measured is what the exported model has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from device_benchmarks.host_latency import HostLatency
from tests.small_model import write_model_file
from tests.unit.compression.hand_built import gcn_graph, many_inputs
from toolchain.artifact import Artifact
from toolchain.artifact_limits import budgets
from toolchain.compression import StaticInt8, quantize
from toolchain.errors import RecipeError
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.inputs import GraphInputs
from toolchain.model_source import GraphParts, ModelSource, parts_of
from toolchain.pipeline import build
from toolchain.qat_step import Limits
from toolchain.recipe import Recipe

BOUNDS = Bounds(40, 160, 1, 20)


def test_size_and_memory_are_those_of_the_exported_model(tmp_path: Path) -> None:
    graph = quantize(gcn_graph(), StaticInt8(many_inputs(10), mode="int8", min_agreement=0))
    found = {b.name: b.measure(graph) for b in budgets(Limits(size_bytes=1, memory_bytes=1), BOUNDS, None)}

    artifact = export(graph, "c", tmp_path / "c", bounds=BOUNDS)
    assert found == {
        "size_bytes": artifact.model_bytes, "memory_bytes": artifact.provenance["arena_bytes"],
    }  # fmt: skip
    (size,) = budgets(Limits(format="onnx", size_bytes=1), BOUNDS, None)
    assert size.measure(graph) == export(graph, "onnx", tmp_path / "onnx").model_bytes


def test_a_candidate_s_latency_is_measured_in_its_runtime(tmp_path: Path) -> None:
    inputs = many_inputs(1)[0]
    artifact = export(gcn_graph(), "onnx", tmp_path / "onnx")

    assert HostLatency(inputs, samples=3)(artifact) > 0


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return ModelSource(str(write_model_file(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def parts(source: ModelSource) -> GraphParts:
    return parts_of(source.graphs())


def searched(limits: dict[str, Any], **options: Any) -> Recipe:
    search = {"method": "optuna", "widths": [2, 8], "trials": 6, "limits": limits, **options}
    steps = [{"quantize": {"qat": {"epochs": 1, "search": search}}}, {"export": {"formats": ["c"]}}]
    return Recipe.parse({"version": 1, "name": "small", "steps": steps})


def test_a_recipe_stays_within_the_bytes_that_it_states(source: ModelSource, parts: GraphParts, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    recipe = searched({"size_bytes": 450, "memory_bytes": 3000}, channels=[0.0, 0.5])
    (built,) = build(source.model(), parts, recipe, tmp_path).artifacts

    assert built.artifact.model_bytes <= 450
    assert built.artifact.provenance["arena_bytes"] <= 3000


def test_bytes_that_nothing_reaches_name_the_nearest(source: ModelSource, parts: GraphParts, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    with pytest.raises(RecipeError, match=r"none of 6 candidates meets them; .*size_bytes \d+ of 10"):
        build(source.model(), parts, searched({"size_bytes": 10}), tmp_path)


def slow(artifact: Artifact) -> float:
    return 50.0


def test_a_limit_of_latency_is_held_by_what_measures_it(source: ModelSource, parts: GraphParts, tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    with pytest.raises(RecipeError, match=r"latency_us 50 of 20"):
        build(source.model(), parts, searched({"latency_us": 20}, trials=2), tmp_path, latency=slow)


def test_a_limit_of_latency_without_what_measures_it_is_refused_before_any_training(
    source: ModelSource, parts: GraphParts, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="limits: latency_us runs artifacts"):
        build(source.model(), parts, searched({"latency_us": 20}), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({}, "limits: limits nothing; give size_bytes, memory_bytes or latency_us"),
        ({"size_bytes": 0}, "limits.size_bytes"),
        ({"format": "onnx", "memory_bytes": 100}, "memory_bytes is known of c only, and the format is onnx"),
    ],
)
def test_limits_that_cannot_be_are_refused(limits: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        searched(limits)


def test_limits_and_channels_belong_to_optuna() -> None:
    for option in ({"limits": {"size_bytes": 1}}, {"channels": [0.5]}):
        with pytest.raises(RecipeError, match=f"{next(iter(option))} belongs to method optuna"):
            Recipe.parse({"version": 1, "steps": [{"quantize": {"qat": {"search": option}}}]})


def test_graphs_of_the_measure_travel_to_other_processes() -> None:
    import pickle

    inputs = many_inputs(1)[0]
    assert isinstance(pickle.loads(pickle.dumps(HostLatency(inputs))).graph, GraphInputs)
