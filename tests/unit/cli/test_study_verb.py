"""pocketgnn study: the list, a run, its table, and how it goes on."""

from __future__ import annotations

import json
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.small_model import last_error
from toolchain.cli import main, studying
from toolchain.cli.options import read_settings
from toolchain.cli.studying import study
from toolchain.studies.registry import STUDIES
from toolchain.studies.registry import study as found

pytest.importorskip("sklearn")
RESULTS = Path(__file__).parents[3] / "toolchain/studies/results"
SMALL = ["study", "digits-sensitivity", "--seeds", "1", "--epochs", "1", "--set", "limit=60", "--model", "mlp"]


def test_the_list_names_every_study(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["study", "--list"]) == 0

    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(STUDIES)


def test_a_run_writes_rows_with_their_command_and_prints_the_means(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "rows.csv"
    assert main([*SMALL, "-o", str(path), "--format", "json"]) == 0

    captured = capsys.readouterr()
    data = json.loads(captured.out)
    assert path.read_text().splitlines()[:2] == [
        "# pocketgnn study digits-sensitivity --seeds 1 --model mlp --set limit=60 --epochs 1",
        "# settings: epochs=1 limit=60",
    ]
    assert captured.err.splitlines()[0] == "[0/7]"
    assert captured.err.splitlines()[-1].startswith("[7/7] mlp 0 0.05 ecs: test ")
    assert [row["method"] for row in data["rows"]] == ["dense", *["snip", "ecs"] * 3]
    assert data["summary"][0]["columns"]["test"]["mean"] == data["rows"][0]["test"]

    assert main([*SMALL, "-o", str(path), "-q"]) == 1
    assert "--resume" in last_error(capsys.readouterr())

    path.write_text("\n".join(path.read_text().splitlines()[:-2]) + "\n")
    assert main([*SMALL, "-o", str(path), "--resume"]) == 0
    captured = capsys.readouterr()
    assert captured.err.splitlines()[0] == "[5/7] 5 of 7 rows are there"
    assert "±" in captured.out
    assert len(path.read_text().splitlines()) == 3 + 7


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.csv")), ids=lambda path: path.stem)
def test_the_command_of_every_published_file_is_one_that_can_be_given(path: Path) -> None:
    program, *arguments = shlex.split(path.read_text().splitlines()[0].removeprefix("# "))
    if program == "python":
        assert find_spec(arguments[1]) is not None
        return
    given = study.make_context("study", arguments[1:]).params  # refuses what is left over
    settings = {**read_settings(given["settings"]), **({"epochs": given["epochs"]} if given["epochs"] else {})}

    assert (program, arguments[0]) == ("pocketgnn", "study")
    assert (given["data_root"] is not None) == bool(found(given["name"]).data_sets)
    found(given["name"]).settings_with(settings)


def test_a_command_is_quoted_for_the_shell() -> None:
    scope = found("tu").scope(folds=1, data_root=Path("data"))
    command = studying._command("tu", scope, {"methods": "float+4 learned, masked", "epochs": 2}, ())

    assert shlex.split(command)[-4:] == ["--set", "methods=float+4 learned, masked", "--epochs", "2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a study"),
        (["mnist"], "study 'mnist' is unknown"),
        (["digits-bogp", "--folds", "3"], "folds: digits-bogp has none"),
        (["proteins-pruning"], "reads PROTEINS. Pass --data-root"),
        (["digits-bogp", "--resume", "--overwrite"], "give one of them"),
        (["digits-bogp", "--set", "epoch=1"], "no setting of digits-bogp"),
        (["digits-bogp", "--model", "gcn"], "digits-bogp has mlp, gin"),
    ],
)
def test_wrong_usage_is_one_clear_error(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["study", *arguments, "-o", str(tmp_path / "rows.csv")]) == 2
    assert message in last_error(capsys.readouterr())
    assert list(tmp_path.iterdir()) == []
