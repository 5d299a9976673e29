"""The study of groups of nodes on a small made-up citation graph: what its rows hold."""

from __future__ import annotations

import pytest

from tests.unit.studies.test_planetoid_studies import citations
from toolchain.studies import planetoid_a2q
from toolchain.studies.planetoid_models import float_model
from toolchain.studies.study import Scope


@pytest.mark.parametrize(
    "configuration", ["one step, 4 bits", "degree, 2 bits", "degree, 2 bits, local", "nearest, 2 bits"]
)
def test_rows_train_on_as_the_integers_that_ship(configuration: str) -> None:
    data = citations()
    graph = float_model("GCN 16", data, 3, 0)
    row = planetoid_a2q.integer_row(graph, data, configuration, 3, 0, model="GCN 16")

    assert row["codes_differing"] == 0
    assert 1 <= row["bits"] <= 4
    assert row["memory_kib"] == row["bits"] * 90 * (150 + 16) / 8192
    assert row["test_max"] >= row["integer"]


def test_the_float_row_counts_floats() -> None:
    data = citations()
    row = planetoid_a2q.float_row(float_model("GCN 16", data, 3, 0), data, 2, 0)

    assert row["bits"] == 32 and row["memory_kib"] == 32 * 90 * (150 + 16) / 8192
    assert row["test_max"] >= row["integer"]


def test_every_seed_has_every_configuration() -> None:
    keys = list(planetoid_a2q.wanted(Scope(2, 0, ("GCN 16",)), planetoid_a2q.Settings()))

    assert len(keys) == 2 * len(planetoid_a2q.CONFIGURATIONS)
    assert keys[0] == ("Cora", "GCN 16", 0, "float")
