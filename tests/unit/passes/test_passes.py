"""Every pass keeps the function of the graph, and each does the one rewrite it is named for."""

from __future__ import annotations

import numpy as np
import pytest

from tests.cases import CASES, MODELS, case_inputs, example
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, GraphBuilder, interpret, ops, verify
from toolchain.ir.types import node
from toolchain.passes import PIPELINE, deployable
from toolchain.passes.propagate_ordering import with_order
from toolchain.topology import Normalization, SelfLoops, TopologySpec

GCN = TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC)
RELU = ops.Activation(ops.Function.RELU)
RNG = np.random.default_rng(7)


def count(graph: Graph, *kinds: type[ops.Op]) -> int:
    return sum(isinstance(v.op, kinds) for v in graph.values)


def linear(b: GraphBuilder, x: int, out: int, name: str, *, bias: bool = False) -> int:
    operands = [x, b.const(f"{name}.weight", RNG.normal(size=(out, b.type(x).channels)))]
    operands += [b.const(f"{name}.bias", RNG.normal(size=out))] if bias else []
    return b.add(ops.Linear(), *operands, scope=name)


def batch_norm(b: GraphBuilder, x: int, name: str) -> int:
    c = b.type(x).channels
    stats = {
        "weight": RNG.uniform(-1.5, 1.5, c),
        "bias": RNG.normal(size=c),
        "mean": RNG.normal(size=c),
        "variance": RNG.uniform(0.3, 2, c),
    }
    return b.add(ops.BatchNorm(), x, *(b.const(f"{name}.{k}", v) for k, v in stats.items()), scope=name)


