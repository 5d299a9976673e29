"""Recipes: what a file may say, and how everything else is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolchain.errors import RecipeError
from toolchain.recipe import Bench, Export, FineTune, Prune, Quantize, Recipe, Verify


def parsed(*steps: Any, **others: Any) -> Recipe:
    return Recipe.parse({"version": 1, "steps": list(steps), **others})


def test_a_whole_recipe_is_read_from_yaml(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "version: 1\nmodel: model.py\nseed: 3\nsteps:\n- prune: {amount: 0.3, scope: global}\n- fine_tune: {epochs: 2}\n"
        "- quantize: {precisions: [float32, static-int8]}\n- export: {formats: [onnx, executorch]}\n- verify:\n- bench\n"
    )

    recipe = Recipe.load(path)

    assert (recipe.model, recipe.seed) == ("model.py", 3)
    assert recipe.steps == [
        Prune(amount=0.3, scope="global"), FineTune(epochs=2), Quantize(precisions=["float32", "static-int8"]),
        Export(formats=["onnx", "executorch"]), Verify(), Bench(),
    ]  # fmt: skip


def test_what_is_written_reads_back() -> None:
    recipe = parsed("prune", {"export": {"options": {"onnx": {"lowering": "dense"}}}}, seed=7)

    assert Recipe.parse(recipe.model_dump()) == recipe


def searching(search: dict[str, Any], **training: Any) -> dict[str, Any]:
    return {"version": 1, "steps": [{"quantize": {"qat": {"search": search, **training}}}]}


@pytest.mark.parametrize(
    ("data", "place"),
    [
        ({"version": 1, "steps": [{"prune": {"amnt": 0.2}}]}, r"steps\.0\.prune\.amnt: unknown key"),
        ({"version": 1, "steps": [{"prune": {"amount": 1.0}}]}, r"steps\.0\.prune\.amount"),
        ({"version": 1, "steps": [{"prune": {"amount": "0.2"}}]}, r"steps\.0\.prune\.amount"),
        ({"version": 1, "steps": [{"quantize": {"precisions": ["int4"]}}]}, r"steps\.0\.quantize\.precisions\.0"),
        ({"version": 1, "steps": [{"quantize": {"edge_arithmetic": "int"}}]}, r"steps\.0\.quantize\.edge_arithmetic"),
        ({"version": 1, "steps": [{"export": {"formats": []}}]}, r"steps\.0\.export\.formats"),
        ({"version": 1, "steps": ["polish"]}, r"steps\.0: 'polish' is no step"),
        ({"version": 1, "steps": [{"prune": {}, "export": {}}]}, r"steps\.0"),
        ({"version": 1, "steps": [[]]}, r"steps\.0"),
        ({"version": 1, "steps": []}, "steps: empty"),
        ({"version": 1, "steps": ["export"], "stpes": []}, "stpes: unknown key"),
        ({"version": 2, "steps": ["export"]}, "version"),
        ({"steps": ["export"]}, "version: Field required"),
        ({"version": 1}, "steps: Field required"),
        ({"version": 1, "steps": ["export", "quantize"]}, "export comes before quantize"),
        ({"version": 1, "steps": ["quantize", "prune"]}, "quantize comes before prune"),
        ({"version": 1, "steps": ["export", "export"]}, "export stands there 2 times"),
        ({"version": 1, "steps": ["prune", "verify"]}, "verify needs artifacts"),
        (
            {"version": 1, "steps": [{"quantize": {"precisions": ["dynamic-int8", "dynamic-int8"]}}]},
            "stands there 2 times",
        ),
        ({"version": 1, "steps": [{"export": {"formats": ["c", "c"]}}]}, "stands there 2 times"),
        (searching({"method": "relaxed", "budget": 0.5}), "budget belongs to method sensitivity or optuna"),
        (searching({"trials": 5}), "trials belongs to method optuna"),
        (searching({"accounting": "bops"}), "does not add up over slots"),
        (searching({}, bits={"*": 4}), "bits stands beside search"),
        (searching({"widths": [0, 8]}), "widths"),
        ([], "holds list"),
        (None, "holds NoneType"),
    ],
)
def test_everything_else_is_refused_with_its_place(data: Any, place: str) -> None:
    with pytest.raises(RecipeError, match=place):
        Recipe.parse(data)


FLOATS = ["float32", "dynamic-int8"]
PORTABLE = {"export": {"formats": ["executorch"], "options": {"executorch": {"backend": "portable"}}}}


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"quantize": {"precisions": FLOATS, "qat_epochs": 5}}], r"steps\.0\.quantize: qat_epochs: 5 is of static-int8, but"),
        ([{"quantize": {"precisions": FLOATS, "weight_bits": 4}}], "weight_bits: 4 is of static-int8"),
        ([{"quantize": {"precisions": FLOATS, "min_agreement": 0.9}}], r"min_agreement: 0\.9 is of static-int8"),
        ([{"quantize": {"qat_lr": 0.01}}], r"qat_lr: 0\.01 is of training, but qat_epochs is 0"),
        ([{"quantize": {"batch_size": 8}}], "batch_size: 8 is of training"),
        ([{"quantize": {"calibration": "minmax", "percentile": 99.0}}], "percentile: 99 cuts ranges, but calibration minmax"),
        ([{"export": {"options": {"c": {"sparse_features": True}}}}], r"options\.c: formats are onnx\. Add c"),
        (["quantize", PORTABLE], r"steps\.1\.export\.options\.executorch\.backend: portable has no int8 product"),
        (["quantize", "fine_tune"], "quantize comes before fine_tune"),
    ],
)  # fmt: skip
def test_steps_that_contradict_themselves_or_each_other_are_refused(steps: list[Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        parsed(*steps)


def test_a_default_that_is_stated_contradicts_nothing() -> None:
    parsed({"quantize": {"precisions": FLOATS, "qat_epochs": 0, "min_agreement": 0.98}}, "export")


def test_pruning_and_fine_tuning_may_alternate() -> None:
    assert len(parsed("prune", "fine_tune", {"prune": {"amount": 0.4}}, "fine_tune", "export").steps) == 5


@pytest.mark.parametrize("text", ["a: [1", "\x00", "a: !!python/object/apply:os.system ['true']", "&a [*a]"])
def test_a_file_that_is_no_plain_yaml_mapping_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)

    with pytest.raises(RecipeError, match=r"recipe\.yaml"):
        Recipe.load(path)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot be read"):
        Recipe.load(tmp_path / "none.yaml")
