"""Weight sharing: k values per codebook, kept by fine-tuning, quantization and QAT; pruned weights stay zero."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.compression.hand_built import Layers, gcn_graph, gin_graph, many_inputs
from tests.unit.compression.labelled_graphs import labelled, mlp_graph, points
from toolchain.compression import (
    QAT,
    SNIP,
    DynamicInt8,
    Float16,
    KMeans,
    L1Unstructured,
    StaticInt8,
    StepReport,
    StructuredChannels,
    fine_tune,
    prune,
    quantize,
    share,
)
from toolchain.compression.evaluation import as_inputs, predict
from toolchain.compression.quantizers import Learned
from toolchain.errors import InvalidGraph, RecipeError
from toolchain.graph_file import load_graph, save_graph
from toolchain.ir import Graph, interpret
from toolchain.ir.ops import Const, Linear
from toolchain.passes import deployable
from toolchain.passes.batch_norm_folding import fold_batch_norm
from toolchain.torch_module import GraphModule


def weights(graph: Graph) -> dict[str, np.ndarray]:
    """The Linear weights by name."""
    names = [graph.values[v.inputs[1]].op for v in graph.values if isinstance(v.op, Linear)]
    return {op.name: graph.constants[op.name] for op in names if isinstance(op, Const)}


def codebooks(graph: Graph) -> dict[str, str | None]:
    return {v.op.name: v.op.codebook for v in graph.values if isinstance(v.op, Const) and v.op.name in weights(graph)}


def distinct(graph: Graph) -> dict[str, int]:
    return {name: np.unique(array).size for name, array in weights(graph).items()}


@pytest.mark.parametrize("clusters", [2, 5, 16, 32])
def test_every_weight_matrix_gets_at_most_k_values_of_its_own(clusters):
    graph = share(gin_graph(), KMeans(clusters))
    counts = distinct(graph)

    assert all(count <= clusters for count in counts.values())
    assert max(counts.values()) == clusters
    assert all(codebooks(graph)[name] == name for name in counts)


def test_every_weight_becomes_the_nearest_value_of_its_codebook():
    graph = gcn_graph()
    name = "convs.1.lin.weight"
    before, after = graph.constants[name], share(graph, KMeans(7)).constants[name]
    book = np.unique(after)
    gaps = np.abs(before[:, :, None] - book)

    np.testing.assert_allclose(np.abs(before - after), gaps.min(axis=2), atol=1e-7)


def test_global_scope_has_one_codebook_and_module_scope_one_per_convolution():
    whole, modules = (share(gin_graph(), KMeans(8, scope=scope)) for scope in ("global", "module"))

    assert len(set(codebooks(whole).values())) == 1
    assert np.unique(np.concatenate([a.ravel() for a in weights(whole).values()])).size == 8
    grouped = codebooks(modules)
    assert grouped["convs.0.nn.0.weight"] == grouped["convs.0.nn.3.weight"] != grouped["convs.1.nn.0.weight"]


def test_the_head_and_other_layers_can_be_left_out():
    graph = gin_graph()
    head = [n for n in weights(graph) if not n.startswith("convs")]
    without, only = share(graph, KMeans(4, include_head=False)), share(graph, KMeans(4, targets=("convs.0",)))

    assert head
    assert all(codebooks(without)[name] is None for name in head)
    assert {n for n, book in codebooks(only).items() if book} == {"convs.0.nn.0.weight", "convs.0.nn.3.weight"}


def test_batch_norm_is_folded_first_because_a_fold_would_leave_the_codebook():
    graph = share(gin_graph(), KMeans(4))
    layers = Layers("unfolded")
    x = layers.input(5)
    unfolded = layers.finish(layers.batch_norm(layers.linear(x, 3, "lin"), "norm"))
    values = tuple(
        replace(v, op=replace(v.op, codebook="lin")) if isinstance(v.op, Const) and v.op.name == "lin.weight" else v
        for v in unfolded.values
    )

    assert str(deployable(graph)) == str(graph)
    with pytest.raises(
        InvalidGraph, match=r"lin\.weight: comes from the codebook .* Share the weights of the deployable"
    ):
        fold_batch_norm(replace(unfolded, values=values))


# --- pruned weights ---


def test_pruned_weights_stay_zero_and_zero_is_one_of_the_k():
    pruned = prune(gcn_graph(), L1Unstructured(0.4, include_head=True))
    shared = share(pruned, KMeans(5))
    tuned = fine_tune(shared, labelled(12), epochs=3, lr=3e-2)

    for graph in (shared, tuned):
        assert max(distinct(graph).values()) == 5
        for name, array in weights(graph).items():
            np.testing.assert_array_equal(array == 0, pruned.constants[name] == 0)


def test_two_clusters_of_a_pruned_weight_are_zero_and_one_other_value():
    shared = share(prune(mlp_graph(), L1Unstructured(0.5, include_head=True)), KMeans(2))

    assert all(0 in np.unique(array) and np.unique(array).size == 2 for array in weights(shared).values())


def test_weights_that_are_all_zero_stay_so():
    graph = mlp_graph()
    none = {name: np.zeros_like(array) for name, array in weights(graph).items()}
    tuned = fine_tune(share(graph.with_constants(none), KMeans(4)), points(20), epochs=1)

    assert not any(array.any() for array in weights(tuned).values())


def test_pruning_after_sharing_keeps_both():
    pruned = prune(share(gcn_graph(), KMeans(8)), L1Unstructured(0.3, include_head=True))
    tuned = fine_tune(pruned, labelled(8), epochs=1, lr=1e-2)

    assert all(count <= 9 for count in distinct(tuned).values())
    for name, array in weights(tuned).items():
        np.testing.assert_array_equal(array == 0, pruned.constants[name] == 0)


# --- training ---


def groups(array: np.ndarray) -> np.ndarray:
    """Which elements are equal: the number of each element's value."""
    _, first, inverse = np.unique(array, return_index=True, return_inverse=True)
    return first[inverse].reshape(array.shape)


