"""Structured pruning: which channels go, and that the smaller Graph says exactly what the zeroed one says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.cases import GRAPHS, MODELS, case_inputs, example
from tests.unit.compression.hand_built import Layers, gcn_graph, gin_graph, many_inputs, random_inputs
from tests.unit.compression.labelled_graphs import labelled
from toolchain.compression import DynamicInt8, L1Unstructured, StaticInt8, StepReport, fine_tune, prune, quantize
from toolchain.compression.channel_groups import HeadUnit, channel_groups
from toolchain.compression.pruning import StructuredChannels
from toolchain.compression.pruning.channel_removal import removed, zeroed
from toolchain.compression.pruning.channels import choose
from toolchain.errors import RecipeError
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret, ops
from toolchain.passes import deployable

LAYER_NORM_EVERYWHERE = {"sage_mean", "pyg_sage_jk", "residual_layernorm"}
HEADS_AVERAGED_EVERYWHERE = {"gat_mean_edge"}
PRUNABLE = [(name, "channels") for name in MODELS if name not in LAYER_NORM_EVERYWHERE]
PRUNABLE += [(name, "heads") for name, _ in PRUNABLE if name not in HEADS_AVERAGED_EVERYWHERE]


def in_float64(graph: Graph) -> Graph:
    """The same Graph with its weights in float64, so that sums over channels round once, to float32, at their end.

    BLAS may add the terms of a sum in another order when there are fewer of them; in float32 that alone can show in the
    last bit.
    """
    return replace(graph, constants={name: array.astype(np.float64) for name, array in graph.constants.items()})


def largest_difference(first: Graph, second: Graph, inputs: GraphInputs) -> float:
    pairs = zip(interpret(in_float64(first), inputs), interpret(in_float64(second), inputs), strict=True)
    return max(float(np.abs(a - b).max()) for a, b in pairs)


@pytest.mark.parametrize(("name", "heads"), PRUNABLE)
def test_the_pruned_graph_equals_the_zeroed_one_exactly(name: str, heads: HeadUnit):
    graph = lower(MODELS[name](), example(name))
    channels = channel_groups(graph, heads)
    dropped = choose(graph, channels, StructuredChannels(amount=0.5, heads=heads))
    small, same_size = removed(graph, channels, dropped), zeroed(graph, channels, dropped)

    assert small.weight_bytes < 0.7 * graph.weight_bytes
    assert [o.type for o in map(small.values.__getitem__, small.outputs)] == [
        o.type for o in map(graph.values.__getitem__, graph.outputs)
    ]
    for graph_name in GRAPHS:
        inputs = GraphInputs.from_pyg(case_inputs(name, graph_name))
        assert largest_difference(small, same_size, inputs) == 0.0


@pytest.mark.parametrize("name", ["gcn_graph", "gin_graph", "gat_concat", "gine_edge_attr"])
def test_a_graph_whose_norms_and_biases_are_folded_loses_the_same_channels(name: str):
    graph = deployable(lower(MODELS[name](), example(name)))
    channels = channel_groups(graph)
    dropped = choose(graph, channels, StructuredChannels(amount=0.5))
    inputs = GraphInputs.from_pyg(case_inputs(name, "random_60"))

    assert [len(g.prunable) for g in channels.groups] == [
        len(g.prunable) for g in channel_groups(lower(MODELS[name](), example(name))).groups
    ]
    assert largest_difference(removed(graph, channels, dropped), zeroed(graph, channels, dropped), inputs) == 0.0


@pytest.mark.parametrize("name", sorted(LAYER_NORM_EVERYWHERE))
def test_a_model_with_layer_norm_around_every_layer_is_refused_with_the_reason(name: str):
    with pytest.raises(RecipeError, match=r"LayerNorm .* averages over them, so that its statistics would change"):
        prune(lower(MODELS[name](), example(name)), StructuredChannels(amount=0.5))


def test_the_zeroed_graph_differs_from_the_original():
    graph = gin_graph()
    channels = channel_groups(graph)
    changed = zeroed(graph, channels, choose(graph, channels, StructuredChannels(amount=0.5)))
    inputs = random_inputs(20, 60)

    assert not np.allclose(interpret(graph, inputs)[0], interpret(changed, inputs)[0], atol=1e-3)


def widths(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in graph.constants.items() if array.ndim == 2}


def test_every_group_loses_its_share_or_its_number():
    halves, four = (
        prune(gin_graph(hidden=16, layers=1), method)
        for method in (StructuredChannels(amount=0.5), StructuredChannels(channels=4))
    )

    assert widths(halves) == {"convs.0.nn.0.weight": (8, 7), "convs.0.nn.3.weight": (8, 8), "head.weight": (4, 8)}
    assert widths(four) == {"convs.0.nn.0.weight": (12, 7), "convs.0.nn.3.weight": (12, 12), "head.weight": (4, 12)}


def test_targets_name_the_layers_to_narrow():
    pruned = prune(gcn_graph(hidden=16, layers=2), StructuredChannels(channels=10, targets=("convs.1",)))

    assert widths(pruned) == {"convs.0.lin.weight": (16, 7), "convs.1.lin.weight": (6, 16), "head.weight": (4, 6)}


def test_at_least_one_channel_stays():
    pruned = prune(gcn_graph(hidden=3, layers=1), StructuredChannels(amount=0.99))

    assert widths(pruned) == {"convs.0.lin.weight": (1, 7), "head.weight": (4, 1)}


def test_a_slice_is_never_emptied():
    def make(m: Layers) -> int:
        wide = m.relu(m.linear(0, 10, "wide"))
        return m.builder.add(ops.Concat(), m.builder.add(ops.Slice(0, 2), wide), m.builder.add(ops.Slice(2, 10), wide))

    layers = Layers("sliced")
    layers.input(6)
    graph = layers.finish(layers.linear(make(layers), 3, "head"))
    small = np.where(np.arange(10)[:, None] < 2, 1e-3, 1.0) * graph.constants["wide.weight"]
    pruned = prune(graph.with_constants({"wide.weight": small}), StructuredChannels(amount=0.8))

    slices = [value.op for value in pruned.values if isinstance(value.op, ops.Slice)]
    assert slices == [ops.Slice(0, 1), ops.Slice(1, 2)]
    with pytest.raises(RecipeError, match=r"9 of wide.* one channel left"):
        prune(graph, StructuredChannels(channels=9))


def kept_rows(graph: Graph, pruned: Graph, name: str) -> list[int]:
    """Which rows of a weight were kept, found by their first element."""
    return [int(np.flatnonzero(graph.constants[name][:, 0] == row[0])[0]) for row in pruned.constants[name]]


@pytest.mark.parametrize(
    ("importance", "expected"),
    [("l1", [1, 3]), ("l2", [2, 3]), ("batch_norm", [0, 1])],
)
def test_the_least_important_channels_go(importance: str, expected: list[int]):
    layers = Layers("norm")
    h = layers.relu(layers.batch_norm(layers.linear(layers.input(4), 4, "lin"), "norm"))
    graph = layers.finish(layers.linear(h, 3, "head")).with_constants(
        {
            "lin.weight": np.array([[1, 1, 1, 1.0], [2, 2, 2, 2], [-7, 0, 0, 0], [-3, 3, 3, 3]]),
            "norm.weight": np.array([-4, 3, 2, 1.0]),
        }
    )
    pruned = prune(graph, StructuredChannels(channels=2, importance=importance))  # type: ignore[arg-type]

    assert kept_rows(graph, pruned, "lin.weight") == expected
    np.testing.assert_array_equal(pruned.constants["norm.mean"], graph.constants["norm.mean"][expected])
    np.testing.assert_array_equal(pruned.constants["head.weight"], graph.constants["head.weight"][:, expected])


def test_groups_without_batch_norm_are_left_alone_by_its_importance():
    pruned = prune(gin_graph(hidden=16, layers=1), StructuredChannels(amount=0.5, importance="batch_norm"))

    assert widths(pruned) == {"convs.0.nn.0.weight": (8, 7), "convs.0.nn.3.weight": (16, 8), "head.weight": (4, 16)}
    with pytest.raises(RecipeError, match="by batch_norm"):
        prune(gcn_graph(), StructuredChannels(amount=0.5, importance="batch_norm"))


def test_random_channels_are_the_same_for_the_same_seed():
    first, again, other = (
        prune(gcn_graph(), StructuredChannels(amount=0.5, importance="random", seed=seed)) for seed in (1, 1, 2)
    )

    assert np.array_equal(first.constants["head.weight"], again.constants["head.weight"])
    assert not np.array_equal(first.constants["head.weight"], other.constants["head.weight"])


def test_a_narrowed_graph_is_trained_masked_and_quantized_like_any_other():
    masked = prune(gin_graph(classes=2), L1Unstructured(0.3))
    graph = prune(masked, StructuredChannels(amount=0.5))
    tuned = fine_tune(graph, labelled(20), epochs=1)

    for name, array in graph.constants.items():
        if name.startswith("convs") and array.ndim == 2:
            assert ((tuned.constants[name] == 0) == (array == 0)).all()
    assert not np.array_equal(tuned.constants["head.weight"], graph.constants["head.weight"])
    assert quantize(tuned, StaticInt8(many_inputs(20), min_agreement=0)).weight_bytes < tuned.weight_bytes
    inputs = random_inputs(20, 60)
    np.testing.assert_allclose(interpret(deployable(tuned), inputs)[0], interpret(tuned, inputs)[0], atol=1e-4)


def test_the_report_states_that_the_graph_became_smaller():
    reports: list[StepReport] = []
    pruned = prune(gcn_graph(), StructuredChannels(amount=0.5), log=reports.append)

    assert reports[0].after.bytes == pruned.weight_bytes < 0.5 * reports[0].before.bytes
    assert reports[0].name == "remove 50% of channels (l1)"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "state one of them"),
        ({"amount": 0.5, "channels": 4}, "state one of them"),
        ({"amount": 0.0}, "prunes nothing"),
        ({"amount": 1.0}, "prunes everything"),
        ({"channels": 0}, "channels: 0"),
        ({"amount": 0.5, "importance": "l3"}, "importance: 'l3'"),
        ({"amount": 0.5, "heads": "all"}, "heads: 'all'"),
    ],
)
def test_malformed_options_are_refused(options: dict[str, object], message: str):
    with pytest.raises(RecipeError, match=message):
        StructuredChannels(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (StructuredChannels(channels=16), r"16 of convs\.0\.lin, which has 16 and can lose 15"),
        (StructuredChannels(amount=0.5, targets=("convs.7",)), r"'convs\.7' names no group .*convs\.0\.lin"),
        (StructuredChannels(amount=0.5, targets=("head",)), "an output of the model"),
    ],
)
def test_what_cannot_be_removed_is_refused(method: StructuredChannels, message: str):
    with pytest.raises(RecipeError, match=message):
        prune(gcn_graph(), method)


def test_a_quantized_graph_is_refused():
    with pytest.raises(RecipeError, match="before quantizing"):
        prune(quantize(gcn_graph(), DynamicInt8()), StructuredChannels(amount=0.5))
