"""The Planetoid studies on a small made-up citation graph: what their rows hold, and what their searches hand over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

from toolchain.compression.bit_search import SearchSpace
from toolchain.errors import RecipeError
from toolchain.ir import Graph
from toolchain.studies import planetoid, planetoid_exploration, planetoid_search
from toolchain.studies.planetoid_models import MODELS, float_model
from toolchain.studies.planetoid_search import (
    WIDTHS,
    best_found,
    by_rule,
    found_assignment,
    static,
    text_of,
    training,
)


def citations(nodes: int = 90, features: int = 150, classes: int = 3) -> Data:
    """Nodes of a class share words and links; rows of x sum to 1. More words than channels, so that GCN transforms first."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(nodes) % classes
    words = (torch.rand(nodes, features, generator=generator) < 0.05).float()
    words[torch.arange(nodes), y * 8 + torch.randint(8, (nodes,), generator=generator)] = 1
    ends = torch.randint(nodes // classes, (2, 4 * nodes), generator=generator) * classes
    edge_index = ends + torch.randint(classes, (4 * nodes,), generator=generator)  # both ends of the same class
    part = torch.arange(nodes) // 30
    return Data(
        x=words / words.sum(1, keepdim=True), edge_index=torch.cat([edge_index, edge_index.flip(0)], 1), y=y,
        train_mask=part == 0, val_mask=part == 1, test_mask=part == 2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def subject() -> tuple[Data, Graph, SearchSpace]:
    data = citations()
    graph = float_model("GCN 128", data, 5, 0)
    return data, graph, SearchSpace.of(graph, static(data), WIDTHS, [data])


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_on_as_integers_that_equal_the_integer_graph(model: str) -> None:
    data = citations()
    graph = float_model(model, data, 2, 0)
    space = SearchSpace.of(graph, static(data), WIDTHS, [data])
    bits = planetoid.bits_of(space, "Cora", planetoid.RESULT_8, "distilled", Path())
    method = training(graph, space, data, bits, 2, 0, is_distilled=True, model=model)

    row = planetoid.integer_row(graph, method, space, bits, data)

    assert bits == dict.fromkeys(space.candidates, 4) | {"conv2.propagate": 8}
    assert row["codes_differing"] == 0
    assert row["simulated"] == row["integer"]


@pytest.mark.parametrize("configuration", planetoid.FIXED)
def test_fixed_widths_train_on_as_the_integers_that_ship(
    subject: tuple[Data, Graph, SearchSpace], configuration: str
) -> None:
    data, graph, space = subject
    bits = planetoid.bits_of(space, "Cora", configuration, "labels", Path())
    row = planetoid.integer_row(graph, training(graph, space, data, bits, 2, 0, is_distilled=False), space, bits, data)

    assert list(bits) == list(space.candidates)
    assert row["codes_differing"] == 0 and row["bit_operations"] > 0


def test_the_rule_leaves_the_second_layer_its_bits(subject: tuple[Data, Graph, SearchSpace]) -> None:
    _, _, space = subject
    first_layer = dict.fromkeys(("x", "conv1.lin.linear", "conv1.lin.weight"), 2)
    tightest = {**space.widest, **first_layer, "conv2.lin.linear": 4}

    assert by_rule(space, space.cost(tightest)) == tightest
    assert by_rule(space, space.cost(space.widest)) == space.widest


def test_what_a_search_wrote_is_what_the_table_reads(tmp_path: Path, subject: tuple[Data, Graph, SearchSpace]) -> None:
    _, _, space = subject
    assignment = by_rule(space, space.cost(space.widest))
    study, path = planetoid_search.STUDY, tmp_path / "found.csv"
    values = dict.fromkeys(study.values, 0.0) | {"bits": text_of(assignment)}
    study.row_file(path, study.settings(), "made by a test").add(
        data="Cora", seed=0, method="rule", loss="labels", budget=1.1, **values
    )

    assert found_assignment(path, "Cora", "rule", "labels") == assignment
    for data, loss in (("PubMed", "labels"), ("Cora", "distilled")):
        with pytest.raises(RecipeError, match=f"no bits for {data}, {loss}, by rule"):
            found_assignment(path, data, "rule", loss)


def test_the_best_search_is_that_with_the_best_validation_from_labels_whatever_it_was_with_a_teacher(
    tmp_path: Path, subject: tuple[Data, Graph, SearchSpace]
) -> None:
    _, _, space = subject
    study, path = planetoid_search.STUDY, tmp_path / "found.csv"
    file = study.row_file(path, study.settings(), "made by a test")
    scores = {"sensitivity": (0.7, 0.99), "rule": (0.8, 0.7), "relaxed": (0.8, 0.9)}  # from labels, with a teacher
    for bits, (method, validation) in zip((2, 4, 8), scores.items(), strict=True):
        if method == "relaxed":
            with pytest.raises(RecipeError, match="no bits for Cora, labels, by relaxed"):
                best_found(path, "Cora")
        for loss, score in zip(planetoid_search.LOSSES, validation, strict=True):
            values = dict.fromkeys(study.values, 0.0) | {"bits": text_of(dict.fromkeys(space.candidates, bits))}
            file.add(data="Cora", seed=0, method=method, loss=loss, budget=1.1, **values | {"validation": score})

    assert set(best_found(path, "Cora").values()) == {4}
    assert planetoid.bits_of(space, "Cora", planetoid.BEST, "distilled", path) == best_found(path, "Cora")


def test_a_search_stays_within_its_budget(subject: tuple[Data, Graph, SearchSpace]) -> None:
    data, graph, space = subject
    settings = replace(planetoid_search.Settings(), probe_epochs=1, epochs=1, finalists=1)
    budget = 0.5 * space.cost(space.widest)
    for method, is_distilled in (("sensitivity", True), ("sensitivity", False), ("rule", False)):
        found = planetoid_search.chosen(graph, space, data, method, budget, settings, 0, is_distilled=is_distilled)
        assert space.cost(found) <= budget


def test_the_float_rows_are_the_model_and_one_trained_on(subject: tuple[Data, Graph, SearchSpace]) -> None:
    data, graph, _ = subject
    plain, distilled = (planetoid.float_row(graph, data, 2, 0, is_distilled=choice) for choice in (False, True))

    assert plain["bit_operations"] == distilled["bit_operations"] > 0
    assert distilled["validation"] >= 0.9 * plain["validation"]


def test_exploration_tries_different_assignments_of_all_slots(subject: tuple[Data, Graph, SearchSpace]) -> None:
    data, graph, space = subject
    settings = planetoid_exploration.Settings(epochs=1, trials=3)

    validation, test = planetoid_exploration.tried(graph, data, settings, 0)

    assert len({text_of(trial.assignment) for trial in validation}) == 3
    assert [trial.assignment for trial in validation] == [trial.assignment for trial in test]
    assert set(planetoid_exploration.SLOTS) == set(space.candidates)
