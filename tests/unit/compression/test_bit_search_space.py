"""SearchSpace: candidates by name, costs that add up, and the three searches on a small model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.unit.compression.hand_built import gcn_graph, many_inputs, node_gcn_graph, random_inputs
from tests.unit.compression.test_training import labelled
from toolchain import torch_sparse
from toolchain.compression import QAT, StaticInt8, evaluate
from toolchain.compression.best_epoch import Criterion
from toolchain.compression.bit_search import (
    Budget,
    BudgetSearch,
    MixQ,
    SearchSpace,
    SensitivitySearch,
    budget_search,
    relaxed_search,
    sensitivity_search,
)
from toolchain.compression.bit_search.relaxed import RelaxedModule
from toolchain.errors import RecipeError
from toolchain.ir import Graph
from toolchain.torch_structure import TorchGraph

GRAPHS = many_inputs(12)
LABELLED = labelled(12)
STATIC = StaticInt8(GRAPHS, mode="int8", equalization=None, min_agreement=0)


def space(widths: object = (2, 4, 8), accounting: str = "bit_operations") -> SearchSpace:
    return SearchSpace.of(gcn_graph(), STATIC, widths, GRAPHS, accounting)  # type: ignore[arg-type]


def qat(epochs: int = 1) -> QAT:
    return QAT(LABELLED, epochs, STATIC, lr=1e-3)


def size(graph: Graph) -> float:
    """Bits of the weights of an integer graph."""
    total = 0.0
    for value in graph.values:
        if value.type.qparams is not None and value.type.domain.value == "const" and value.type.qparams.bits <= 8:
            total += graph.constant(value).size * value.type.qparams.bits
    return total


def test_slots_that_are_not_named_keep_their_width() -> None:
    found = space({"*weight": (4, 2), "convs.1.*weight": (8,)}).candidates

    weights = {name: widths for name, widths in found.items() if name.endswith("weight")}
    assert set(weights.values()) == {(2, 4), (8,)}
    assert all(len(widths) == 1 for name, widths in found.items() if name not in weights)


@pytest.mark.parametrize("accounting", ["bit_operations", "storage"])
def test_costs_of_slots_add_up_to_the_cost_of_the_assignment(accounting: str) -> None:
    found = space(accounting=accounting)
    for assignment in (found.widest, {name: widths[0] for name, widths in found.candidates.items()}):
        total = sum(found.costs[name][bits] for name, bits in assignment.items())
        assert total == pytest.approx(found.cost(assignment))


def test_fewer_bits_cost_less_in_every_accounting() -> None:
    for accounting in ("bit_operations", "bops", "storage"):
        found = space(accounting=accounting)
        narrow = {name: widths[0] for name, widths in found.candidates.items()}
        assert found.cost(narrow) < found.cost(found.widest)


def test_products_of_widths_have_no_cost_by_slot() -> None:
    with pytest.raises(RecipeError, match="multiplies the widths"):
        _ = space(accounting="bops").costs


@pytest.mark.parametrize(
    ("widths", "words"),
    [
        ((0, 8), "bits: 0"),
        ((9,), "bits: 9"),
        ({"conv9.*": (8,)}, "'conv9.*': no value or weight"),
        ({"*": ()}, "no candidate"),
    ],
)
def test_widths_that_cannot_be_are_refused(widths: object, words: str) -> None:
    with pytest.raises(RecipeError, match=words.replace("*", r"\*")):
        space(widths)


def test_a_large_penalty_takes_the_fewest_bits_and_none_does_not() -> None:
    found = space((2, 8))
    cheap = relaxed_search(found, MixQ(LABELLED, epochs=30, penalty=1e3, mixture_lr=0.1))
    free = relaxed_search(found, MixQ(LABELLED, epochs=3, penalty=0.0))

    dear = [name for name, share in found.shares.items() if share > 0]
    assert {cheap[name] for name in dear} == {2}
    assert found.cost(free) > found.cost(cheap)


def test_a_mostly_zero_input_is_mixed_as_the_whole_matrix_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = random_inputs(200, 600, 30)
    inputs = replace(inputs, x=np.where(np.random.default_rng(0).random(inputs.x.shape) < 0.05, inputs.x, 0))
    static = StaticInt8([inputs], mode="int8", equalization=None, min_agreement=0)
    outcomes = []
    for share in (0.1, 0.0):
        monkeypatch.setattr(torch_sparse, "SPARSE", share)
        module = RelaxedModule(SearchSpace.of(node_gcn_graph(30), static, (2, 4, 8), [inputs]))
        output = module(TorchGraph.of(inputs.prepare(module.graph.topologies)))[0]
        output[:, 0].sum().backward()
        outcomes.append((output.detach(), [p.grad for p in module.parameters()], len(module._products)))

    assert [count for *_, count in outcomes] == [1, 0]
    torch.testing.assert_close(outcomes[0][0], outcomes[1][0])
    for sparse, dense in zip(outcomes[0][1], outcomes[1][1], strict=True):
        torch.testing.assert_close(sparse, dense, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("criterion", ["accuracy", "loss"])
def test_the_sensitivity_search_stays_within_its_budget(criterion: Criterion) -> None:
    found = space()
    budget = 0.6 * found.cost(found.widest)
    method = SensitivitySearch(replace(qat(), criterion=criterion), LABELLED, budget, probe_epochs=1, finalists=2)

    choice = sensitivity_search(gcn_graph(), found, method)

    assert choice.cost <= budget and choice.cost == found.cost(choice.assignment)
    assert choice.score == max(score for _, score in choice.finalists)
    assert (choice.score > 0) == (criterion == "accuracy")
    assert set(choice.losses) == set(found.candidates)


def test_a_budget_below_the_narrowest_assignment_is_refused_before_any_training() -> None:
    found = space()
    method = SensitivitySearch(qat(), LABELLED, 1.0, probe_epochs=1)
    with pytest.raises(RecipeError, match="the cheapest assignment costs"):
        sensitivity_search(gcn_graph(), found, method, progress=pytest.fail)


def test_the_budget_search_goes_on_where_it_stopped(tmp_path: Path) -> None:
    limit = 0.5 * size(space().integer({}))
    options = {"budgets": (Budget("weight bits", limit, size),), "initial": 2, "storage": tmp_path / "trials.log"}

    first = BudgetSearch(qat(), LABELLED, trials=3, **options)  # type: ignore[arg-type]
    budget_search(gcn_graph(), first)
    found = budget_search(gcn_graph(), BudgetSearch(qat(), LABELLED, trials=5, **options))  # type: ignore[arg-type]

    assert len(found.tried) == 5
    assert size(found.graph) == found.best.costs["weight bits"] <= limit
    assert evaluate(found.graph, LABELLED) == pytest.approx(found.best.accuracy)
    other = BudgetSearch(qat(), LABELLED, trials=5, widths=(4, 8), **options)  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="holds another search"):
        budget_search(gcn_graph(), other)


def test_several_workers_share_the_trials_of_one_file(tmp_path: Path) -> None:
    limit = Budget("weight bits", 1e6, size)
    method = BudgetSearch(qat(), LABELLED, (limit,), trials=4, initial=1, storage=tmp_path / "trials.log", workers=2)

    found = budget_search(gcn_graph(), method)

    assert len(found.tried) == 4
    assert found.best.accuracy == max(candidate.accuracy for candidate in found.tried)


def test_budgets_that_nothing_meets_name_the_nearest() -> None:
    method = BudgetSearch(qat(), LABELLED, (Budget("weight bits", 10, size),), trials=2, initial=1)
    with pytest.raises(
        RecipeError, match=r"none of 2 candidates meets them; the nearest reaches weight bits [\d.e+]+ of 10"
    ):
        budget_search(gcn_graph(), method)
