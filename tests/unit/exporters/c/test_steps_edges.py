"""Integer attention in C: bounds that are checked at export, and what is kept in memory for every edge."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tests.cases import GRAPHS, MODELS, case_inputs, example
from toolchain import StaticInt8, lower, quantize
from toolchain.errors import ExportError
from toolchain.exporters.c.emitter import emit
from toolchain.exporters.c.schedule import schedule
from toolchain.exporters.c.steps_edges import largest_degree
from toolchain.exporters.emission import Bounds
from toolchain.ir import Domain, DType, Graph, GraphBuilder, QParams, ops
from toolchain.ir.integer_softmax import WEIGHT_QPARAMS
from toolchain.ir.ops import End, Reduce, Role
from toolchain.ir.types import const, node
from toolchain.topology import TopologySpec

FINE = QParams((float(np.float32(1e-3)),), 0, 16)
I16 = DType.I16


@functools.cache
def zoo(model: str, arithmetic: str) -> Graph:
    graphs = [case_inputs(model, name) for name in GRAPHS]
    method = StaticInt8(graphs, "sums-int16", min_agreement=0.01, edge_arithmetic=arithmetic)  # type: ignore[arg-type]
    return quantize(lower(MODELS[model](), example(model), name=model), method)


class Codes:
    """A graph on int16 codes of x."""

    def __init__(self, channels: int) -> None:
        self.b = GraphBuilder((TopologySpec(),))
        x = self.b.add(ops.Input(Role.X, node(channels)))
        self.x = self.b.add(ops.Quantize(I16, FINE), x, type=node(channels).with_dtype(I16, FINE))

    def add(self, op: ops.Op, *operands: int, qparams: QParams = FINE, scope: str = "") -> int:
        type_ = op.infer(tuple(self.b.type(i) for i in operands)).with_dtype(I16, qparams)
        return self.b.add(op, *operands, type=type_, scope=scope)

    def head_dot(self, x: int, heads: int, code: int) -> int:
        shape = (heads, self.b.type(x).channels // heads)
        stored = const(*shape).with_dtype(DType.I8, QParams((1.0,)))
        weight = self.b.const("att", np.full(shape, code, np.int8), type=stored)
        return self.add(ops.HeadDot(), x, weight, scope="conv1")

    def finish(self, value: int) -> Graph:
        return self.b.finish([self.b.add(ops.Dequantize(), value)])


def degree_limits(graph: Graph) -> list[int]:
    return [limit for v in graph.values if (limit := largest_degree(graph, v)) is not None]


def test_an_inner_product_that_can_overflow_is_refused_with_its_layer_and_bound() -> None:
    c = Codes(1200)
    bound = 600 * 127 * 32767

    with pytest.raises(ExportError, match=f"conv1: a sum over 600 channels can reach {bound}, beyond int32"):
        emit(c.finish(c.head_dot(c.x, 2, 127)), Bounds(10, 10, 1, None))


def test_inner_products_are_bounded_by_the_weights_that_are_there() -> None:
    c = Codes(1200)
    emit(c.finish(c.head_dot(c.x, 2, 3)), Bounds(10, 10, 1, None))


def test_attention_is_bounded_by_the_softmax_and_sums_of_edges_by_int32() -> None:
    c = Codes(4)
    edges = c.add(ops.Gather(0, End.SOURCE), c.x)
    weights = c.add(ops.EdgeSoftmax(), edges, qparams=WEIGHT_QPARAMS)
    attended = c.finish(c.add(ops.Propagate(0, operands=("weight",)), c.x, weights))
    summed = c.finish(c.add(ops.Aggregate(Reduce.SUM), edges))
    largest = c.finish(c.add(ops.Aggregate(Reduce.MAX), edges))

    assert [degree_limits(g) for g in (attended, summed, largest)] == [[65536], [(2**31 - 1) // 32767], []]
    bounds = emit(attended, Bounds(10, 100_000, 1, None)).bounds
    assert bounds is not None and bounds.degree == 65536


def test_weights_that_sum_to_anything_are_refused() -> None:
    c = Codes(4)
    edges = c.add(ops.Gather(0, End.SOURCE), c.x)

    with pytest.raises(ExportError, match="integer weights per edge come from an EdgeSoftmax only"):
        emit(c.finish(c.add(ops.Propagate(0, operands=("weight",)), c.x, edges)), Bounds(10, 10, 1, None))


def test_an_aggregate_at_the_source_is_refused() -> None:
    c = Codes(4)
    edges = c.add(ops.Gather(0, End.TARGET), c.x)

    with pytest.raises(ExportError, match="at the target of an edge only"):
        emit(c.finish(c.add(ops.Aggregate(Reduce.SUM, End.SOURCE), edges)), Bounds(10, 10, 1, None))


@pytest.mark.parametrize("model", ["gat_concat", "gat_mean_edge", "gatv2", "pyg_gat", "gine_edge_attr"])
def test_only_logits_weights_and_shared_attributes_are_kept_for_every_edge(model: str) -> None:
    """Messages exist four rows at a time. GINE reads the quantized edge_attr, [E, 3], in two layers."""
    graph = zoo(model, "integer")
    plan = schedule(graph)
    users = graph.users()
    for number in plan.stored:
        value = graph.values[number]
        if value.type.domain is Domain.EDGE:
            softmax = [
                v for v in (value, *(graph.values[u] for u in users[number])) if isinstance(v.op, ops.EdgeSoftmax)
            ]
            is_attribute = isinstance(value.op, ops.Quantize) and len({plan.stage_of[u] for u in users[number]}) > 1
            assert softmax or is_attribute, f"%{number} {value.op}"
            assert value.type.dtype is I16


@pytest.mark.parametrize("model", ["gat_concat", "gat_mean_edge", "gatv2", "pyg_gat", "gine_edge_attr"])
def test_integer_edges_take_far_less_memory(model: str) -> None:
    bounds = Bounds(100, 400, 4, None)
    exact, codes = (emit(zoo(model, arithmetic), bounds).facts["arena_bytes"] for arithmetic in ("float", "integer"))

    assert codes < 0.65 * exact