@pytest.mark.parametrize("scope", ["layer", "module", "global"])
def test_fine_tuning_moves_the_values_and_keeps_the_sharing(scope):
    shared = share(mlp_graph(), KMeans(6, scope=scope))
    tuned = fine_tune(shared, points(60), epochs=2, lr=1e-3)
    before, after = (np.concatenate([a.ravel() for a in weights(g).values()]) for g in (shared, tuned))

    assert not np.array_equal(before, after)
    if scope == "global":
        np.testing.assert_array_equal(groups(before), groups(after))
    for name in weights(shared):
        np.testing.assert_array_equal(groups(shared.constants[name]), groups(tuned.constants[name]))
    assert codebooks(tuned) == codebooks(shared)


def test_the_gradient_of_a_shared_value_is_the_sum_over_its_weights():
    shared = share(mlp_graph(), KMeans(4, targets=("lins.0",)))
    module = GraphModule(shared)
    weight = module.constant("lins.0.weight")
    slopes = torch.from_numpy(np.random.default_rng(0).normal(size=weight.shape)).float()
    (weight * slopes).sum().backward()
    (book,) = (p for n, p in module.named_parameters() if n.startswith("codebooks"))
    expected = [slopes[weight == value].sum().item() for value in book]

    np.testing.assert_allclose(book.grad, expected, rtol=1e-5)


def test_fine_tuned_values_fit_better_than_the_means():
    data = points(200)
    labels = torch.tensor([int(d.y) for d in data])

    def loss(graph: Graph) -> float:
        return float(torch.nn.functional.cross_entropy(torch.from_numpy(predict(graph, as_inputs(data))), labels))

    trained = fine_tune(mlp_graph(), data, epochs=10, lr=1e-2)
    shared = share(trained, KMeans(3))
    assert loss(fine_tune(shared, data, epochs=10, lr=1e-2)) < loss(shared)


def test_sensitivities_of_shared_weights_are_those_of_single_weights():
    shared = share(mlp_graph(), KMeans(4))
    pruned = prune(shared, SNIP(points(64), 0.5, include_head=True))

    assert sum(int((a == 0).sum()) for a in weights(pruned).values()) == round(
        0.5 * sum(a.size for a in weights(shared).values())
    )


def test_channels_removed_after_sharing_leave_the_codebook_as_it_is():
    shared = share(mlp_graph(), KMeans(6))
    small = prune(shared, StructuredChannels(0.5))

    assert codebooks(small) == codebooks(shared)
    for name, array in weights(small).items():
        assert set(np.unique(array)) <= set(np.unique(shared.constants[name]))


# --- quantization ---


@pytest.mark.parametrize("make", [gcn_graph, gin_graph])
def test_static_int8_keeps_the_sharing_through_equalization(make):
    shared = share(make(), KMeans(5))
    quantized = quantize(shared, StaticInt8(many_inputs(24), min_agreement=0.5))

    for name, codes in weights(quantized).items():
        float_groups, code_groups = groups(shared.constants[name]), groups(codes)
        assert codes.dtype == np.int8
        assert np.unique(codes).size <= 5
        for group in np.unique(float_groups):  # equal weights have equal codes
            assert np.unique(code_groups[float_groups == group]).size == 1
        np.testing.assert_array_equal(codes[shared.constants[name] == 0], 0)


