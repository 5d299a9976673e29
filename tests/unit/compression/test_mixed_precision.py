"""MixedPrecision: each search ends in a trained integer graph, within its budget."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.compression.hand_built import gcn_graph, many_inputs
from tests.unit.compression.test_training import labelled
from toolchain.compression import QAT, StaticInt8, quantize
from toolchain.compression.bit_search import MixedPrecision, SearchSpace
from toolchain.compression.bit_search.mixed_precision import float_cost
from toolchain.compression.evaluation import as_inputs
from toolchain.errors import RecipeError
from toolchain.ir.operation_counts import GraphSizes, operation_counts

LABELLED = labelled(10)
METHOD = QAT(LABELLED, 1, StaticInt8(many_inputs(10), mode="int8", min_agreement=0), lr=1e-3)


@pytest.mark.parametrize("search", ["sensitivity", "optuna"])
def test_what_is_found_costs_at_most_the_budget(search: str) -> None:
    method = MixedPrecision(METHOD, LABELLED, search, 0.15, probe_epochs=1, finalists=1, trials=8)  # type: ignore[arg-type]

    made = quantize(gcn_graph(), method)

    counts = operation_counts(made, GraphSizes.mean_of(made.topologies, as_inputs(LABELLED)))
    space = SearchSpace.of(gcn_graph(), METHOD.static, method.widths, LABELLED)
    assert counts.bit_operations <= 0.15 * float_cost(space)


def test_the_relaxed_search_answers_to_its_penalty() -> None:
    made = quantize(gcn_graph(), MixedPrecision(METHOD, LABELLED, "relaxed", penalty=0.0))
    assert any(value.type.dtype.is_integer for value in made.values)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"search": "guess"}, "search: 'guess'"), ({"budget": 0.0}, "budget: 0"), ({"budget": 1.5}, "budget: 1.5"),
     ({"validation": []}, "validation: no graphs")],
)  # fmt: skip
def test_options_that_cannot_be_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(RecipeError, match=words):
        MixedPrecision(**{"qat": METHOD, "validation": LABELLED, **options})  # type: ignore[arg-type]


def test_a_budget_that_nothing_meets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="the cheapest assignment costs"):
        quantize(gcn_graph(), MixedPrecision(METHOD, LABELLED, budget=0.01))


@pytest.mark.parametrize("search", ["sensitivity", "relaxed", "optuna"])
@pytest.mark.parametrize("widths", [(8, 16), (16,)])
def test_weights_of_16_bits_are_refused_before_any_training(search: str, widths: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match=r"widths of 'convs\.0\.lin\.weight': 16 bits, weights have 1 to 8"):
        quantize(gcn_graph(), MixedPrecision(METHOD, LABELLED, search, 1.0, widths=widths))  # type: ignore[arg-type]


def test_storage_is_no_accounting_of_a_search_that_removes_channels() -> None:
    with pytest.raises(RecipeError, match="accounting: 'storage' adds up over slots"):
        MixedPrecision(METHOD, LABELLED, "optuna", accounting="storage")


def test_validation_graphs_may_come_from_a_generator() -> None:
    method = MixedPrecision(METHOD, (data for data in LABELLED))

    assert list(method.validation) == LABELLED


@pytest.mark.parametrize("search", ["sensitivity", "relaxed", "optuna"])
def test_one_training_is_watched_the_last(search: str) -> None:
    epochs: list[int] = []
    watched = replace(METHOD, epochs=2, watch=lambda epoch, figures: epochs.append(epoch))
    method = MixedPrecision(watched, LABELLED, search, 0.5, probe_epochs=1, finalists=2, trials=2)  # type: ignore[arg-type]

    quantize(gcn_graph(), method)

    assert epochs == [0, 1]
