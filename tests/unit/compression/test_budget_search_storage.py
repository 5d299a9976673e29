"""Trials of the budget search: none twice, failures survived, other searches and damaged files refused, data left alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import Subset
from torch_geometric.loader import DataLoader

from tests.unit.compression.hand_built import gcn_graph, many_inputs
from tests.unit.compression.test_training import labelled
from toolchain.compression import QAT, Distillation, StaticInt8
from toolchain.compression.bit_search import Budget, BudgetSearch, budget_search
from toolchain.compression.bit_search.budget_search import Found
from toolchain.compression.data_digest import data_sha256
from toolchain.compression.pruning import L1Unstructured, prune
from toolchain.errors import DeviceError, InvalidInput, MeasurementError, RecipeError
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph

LABELLED = labelled(8)


def weight_bytes(graph: Graph) -> float:
    return float(graph.weight_bytes)


def die(graph: Graph) -> float:
    os._exit(1)


ROOMY = (Budget("weight bytes", 1e9, weight_bytes),)


def method(**options: Any) -> BudgetSearch:
    """A search of two trials; options of the training and of its calibration go where they belong."""
    static = StaticInt8(options.pop("calibration", many_inputs(8)), mode=options.pop("mode", "int8"), min_agreement=0)
    training = {
        name: options.pop(name) for name in ("loader", "lr", "distillation", "watch", "dropout") if name in options
    }
    if "best_on" in options:
        training["validation"] = options.pop("best_on")
    qat = QAT(**{"loader": labelled(8), "epochs": 1, "static": static, "lr": 1e-3, **training})
    return BudgetSearch(
        **{"qat": qat, "validation": labelled(8), "budgets": ROOMY, "trials": 2, "initial": 20, **options}
    )


def assignments(found: Found) -> list[tuple[int, ...]]:
    return [tuple(candidate.bits.values()) for candidate in found.tried]


def test_a_resumed_search_tries_what_one_without_interruption_tries(tmp_path: Path) -> None:
    options = {"trials": 5, "initial": 3}
    for trials in (1, 2, 4, 5):
        resumed = budget_search(gcn_graph(), method(**{**options, "trials": trials}, storage=tmp_path / "trials.log"))
    at_once = budget_search(gcn_graph(), method(**options))

    assert assignments(resumed) == assignments(at_once)
    assert len(set(assignments(resumed))) == 5


def test_a_small_space_ends_the_search_once_all_of_it_was_tried() -> None:
    widths = {"*": (8,), "convs.0.*weight": (2, 4), "convs.1.*weight": (2, 4)}
    found = budget_search(gcn_graph(), method(trials=20, initial=2, widths=widths))
    assert sorted(assignments(found)) == [(2, 2), (2, 4), (4, 2), (4, 4)]


def test_a_candidate_that_fails_is_passed_over_and_counts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    # 1-bit codes have no 0 for the pruned weights
    pruned, widths = prune(gcn_graph(), L1Unstructured(0.5)), {"*": (8,), "convs.1.*weight": (1, 2, 4)}
    options = {"trials": 3, "widths": widths, "storage": tmp_path / "trials.log"}

    found = budget_search(pruned, method(**options))
    assert sorted(assignments(found)) == [(2,), (4,)]
    assert [record.levelname for record in caplog.records if "1-bit codes" in record.message] == ["WARNING"]

    caplog.clear()
    again = budget_search(pruned, method(**options))
    assert assignments(again) == assignments(found)
    assert not [message for message in caplog.messages if message.startswith("trial")]


def test_where_all_candidates_fail_the_last_reason_is_quoted() -> None:
    with pytest.raises(RecipeError, match=r"all 2 candidates failed, the last with: .*'nowhere'"):
        budget_search(gcn_graph(), method(dropout={"nowhere": 0.5}))


def test_validation_graphs_without_labels_are_refused_before_any_trial(tmp_path: Path) -> None:
    bare = labelled(3)
    del bare[0].y
    with pytest.raises(InvalidInput, match="y: missing"):
        budget_search(gcn_graph(), method(validation=bare, storage=tmp_path / "trials.log"))
    assert not (tmp_path / "trials.log").exists()


@pytest.mark.parametrize("error", [ZeroDivisionError("a slip"), DeviceError("board: unplugged")])
def test_errors_that_are_no_candidates_end_the_search_and_its_trial_is_done_again(
    tmp_path: Path, error: Exception
) -> None:
    waiting = [error]

    def measure(graph: Graph) -> float:
        if waiting:
            raise waiting.pop()
        return weight_bytes(graph)

    options = method(budgets=(Budget("weight bytes", 1e9, measure),), storage=tmp_path / "trials.log")
    with pytest.raises(type(error), match=str(error)):
        budget_search(gcn_graph(), options)
    assert len(budget_search(gcn_graph(), options).tried) == 2


def test_only_the_last_training_is_watched() -> None:
    epochs: list[int] = []
    budget_search(gcn_graph(), method(watch=lambda epoch, figures: epochs.append(epoch)))
    assert epochs == [0]


# What workers do


def test_workers_try_as_many_as_were_asked_for_and_leave_the_data_alone(tmp_path: Path) -> None:
    data = labelled(8)
    for graph in data:
        graph.x = graph.x.clone()  # so that torch owns the memory
    inputs = [GraphInputs.from_pyg(graph) for graph in data]
    before = [graph.x.copy() for graph in inputs]

    options = method(
        loader=data, validation=data, calibration=inputs, trials=3, workers=2, storage=tmp_path / "trials.log"
    )
    found = budget_search(gcn_graph(), options)

    assert len(set(assignments(found))) == len(found.tried) == 3
    assert not any(graph.x.is_shared() for graph in data)
    assert all((graph.x == x).all() for graph, x in zip(inputs, before, strict=True))


def test_a_search_that_cannot_be_sent_to_workers_says_so(tmp_path: Path) -> None:
    budgets = (Budget("nothing", 1, lambda graph: 0.0),)
    with pytest.raises(RecipeError, match="workers: 2, but the search cannot be sent"):
        budget_search(gcn_graph(), method(budgets=budgets, workers=2, storage=tmp_path / "trials.log"))


def test_a_worker_that_dies_is_named(tmp_path: Path) -> None:
    budgets = (Budget("nothing", 1, die),)
    with pytest.raises(MeasurementError, match="workers: one of 2 processes died"):
        budget_search(gcn_graph(), method(budgets=budgets, workers=2, storage=tmp_path / "trials.log"))


# What the file tells


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a finished search, which holds a distillation."""
    path = tmp_path_factory.mktemp("search") / "trials.log"
    budget_search(gcn_graph(), method(distillation=Distillation(gcn_graph(), 5.0), storage=path))
    return path


