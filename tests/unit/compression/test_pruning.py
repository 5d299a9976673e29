"""Magnitude pruning: which weights, how many, and that they stay zero through everything that follows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.unit.compression.hand_built import gcn_graph, gin_graph, many_inputs, node_gcn_graph
from toolchain.compression import DynamicInt8, Float16, KMeans, L1Unstructured, StaticInt8, prune, quantize
from toolchain.compression.pruning import FixedMasks, StructuredChannels
from toolchain.compression.step_report import StepReport
from toolchain.errors import RecipeError
from toolchain.ir import DType, Graph
from toolchain.ir.ops import Const
from toolchain.passes import deployable


def zeros(graph: Graph) -> dict[str, int]:
    """Zeros of every matrix."""
    return {name: int((array == 0).sum()) for name, array in graph.constants.items() if array.ndim == 2}


def pruned_constants(graph: Graph) -> list[str]:
    return [v.op.name for v in graph.values if isinstance(v.op, Const) and v.op.pruned]


def test_each_convolution_weight_loses_exactly_its_share_and_the_head_none():
    pruned = prune(gin_graph(layers=2), L1Unstructured(0.2))

    expected = {
        "convs.0.nn.0.weight": 22,
        "convs.0.nn.3.weight": 51,
        "convs.1.nn.0.weight": 51,
        "convs.1.nn.3.weight": 51,
    }
    assert {**expected, "head.weight": 0} == zeros(pruned)
    assert list(expected) == pruned_constants(pruned)


def test_global_scope_takes_the_share_of_all_weights_together():
    graph = gcn_graph()
    pruned = prune(graph, L1Unstructured(0.3, scope="global"))
    size = sum(a.size for n, a in graph.constants.items() if a.ndim == 2 and n != "head.weight")

    assert round(0.3 * size) == sum(zeros(pruned).values())
    kept = [np.abs(pruned.constants[n][pruned.constants[n] != 0]).min() for n in pruned_constants(pruned)]
    cut = [np.abs(graph.constants[n][pruned.constants[n] == 0]).max() for n in pruned_constants(pruned)]
    assert max(cut) <= min(kept)


def test_the_head_is_pruned_on_request():
    assert zeros(prune(gcn_graph(), L1Unstructured(0.25, include_head=True)))["head.weight"] == 16


def test_the_last_convolution_of_a_node_classifier_is_no_head():
    assert zeros(prune(node_gcn_graph(), L1Unstructured(0.25)))["conv2.lin.weight"] == 20


def test_targets_name_weights_or_module_paths():
    pruned = prune(gcn_graph(), L1Unstructured(0.5, targets=("convs.1", "head.weight")))

    assert zeros(pruned) == {
        "convs.0.lin.weight": 0,
        "convs.1.lin.weight": 128,
        "convs.2.lin.weight": 0,
        "head.weight": 32,
    }


def test_of_equal_magnitudes_the_first_are_pruned():
    graph = gcn_graph()
    flat = graph.with_constants({"convs.1.lin.weight": np.where(np.arange(256).reshape(16, 16) % 2, -1.0, 1.0)})
    pruned = prune(flat, L1Unstructured(0.5, targets=("convs.1",)))

    assert (pruned.constants["convs.1.lin.weight"].ravel()[:128] == 0).all()


def test_pruning_twice_reaches_the_same_share():
    once = prune(gcn_graph(), L1Unstructured(0.2))

    assert zeros(once) == zeros(prune(once, L1Unstructured(0.2)))


@pytest.mark.parametrize("make", [gcn_graph, gin_graph])
def test_pruned_zeros_survive_folding_and_quantization_as_code_zero(make):
    graph = prune(make(), L1Unstructured(0.4))
    folded = deployable(graph)
    masks = {name: graph.constants[name] == 0 for name in pruned_constants(graph)}
    for made in (folded, quantize(graph, DynamicInt8()), quantize(graph, StaticInt8(many_inputs(30), min_agreement=0))):
        stored = {name: made.constants[name] for name in pruned_constants(made)}
        assert len(masks) == len(stored)
        for mask, array in zip(masks.values(), stored.values(), strict=True):
            assert (array[mask] == 0).all()


def test_the_report_states_sparsity_and_size():
    reports: list[StepReport] = []
    graph = gcn_graph()
    prune(graph, L1Unstructured(0.2, include_head=True), log=reports.append)

    assert (0.0, graph.weight_bytes, graph.weight_bytes) == (
        reports[0].before.sparsity, reports[0].before.bytes, reports[0].after.bytes,
    )  # fmt: skip
    assert reports[0].after.sparsity == pytest.approx(0.2, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"amount": 1.0}, "amount"), ({"amount": -0.1}, "amount"), ({"scope": "row"}, "scope")],
)
def test_malformed_options_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        L1Unstructured(**options)


def test_a_target_that_names_nothing_is_refused_with_the_weights_there_are():
    with pytest.raises(RecipeError, match=r"convs\.9.*convs\.0\.lin\.weight"):
        prune(gcn_graph(), L1Unstructured(0.2, targets=("convs.9",)))


def test_a_quantized_graph_is_refused():
    quantized = quantize(gcn_graph(), DynamicInt8())
    assert any(v.type.dtype is DType.I8 for v in quantized.values)

    with pytest.raises(RecipeError, match="Prune before quantizing"):
        prune(quantized, L1Unstructured(0.2))


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_a_share_that_rounds_to_all_weights_is_refused(scope: str):
    with pytest.raises(RecipeError, match=r"amount: 0\.9999 of \d+ rounds to all of them"):
        prune(gcn_graph(), L1Unstructured(0.9999, scope=scope))


def test_a_layer_that_loses_all_its_weights_is_named(caplog: pytest.LogCaptureFixture):
    graph = gcn_graph()
    small = "convs.0.lin.weight"
    faint = graph.with_constants({small: graph.constants[small] * np.float32(1e-6)})
    gone = graph.constants[small].size
    total = sum(a.size for n, a in graph.constants.items() if a.ndim == 2 and n != "head.weight")

    prune(faint, L1Unstructured((gone + 1) / total, scope="global"))

    assert any(f"nothing is left of {small}" in message for message in caplog.messages)


def test_a_share_that_rounds_to_nothing_is_said(caplog: pytest.LogCaptureFixture):
    graph = gcn_graph()
    prune(graph, L1Unstructured(1e-6))
    assert any("nothing more is zero than before" in message for message in caplog.messages)

    caplog.clear()
    prune(graph, L1Unstructured(0.2))
    assert not any("nothing more is zero" in message for message in caplog.messages)


def test_zeros_that_the_mask_keeps_are_said_to_stay(caplog: pytest.LogCaptureFixture):
    graph, name = gcn_graph(), "convs.1.lin.weight"
    array = np.array(graph.constants[name])
    array[0] = 0
    started = graph.with_constants({name: array})

    prune(started, L1Unstructured(0.01))

    kept = array.shape[1] - round(0.01 * array.size)
    assert [m for m in caplog.messages if m.startswith(f"{name}: {kept} of {array.size} weights are zero although")]


def test_halves_are_not_pruned():
    with pytest.raises(RecipeError, match=r"is quantized already\. Prune the float graph"):
        prune(quantize(gcn_graph(), Float16()), L1Unstructured(0.5))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: L1Unstructured("0.5"), "amount: '0.5', expected a number in"),  # type: ignore[arg-type]
        (lambda: prune(gcn_graph(), L1Unstructured(targets="convs")), "targets: 'convs', expected several"),  # type: ignore[arg-type]
        (lambda: KMeans(2.5), "clusters: 2.5, expected 2 or more, a whole number"),  # type: ignore[arg-type]
        (lambda: KMeans(seed=-1), "seed: -1, expected a whole number of 0 or more"),
        (lambda: StructuredChannels(0.5, seed=-1), "seed: -1"),
        (lambda: prune(gcn_graph(), FixedMasks({"head.weight": [[True]]})), "has a list, expected an array of bool"),  # type: ignore[dict-item]
    ],
)
def test_values_of_other_kinds_are_refused(make: Callable[[], object], words: str):
    with pytest.raises(RecipeError, match=words):
        make()
