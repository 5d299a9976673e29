"""pocketgnn share and the share step of recipes: what they write, and wrong usage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.small_model import last_error
from toolchain.cli import main
from toolchain.errors import RecipeError
from toolchain.graph_file import load_graph
from toolchain.recipe import FineTune, Quantize, Recipe, ShareWeights


def distinct(file: Path) -> dict[str, int]:
    """Number of values of each weight matrix."""
    constants = load_graph(file).graph.constants
    return {name: np.unique(array).size for name, array in constants.items() if array.ndim == 2}


def test_the_weights_of_the_written_graph_share_k_values_after_fine_tuning(model: str, tmp_path: Path):
    output = tmp_path / "shared.pgnn"
    assert main(["share", model, "--clusters", "5", "--fine-tune", "1", "-o", str(output), "-q"]) == 0
    assert distinct(output) == {"conv1.lin.weight": 5, "conv2.lin.weight": 5, "head.weight": 5}


def test_what_share_writes_is_quantized_without_losing_the_sharing(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    shared, int8 = tmp_path / "shared.pgnn", tmp_path / "int8.pgnn"
    arguments = ["--clusters", "4", "--scope", "global", "--no-head", "--format", "json"]
    assert main(["share", model, "-o", str(shared), *arguments]) == 0
    (step,) = json.loads(capsys.readouterr().out)["steps"]
    assert step["name"] == "share 4 values (global)"
    quantize = ["quantize", str(shared), "--graphs", model, "--min-agreement", "0", "-o", str(int8), "-q"]
    assert main(quantize) == 0
    counts = distinct(int8)
    assert max(counts["conv1.lin.weight"], counts["conv2.lin.weight"]) <= 4 < counts["head.weight"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--clusters", "1"], "1 is not in the range x>=2"),
        (["--clusters", "25"], "head.weight has 24 weights, fewer than the 25 clusters asked for"),
        (["--target", "conv7"], "'conv7' names no weight"),
        (["--init", "random"], "'random' is not one of"),
    ],
)
def test_wrong_usage_is_one_clear_error_and_leaves_nothing(
    arguments: list[str], message: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["share", model, "-o", str(tmp_path / "s.pgnn"), *arguments]) == 2
    assert message in last_error(capsys.readouterr())
    assert list(tmp_path.iterdir()) == []


def parsed(*steps: Any) -> Recipe:
    return Recipe.parse({"version": 1, "steps": list(steps)})


def test_a_recipe_may_share_and_train_the_values():
    recipe = parsed("prune", "fine_tune", {"share": {"clusters": 32, "scope": "module"}}, "fine_tune", "quantize")

    assert recipe.steps[2:] == [ShareWeights(clusters=32, scope="module"), FineTune(), Quantize()]
    assert Recipe.parse(recipe.model_dump()) == recipe


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"share": {"clusters": 1}}], r"steps\.0\.share\.clusters: .*greater than or equal to 2"),
        ([{"share": {"bits": 4}}], r"steps\.0\.share\.bits: unknown key"),
        (["share", "prune"], "share comes before prune"),
        (["quantize", "share"], "quantize comes before share"),
    ],
)
def test_a_share_step_that_does_not_fit_is_refused_with_its_place(steps: list[Any], message: str):
    with pytest.raises(RecipeError, match=message):
        parsed(*steps)


def test_a_recipe_with_a_share_step_builds(workplace: Path, model: str, tmp_path: Path):
    recipe = tmp_path / "recipe.yaml"
    steps = [{"share": {"clusters": 4}}, {"fine_tune": {"epochs": 1}}, {"export": {"formats": ["onnx"]}}]
    recipe.write_text(json.dumps({"version": 1, "model": model, "steps": steps}), encoding="utf-8")

    assert main(["run", str(recipe), "-o", str(tmp_path / "out"), "-q"]) == 0
    assert (tmp_path / "out" / "model-onnx-float32" / "model.onnx").is_file()