@pytest.mark.parametrize("bits", [8, 4])
def test_dynamic_int8_keeps_the_sharing(bits):
    quantized = quantize(share(gcn_graph(), KMeans(5)), DynamicInt8(weight_bits=bits))
    counts = {name: np.unique(a).size for name, a in weights(quantized).items() if a.dtype == np.int8}

    assert counts
    assert all(count <= 5 for count in counts.values())


def test_qat_trains_the_values_in_the_integers_that_ship():
    shared = share(prune(gcn_graph(), L1Unstructured(0.3, include_head=True)), KMeans(6))
    static = StaticInt8(many_inputs(24), min_agreement=0.5)
    before, after = quantize(shared, static), quantize(shared, QAT(labelled(16), 2, static, lr=1e-2))

    assert all(count <= 6 for count in distinct(after).values())
    assert any(not np.array_equal(weights(before)[n], weights(after)[n]) for n in weights(before))
    for name, codes in weights(after).items():
        np.testing.assert_array_equal(codes[shared.constants[name] == 0], 0)


def test_learned_scales_keep_the_sharing():
    shared = share(gcn_graph(), KMeans(6))
    static = StaticInt8(many_inputs(24), min_agreement=0)
    learned = quantize(shared, QAT(labelled(16), 2, static, lr=1e-2, quantizers={"*": Learned(4)}))

    for name, codes in weights(learned).items():
        float_groups, code_groups = groups(shared.constants[name]), groups(codes)
        assert all(np.unique(code_groups[float_groups == g]).size == 1 for g in np.unique(float_groups))


# --- bad input, and what is reported and stored ---


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: KMeans(1), r"clusters: 1, expected 2 or more"),
        (lambda: KMeans(-3), r"clusters: -3, expected 2 or more"),
        (lambda: KMeans(4, scope="all"), r"scope: 'all', expected one of layer, module, global"),
        (lambda: KMeans(4, init="random"), r"init: 'random', expected one of linear, k-means\+\+, density"),
        (lambda: share(mlp_graph(), KMeans(4, targets=("nowhere",))), r"targets: 'nowhere' names no weight"),
        (lambda: share(mlp_graph(), KMeans(21)), r"head\.weight has 20 weights, fewer than the 21 clusters asked for"),
        (lambda: share(mlp_graph(), "k-means"), r"method: 'k-means', expected KMeans"),
        (lambda: share(share(mlp_graph(), KMeans(4)), KMeans(3)), r"lins\.0\.weight has its values from the codebook"),
        (
            lambda: share(prune(mlp_graph(), L1Unstructured(0.2)), KMeans(4, reserve_zero=False)),
            r"lins\.0\.weight is pruned, and reserve_zero=False",
        ),
        (
            lambda: share(quantize(gcn_graph(), DynamicInt8()), KMeans(4)),
            r"is quantized already\. Share the weights of the float graph",
        ),
    ],
)
def test_bad_input_is_refused_with_one_clear_error(make, message):
    with pytest.raises(RecipeError, match=message):
        make()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(bad):
    graph = mlp_graph()
    array = graph.constants["lins.0.weight"].copy()
    array[0, 0] = bad

    with pytest.raises(InvalidGraph, match=r"lins\.0.*weights hold 1 non-finite values"):
        share(graph.with_constants({"lins.0.weight": array}), KMeans(4))


def test_as_many_clusters_as_weights_change_nothing():
    graph = mlp_graph()
    shared = share(graph, KMeans(20))

    np.testing.assert_array_equal(shared.constants["head.weight"], graph.constants["head.weight"])


def test_all_equal_weights_share_one_value():
    graph = mlp_graph()
    equal = {name: np.full_like(array, 0.3) for name, array in weights(graph).items()}
    shared = share(graph.with_constants(equal), KMeans(4))

    assert set(distinct(shared).values()) == {1}
    np.testing.assert_array_equal(shared.constants["head.weight"], equal["head.weight"])


def test_the_step_is_reported():
    reports: list[StepReport] = []
    share(mlp_graph(), KMeans(4), log=reports.append)

    assert [report.name for report in reports] == ["share 4 values (layer)"]


def test_a_shared_graph_is_read_back_with_its_codebooks(tmp_path):
    shared = share(gcn_graph(), KMeans(4, scope="global"))
    read = load_graph(save_graph(shared, ["lowering", "compression"], tmp_path / "shared.pgnn")).graph

    assert codebooks(read) == codebooks(shared)
    assert "codebook=convs.0.lin.weight" in str(read)
    x = many_inputs(1)[0]
    np.testing.assert_array_equal(interpret(read, x)[0], interpret(shared, x)[0])


def test_halves_are_not_shared():
    with pytest.raises(RecipeError, match=r"is quantized already\. Share the weights of the float graph"):
        share(quantize(gcn_graph(), Float16()))
