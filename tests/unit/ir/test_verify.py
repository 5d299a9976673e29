"""`verify` catches each broken invariant and names the value; `infer` refuses operands that do not fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np
import pytest

from toolchain.errors import InvalidGraph, TypeMismatch
from toolchain.ir import ops
from toolchain.ir.graph import Graph, GraphBuilder, frozen
from toolchain.ir.ops import End, Op, Reduce, Role, RowFactor
from toolchain.ir.types import Domain, DType, QParams, TensorType, const, edge, graph_row, node
from toolchain.ir.verify import verify
from toolchain.topology import TopologySpec


def small_graph() -> Graph:
    """x -> Linear -> Propagate, over one topology."""
    b = GraphBuilder((TopologySpec(),))
    x = b.add(ops.Input(Role.X, node(2)))
    h = b.add(ops.Linear(), x, b.const("lin.weight", np.ones((3, 2))), b.const("lin.bias", np.zeros(3)), scope="lin")
    return b.finish([b.add(ops.Propagate(0), h, scope="conv")])


def integer_graph() -> Graph:
    """x -> Quantize -> Linear to int32 -> Dequantize."""
    b = GraphBuilder()
    x = b.add(ops.Input(Role.X, node(2)))
    q = QParams((0.5,))
    codes = b.add(ops.Quantize(DType.I8, q), x, type=node(2).with_dtype(DType.I8, q))
    weight = b.const("w", np.full((3, 2), 7, np.int8), type=const(3, 2).with_dtype(DType.I8, q))
    total = b.add(ops.Linear(), codes, weight, type=node(3).with_dtype(DType.I32, QParams((0.25,), 0, 32)))
    return b.finish([b.add(ops.Dequantize(), total)])


def changed(graph: Graph, place: int, **fields: object) -> Graph:
    """The graph with one value replaced, unchecked."""
    values = list(graph.values)
    values[place] = replace(values[place], **fields)  # type: ignore[arg-type]  # any field of Value
    return replace(graph, values=tuple(values))


def with_array(graph: Graph, name: str, array: np.ndarray) -> Graph:
    return replace(graph, constants=MappingProxyType({**graph.constants, name: frozen(array)}))


def place_of(graph: Graph, kind: type[Op]) -> int:
    return next(v.id for v in graph.values if isinstance(v.op, kind))


@dataclass(frozen=True)
class Foreign(Op):
    def infer(self, operands: object) -> TensorType:
        return node(2)


def with_second_input(graph: Graph) -> Graph:
    again = replace(graph.values[0], id=len(graph.values))
    return replace(graph, values=(*graph.values, again))


BROKEN: dict[str, tuple[Callable[[], Graph], str]] = {
    "id is not the position": (lambda: changed(small_graph(), 1, id=3), r"%3 Const.*stands at position 1"),
    "op of another module": (lambda: changed(small_graph(), 0, op=Foreign()), "Foreign: not one of the ops"),
    "reads itself": (lambda: changed(small_graph(), 4, inputs=(4,)), r"%4 Propagate \(conv\): reads \(4,\)"),
    "reads a later value": (lambda: changed(small_graph(), 3, inputs=(0, 1, 4)), r"\(lin\).*only read earlier"),
    "wrong width": (lambda: changed(small_graph(), 4, type=node(5)), r"has type node\[5\]:f32, its op infers node\[3\]"),
    "wrong domain": (lambda: changed(small_graph(), 4, type=graph_row(3)), "its op infers node"),
    "integer without parameters": (
        lambda: changed(small_graph(), 4, type=node(3).with_dtype(DType.I8)), "quantization parameters"
    ),
    "float with parameters": (
        lambda: changed(small_graph(), 4, type=node(3).with_dtype(DType.F32, QParams((1.0,)))), "quantization parameters"
    ),
    "unknown topology": (lambda: changed(small_graph(), 4, op=ops.Propagate(1)), r"topology \[1\] does not exist"),
    "row factor of an unknown topology": (
        lambda: changed(small_graph(), 3, op=ops.Linear(row_factor=RowFactor(7, End.SOURCE))), r"topology \[7\]"
    ),
    "missing array": (
        lambda: replace(small_graph(), constants=MappingProxyType({})), "no array is stored under 'lin.weight'"
    ),
    "array of another shape": (lambda: with_array(small_graph(), "lin.bias", np.zeros(4, np.float32)), r"type says const\[3\]"),
    "array of another dtype": (lambda: with_array(small_graph(), "lin.bias", np.zeros(3)), "array is float64"),
    "non-finite weight": (
        lambda: with_array(small_graph(), "lin.bias", np.array([0, np.inf, np.nan], np.float32)), "hold 2 non-finite"
    ),
    "array without value": (lambda: with_array(small_graph(), "left.over", np.zeros(1)), r"\['left\.over'\] are stored"),
    "no outputs": (lambda: replace(small_graph(), outputs=()), r"outputs \(\) do not name values"),
    "output beyond the values": (lambda: replace(small_graph(), outputs=(9,)), "do not name values"),
    "integer output": (lambda: replace(integer_graph(), outputs=(3,)), "end an integer path with Dequantize"),
    "array read twice": (lambda: with_second_input(small_graph()), "read by two Input values"),
}  # fmt: skip


def test_graphs_that_the_cases_break_are_valid() -> None:
    assert verify(small_graph()).outputs == (4,)
    assert verify(integer_graph()).outputs == (4,)


@pytest.mark.parametrize("name", BROKEN)
def test_broken_invariant_is_refused_with_its_value(name: str) -> None:
    build, message = BROKEN[name]
    with pytest.raises(InvalidGraph, match=message):
        verify(build())


def test_codes_beyond_their_bits_are_refused() -> None:
    b = GraphBuilder()
    x = b.add(ops.Input(Role.X, node(1)))
    narrow = QParams((1.0,), 0, 4)
    weight = b.const("w", np.array([[9]], np.int8), type=const(1, 1).with_dtype(DType.I8, narrow))
    graph = b.finish([b.add(ops.Linear(), x, weight)])
    with pytest.raises(InvalidGraph, match=r"codes in \[9, 9\], 4 bits allow \[-7, 7\]"):
        verify(graph)


E0, E1, N3 = edge(3, 0), edge(3, 1), node(3)
MISFITS: dict[str, tuple[Op, tuple[TensorType, ...]]] = {
    "input of another domain": (ops.Input(Role.X, edge(3, 0)), ()),
    "constant with rows": (ops.Const("c", node(3)), ()),
    "linear weight too narrow": (ops.Linear(), (N3, const(4, 2))),
    "linear weight not a constant": (ops.Linear(), (N3, node(3))),
    "linear bias too long": (ops.Linear(), (N3, const(4, 3), const(3))),
    "row factor on graphs": (ops.Linear(row_factor=RowFactor(0, End.SOURCE)), (graph_row(3), const(4, 3))),
    "propagate of edges": (ops.Propagate(0), (E0,)),
    "propagate of products": (ops.Propagate(0, Reduce.PRODUCT), (N3,)),
    "propagate with unnamed operand": (ops.Propagate(0), (N3, const(3))),
    "propagate weight of another topology": (ops.Propagate(0, operands=("weight",)), (N3, edge(1, 1))),
    "propagate heads that do not divide": (ops.Propagate(0, operands=("weight",)), (N3, edge(2, 0))),
    "propagate self scale too long": (ops.Propagate(0, operands=("self_scale",)), (N3, const(3))),
    "propagate bias too short": (ops.Propagate(0, operands=("bias",)), (N3, const(2))),
    "propagate operands out of order": (ops.Propagate(0, operands=("bias", "weight")), (N3, const(3), edge(1, 0))),
    "gather from edges": (ops.Gather(0, End.SOURCE), (E0,)),
    "aggregate nodes": (ops.Aggregate(Reduce.SUM), (N3,)),
    "softmax of nodes": (ops.EdgeSoftmax(), (N3,)),
    "attention of another width": (ops.HeadDot(), (N3, const(2, 2))),
    "heads that do not divide": (ops.HeadMean(2), (N3,)),
    "pool of graphs": (ops.Pool(Reduce.MEAN), (graph_row(3),)),
    "broadcast of nodes": (ops.Broadcast(), (N3,)),
    "sum of two constants": (ops.Add(), (const(3), const(3))),
    "sum of two domains": (ops.Add(), (N3, graph_row(3))),
    "sum over two topologies": (ops.Add(), (E0, E1)),
    "sum of two widths": (ops.Add(), (N3, node(2))),
    "sum with a matrix": (ops.Mul(), (N3, const(2, 3))),
    "join of two domains": (ops.Concat(), (N3, E0)),
    "join of nothing": (ops.Concat(), ()),
    "empty slice": (ops.Slice(2, 2), (N3,)),
    "slice beyond the end": (ops.Slice(1, 4), (N3,)),
    "batch norm of another width": (ops.BatchNorm(), (N3, const(2), const(3), const(3), const(3))),
    "batch norm without statistics": (ops.BatchNorm(), (N3, const(3), const(3))),
    "layer norm of another width": (ops.LayerNorm(), (N3, const(2), const(3))),
    "graph norm of edges": (ops.LayerNorm(extent=ops.Extent.GRAPH), (E0, const(3), const(3))),
    "dequantize floats": (ops.Dequantize(), (N3,)),
}


@pytest.mark.parametrize("name", MISFITS)
def test_operands_that_do_not_fit_are_refused_by_the_op(name: str) -> None:
    op, operands = MISFITS[name]
    with pytest.raises(TypeMismatch, match=type(op).__name__):
        op.infer(operands)


def test_stated_type_must_be_the_inferred_one() -> None:
    b = GraphBuilder()
    x = b.add(ops.Input(Role.X, node(2)))
    with pytest.raises(TypeMismatch, match="stated type"):
        b.add(ops.Dropout(0.5), x, type=node(3))


def test_scales_must_be_positive_float32_numbers() -> None:
    for scale in (0.0, -1.0, float("inf"), float("nan"), 0.1):  # 0.1 is no float32
        with pytest.raises(ValueError, match="scales must be"):
            QParams((scale,))
    with pytest.raises(ValueError, match="need an axis"):
        QParams((1.0, 2.0))


def test_domains_of_results_follow_the_operands() -> None:
    assert ops.Gather(1, End.TARGET).infer((N3,)) == edge(3, 1)
    assert ops.Aggregate(Reduce.MAX).infer((E1,)) == N3
    assert ops.Mul().infer((E0, edge(1, 0))) == E0
    assert ops.Add().infer((const(3), graph_row(1))) == graph_row(3)
    assert ops.Linear().infer((E1, const(4, 3))).domain is Domain.EDGE
