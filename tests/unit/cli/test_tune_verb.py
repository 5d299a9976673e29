"""tune: a recipe that runs, the table of what was tried, and one clear error for what cannot be tuned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.small_model import MODEL_FILE, last_error, write_model_file
from toolchain.cli import main
from toolchain.recipe import Recipe


@pytest.fixture(scope="module")
def tuned(workplace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which ONNX and C were tuned for."""
    folder = tmp_path_factory.mktemp("tuned")
    arguments = ["--to", "onnx", "--to", "c", "--buckets", "2", "--most", "1", "--name", "small"]
    assert main(["tune", str(workplace / "small_model.py"), *arguments, "-o", str(folder / "recipe.yaml"), "-q"]) == 0
    return folder


def test_the_recipe_runs_and_makes_the_chosen_artifact(tuned: Path, tmp_path: Path) -> None:
    recipe = Recipe.load(tuned / "recipe.yaml")
    data = json.loads((tuned / "recipe.yaml.tuning.json").read_text())
    chosen = next(attempt for attempt in data["attempts"] if attempt["plan"] == data["chosen"])

    assert main(["run", str(tuned / "recipe.yaml"), "-o", str(tmp_path / "out"), "-q"]) == 0

    (artifact,) = [folder for folder in (tmp_path / "out").iterdir() if (folder / "manifest.json").is_file()]
    assert artifact.name == f"small-{chosen['format']}-float32"
    assert recipe.order == chosen["order"]


def test_the_table_has_every_plan_with_what_was_found_of_it(tuned: Path) -> None:
    data = json.loads((tuned / "recipe.yaml.tuning.json").read_text())
    measured = [attempt for attempt in data["attempts"] if attempt["us"]]

    assert data["default"] == "onnx float32 auto"
    assert {data["default"], data["chosen"]} <= {attempt["plan"] for attempt in measured}
    assert (
        len(data["attempts"]) == 12
    )  # four lowerings of ONNX, a fifth that switches between the buckets, and C; two orders
    assert len(measured) == data["measured"] <= 4  # the default, the first of both formats, and one more
    assert all(len(attempt["us"]) == len(data["buckets"]) == 2 for attempt in measured)
    assert all(attempt["difference"] < 1e-5 and attempt["bytes"] > 0 for attempt in measured)
    assert not list(tuned.glob("*.partial.json"))


def test_the_operator_that_has_to_be_compiled_can_be_left_out(model: str, tmp_path: Path, capsys: Any) -> None:
    arguments = [
        "--to",
        "onnx",
        "--buckets",
        "1",
        "--most",
        "1",
        "--stock-operators",
        "-o",
        str(tmp_path / "recipe.yaml"),
    ]

    assert main(["tune", model, *arguments, "--format", "json", "-q"]) == 0

    options = [attempt["options"]["lowering"] for attempt in json.loads(capsys.readouterr().out)["attempts"]]
    assert set(options) == {"auto", "dense", "scatter"}


def test_what_is_there_is_kept_unless_told_otherwise(tuned: Path, model: str, capsys: Any) -> None:
    before = (tuned / "recipe.yaml").read_text()

    assert main(["tune", model, "--to", "onnx", "-o", str(tuned / "recipe.yaml")]) == 1

    assert "already exists" in last_error(capsys.readouterr())
    assert (tuned / "recipe.yaml").read_text() == before


def test_for_size_the_smallest_model_that_agrees_is_chosen(tmp_path: Path, capsys: Any) -> None:
    model = str(
        write_model_file(tmp_path, MODEL_FILE.replace("8", "64"))
    )  # so wide that codes save more than scales cost
    precisions = ["--precision", "float32", "--precision", "dynamic-int8", "--min-agreement", "50%"]
    arguments = ["--for", "size", "--to", "onnx", *precisions, "--buckets", "1", "-o", str(tmp_path / "recipe.yaml")]

    assert main(["tune", model, *arguments, "--format", "json", "-q"]) == 0

    data = json.loads(capsys.readouterr().out)
    sizes = {attempt["plan"]: attempt["bytes"] for attempt in data["attempts"] if not attempt["refusal"]}
    assert sizes[data["chosen"]] == min(sizes.values()) < sizes[data["default"]]
    steps = yaml.safe_load((tmp_path / "recipe.yaml").read_text())["steps"]
    assert steps[0] == {"quantize": {"precisions": ["dynamic-int8"]}}
    assert steps[-1] == {"verify": {"min_agreement": 0.5}}


def test_a_plan_that_does_not_agree_as_asked_is_never_chosen(model: str, tmp_path: Path, capsys: Any) -> None:
    output = tmp_path / "recipe.yaml"
    arguments = ["--to", "litert", "--precision", "dynamic-int8", "--max-difference", "1e-9", "-o", str(output)]

    assert main(["tune", model, *arguments, "-q"]) == 3

    assert "no plan agrees with the PyG model as asked; nearest is litert" in last_error(capsys.readouterr())
    assert not output.exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["-d", "nothing"], 2, "device 'nothing' is unknown"),
        (["-d", "ssh:no-such-host.invalid"], 1, "no-such-host.invalid"),
        (["-d", "serial:/dev/no-such-port"], 2, "a board runs the one that it was flashed with"),
        (["-d", "local", "-d", "adb"], 2, "a recipe is for one target"),
        (["--max-nodes", "6"], 1, "but --max-nodes is 6"),
        (["--resume", "--overwrite"], 2, "give one of them"),
    ],
)
def test_what_cannot_be_tuned_for_is_refused(
    model: str, tmp_path: Path, capsys: Any, arguments: list[str], status: int, words: str
) -> None:
    assert main(["tune", model, *arguments, "-o", str(tmp_path / "recipe.yaml"), "-q"]) == status

    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_no_format_takes_is_one_error(tmp_path: Path, capsys: Any) -> None:
    text = MODEL_FILE.replace("global_mean_pool(self", "torch.fft.fft(self").replace(", batch))", ").real)")
    model = write_model_file(tmp_path, text, "fourier.py")

    assert main(["tune", str(model), "-o", str(tmp_path / "recipe.yaml"), "-q"]) == 1

    assert "fft" in last_error(capsys.readouterr())


def test_sample_graphs_of_another_file_need_to_be_there(model: str, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "none.py").write_text("def get_graphs():\n    return []\n")
    output = str(tmp_path / "recipe.yaml")

    assert main(["tune", model, "--graphs", str(tmp_path / "none.py"), "-o", output, "-q"]) == 1
    assert "get_graphs() returned no graph" in last_error(capsys.readouterr())

    assert main(["tune", "model.pgnn", "-o", output, "-q"]) == 2
    assert "a recipe starts from a model file" in last_error(capsys.readouterr())
