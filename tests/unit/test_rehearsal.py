"""rehearse: what a step would refuse of this model is refused before anything is trained or written."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

from tests.small_model import write_model_file
from toolchain.errors import ArtifactError, QuantizationRefused, RecipeError
from toolchain.frontend import lower
from toolchain.model_source import GraphParts, ModelSource, parts_of
from toolchain.pipeline import build
from toolchain.recipe import Recipe
from toolchain.rehearsal import rehearse


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ModelSource:
    return ModelSource(str(write_model_file(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="module")
def parts(source: ModelSource) -> GraphParts:
    return parts_of(source.graphs())


def recipe(*steps: Any) -> Recipe:
    return Recipe.parse({"version": 1, "name": "small", "steps": list(steps)})


def qat(**options: Any) -> dict[str, Any]:
    return {"quantize": {"qat": options}}


def test_a_rehearsal_reports_no_step_since_none_was_taken(
    source: ModelSource, parts: GraphParts, caplog: pytest.LogCaptureFixture
) -> None:
    graph = lower(source.model(), parts.train[0])

    with caplog.at_level(logging.INFO):
        rehearse(recipe("prune", "share"), graph, parts)

    assert caplog.messages == []


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([qat(bits={"conv7.*": 4})], r"bits of 'conv7\.\*': no value or weight has this name\. There are x, conv1"),
        ([qat(bits={"*": 8}, dropout={"conv7.*": 0.5})], r"dropout of 'conv7\.\*': no value or weight has this name"),
        ([qat(dropout={"conv1.lin.weight": 0.5})], r"dropout of 'conv1\.lin\.weight': is a weight"),
        ([qat(search={"widths": {"conv7.*": [2]}})], r"widths of 'conv7\.\*': no value or weight has this name"),
        ([qat(bits={"*": 16})], r"weight: 16 bits, weights have 1 to 8"),
        (["prune", qat(bits={"*weight": 1})], r"conv1\.lin\.weight: 1-bit codes are \+1 and -1, and its pruned weights"),
        ([{"prune": {"method": "snip"}}, qat(bits={"conv2*weight": 1})], r"conv2\.lin\.weight: 1-bit codes"),
        ([{"prune": {"targets": ["conv7"]}}], r"targets: 'conv7' names no weight"),
        ([{"prune": {"method": "ecs", "targets": ["conv7"]}}], r"targets: 'conv7' names no weight"),
        ([{"prune": {"method": "channels", "channels": 50}}], r"channels: 50 of conv1\.lin, which has 8"),
        ([{"share": {"clusters": 5000}}], r"40 weights, fewer than the 5000 clusters"),
        ([{"prune": {"method": "bogp", "nodes": 50}}], r"nodes: 50, but no pruned weight has more than 8 channels"),
        (["share", {"share": {"clusters": 4}}], "has its values from the codebook .* already"),
    ],
)  # fmt: skip
def test_steps_that_do_not_fit_the_model_are_refused_before_any_training(
    source: ModelSource, parts: GraphParts, tmp_path: Path, steps: list[Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        build(source.model(), parts, recipe(*steps), tmp_path, progress=_no_training)

    assert list(tmp_path.iterdir()) == []


def _no_training(line: str) -> None:
    assert line == "lowering the model"


def test_steps_that_fit_the_model_are_rehearsed_without_a_word(source: ModelSource, parts: GraphParts) -> None:
    steps = recipe(
        {"prune": {"method": "channels", "amount": 0.5}}, {"prune": {"method": "bogp", "amount": 0.5}},
        {"prune": {"amount": 0.6, "rounds": 2, "epochs": 1}}, {"fine_tune": {"epochs": 100}}, {"share": {"clusters": 4}},
        qat(bits={"*": 4, "conv1.lin.weight": 2}, dropout={"x": 0.5}, epochs=100),
    )  # fmt: skip

    rehearse(steps, lower(source.model(), parts.train[0]), parts)


def test_halves_that_would_change_nothing_are_refused_before_any_training(
    source: ModelSource, parts: GraphParts, tmp_path: Path
) -> None:
    steps = recipe("fine_tune", {"quantize": {"precisions": ["float16"]}})

    with pytest.raises(QuantizationRefused, match="float16 would change nothing"):
        build(source.model(), parts, steps, tmp_path, progress=_no_training)


@pytest.mark.parametrize("method", ["snip", "ecs"])
def test_frozen_weights_have_no_gradient_to_be_pruned_by(
    method: str, source: ModelSource, parts: GraphParts, tmp_path: Path
) -> None:
    model = source.model()
    model.conv1.requires_grad_(False)

    with pytest.raises(RecipeError, match=r"conv1\.lin\.weight: is not trainable, so it has no gradient"):
        build(model, parts, recipe("fine_tune", {"prune": {"method": method}}), tmp_path, progress=_no_training)


def test_an_artifact_that_is_there_already_is_found_before_any_training(
    source: ModelSource, parts: GraphParts, tmp_path: Path
) -> None:
    (tmp_path / "small-onnx-float32").mkdir()
    steps = recipe({"prune": {}}, "export")

    with pytest.raises(ArtifactError, match="small-onnx-float32: already exists"):
        build(source.model(), parts, steps, tmp_path, progress=_no_training)
    with pytest.raises(ArtifactError, match="exists and is not an artifact folder"):
        build(source.model(), parts, steps, tmp_path, overwrite=True, progress=_no_training)
