"""Which channels live and die together, read off the ops of a Graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tests.cases import MODELS, example
from tests.every_op import every_op
from tests.unit.compression.hand_built import Layers, gcn_graph, gin_graph, sage_graph
from toolchain.compression import DynamicInt8, quantize
from toolchain.compression.channel_groups import HeadUnit, channel_groups, tie
from toolchain.errors import RecipeError
from toolchain.frontend import lower
from toolchain.ir import Graph, ops
from toolchain.ir.types import edge


def groups_of(graph: Graph, **options: str) -> list[str]:
    return [str(group) for group in channel_groups(graph, **options).groups]  # type: ignore[arg-type]


def built(make: Callable[[Layers], int], features: int = 6) -> Graph:
    """Layers on an input, then a head of 3 classes on what they return."""
    layers = Layers("built")
    layers.input(features)
    return layers.finish(layers.linear(make(layers), 3, "head"))


def test_every_op_that_a_float_graph_holds_has_a_rule():
    unknown = {op for op in ops.ALL_OPS if tie.dispatch(op) is tie.dispatch(object)}

    assert unknown == {ops.Quantize, ops.Dequantize, ops.DegreeGroup, ops.PeakGroup, ops.RowScale}


def test_a_layer_is_a_group_and_the_classes_stay():
    assert groups_of(gcn_graph(hidden=8, classes=4, layers=2)) == [
        "convs.0.lin: 8 of 8 channels may go",
        "convs.1.lin: 8 of 8 channels may go",
        "head: 0 of 4 channels may go (an output of the model)",
    ]


def test_batch_norm_and_both_linears_of_a_gin_layer_are_traced():
    channels = channel_groups(gin_graph(hidden=8, layers=1))

    for slot in ("weight", "bias", "mean", "variance"):
        np.testing.assert_array_equal(channels.axes["convs.0.nn.0.weight"][0], channels.axes[f"convs.0.nn.1.{slot}"][0])
    np.testing.assert_array_equal(channels.axes["convs.0.nn.0.weight"][0], channels.axes["convs.0.nn.3.weight"][1])
    assert set(channels.axes["convs.0.nn.3.weight"][0]).isdisjoint(channels.axes["convs.0.nn.3.weight"][1])


def test_a_residual_ties_the_layers_on_both_sides():
    assert groups_of(sage_graph(hidden=8)) == [
        "convs.0.lin_l, convs.0.lin_r, convs.1.lin_l, convs.1.lin_r: 8 of 8 channels may go",
        "head: 0 of 4 channels may go (softmax %21 normalizes over them)",
    ]


def test_concatenated_layers_are_groups_of_their_own():
    def make(m: Layers) -> int:
        first, second = m.linear(0, 4, "first"), m.linear(0, 5, "second")
        return m.builder.add(ops.Concat(), first, m.relu(second), first)

    graph = built(make)
    channels = channel_groups(graph)

    assert groups_of(graph)[:2] == ["first: 4 of 4 channels may go", "second: 5 of 5 channels may go"]
    first, second = channels.axes["first.weight"][0], channels.axes["second.weight"][0]
    np.testing.assert_array_equal(channels.axes["head.weight"][1], np.concatenate([first, second, first]))


def test_a_slice_passes_its_own_channels_on():
    def make(m: Layers) -> int:
        wide = m.linear(0, 10, "wide")
        return m.builder.add(ops.Add(), m.builder.add(ops.Slice(2, 5), wide), m.linear(0, 3, "narrow"))

    channels = channel_groups(built(make))

    assert [group.weights for group in channels.groups] == [("wide.weight", "narrow.weight"), ("head.weight",)]
    np.testing.assert_array_equal(channels.axes["narrow.weight"][0], channels.axes["wide.weight"][0][2:5])


def test_a_residual_of_the_input_keeps_a_layer_whole():
    graph = built(lambda m: m.builder.add(ops.Add(), m.linear(0, 6, "encoder"), 0))

    assert groups_of(graph)[0] == "encoder: 0 of 6 channels may go (an input of the model)"


def test_a_weight_that_two_layers_share_is_one_group():
    def make(m: Layers) -> int:
        first = m.linear(0, 6, "shared", bias=False)
        weight = m.builder.values[first].inputs[1]
        return m.builder.add(ops.Linear(), m.relu(first), weight)

    assert groups_of(built(make))[0] == "shared: 0 of 6 channels may go (an input of the model)"


def test_layer_norm_keeps_all_channels_that_it_averages_over():
    def make(m: Layers) -> int:
        affine = [m.builder.const(f"norm.{n}", np.ones(4)) for n in ("weight", "bias")]
        return m.builder.add(ops.LayerNorm(), m.linear(0, 4, "encoder"), *affine, scope="norm")

    assert groups_of(built(make))[0] == (
        "encoder: 0 of 4 channels may go (LayerNorm %6 (norm) averages over them, so that its statistics would change)"
    )


def test_a_softmax_within_the_model_keeps_its_channels():
    graph = built(lambda m: m.builder.add(ops.LogSoftmax(), m.linear(0, 4, "encoder")))

    assert groups_of(graph)[0] == "encoder: 0 of 4 channels may go (softmax %4 normalizes over them)"


def test_a_divisor_keeps_its_channels():
    graph = built(lambda m: m.builder.add(ops.Div(), m.linear(0, 4, "above"), m.linear(0, 4, "below")))

    assert "divides by them, and a pruned channel is zero" in groups_of(graph)[0]


def test_one_value_for_all_channels_stays():
    graph = built(lambda m: m.builder.add(ops.Mul(), m.linear(0, 4, "values"), m.linear(0, 1, "gate")))

    assert groups_of(graph)[0] == "values: 4 of 4 channels may go"
    assert "gives one value to every channel" in groups_of(graph)[1]


def gat(m: Layers, heads: int, mean: bool = False) -> int:
    """Attention with `heads` heads of 4 channels."""
    topology = m.builder.topology(every_op().topologies[0])
    h = m.linear(0, heads * 4, "lin", bias=False)
    scores = m.builder.add(ops.HeadDot(), h, m.builder.const("att", np.ones((heads, 4))))
    logits = m.builder.add(ops.EdgeSoftmax(), m.builder.add(ops.Gather(topology, ops.End.SOURCE), scores))
    y = m.builder.add(ops.Propagate(topology, operands=("weight",)), h, logits)
    assert m.builder.type(logits) == edge(heads, topology)
    return m.builder.add(ops.HeadMean(heads), y) if mean else y


def test_heads_lose_the_same_channels():
    channels = channel_groups(built(lambda m: gat(m, 3)))
    written = channels.axes["lin.weight"][0].reshape(3, 4)

    assert (written == written[0]).all()
    np.testing.assert_array_equal(channels.axes["att"][1], written[0])
    assert channels.groups[0].prunable == tuple(written[0])


@pytest.mark.parametrize(("unit", "columns"), [("channels", 4), ("heads", 3)])
def test_channels_weighed_by_computed_edge_weights_are_heads_too(unit: HeadUnit, columns: int):
    def make(m: Layers) -> int:
        topology = m.builder.topology(every_op().topologies[0])
        weights = m.builder.add(ops.Gather(topology, ops.End.SOURCE), m.linear(0, 3, "weights"))
        return m.builder.add(ops.Propagate(topology, operands=("weight",)), m.linear(0, 12, "values"), weights)

    channels = channel_groups(built(make), unit)
    values, weights = channels.axes["values.weight"][0].reshape(3, 4), channels.axes["weights.weight"][0]

    assert len(np.unique(values)) == columns
    assert (values == (values[:1] if unit == "channels" else weights[:, None])).all()
    assert [len(g.prunable) for g in channels.groups[:-1]] == ([0, 4] if unit == "channels" else [3])


def test_whole_heads_go_with_their_scores():
    channels = channel_groups(built(lambda m: gat(m, 3)), "heads")
    written = channels.axes["lin.weight"][0].reshape(3, 4)

    assert (written[:, 0] == written.T).all()
    np.testing.assert_array_equal(channels.axes["att"][0], written[:, 0])
    assert len(channels.groups[0].prunable) == 3


def test_a_single_head_loses_channels_whatever_the_unit():
    for unit in ("channels", "heads"):
        assert groups_of(built(lambda m: gat(m, 1)), heads=unit)[0] == "lin: 4 of 4 channels may go"


def test_heads_that_are_averaged_lose_channels_but_stay_whole():
    graph = built(lambda m: gat(m, 3, mean=True))

    assert groups_of(graph)[0] == "lin: 4 of 4 channels may go"
    assert "averages these heads" in groups_of(graph, heads="heads")[0]


def test_a_quantized_graph_is_refused():
    with pytest.raises(RecipeError, match="before quantizing"):
        channel_groups(quantize(gcn_graph(), DynamicInt8()))


@pytest.mark.parametrize("name", MODELS)
def test_every_place_of_every_zoo_model_has_a_channel(name: str):
    graph = lower(MODELS[name](), example(name))
    channels = channel_groups(graph)

    for value, ids in zip(graph.values, channels.rows, strict=True):
        assert ids.size == (0 if isinstance(value.op, ops.Const) else value.type.channels)
    for constant, axes in channels.axes.items():
        assert tuple(ids.size for ids in axes) == graph.constants[constant].shape
