"""The csv of a study: readable, resumable, and never continued with other settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.errors import RecipeError
from toolchain.studies.row_file import RowFile


def opened(path: Path, settings: str = "epochs=2", command: str = "python -m study") -> RowFile:
    return RowFile(path, ("method", "seed"), ("test",), command, settings)


def test_a_file_says_how_it_was_made_and_what_was_found(tmp_path: Path):
    rows = opened(tmp_path / "results" / "rows.csv")
    rows.add(method="l1", seed=0, test=0.97123456)
    rows.add(method="l1", seed=1, test=1)

    assert rows.path.read_text() == (
        "# python -m study\n# settings: epochs=2\nmethod,seed,test\nl1,0,0.971235\nl1,1,1\n"
    )
    assert [path.name for path in rows.path.parent.iterdir()] == ["rows.csv"]


def test_a_run_goes_on_where_the_last_one_stopped(tmp_path: Path):
    opened(tmp_path / "rows.csv").add(method="l1", seed=0, test=0.5)
    rows = opened(tmp_path / "rows.csv", command="python -m study --seeds 2")
    rows.add(method="l1", seed=1, test=0.7)

    assert rows.has(method="l1", seed=0)
    assert not rows.has(method="l2", seed=0)
    assert rows.path.read_text().splitlines() == [
        "# python -m study --seeds 2", "# settings: epochs=2", "method,seed,test", "l1,0,0.5", "l1,1,0.7",
    ]  # fmt: skip


def test_rows_of_other_settings_are_not_mixed(tmp_path: Path):
    opened(tmp_path / "rows.csv").add(method="l1", seed=0, test=0.5)

    with pytest.raises(RecipeError, match="made with epochs=2, this run has epochs=3"):
        opened(tmp_path / "rows.csv", "epochs=3")


def test_a_row_with_other_columns_is_refused(tmp_path: Path):
    with pytest.raises(ValueError, match="columns"):
        opened(tmp_path / "rows.csv").add(method="l1", test=0.5)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    (tmp_path / "rows.csv").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(RecipeError, match="is no text"):
        opened(tmp_path / "rows.csv")
