"""Building, rewriting and printing graphs."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from tests.cases import FEATURES, GRAPHS
from toolchain.errors import InvalidInput, TypeMismatch
from toolchain.feeds import Feed, FeedKind, build_feeds
from toolchain.inputs import GraphInputs
from toolchain.ir import ops
from toolchain.ir.graph import Graph, GraphBuilder, Value, rewrite
from toolchain.ir.ops import ALL_OPS, Function, Reduce, Role
from toolchain.ir.reference import evaluate, interpret
from toolchain.ir.types import edge, node
from toolchain.ir.verify import verify
from toolchain.topology import SelfLoops, TopologySpec


def two_branches() -> Graph:
    """relu(x W) + x W over nodes, pooled."""
    b = GraphBuilder((TopologySpec(),), name="branches")
    x = b.add(ops.Input(Role.X, node(FEATURES)))
    h = b.add(
        ops.Linear(), x, b.const("lin.weight", np.linspace(-1, 1, 3 * FEATURES).reshape(3, FEATURES)), scope="lin"
    )
    r = b.add(ops.Activation(Function.RELU), h, scope="act")
    return b.finish([b.add(ops.Pool(Reduce.SUM), b.add(ops.Add(), h, r))])


def test_finish_drops_what_no_output_needs() -> None:
    b = GraphBuilder()
    x = b.add(ops.Input(Role.X, node(2)))
    b.add(ops.Linear(), x, b.const("unused.weight", np.ones((2, 2))))
    graph = verify(b.finish([b.add(ops.Activation(Function.TANH), x)]))
    assert len(graph.values) == 2
    assert dict(graph.constants) == {}


def test_constants_are_read_only_copies() -> None:
    array = np.ones((2, 2), np.float32)
    b = GraphBuilder()
    x = b.add(ops.Input(Role.X, node(2)))
    graph = b.finish([b.add(ops.Linear(), x, b.const("w", array))])
    array[:] = 5
    np.testing.assert_array_equal(graph.constants["w"], np.ones((2, 2)))
    with pytest.raises(ValueError, match="read-only"):
        graph.constants["w"][0, 0] = 2


def test_a_graph_that_went_to_another_process_is_the_same_and_read_only() -> None:
    b = GraphBuilder()
    graph = b.finish([b.const("weight", np.ones((2, 3), np.float32))])

    copy = pickle.loads(pickle.dumps(graph))

    assert copy.values == graph.values and copy.outputs == graph.outputs and copy.name == graph.name
    assert np.array_equal(copy.constants["weight"], graph.constants["weight"])
    with pytest.raises(ValueError, match="read-only"):
        copy.constants["weight"][0, 0] = 2


def test_repeated_constant_name_gets_a_suffix() -> None:
    b = GraphBuilder()
    x = b.add(ops.Input(Role.X, node(2)))
    h = b.add(ops.Mul(), x, b.const("scale", np.ones(2)))
    graph = verify(b.finish([b.add(ops.Mul(), h, b.const("scale", np.zeros(2)))]))
    assert list(graph.constants) == ["scale", "scale.1"]


def test_equal_topologies_share_an_index() -> None:
    b = GraphBuilder()
    assert [b.topology(TopologySpec()), b.topology(TopologySpec(weighted=True)), b.topology(TopologySpec())] == [
        0,
        1,
        0,
    ]


def test_users_lists_each_use() -> None:
    graph = two_branches()
    assert graph.users()[2] == (3, 4)
    assert graph.users()[graph.outputs[0]] == ()


def test_rewrite_replaces_values_and_their_users() -> None:
    def without_relu(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        return inputs[0] if isinstance(value.op, ops.Activation) else None

    before = two_branches()
    after = verify(rewrite(before, without_relu))
    assert not any(isinstance(v.op, ops.Activation) for v in after.values)
    assert any(isinstance(v.op, ops.Activation) for v in before.values)


def test_rewrite_that_changes_nothing_gives_the_same_text() -> None:
    graph = two_branches()
    assert str(rewrite(graph, lambda builder, value, inputs: None)) == str(graph)


def test_constants_are_replaced_by_arrays_of_their_shape() -> None:
    graph = two_branches().with_constants({"lin.weight": np.zeros((3, FEATURES))})
    outputs = interpret(graph, GraphInputs.from_pyg(GRAPHS["ring"](FEATURES)))
    np.testing.assert_array_equal(outputs[0], np.zeros((1, 3)))
    with pytest.raises(TypeMismatch, match=r"lin\.weight: shape \(3,\)"):
        graph.with_constants({"lin.weight": np.zeros(3)})
    with pytest.raises(TypeMismatch, match="other: the graph has no such constant"):
        graph.with_constants({"other": np.zeros(3)})


def test_text_shows_one_line_per_value() -> None:
    assert str(two_branches()) == (
        "graph branches\n"
        "  topology 0: self_loops=keep, normalization=none\n"
        "  %0 = Input x : node[7]:f32\n"
        "  %1 = Const lin.weight : const[3x7]:f32\n"
        "  %2 = Linear(%0, weight=%1) : node[3]:f32    # lin\n"
        "  %3 = Activation(%2) function=relu : node[3]:f32    # act\n"
        "  %4 = Add(%2, %3) : node[3]:f32\n"
        "  %5 = Pool(%4) reduce=sum : graph[3]:f32\n"
        "  return %5\n"
    )


def test_every_op_has_a_reference() -> None:
    assert [op.__name__ for op in ALL_OPS if evaluate.dispatch(op) is evaluate.dispatch(ops.Op)] == []


def test_every_op_class_is_listed() -> None:
    classes = {c for c in vars(ops).values() if isinstance(c, type) and issubclass(c, ops.Op)}
    assert classes - {ops.Op, ops._Binary} == set(ALL_OPS)


def test_watch_sees_every_value() -> None:
    seen: list[int] = []
    graph = two_branches()
    interpret(graph, GraphInputs.from_pyg(GRAPHS["ring"](FEATURES)), lambda value, array: seen.append(value.id))
    assert seen == list(range(len(graph.values)))


@pytest.mark.parametrize(("role", "name"), [(Role.EDGE_ATTR, "edge_attr"), (Role.EDGE_WEIGHT, "edge_weight")])
def test_missing_edge_array_is_refused_by_name(role: Role, name: str) -> None:
    b = GraphBuilder((TopologySpec(),))
    b.add(ops.Input(Role.X, node(1)))
    graph = b.finish([b.add(ops.Aggregate(Reduce.SUM), b.add(ops.Input(role, edge(1, 0))))])
    with pytest.raises(InvalidInput, match=f"{name}: missing, but the model reads it"):
        interpret(graph, GraphInputs(np.ones((2, 1)), np.array([[0], [1]])))


def test_wrong_feature_width_is_refused() -> None:
    with pytest.raises(InvalidInput, match="x: 3 columns, the model was lowered with 7"):
        interpret(two_branches(), GraphInputs(np.ones((2, 3)), np.zeros((2, 0), int)))


@pytest.mark.parametrize("reduce", Reduce)
def test_nodes_without_in_edges_are_zero_or_one_for_products(reduce: Reduce) -> None:
    b = GraphBuilder((TopologySpec(),))
    messages = b.add(ops.Gather(0, ops.End.SOURCE), b.add(ops.Input(Role.X, node(1))))
    graph = b.finish([b.add(ops.Aggregate(reduce), messages)])
    (out,) = interpret(graph, GraphInputs(np.array([[-3], [5], [7]]), np.array([[0], [1]])))
    nothing = reduce.of_nothing
    np.testing.assert_array_equal(out, [[nothing], [-3], [nothing]])


def test_graph_without_nodes_pools_to_zero() -> None:
    b = GraphBuilder()
    x = b.add(ops.Input(Role.X, node(1)))
    graph = b.finish([b.add(ops.Pool(Reduce.MAX), x)])
    inputs = GraphInputs(np.array([[-3], [-5]]), np.zeros((2, 0), int), batch=np.array([0, 2]), num_graphs=3)
    np.testing.assert_array_equal(interpret(graph, inputs)[0], [[-3], [0], [-5]])


def test_added_self_loops_without_a_weight_are_refused() -> None:
    """Their origin is -1, which would be the last edge's weight."""
    spec = TopologySpec(self_loops=SelfLoops.REPLACE)
    b = GraphBuilder((spec,))
    graph = b.finish([b.add(ops.Input(Role.EDGE_WEIGHT, edge(1, 0)))])
    inputs = GraphInputs(np.zeros((2, 1)), np.array([[0], [1]]), edge_weight=np.array([3.0]))
    feed = Feed("edge_weight", FeedKind.EDGE_WEIGHT, 0, dims=("E", 1))

    with pytest.raises(InvalidInput, match="edge_weight: this topology adds self-loops"):
        interpret(graph, inputs)
    with pytest.raises(InvalidInput, match="edge_weight: this topology adds self-loops"):
        build_feeds((feed,), inputs.prepare((spec,)))
