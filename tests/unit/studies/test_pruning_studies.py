"""The studies, with little of everything: they fill their rows, and mean what their columns say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from toolchain.compression.pruning import StructuredChannels
from toolchain.datasets import digits, split
from toolchain.errors import RecipeError
from toolchain.studies import digits_bogp, proteins_channels, proteins_int8, proteins_models, proteins_pruning
from toolchain.studies.digits_models import subject
from toolchain.studies.registry import study
from toolchain.studies.row_file import Row
from toolchain.studies.study import run

pytest.importorskip("sklearn")
pytest.importorskip("optuna")


def rows_of(name: str, path: Path, models: tuple[str, ...] = (), **settings: Any) -> list[Row]:
    """All rows of one seed."""
    chosen = study(name)
    common = chosen.settings_with(settings)
    rows = chosen.row_file(path, common, "command")
    run(chosen, rows, chosen.scope(seeds=1, models=models), common)
    return rows.rows


def test_the_parts_of_a_subject_are_disjoint_and_the_same_for_the_same_seed():
    first, again, other = (subject("mlp", seed, limit=100).parts for seed in (0, 0, 1))

    assert [len(part) for part in (first.train, first.validation, first.test)] == [70, 15, 15]
    assert [float(d.x.sum()) for d in first.test] == [float(d.x.sum()) for d in again.test]
    assert [float(d.x.sum()) for d in first.test] != [float(d.x.sum()) for d in other.test]


def test_every_method_of_the_bogp_study_gives_a_row_of_the_stated_sparsity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(digits_bogp, "SPARSITIES", (0.6,))
    small = {"train_epochs": 1, "epochs": 1, "nodes": 8, "database": 3, "trials": 2, "limit": 100}
    rows = rows_of("digits-bogp", tmp_path / "rows.csv", ("mlp",), **small)

    assert [row["method"] for row in rows] == list(digits_bogp.METHODS)
    assert [float(row["zeros"]) for row in rows] == pytest.approx([0.6] * 6, abs=0.03)
    assert [row["epochs"] for row in rows] == ["1", "1", "1", "5", "1", "5"]
    assert len({row["dense_test"] for row in rows}) == 1


def test_the_sensitivity_study_states_density_and_int8(tmp_path: Path):
    rows = rows_of("digits-sensitivity", tmp_path / "rows.csv", epochs=2, limit=60)

    ways = [("1", "dense"), *((d, m) for d in ("0.2", "0.1", "0.05") for m in ("snip", "ecs"))]
    assert [(row["model"], row["density"], row["method"]) for row in rows] == [
        (model, *way) for model in ("mlp", "gin") for way in ways
    ]
    for row in rows:
        assert float(row["zeros"]) == pytest.approx(1 - float(row["density"]), abs=1e-3)
        assert 0 <= float(row["int8"]) <= 1
        assert row["int8_mode"] in ("int8", "sums-int16", "all-int16")


# The studies of PROTEINS, on digits: what they measure does not depend on the data set.

PARTS = split(digits(60), seed=0, validation=0.2, test=0.2)
GIN = proteins_models.dense("GIN 5x64 mean", PARTS, 1, 0)


def test_the_channels_study_compares_the_smaller_graph_with_the_zeroed_one():
    settings = proteins_channels.Settings(train_epochs=1, epochs=1)
    found = proteins_channels.measured(GIN, StructuredChannels(0.5), PARTS, settings, 0)

    assert found["difference64"] == 0.0
    assert found["difference"] < 1e-4
    assert found["bytes_after"] < 0.3 * found["bytes_before"]


def test_random_parts_have_no_folds():
    chosen = study("proteins-channels")
    scope = chosen.scope(seeds=2, folds=3, models=["GCN 3x64 mean"], data_root=Path())

    random = list(chosen.wanted(scope, chosen.settings_with({"split": "random"})))
    assert [key[1:] for key in random if key[3] == "l1"] == [(0, 0, "l1"), (1, 0, "l1")]
    assert len(list(chosen.wanted(scope, chosen.settings()))) == 3 * len(random)
    with pytest.raises(RecipeError, match="split: 'halves', expected folds or random"):
        chosen.settings_with({"split": "halves"})


def test_the_pruning_study_keeps_the_mask_through_fine_tuning_and_int8():
    found = proteins_pruning.measured(GIN, 0.5, PARTS, proteins_pruning.Settings(epochs=1), 0)

    assert found["zeros"] == pytest.approx(0.5, abs=0.02)
    assert found["bytes_int8"] < 0.3 * found["bytes"]
    assert found["bops_sparse_int8"] < 0.2 * found["bops_sparse"]
    assert 0 <= found["int8"] <= 1


@pytest.mark.parametrize("method", proteins_int8.METHODS)
def test_a_simulated_model_computes_what_the_integers_compute(method: str):
    made = proteins_int8.quantized(GIN, method, PARTS, proteins_int8.Settings(qat_epochs=1), 0)
    found = proteins_int8.measured(GIN, made, PARTS)

    if method in ("dynamic int8", "pruned 20 %"):
        assert found["simulated"] == found["simulation_error"] == ""
    else:
        assert (found["simulated"], found["simulation_error"]) == (found["accuracy"], 0.0)
    assert found["bytes"] <= GIN.weight_bytes


def test_a_pair_of_rows_differs_in_its_method_only():
    chosen = study("proteins-pruning")
    scope = replace(chosen.scope(folds=2, data_root=Path()), models=chosen.default_models)
    keys = list(chosen.wanted(scope, chosen.settings()))

    assert len(keys) == 2 * 2 * len(proteins_pruning.AMOUNTS)
    assert {key[:3] for key in keys} == {(m, 0, f) for m in chosen.default_models for f in (0, 1)}
