"""Study: what is run, what is refused, and that no row is measured twice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from toolchain.errors import ArtifactError, RecipeError
from toolchain.studies.registry import STUDIES, study
from toolchain.studies.study import Found, Key, Scope, Study, run
from toolchain.studies.summary import Estimate, summary


@dataclass(frozen=True, slots=True)
class Settings:
    epochs: int = 2
    share: float = 0.5
    limit: int | None = None


class Measured:
    """Measures by arithmetic, and remembers what it was asked for; stops after `most` rows as an interrupt would."""

    def __init__(self, most: int = 1000) -> None:
        self.keys: list[Key] = []
        self.most = most

    def __call__(self, keys: Sequence[Key], scope: Scope, settings: Any) -> Iterator[Found]:
        for key in keys:
            if len(self.keys) == self.most:
                raise KeyboardInterrupt
            self.keys.append(key)
            seed, way = key
            yield {"test": seed / 10 + (way == "b") / 4, "base": seed / 10, "note": way}


def sums(measure: Measured, **others: Any) -> Study:
    def wanted(scope: Scope, settings: Settings) -> list[Key]:
        return [(seed, way) for seed in range(scope.seeds) for way in "ab"]

    return Study(
        "sums", ("seed", "way"), ("test", "base", "note"), Settings, wanted, measure, ("test",), (("test", "base"),), ("m",),
        **others,
    )  # fmt: skip


def opened(study: Study, path: Path, **options: Any) -> Any:
    return study.row_file(path, Settings(), "pocketgnn study sums", **options)


def test_an_interrupted_run_goes_on_with_the_rows_that_are_missing(tmp_path: Path) -> None:
    path, first, second = tmp_path / "rows.csv", Measured(most=3), Measured()
    with pytest.raises(KeyboardInterrupt):
        run(sums(first), opened(sums(first), path), sums(first).scope(seeds=3), Settings())
    states: list[tuple[int, int]] = []

    rows = opened(sums(second), path, resume=True)
    run(
        sums(second),
        rows,
        sums(second).scope(seeds=3),
        Settings(),
        lambda s: states.append((s.present + s.done, s.total)),
    )

    assert first.keys + second.keys == [(seed, way) for seed in range(3) for way in "ab"]
    assert states == [(3, 6), (4, 6), (5, 6), (6, 6)]
    assert len(path.read_text().splitlines()) == 3 + 6


def test_a_row_whose_key_is_a_whole_float_is_found_again(tmp_path: Path) -> None:
    """1.0 stands in the file as 1."""
    rows = opened(sums(Measured()), tmp_path / "rows.csv")
    rows.add(seed=1.0, way="a", test=0.0, base=0.0, note="")

    assert rows.has(seed=1.0, way="a")


def test_an_existing_file_is_neither_continued_nor_replaced_unasked(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    opened(sums(Measured()), path).add(seed=0, way="a", test=1, base=1, note="")

    with pytest.raises(ArtifactError, match="--resume to go on with it, or --overwrite"):
        opened(sums(Measured()), path)
    assert len(opened(sums(Measured()), path, resume=True).rows) == 1
    assert opened(sums(Measured()), path, overwrite=True).rows == []


def test_the_file_of_another_study_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("# command\n# settings: epochs=2 share=0.5 limit=None\nseed,other,test\n0,a,1\n")

    with pytest.raises(RecipeError, match="has the columns seed, other, test, this study writes seed, way, test"):
        opened(sums(Measured()), path, resume=True)


def test_the_summary_gives_means_over_seeds_and_errors_of_paired_differences(tmp_path: Path) -> None:
    chosen = sums(Measured())
    rows = opened(chosen, tmp_path / "rows.csv")
    run(chosen, rows, chosen.scope(seeds=3), Settings())

    first, second = summary(chosen, rows.rows)

    assert (first.keys, first.rows, first.columns["test"]) == ({"way": "a"}, 3, Estimate(pytest.approx(0.1), 0.1))
    assert first.differences == {"test - base": Estimate(0.0, 0.0)}
    assert second.differences == {"test - base": Estimate(pytest.approx(0.25), pytest.approx(0, abs=1e-12))}


def test_a_column_with_an_empty_cell_has_no_mean(tmp_path: Path) -> None:
    chosen = sums(Measured())
    rows = opened(chosen, tmp_path / "rows.csv")
    rows.add(seed=0, way="a", test="", base=0, note="")

    (line,) = summary(replace(chosen, paired=()), rows.rows)

    assert line.columns == {"test": None}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"folds": 2}, "folds: sums has none"), ({"models": ["n"]}, "model 'n': sums has m"),
        ({"data_root": None}, "sums reads Cora. Pass --data-root"),
    ],
)  # fmt: skip
def test_what_a_study_does_not_have_is_refused(asked: dict[str, Any], message: str) -> None:
    needs = {"data_sets": ("Cora",)} if "data_root" in asked else {}

    with pytest.raises(RecipeError, match=message):
        sums(Measured(), **needs).scope(**asked)


def test_there_are_ten_folds() -> None:
    with pytest.raises(RecipeError, match="folds: 11, expected 1 to 10"):
        sums(Measured(), folds=10).scope(folds=11)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"epoch": 1}, "epoch: no setting of sums, which has epochs, share, limit"), ({"epochs": 0.5}, "epochs: 0.5, expected int")],
)  # fmt: skip
def test_a_setting_is_one_of_the_study_with_a_value_of_its_type(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        sums(Measured()).settings_with(changes)


def test_settings_take_whole_numbers_for_floats_and_for_what_is_none() -> None:
    assert sums(Measured()).settings_with({"share": 1, "limit": 5}) == Settings(share=1, limit=5)


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_of_the_list_has_rows_and_shows_columns_of_its_own(name: str) -> None:
    chosen = study(name)
    scope = chosen.scope(data_root=Path())
    keys = list(chosen.wanted(scope, chosen.settings()))

    assert chosen.name == name
    assert len(keys) == len(set(keys)) > 0
    assert all(len(key) == len(chosen.keys) for key in keys)
    assert {*chosen.shown, *(column for pair in chosen.paired for column in pair)} <= set(chosen.values)
    assert set(chosen.default_models) <= set(chosen.models)


def test_an_unknown_study_is_refused_with_the_list() -> None:
    with pytest.raises(RecipeError, match=r"study 'mnist' is unknown\. Studies: digits-bogp"):
        study("mnist")
