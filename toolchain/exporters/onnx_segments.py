"""Reducing rows by segment number in ONNX: exact with any number of threads, on any graph.

onnxruntime splits ScatterND over its threads without regard to repeated targets, so a reduction loses updates whenever
two threads meet on one row (measured with 1.31: 41 of 400 runs wrong at 220,000 elements, none up to 200,000; its
thread pool counts an element as one cycle and wakes a second thread at about 210,000). A reduction of at most
`MAX_ELEMENTS` is therefore one ScatterND, and a larger one a Loop of such pieces.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from toolchain.exporters.onnx_writer import FUNCTION_DOMAIN, OPSET, OnnxWriter
from toolchain.ir.ops import Reduce

MAX_ELEMENTS = 160_000

_SCATTER = {Reduce.SUM: "add", Reduce.MEAN: "add", Reduce.MAX: "max", Reduce.MIN: "min", Reduce.PRODUCT: "mul"}


def segment_reduce(writer: OnnxWriter, start: str, target: str, rows: str, channels: int, reduce: Reduce) -> str:
    """`start` [N, C] with every row of `rows` [E, C] reduced into the row that `target` [E, 1] int64 names.

    Args:
        channels: C.
        reduce: MEAN adds, as SUM does; the caller divides.
    """
    reduction = _SCATTER[reduce]
    return _call(
        writer, f"Segment{reduction.capitalize()}", reduction, _Rows(("rows",), ()), (start, target, rows), channels
    )


def segment_sum_of_table(
    writer: OnnxWriter, start: str, target: str, table: str, index: str, value: str | None, channels: int
) -> str:
    """As `segment_reduce`, adding the rows of `table` that `index` [E] names, each times its `value` [E, 1] where there is one.

    A piece looks up its own rows only, so that those of all pieces never are in memory together.
    """
    if value is None:
        made = _Rows(("index",), (helper.make_node("Gather", ["table", "index"], ["rows"]),), "table")
        return _call(writer, "SegmentAddOfTable", "add", made, (start, target, index, table), channels)
    lookup = helper.make_node("Gather", ["table", "index"], ["looked_up"])
    times = helper.make_node("Mul", ["looked_up", "value"], ["rows"])
    made = _Rows(("index", "value"), (lookup, times), "table")
    return _call(writer, "SegmentAddOfScaledTable", "add", made, (start, target, index, value, table), channels)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Where the rows to be added come from.

    Attributes:
        sliced: operands with one row for each, which pieces take their part of.
        nodes: what makes "rows" of them.
        whole: an operand that every piece reads as it is; "" for none.
    """

    sliced: tuple[str, ...]
    nodes: tuple[onnx.NodeProto, ...]
    whole: str = ""


def _call(writer: OnnxWriter, name: str, reduction: str, made: _Rows, operands: tuple[str, ...], channels: int) -> str:
    writer.function(name, lambda: _function(name, reduction, made))
    step = writer.constant(np.array([max(MAX_ELEMENTS // channels, 1)]))  # rows of one piece
    fits = writer.once("LessOrEqual", writer.once("Size", operands[1]), step)
    return writer.op(name, *operands, step, fits, domain=FUNCTION_DOMAIN)


def _function(name: str, reduction: str, made: _Rows) -> onnx.FunctionProto:
    """Segment<Reduction>(start, target, sliced, whole, step, fits) -> out: at once where it fits, otherwise `step` rows a time."""

    def value(name: str, kind: int, rank: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, [None] * rank)

    once = helper.make_graph(
        [*made.nodes, helper.make_node("ScatterND", ["start", "target", "rows"], ["all"], reduction=reduction)],
        "once", [], [value("all", TensorProto.FLOAT, 2)],
    )  # fmt: skip
    sliced = ("target", *made.sliced)
    some = {name: f"some_{name}" for name in (*sliced, "rows", "looked_up")}
    piece = helper.make_graph(
        [
            helper.make_node("Mul", ["i", "step"], ["first"]),
            helper.make_node("Add", ["first", "step"], ["last"]),
            *[helper.make_node("Slice", [name, "first", "last", "axis"], [some[name]]) for name in sliced],
            *[_renamed(node, some) for node in made.nodes],
            helper.make_node("ScatterND", ["sum_in", "some_target", "some_rows"], ["sum_out"], reduction=reduction),
            helper.make_node("Identity", ["go_in"], ["go_out"]),
        ],
        "piece",
        [value("i", TensorProto.INT64, 0), value("go_in", TensorProto.BOOL, 0), value("sum_in", TensorProto.FLOAT, 2)],
        [value("go_out", TensorProto.BOOL, 0), value("sum_out", TensorProto.FLOAT, 2)],
    )
    in_pieces = helper.make_graph(
        [
            _constant("axis", np.array([0], np.int64)),
            _constant("go", np.array(True)),
            helper.make_node("Shape", [made.sliced[0]], ["count"], end=1),
            helper.make_node("Add", ["count", "step"], ["above"]),
            helper.make_node("Div", ["above", "step"], ["pieces"]),  # the last piece may be empty
            helper.make_node("Squeeze", ["pieces"], ["trips"]),
            helper.make_node("Loop", ["trips", "go", "start"], ["looped"], body=piece),
        ],
        "in_pieces", [], [value("looped", TensorProto.FLOAT, 2)],
    )  # fmt: skip
    choice = helper.make_node("If", ["fits"], ["out"], then_branch=once, else_branch=in_pieces)
    inputs = ["start", *sliced, *([made.whole] if made.whole else []), "step", "fits"]
    return helper.make_function(FUNCTION_DOMAIN, name, inputs, ["out"], [choice], [helper.make_opsetid("", OPSET)])


def _renamed(node: onnx.NodeProto, names: dict[str, str]) -> onnx.NodeProto:
    inputs, outputs = ([names.get(name, name) for name in side] for side in (node.input, node.output))
    return helper.make_node(node.op_type, inputs, outputs)


def _constant(name: str, array: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