def test_the_same_search_of_other_objects_is_taken_up(finished: Path) -> None:
    options = method(distillation=Distillation(gcn_graph(), 5.0), storage=str(finished), initial=1)
    assert len(budget_search(gcn_graph(), options).tried) == 2


def scaled(graph: Graph) -> Graph:
    """The graph with one other weight."""
    name, array = next(iter(graph.constants.items()))
    return graph.with_constants({name: 2 * array})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"loader": labelled(8, seed=1)}, "qat.loader"),
        ({"validation": labelled(8)[::-1]}, "validation"),
        ({"calibration": many_inputs(7)}, "qat.static.calibration_graphs"),
        ({"best_on": LABELLED}, "qat.validation"),
        ({"lr": 1e-2}, r"qat.lr \(0.001 there, 0.01 here\)"),
        ({"dropout": {"x": 0.5}}, "qat.dropout"),
        ({"mode": "all-int16"}, "qat.static.mode"),
        ({"seed": 3}, "seed"),
        ({"widths": (4, 8)}, "widths"),
        ({"channels": (0.0, 0.5)}, "channels"),
        ({"budgets": (Budget("weight bytes", 1e8, weight_bytes),)}, "budgets"),
        ({"distillation": None}, "qat.distillation.teacher"),
        ({"distillation": Distillation(scaled(gcn_graph()), 5.0)}, "qat.distillation.teacher"),
        ({"distillation": Distillation(gcn_graph(), 6.0)}, r"qat.distillation.weight \(5.0 there, 6.0 here\)"),
    ],
)
def test_another_search_is_refused_by_what_differs(finished: Path, options: dict[str, Any], words: str) -> None:
    other = method(**{"distillation": Distillation(gcn_graph(), 5.0), "storage": finished, **options})
    with pytest.raises(RecipeError, match=rf"holds another search; this one differs in {words}"):
        budget_search(gcn_graph(), other)


def test_another_model_is_refused(finished: Path) -> None:
    other = method(distillation=Distillation(gcn_graph(), 5.0), storage=finished)
    with pytest.raises(RecipeError, match=r"differs in graph\. Give another file"):
        budget_search(scaled(gcn_graph()), other)


def test_loaders_count_by_their_data_and_draw_no_random_numbers() -> None:
    state = torch.get_rng_state()
    digests = [
        data_sha256(graphs)
        for graphs in (
            DataLoader(LABELLED, 4, shuffle=True), DataLoader(labelled(8), 4, shuffle=True), DataLoader(LABELLED, 4),
            DataLoader(LABELLED, 2, shuffle=True), DataLoader(LABELLED[::-1], 4, shuffle=True),
            Subset(LABELLED, [0, 1]), Subset(LABELLED, [0, 2]), LABELLED[:2],
        )
    ]  # fmt: skip

    assert torch.equal(torch.get_rng_state(), state)
    assert digests[0] == digests[1] and digests[5] == digests[7]
    assert len(set(digests)) == 6


def test_what_can_be_read_only_once_is_not_read() -> None:
    graphs = iter(LABELLED)
    data_sha256(graphs)
    assert next(graphs) is LABELLED[0]


# Files that are none


def cut(content: bytes) -> bytes:
    return content[:-20]


def test_a_record_that_a_killed_process_left_unfinished_is_dropped(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "trials.log"
    path.write_bytes(cut(finished.read_bytes()))

    options = method(distillation=Distillation(gcn_graph(), 5.0), storage=path, trials=3)
    found = budget_search(gcn_graph(), options)

    assert len(found.tried) == 3
    assert "the last record is unfinished" in caplog.text


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda content: b"hello\n" + content, "line 1 is no record"),
        (lambda content: content + b"half a line", "is no record"),
        (lambda content: cut(content) + b"\n" + content, "is no record"),
        (lambda content: b'{"some": "file of one line"}', "line 1 is no record"),
        (lambda content: b"\x80\x02\n", "line 1 is no record"),
        (lambda content: content.replace(b'"study_id"', b'"study"'), "a damaged one"),
    ],
)
def test_a_file_with_anything_else_is_refused_and_left_as_it_is(
    finished: Path, tmp_path: Path, damage: Callable[[bytes], bytes], words: str
) -> None:
    path = tmp_path / "trials.log"
    content = damage(finished.read_bytes())
    path.write_bytes(content)

    with pytest.raises(RecipeError, match=rf"trials.log: .*{words}.*Give another file"):
        budget_search(gcn_graph(), method(storage=path))
    assert path.read_bytes().startswith(content)


def test_places_that_no_file_can_have_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for storage, words in ((tmp_path, "is a folder"), (tmp_path / "file" / "trials.log", "cannot be read or written")):
        with pytest.raises(RecipeError, match=words):
            budget_search(gcn_graph(), replace(method(), storage=storage))