def assert_same_function(before: Graph, after: Graph) -> None:
    features = before.inputs[0].type.channels
    inputs = GraphInputs(RNG.normal(size=(9, features)), RNG.integers(0, 9, size=(2, 20)))
    for expected, actual in zip(interpret(before, inputs), interpret(after, inputs), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("model_name", MODELS)
def test_deployable_keeps_the_function_on_every_graph_of_the_zoo(model_name: str) -> None:
    graph = lower(MODELS[model_name](), example(model_name))
    ready = deployable(graph)
    assert str(deployable(ready)) == str(ready)  # nothing is left to do
    assert count(ready, ops.Dropout) == 0
    for model, graph_name in CASES:
        if model != model_name:
            continue
        inputs = GraphInputs.from_pyg(case_inputs(model_name, graph_name))
        for expected, actual in zip(interpret(graph, inputs), interpret(ready, inputs), strict=True):
            np.testing.assert_allclose(
                actual, expected, rtol=0, atol=1e-5 * max(1.0, np.abs(expected).max(initial=0)), err_msg=graph_name
            )


def test_no_pass_changes_the_graph_it_is_given() -> None:
    graph = lower(MODELS["gin_graph"](), example("gin_graph"))
    text = str(graph)
    weights = {name: array.copy() for name, array in graph.constants.items()}
    for rewrite_once in PIPELINE:
        verify(rewrite_once(graph))
    assert str(graph) == text
    assert all(np.array_equal(graph.constants[name], array) for name, array in weights.items())


@pytest.mark.parametrize(("width_in", "width_out", "aggregated"), [(3, 8, 3), (8, 3, 3), (5, 5, 5)])
def test_aggregation_happens_on_the_narrow_side(width_in: int, width_out: int, aggregated: int) -> None:
    for aggregate_first in (True, False):
        b = GraphBuilder()
        topology, x = b.topology(GCN), b.add(ops.Input(ops.Role.X, node(width_in)))
        if aggregate_first:
            y = linear(b, b.add(ops.Propagate(topology), x), width_out, "lin", bias=True)
        else:
            projected = linear(b, x, width_out, "lin")
            y = b.add(
                ops.Propagate(topology, operands=("bias",)), projected, b.const("bias", RNG.normal(size=width_out))
            )
        graph = b.finish([b.add(RELU, y)])
        ready = deployable(graph)
        assert [v.type.channels for v in ready.values if isinstance(v.op, ops.Propagate)] == [aggregated]
        assert count(ready, ops.Activation, ops.Add) == 0
        assert_same_function(graph, ready)


@pytest.mark.parametrize("model_name", ["gcn_graph", "gin_graph", "sage_mean"])
@pytest.mark.parametrize("order", ops.Order)
def test_every_aggregation_goes_to_the_side_that_is_asked_for(model_name: str, order: ops.Order) -> None:
    graph = lower(MODELS[model_name](), example(model_name))
    asked = with_order(graph, order)
    ready = deployable(asked)
    assert str(deployable(ready)) == str(ready)
    users = ready.users()
    for value in ready.values:
        if not isinstance(value.op, ops.Propagate):
            continue
        before, after = ready.values[value.inputs[0]], [ready.values[u].op for u in users[value.id]]
        if order is ops.Order.AGGREGATE_FIRST:
            assert not (isinstance(before.op, ops.Linear) and before.op == ops.Linear() and len(before.inputs) == 2)
        else:
            assert not (len(after) == 1 and isinstance(after[0], ops.Linear) and value.op.activation is None)
    assert_same_function(graph, ready)
    assert str(with_order(asked, None)) == str(with_order(graph, None))


def test_a_linear_with_its_own_bias_is_not_moved_behind_an_aggregation() -> None:
    b = GraphBuilder()
    x = b.add(ops.Input(ops.Role.X, node(3)))
    graph = b.finish([b.add(ops.Propagate(b.topology(GCN)), linear(b, x, 8, "lin", bias=True))])
    ready = deployable(graph)
    assert [type(v.op) for v in ready.values if not isinstance(v.op, ops.Const | ops.Input)] == [
        ops.Linear,
        ops.Propagate,
    ]
    assert_same_function(graph, ready)


def test_a_maximum_over_neighbours_is_not_reordered() -> None:
    b = GraphBuilder()
    x = b.add(ops.Input(ops.Role.X, node(3)))
    graph = b.finish([linear(b, b.add(ops.Propagate(b.topology(TopologySpec()), ops.Reduce.MAX), x), 2, "lin")])
    assert str(deployable(graph)) == str(graph)


@pytest.mark.parametrize("place", ["after_linear", "after_propagate", "before_linear", "twice"])
def test_batch_norm_folds_into_the_linear_beside_it(place: str) -> None:
    b = GraphBuilder()
    topology, x = b.topology(GCN), b.add(ops.Input(ops.Role.X, node(6)))
    if place == "after_linear":
        y = batch_norm(b, linear(b, x, 4, "lin", bias=True), "bn")
    elif place == "after_propagate":
        y = batch_norm(b, b.add(ops.Propagate(topology), linear(b, x, 4, "lin")), "bn")
    elif place == "before_linear":
        y = linear(b, batch_norm(b, b.add(RELU, linear(b, x, 5, "first")), "bn"), 3, "lin", bias=True)
    else:
        y = batch_norm(b, batch_norm(b, linear(b, x, 4, "lin"), "bn1"), "bn2")
    graph = b.finish([b.add(RELU, y)])
    ready = deployable(graph)
    assert count(ready, ops.BatchNorm) == 0
    assert not any(name.startswith("bn") for name in ready.constants)
    assert_same_function(graph, ready)


def test_a_batch_norm_whose_operand_is_read_elsewhere_stays() -> None:
    b = GraphBuilder()
    h = linear(b, b.add(ops.Input(ops.Role.X, node(4))), 4, "lin")
    graph = b.finish([b.add(ops.Add(), batch_norm(b, h, "bn"), h)])
    ready = deployable(graph)
    assert count(ready, ops.BatchNorm) == 1
    assert_same_function(graph, ready)


def test_pruned_zeros_survive_folding() -> None:
    b = GraphBuilder()
    weight = RNG.normal(size=(4, 6))
    weight[RNG.random(weight.shape) < 0.5] = 0.0
    x = b.add(ops.Input(ops.Role.X, node(6)))
    h = b.add(ops.Linear(), x, b.const("lin.weight", weight, pruned=True))
    ready = deployable(b.finish([batch_norm(b, h, "bn")]))
    stored = next(v for v in ready.values if isinstance(v.op, ops.Const) and v.op.name == "lin.weight")
    assert stored.op.pruned
    np.testing.assert_array_equal(ready.constants["lin.weight"] == 0, weight == 0)


def test_gather_scale_aggregate_becomes_one_propagate() -> None:
    b = GraphBuilder()
    topology, x = b.topology(TopologySpec()), b.add(ops.Input(ops.Role.X, node(4)))
    messages = b.add(ops.Gather(topology, ops.End.SOURCE), x)
    graph = b.finish([b.add(ops.Aggregate(ops.Reduce.MEAN), messages)])
    ready = deployable(graph)
    assert [type(v.op) for v in ready.values] == [ops.Input, ops.Propagate]
    assert_same_function(graph, ready)


def test_messages_against_the_direction_of_the_topology_stay_explicit() -> None:
    b = GraphBuilder()
    topology, x = b.topology(TopologySpec()), b.add(ops.Input(ops.Role.X, node(4)))
    backwards = b.add(ops.Aggregate(ops.Reduce.SUM, ops.End.SOURCE), b.add(ops.Gather(topology, ops.End.TARGET), x))
    graph = b.finish([backwards])
    assert str(deployable(graph)) == str(graph)


def test_a_topology_that_nothing_reads_any_more_is_dropped() -> None:
    b = GraphBuilder()
    b.topology(TopologySpec(SelfLoops.REPLACE))  # stands for one whose Gather was fused away
    plain, x = b.topology(TopologySpec()), b.add(ops.Input(ops.Role.X, node(4)))
    h = b.add(ops.Propagate(b.topology(GCN)), b.add(ops.Propagate(plain), x))
    graph = b.finish(
        [
            b.add(
                ops.Aggregate(ops.Reduce.MAX),
                b.add(ops.Activation(ops.Function.TANH), b.add(ops.Gather(plain, ops.End.SOURCE), h)),
            )
        ]
    )
    ready = deployable(graph)
    assert ready.topologies == (TopologySpec(), GCN)
    assert_same_function(graph, ready)


def const_named(graph: Graph, name: str) -> ops.Const:
    return next(v.op for v in graph.values if isinstance(v.op, ops.Const) and v.op.name == name)


@pytest.mark.parametrize("weight_trains", [True, False])
@pytest.mark.parametrize("shift_trains", [True, False])
def test_what_is_frozen_stays_frozen_in_a_folded_layer(weight_trains: bool, shift_trains: bool) -> None:
    b = GraphBuilder()
    x = b.add(ops.Input(ops.Role.X, node(3)))
    y = b.add(ops.Linear(), x, b.const("lin.weight", RNG.normal(size=(4, 3)), trainable=weight_trains))
    numbers = [b.const(f"norm.{name}", RNG.uniform(0.5, 2, 4), trainable=shift_trains) for name in "wbmv"]
    graph = b.finish([b.add(ops.BatchNorm(), y, *numbers)])

    folded = deployable(graph)

    assert const_named(folded, "lin.weight").trainable is weight_trains
    assert const_named(folded, "lin.bias").trainable is shift_trains


def test_a_layer_that_is_used_twice_with_its_norm_keeps_one_weight_and_one_bias() -> None:
    b = GraphBuilder()
    x = b.add(ops.Input(ops.Role.X, node(4)))
    weight = b.const("lin.weight", RNG.normal(size=(4, 4)))
    numbers = [b.const(f"norm.{name}", RNG.uniform(0.5, 2, 4)) for name in "wbmv"]
    for _ in range(2):
        x = b.add(ops.Activation(ops.Function.RELU), b.add(ops.BatchNorm(), b.add(ops.Linear(), x, weight), *numbers))
    graph = b.finish([x])

    folded = deployable(graph)

    assert sorted(folded.constants) == ["lin.bias", "lin.weight"]
    assert_same_function(graph, folded)
