"""The study of circular skip links."""

from __future__ import annotations

from dataclasses import replace

import networkx
import pytest
from torch_geometric.utils import to_networkx

from toolchain.datasets import Split
from toolchain.studies import csl
from toolchain.studies.tu_models import FloatModel, float_model


@pytest.fixture(scope="module")
def subject() -> tuple[FloatModel, Split]:
    graphs = csl.circular_skip_links()
    parts = Split(tuple(graphs[0::5]), tuple(graphs[1::10]), tuple(graphs[2::10]))
    return float_model(parts, 2, 0, csl.BATCH, layers=4), parts


def test_graphs_of_one_class_are_isomorphic_and_their_numbers_differ():
    graphs = csl.circular_skip_links()
    first, second, other = (to_networkx(graphs[i], to_undirected=True) for i in (0, 1, csl.COPIES))

    assert len(graphs) == 150
    assert {degree for _, degree in first.degree} == {4}
    assert networkx.is_isomorphic(first, second)
    assert first.edges != second.edges
    assert not networkx.is_isomorphic(first, other)


@pytest.mark.parametrize("method", csl.METHODS)
def test_every_width_ends_in_integers_that_equal_its_simulation(subject: tuple[FloatModel, Split], method: str):
    model, parts = subject
    row = csl.row(model, method, parts, replace(csl.Settings(), epochs=1, search_epochs=2), 0)

    assert row["codes_differing"] == 0
    assert row["simulated"] == row["integer"]
    assert row["bits"] <= {"float": 32, "relaxed": 4, **csl.UNIFORM}[method]
