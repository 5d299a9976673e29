"""The pruning studies, with little of everything: they fill their rows, resume, and mean what their columns say."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.compression.pruning import StructuredChannels
from toolchain.datasets import digits, split
from toolchain.studies import digits_bogp, digits_sensitivity, proteins_channels
from toolchain.studies.digits_models import MODELS, subject
from toolchain.studies.row_file import RowFile

pytest.importorskip("sklearn")
pytest.importorskip("optuna")


def test_the_parts_of_a_subject_are_disjoint_and_the_same_for_the_same_seed():
    first, again, other = (subject("mlp", seed, limit=100).parts for seed in (0, 0, 1))

    assert [len(part) for part in (first.train, first.validation, first.test)] == [70, 15, 15]
    assert [float(d.x.sum()) for d in first.test] == [float(d.x.sum()) for d in again.test]
    assert [float(d.x.sum()) for d in first.test] != [float(d.x.sum()) for d in other.test]


def test_every_method_of_the_bogp_study_gives_a_row_of_the_stated_sparsity(tmp_path: Path):
    settings = digits_bogp.Settings(train_epochs=1, epochs=1, nodes=8, database=3, trials=2, limit=100)
    lines: list[str] = []

    def run(seeds: int) -> RowFile:
        rows = RowFile(tmp_path / "rows.csv", digits_bogp.KEYS, digits_bogp.VALUES, "command", str(settings))
        digits_bogp.study(rows, settings, seeds=range(seeds), models=("mlp",), sparsities=(0.6,), progress=lines.append)
        return rows

    rows = run(1).rows
    assert [row["method"] for row in rows] == list(digits_bogp.METHODS)
    assert [float(row["zeros"]) for row in rows] == pytest.approx([0.6] * 6, abs=0.03)
    assert [row["epochs"] for row in rows] == ["1", "1", "1", "5", "1", "5"]
    assert len({row["dense_test"] for row in rows}) == 1

    lines.clear()
    assert len(run(2).rows) == 12
    assert lines[0] == "6 of 12 rows are there"


def test_the_sensitivity_study_states_density_and_int8(tmp_path: Path):
    settings = digits_sensitivity.Settings(epochs=2, limit=100)
    rows = RowFile(tmp_path / "rows.csv", digits_sensitivity.KEYS, digits_sensitivity.VALUES, "command", str(settings))
    digits_sensitivity.study(
        rows, settings, seeds=[0], models=MODELS, densities=(0.2,), progress=lambda line: None
    )  # fmt: skip

    assert [(row["model"], row["method"]) for row in rows.rows] == [
        (model, method) for model in MODELS for method in ("dense", "snip", "ecs")
    ]
    for row in rows.rows:
        assert float(row["zeros"]) == pytest.approx(1 - float(row["density"]), abs=1e-3)
        assert 0 <= float(row["int8"]) <= 1
        assert row["int8_mode"] in ("int8", "sums-int16", "all-int16")


def test_the_channels_study_compares_the_smaller_graph_with_the_zeroed_one():
    parts = split(digits(100), seed=0)
    graph = proteins_channels.dense("GIN 5x64 mean", parts, 1, 0)
    settings = proteins_channels.Settings(train_epochs=1, epochs=1)
    found = proteins_channels.measured(graph, StructuredChannels(0.5), parts, settings, 0)

    assert found["difference64"] == 0.0
    assert found["difference"] < 1e-4
    assert found["bytes_after"] < 0.3 * found["bytes_before"]
