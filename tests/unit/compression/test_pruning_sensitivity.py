"""SNIP and ECS: the scores by hand, the densities, and what a gradient-based mask is worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from tests.unit.compression.hand_built import Layers, gcn_graph, gin_graph
from tests.unit.compression.labelled_graphs import labelled, mlp_graph, points
from toolchain.compression import DynamicInt8, L1Unstructured, evaluate, fine_tune, prune, quantize
from toolchain.compression.pruning import ECS, SNIP, initialized
from toolchain.compression.pruning.gradients import weight_gradients
from toolchain.compression.pruning.sensitivity import union_ranks
from toolchain.compression.step_report import sparsity
from toolchain.errors import InvalidInput, RecipeError, TrainingDiverged
from toolchain.ir import Graph
from toolchain.ir.ops import Dropout

# --- gradients ---


def test_a_gradient_is_what_torch_computes_for_the_same_network():
    graph, data = mlp_graph(), points(10)
    layers = [torch.nn.Linear(*graph.constants[f"{name}.weight"].shape[::-1]) for name in ("lins.0", "lins.1", "head")]
    for layer, name in zip(layers, ("lins.0", "lins.1", "head"), strict=True):
        layer.load_state_dict({k: torch.tensor(graph.constants[f"{name}.{k}"]) for k in ("weight", "bias")})
    x, y = torch.cat([d.x for d in data]), torch.cat([d.y for d in data])
    logits = layers[2](torch.relu(layers[1](torch.relu(layers[0](x)))))
    torch.nn.functional.cross_entropy(logits, y).backward()

    found = weight_gradients(graph, ["lins.1.weight"], data)["lins.1.weight"]
    assert layers[1].weight.grad is not None
    np.testing.assert_allclose(found, layers[1].weight.grad.numpy(), rtol=1e-4, atol=1e-7)


def test_several_batches_give_the_mean_gradient():
    graph, data = mlp_graph(), points(12)
    batches = [Data(x=torch.cat([d.x for d in part]), edge_index=data[0].edge_index, y=torch.cat([d.y for d in part]))
               for part in (data[:6], data[6:])]  # fmt: skip
    both = weight_gradients(graph, ["head.weight"], iter(batches), batches=2)["head.weight"]
    one, two = (weight_gradients(graph, ["head.weight"], iter([batch]))["head.weight"] for batch in batches)

    np.testing.assert_allclose(both, (one + two) / 2, rtol=1e-6)


def test_measuring_changes_neither_the_graph_nor_the_random_state():
    graph = gin_graph(classes=2)
    before = {name: array.copy() for name, array in graph.constants.items()}
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    weight_gradients(graph, ["head.weight"], labelled(10))

    assert torch.equal(expected, torch.rand(3))
    assert all(np.array_equal(array, graph.constants[name]) for name, array in before.items())


def test_dropout_does_not_blur_the_gradients():
    def graph(p: float) -> Graph:
        layers = Layers("dropout")
        h = layers.relu(layers.linear(layers.input(7), 12, "lin"))
        h = layers.builder.add(Dropout(p), h) if p else h
        return layers.finish(layers.linear(h, 2, "head"))

    with_dropout, without = (weight_gradients(graph(p), ["lin.weight"], points(20))["lin.weight"] for p in (0.5, 0.0))

    np.testing.assert_array_equal(with_dropout, without)


def test_no_graphs_and_no_labels_are_refused():
    with pytest.raises(InvalidInput, match="loader: holds no graphs"):
        prune(mlp_graph(), SNIP([]))
    with pytest.raises(InvalidInput, match="y: missing"):
        prune(mlp_graph(), SNIP([Data(x=torch.zeros(1, 7), edge_index=torch.zeros(2, 0, dtype=torch.long))]))


def test_a_gradient_of_a_loss_that_is_not_finite_is_refused():
    graph = mlp_graph().with_constants({"head.weight": np.full((2, 10), 3e38)})
    with pytest.raises(TrainingDiverged, match="gradients, batch 1: the loss is"):
        prune(graph, SNIP(points(4)))


# --- SNIP ---


def test_snip_keeps_the_largest_products_of_weight_and_gradient():
    graph, data = mlp_graph(), points(40)
    names = ["lins.0.weight", "lins.1.weight"]
    gradients = weight_gradients(graph, names, data)
    scores = np.concatenate([np.abs(gradients[n] * graph.constants[n]).ravel() for n in names])
    kept = np.concatenate([prune(graph, SNIP(data, 0.7)).constants[n].ravel() != 0 for n in names])

    assert int(kept.sum()) == scores.size - round(0.7 * scores.size)
    assert scores[kept].min() >= scores[~kept].max()


def test_snip_by_layer_takes_the_share_of_every_layer():
    pruned = prune(mlp_graph(), SNIP(points(40), 0.5, scope="layer", include_head=True))

    assert {n: int((a == 0).sum()) for n, a in pruned.constants.items() if a.ndim == 2} == {
        "lins.0.weight": 42, "lins.1.weight": 60, "head.weight": 10,
    }  # fmt: skip


def test_snip_drops_what_the_loss_does_not_see():
    """A large weight on an input that is always zero has no sensitivity; its magnitude would have kept it."""
    data = points(40)
    for d in data:
        d.x[:, 3] = 0
    weight = mlp_graph().constants["lins.0.weight"].copy()
    weight[:, 3] = 10
    graph = mlp_graph().with_constants({"lins.0.weight": weight})

    assert (prune(graph, SNIP(data, 0.5)).constants["lins.0.weight"][:, 3] == 0).all()
    assert (prune(graph, L1Unstructured(0.5)).constants["lins.0.weight"][:, 3] != 0).all()


def test_snip_at_initialization_masks_the_weights_that_are_there():
    graph, data = mlp_graph(), points(40)
    trained, fresh = SNIP(data, 0.5), SNIP(data, 0.5, at_initialization=True, seed=3)
    pruned = prune(graph, fresh).constants["lins.0.weight"]

    np.testing.assert_array_equal(pruned[pruned != 0], graph.constants["lins.0.weight"][pruned != 0])
    np.testing.assert_array_equal(
        fresh.masks(graph)["lins.0.weight"], SNIP(data, 0.5, seed=3).masks(initialized(graph, 3))["lins.0.weight"]
    )
    assert (fresh.masks(graph)["lins.0.weight"] != trained.masks(graph)["lins.0.weight"]).any()


def test_snip_of_a_constant_model_is_refused():
    graph = mlp_graph().with_constants({"head.weight": np.zeros((2, 10))})
    with pytest.raises(RecipeError, match="no weight changes the loss"):
        prune(graph, SNIP(points(10)))


# --- ECS ---


def test_the_union_of_two_measures_is_taken_to_the_same_depth():
    first = {"w": np.array([9.0, 8, 1, 2, 3, 0])}
    second = {"w": np.array([9.0, 0, 1, 7, 2, 8])}
    order = np.argsort(-union_ranks(first, second)["w"])

    # depth 1: place 0 by both; depth 2: place 1 by the first, place 5 by the second; depth 3: places 4 and 3
    assert list(order[:5]) == [0, 1, 5, 4, 3]


@pytest.mark.parametrize("amount", [0.8, 0.9, 0.95])
def test_the_union_of_ecs_has_the_requested_density(amount: float):
    graph, data = mlp_graph((7, 40, 30, 2)), points(60)
    pruned = prune(graph, ECS(data, amount, include_head=True))
    size = sum(a.size for a in graph.constants.values() if a.ndim == 2)

    assert sparsity(pruned) == pytest.approx(round(amount * size) / size)


def test_ecs_keeps_what_is_large_by_weight_or_by_gradient_after_training():
    graph, data = mlp_graph(), points(60)
    trained = fine_tune(graph, data, epochs=2, lr=1e-2)
    gradients = weight_gradients(trained, ["lins.0.weight", "lins.1.weight"], data)
    pruned = prune(graph, ECS(data, 0.8, epochs=2, lr=1e-2))
    sizes, slopes, left = (
        np.concatenate([np.abs(source[n]).ravel() for n in gradients])
        for source in (trained.constants, gradients, pruned.constants)
    )
    ranks = [np.argsort(np.argsort(-measure)) for measure in (sizes, slopes)]  # 0 is the largest
    depths = [int(rank[left == 0].min()) for rank in ranks]  # of the largest that is gone

    assert abs(depths[0] - depths[1]) <= 1
    assert (np.minimum(*ranks)[left != 0] <= max(depths)).all()
    np.testing.assert_array_equal(left[left != 0], sizes[left != 0])


def test_ecs_by_layer_gives_every_layer_the_density():
    pruned = prune(mlp_graph(), ECS(points(40), 0.5, scope="layer"))

    assert [int((pruned.constants[n] == 0).sum()) for n in ("lins.0.weight", "lins.1.weight")] == [42, 60]


def test_ecs_leaves_pruned_what_was_pruned_before_and_counts_it():
    graph = prune(mlp_graph(), L1Unstructured(0.5))
    pruned = prune(graph, ECS(points(40), 0.6))
    size = 12 * 7 + 10 * 12

    assert sparsity(pruned) * (size + 20) == pytest.approx(round(0.6 * size))
    for name in ("lins.0.weight", "lins.1.weight"):
        assert (pruned.constants[name][graph.constants[name] == 0] == 0).all()


# --- initialization ---


def test_new_weights_have_the_spread_of_kaiming_and_neutral_norms():
    graph = initialized(gin_graph(hidden=64, layers=2), seed=1)

    assert graph.constants["convs.1.nn.0.weight"].std() == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    assert not graph.constants["head.bias"].any()
    assert (graph.constants["convs.0.nn.1.variance"] == 1).all()
    assert not graph.constants["convs.0.nn.1.mean"].any()
    assert graph.constants["convs.0.eps"] == np.float32(1.1)


def test_new_weights_keep_masks_and_clear_every_bias():
    graph = prune(gcn_graph(), L1Unstructured(0.5))
    fresh = initialized(graph, seed=2)

    np.testing.assert_array_equal(
        fresh.constants["convs.1.lin.weight"] == 0, graph.constants["convs.1.lin.weight"] == 0
    )
    assert not fresh.constants["convs.1.bias"].any()


# --- both ---


def test_a_network_pruned_to_a_tenth_still_learns():
    data = points(300)
    graph = initialized(mlp_graph((7, 32, 32, 2)), seed=0)
    for method in (SNIP(data, 0.9), ECS(data, 0.9, lr=1e-2)):
        assert evaluate(fine_tune(prune(graph, method), data, epochs=25, lr=1e-2), data) > 0.95


@pytest.mark.parametrize("method", [SNIP, ECS])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"amount": 0.0}, "amount: 0 prunes nothing"),
        ({"amount": 1.0}, "amount: 1 prunes everything"),
        ({"scope": "row"}, "scope"),
        ({"batches": 0}, "batches: 0"),
    ],
)
def test_malformed_options_are_refused(method: Any, options: dict[str, Any], message: str):
    with pytest.raises(RecipeError, match=message):
        method([], **options)


@pytest.mark.parametrize("method", [SNIP(points(4)), ECS(points(4))])
def test_a_quantized_graph_and_one_without_weights_are_refused(method: Any):
    layers = Layers("head only")
    only_head = layers.finish(layers.linear(layers.input(7), 2, "head"))
    with pytest.raises(RecipeError, match="set include_head=True"):
        prune(only_head, method)
    with pytest.raises(RecipeError, match="before quantizing"):
        prune(quantize(gcn_graph(), DynamicInt8()), method)
