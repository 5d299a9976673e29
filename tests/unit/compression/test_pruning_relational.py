"""BoGP: relational graphs, their five properties, and the search for the best of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.compression.hand_built import gcn_graph
from tests.unit.compression.labelled_graphs import mlp_graph, points
from toolchain.compression import BoGP, DynamicInt8, evaluate, fine_tune, prune, quantize
from toolchain.compression.pruning.bogp import search
from toolchain.compression.pruning.relational import graph_properties, random_relational_graph, weight_mask
from toolchain.compression.step_report import sparsity
from toolchain.errors import RecipeError

networkx = pytest.importorskip("networkx")
pytest.importorskip("optuna")


# --- relational graphs ---


@pytest.mark.parametrize("amount", [0.15, 0.5, 0.9])
@pytest.mark.parametrize("nodes", [2, 9, 32])
def test_a_random_graph_is_symmetric_and_as_sparse_as_stated(nodes: int, amount: float):
    for seed in range(5):
        adjacency = random_relational_graph(nodes, amount, np.random.default_rng(seed))
        np.testing.assert_array_equal(adjacency, adjacency.T)
        assert int(adjacency.sum()) == round((1 - amount) * nodes**2)


def test_pairs_are_as_likely_as_self_edges():
    drawn = np.mean([random_relational_graph(8, 0.7, np.random.default_rng(seed)) for seed in range(2000)], axis=0)

    np.testing.assert_allclose(drawn, 0.3, atol=0.05)


def test_the_properties_of_known_graphs():
    ring = np.roll(np.eye(6, dtype=bool), 1, axis=1)
    ring |= ring.T
    complete = np.ones((5, 5), bool)

    np.testing.assert_allclose(graph_properties(ring), [2 / 5, 6**-0.5, 0, 2, 1], atol=1e-4)
    np.testing.assert_allclose(graph_properties(complete), [1, 5**-0.5, 1, 4, 6], atol=1e-4)


def test_self_edges_change_no_property():
    adjacency = random_relational_graph(10, 0.5, np.random.default_rng(0))

    np.testing.assert_allclose(graph_properties(adjacency | np.eye(10, dtype=bool)), graph_properties(adjacency))


def test_a_graph_in_pieces_and_one_without_edges_have_properties():
    pieces = np.kron(np.eye(2, dtype=bool), np.ones((3, 3), bool))

    assert graph_properties(pieces)[3] == 0
    assert not graph_properties(np.eye(4, dtype=bool))[[0, 2, 3, 4]].any()


def test_nodes_own_consecutive_channels_of_equal_number():
    mask = weight_mask(np.eye(3, dtype=bool), (7, 6))

    np.testing.assert_array_equal(mask.sum(axis=1), 2)
    np.testing.assert_array_equal(mask.argmax(axis=1), [0, 0, 0, 2, 2, 4, 4])


def test_fewer_channels_than_nodes_take_one_node_each():
    np.testing.assert_array_equal(weight_mask(np.eye(4, dtype=bool), (4, 2)), [[1, 0], [0, 0], [0, 1], [0, 0]])


# --- the search ---


def small(**options: Any) -> BoGP:
    return BoGP(**{"validation": points(60, 1), "amount": 0.6, "database": 20, "trials": 8, "initial": 4, **options})


@pytest.fixture(scope="module")
def trained() -> Any:
    return fine_tune(mlp_graph((7, 24, 24, 2)), points(200), epochs=15, lr=1e-2)


def test_the_mask_is_one_relational_graph_and_the_best_on_validation(trained: Any):
    method = small()
    trials = search(trained, method)
    best = max(trials, key=lambda trial: trial.accuracy)
    pruned = prune(trained, method)

    assert len({trial.accuracy for trial in trials}) > 1
    assert best.adjacency.shape == (24, 24)
    assert evaluate(pruned, points(60, 1)) == best.accuracy
    for name in ("lins.0.weight", "lins.1.weight"):
        keep = weight_mask(best.adjacency, trained.constants[name].shape)
        np.testing.assert_array_equal(pruned.constants[name], np.where(keep, trained.constants[name], 0))


def test_the_sparsity_is_the_stated_one(trained: Any):
    assert sparsity(prune(trained, small(targets=("lins.1",)))) == pytest.approx(0.6 * 576 / 792, abs=2e-3)


def test_the_same_seed_finds_the_same_mask_and_another_seed_another(trained: Any):
    first, again, other = (small(seed=seed).masks(trained)["lins.1.weight"] for seed in (3, 3, 4))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_masks_that_are_proposed_again_are_not_tried_again(trained: Any):
    assert len(search(trained, small(database=3, trials=8))) <= 3


def test_a_trade_off_weighs_sparsity_against_accuracy(trained: Any):
    amounts = (0.3, 0.9)
    accurate, sparse = (
        max(search(trained, small(amount=amounts, alpha=alpha, trials=12)), key=lambda t: t.objective)
        for alpha in (0.0, 1.0)
    )

    assert (accurate.amount, sparse.amount) == amounts
    assert sparse.objective == pytest.approx(0.9)


def test_trials_may_be_trained_before_they_are_judged(trained: Any):
    raw, tuned = (
        search(trained, small(database=4, trials=4, **options))
        for options in ({}, {"loader": points(100), "epochs": 3, "lr": 1e-2})
    )

    assert max(t.accuracy for t in tuned) > max(t.accuracy for t in raw)


def test_the_number_of_nodes_can_be_stated(trained: Any):
    assert search(trained, small(nodes=6, database=2, trials=1))[0].adjacency.shape == (6, 6)


def test_more_nodes_than_channels_are_refused_before_a_graph_is_drawn(trained: Any):
    with pytest.raises(RecipeError, match=r"nodes: 5000, but no pruned weight has more than \d+ channels"):
        search(trained, small(nodes=5000))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amount": 1.0}, "prunes everything"),
        ({"amount": (0.5, 0.0)}, "prunes nothing"),
        ({"nodes": 1}, "nodes: 1"),
        ({"trials": 0}, "trials: 0"),
        ({"alpha": 2.0}, "alpha: 2"),
        ({"epochs": 3}, "without a loader"),
        ({"loader": []}, "with a loader"),
    ],
)
def test_malformed_options_are_refused(options: dict[str, Any], message: str):
    with pytest.raises(RecipeError, match=message):
        small(**options)


def test_a_quantized_graph_is_refused():
    with pytest.raises(RecipeError, match="before quantizing"):
        prune(quantize(gcn_graph(), DynamicInt8()), small())
