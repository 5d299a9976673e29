"""The mask interface: own masks, blocks, rounds; and that what is pruned once stays pruned."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.compression.hand_built import gcn_graph, gin_graph, many_inputs
from tests.unit.compression.labelled_graphs import labelled, mlp_graph, points
from toolchain.compression import L1Blocks, L1Unstructured, StaticInt8, fine_tune, prune, quantize
from toolchain.compression.pruning import FixedMasks, Iterative, PruningMethod
from toolchain.compression.pruning.magnitude import block_means
from toolchain.errors import RecipeError, TrainingDiverged
from toolchain.ir import Graph
from toolchain.ir.ops import Const

WEIGHT = "convs.1.lin.weight"


def zeros(graph: Graph) -> dict[str, int]:
    return {name: int((array == 0).sum()) for name, array in graph.constants.items() if array.ndim == 2}


def is_pruned(graph: Graph, name: str) -> bool:
    return any(isinstance(v.op, Const) and v.op.name == name and v.op.pruned for v in graph.values)


# --- masks that the caller made ---


def test_a_given_mask_is_put_on_its_weight_and_marked():
    keep = np.arange(256).reshape(16, 16) % 3 > 0
    graph = gcn_graph()
    pruned = prune(graph, FixedMasks({WEIGHT: keep}))

    np.testing.assert_array_equal(pruned.constants[WEIGHT], np.where(keep, graph.constants[WEIGHT], 0))
    assert is_pruned(pruned, WEIGHT)
    assert not is_pruned(pruned, "convs.0.lin.weight")


def test_a_later_mask_frees_nothing():
    first = np.ones((16, 16), bool)
    first[:4] = False
    pruned = prune(prune(gcn_graph(), FixedMasks({WEIGHT: first})), FixedMasks({WEIGHT: np.ones((16, 16), bool)}))
    tuned = fine_tune(pruned, labelled(10), epochs=1, lr=1e-2)

    assert (tuned.constants[WEIGHT][:4] == 0).all()


@pytest.mark.parametrize(
    ("keep", "message"),
    [
        (
            {"convs.9.weight": np.ones((16, 16), bool)},
            r"'convs\.9\.weight' names no float weight.*convs\.0\.lin\.weight",
        ),
        ({WEIGHT: np.ones((16, 8), bool)}, r"bool\[16, 8\], expected bool\[16, 16\]"),
        ({WEIGHT: np.ones((16, 16))}, r"float64\[16, 16\], expected bool"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(keep: dict[str, np.ndarray], message: str):
    with pytest.raises(RecipeError, match=message):
        prune(gcn_graph(), FixedMasks(keep))


def test_something_that_is_no_method_is_refused():
    with pytest.raises(RecipeError, match="expected a pruning method"):
        prune(gcn_graph(), 0.2)  # type: ignore[arg-type]


# --- blocks ---


def test_blocks_of_four_inputs_go_together():
    pruned = prune(gcn_graph(), L1Blocks(0.5))
    blocks = (pruned.constants[WEIGHT] == 0).reshape(16, 4, 4)

    assert ((blocks.sum(axis=2) == 4) | (blocks.sum(axis=2) == 0)).all()
    assert int(blocks.all(axis=2).sum()) == 32


def test_a_row_that_is_no_multiple_of_four_ends_in_a_shorter_block():
    graph = gcn_graph()
    weight = np.ones((16, 7))
    weight[0, :4], weight[1, 4:] = 0.1, 0.01
    pruned = prune(
        graph.with_constants({"convs.0.lin.weight": weight}), L1Blocks(2 / 32, targets=("convs.0",))
    ).constants["convs.0.lin.weight"]

    assert (pruned[0, :4] == 0).all()
    assert (pruned[1, 4:] == 0).all()
    assert int((pruned == 0).sum()) == 7


def test_blocks_are_compared_by_their_mean():
    """A block of three with larger weights outlives one of four with a larger sum."""
    np.testing.assert_array_equal(block_means(np.array([[1, 1, 1, 1, 1.2, 1.2, 1.2]]), 4), [[1.0, 1.2]])


def test_global_blocks_take_the_share_of_all_together():
    graph = gcn_graph(features=8)
    shrunk = graph.with_constants({WEIGHT: graph.constants[WEIGHT] * 1e-3})
    pruned = prune(shrunk, L1Blocks(64 / (32 + 64 + 64), scope="global"))

    assert zeros(pruned) == {"convs.0.lin.weight": 0, WEIGHT: 256, "convs.2.lin.weight": 0, "head.weight": 0}


# --- rounds ---


def test_every_round_takes_the_same_share_of_what_is_left():
    method = Iterative(L1Unstructured(0.9, "global"), labelled(4), rounds=2)

    assert method.amounts == pytest.approx((1 - 0.1**0.5, 0.9))


@pytest.mark.parametrize("method", [L1Unstructured(0.75, "global"), L1Blocks(0.75)])
def test_rounds_reach_the_amount_and_what_went_early_stays_away(method: L1Unstructured | L1Blocks):
    data, graph = points(60), mlp_graph(widths=(8, 16, 16, 2))
    data = [type(d)(x=d.x.repeat(1, 2)[:, :8], edge_index=d.edge_index, y=d.y) for d in data]
    rounds = Iterative(method, data, rounds=3, epochs=2, lr=1e-2)
    pruned = prune(graph, rounds)
    once = prune(graph, type(method)(rounds.amounts[0], scope=method.scope))

    assert sum(zeros(pruned).values()) == round(0.75 * (16 * 8 + 16 * 16))
    assert not np.array_equal(pruned.constants["head.weight"], graph.constants["head.weight"])
    for name in ("lins.0.weight", "lins.1.weight"):
        assert (pruned.constants[name][once.constants[name] == 0] == 0).all()


def test_rounds_choose_other_weights_than_one_step():
    data, graph = points(100), mlp_graph()
    rounds = prune(graph, Iterative(L1Unstructured(0.8), data, rounds=3, epochs=3, lr=3e-2))
    once = prune(graph, L1Unstructured(0.8))

    assert ((rounds.constants["lins.1.weight"] == 0) != (once.constants["lins.1.weight"] == 0)).any()


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rounds": 1}, "rounds: 1"), ({"epochs": 0}, "between 5 rounds"), ({"lr": 0.0}, "lr")],
)
def test_malformed_rounds_are_refused(options: dict[str, float], message: str):
    with pytest.raises(RecipeError, match=message):
        Iterative(L1Unstructured(0.5), [], **options)  # type: ignore[arg-type]


def test_rounds_of_nothing_are_refused():
    with pytest.raises(RecipeError, match="0 prunes nothing"):
        Iterative(L1Unstructured(0.0), [])


# --- what all share ---


@pytest.mark.parametrize("method", [L1Unstructured, L1Blocks])
@pytest.mark.parametrize("amount", [-0.1, 0.0, 1.0, 1.5])
def test_an_amount_that_prunes_nothing_or_everything_is_refused(method: type[L1Unstructured | L1Blocks], amount: float):
    with pytest.raises(RecipeError, match=r"amount: .* prunes .*in \(0, 1\)"):
        method(amount)


@pytest.mark.parametrize(("options", "message"), [({"block": 1}, "block: 1"), ({"scope": "row"}, "scope: 'row'")])
def test_malformed_blocks_are_refused(options: dict[str, object], message: str):
    with pytest.raises(RecipeError, match=message):
        L1Blocks(0.5, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", [L1Blocks(0.5), FixedMasks({"convs.1.nn.0.weight": np.tri(16, dtype=bool)})])
def test_zeros_of_every_mask_survive_training_folding_and_int8(method: PruningMethod):
    graph = prune(gin_graph(classes=2), method)
    quantized = quantize(fine_tune(graph, labelled(20), epochs=1), StaticInt8(many_inputs(20), min_agreement=0))

    before, after = (
        [g.constants[v.op.name] for v in g.values if isinstance(v.op, Const) and v.op.pruned]
        for g in (graph, quantized)
    )
    assert before
    for mask, codes in zip(before, after, strict=True):
        assert (codes[mask == 0] == 0).all()


def test_a_loss_that_is_not_finite_stops_the_training_with_its_place():
    graph = mlp_graph()
    with pytest.raises(TrainingDiverged, match=r"epoch 1 of 2, step 1, lr 0\.001: the loss is (nan|inf)"):
        fine_tune(graph.with_constants({"head.weight": np.full((2, 10), 3e38)}), points(8), epochs=2)
