"""Recipes: what a file may say, and how everything else is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from toolchain.errors import RecipeError
from toolchain.recipe import Bench, Export, FineTune, Prune, Quantize, Recipe, Verify
from toolchain.recipe_devices import AdbDevice, SerialDevice, SshDevice, beside


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


def test_devices_are_read_by_the_way_to_them() -> None:
    devices = {
        "pi": {"ssh": "raspberrypi.local", "user": "pi", "port": 2222, "identity_file": "~/.ssh/lab"},
        "phone": {"adb": "R58M12"}, "nucleo": {"serial": "/dev/ttyACM0", "baud": 9600},
    }  # fmt: skip

    recipe = parsed("export", devices=devices)

    assert recipe.devices == {
        "pi": SshDevice(ssh="raspberrypi.local", user="pi", port=2222, identity_file="~/.ssh/lab"),
        "phone": AdbDevice(adb="R58M12"), "nucleo": SerialDevice(serial="/dev/ttyACM0", baud=9600),
    }  # fmt: skip
    assert Recipe.parse(recipe.model_dump()) == recipe


@pytest.mark.parametrize(
    ("name", "entry", "words"),
    [
        ("pi", {"ssh": "h", "password": "x"}, r"devices\.pi\.password: unknown key"),
        ("pi", {"ssh": "-oProxyCommand=x"}, r"devices\.pi\.ssh"),
        ("pi", {"ssh": "h", "user": "a b"}, r"devices\.pi\.user"),
        ("pi", {"ssh": "h", "port": 0}, r"devices\.pi\.port"),
        ("pi", {"ssh": "h", "adb": "s"}, r"devices\.pi: .*says not how to reach it, expected one of ssh, adb, serial"),
        ("pi", {"user": "x"}, r"devices\.pi: .*says not how to reach it"),
        ("pi", "h", r"devices\.pi: 'h' says not how to reach it"),
        ("local", {"adb": "s"}, r"devices\.local: is no name for a device"),
        ("a:b", {"adb": "s"}, r"devices\.a:b: is no name for a device"),
        ("n", {"serial": "/dev/x", "baud": "fast"}, r"devices\.n\.baud"),
    ],
)  # fmt: skip
def test_a_device_that_is_not_understood_is_refused_with_its_place(name: str, entry: Any, words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        parsed("export", devices={name: entry})


def test_the_key_of_a_device_lies_beside_the_recipe_or_where_it_says(tmp_path: Path) -> None:
    seen = [beside(SshDevice(ssh="h", identity_file=file), tmp_path) for file in ("key", "/keys/a", "~/key")]

    assert [device.identity_file for device in seen if isinstance(device, SshDevice)] == [
        str(tmp_path / "key"), "/keys/a", str(Path("~/key").expanduser()),
    ]  # fmt: skip


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


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "version: 1\nsteps:\n- prune: {amount: 0.2, amount: 0.5}\n",
            "amount stands there twice, expected once.*line 3",
        ),
        ("version: 1\nsteps: [prune]\nsteps: [share]\n", "steps stands there twice, expected once.*line 3"),
    ],
)
def test_a_key_that_stands_there_twice_is_refused_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)

    with pytest.raises(RecipeError, match=words):
        Recipe.load(path)


def test_numbers_are_read_as_everybody_writes_them_and_own_keys_override_merged_ones(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(
        "version: 1\nsteps:\n- fine_tune: &short {epochs: 2, lr: 1e-3}\n- fine_tune: {<<: *short, lr: 5.0E-4}\n"
    )

    assert Recipe.load(path).steps == [FineTune(epochs=2, lr=0.001), FineTune(epochs=2, lr=0.0005)]


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".", "-o", "a\\b"])
def test_a_name_that_leaves_its_folder_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=r"name: .*becomes part of file names"):
        parsed("prune", name=name)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, "7"])
def test_a_seed_that_no_generator_takes_is_refused(seed: Any) -> None:
    with pytest.raises(RecipeError, match="seed"):
        parsed("prune", seed=seed)


def test_a_codebook_that_the_bits_cannot_hold_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"share\.clusters: 32 values, but quantize\.weight_bits 4 holds 16"):
        parsed({"share": {"clusters": 32}}, {"quantize": {"weight_bits": 4}})
    assert parsed({"share": {"clusters": 16}}, {"quantize": {"weight_bits": 4}}).steps
    with pytest.raises(RecipeError, match=r"share\.clusters: 300 values, but quantize\.weight_bits 8 holds 256"):
        parsed({"share": {"clusters": 300}}, {"quantize": {"precisions": ["dynamic-int8"]}})
    assert parsed({"share": {"clusters": 300}}, {"quantize": {"precisions": ["float32", "float16"]}}).steps
