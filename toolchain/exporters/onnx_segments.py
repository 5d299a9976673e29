"""Reducing rows by segment number in ONNX: exact with any number of threads, on any graph.

onnxruntime splits ScatterND over its threads without regard to repeated targets, so a reduction loses updates whenever
two threads meet on one row (measured with 1.31: 41 of 400 runs wrong at 220,000 elements, none up to 200,000; its
thread pool counts an element as one cycle and wakes a second thread at about 210,000). A reduction of at most
`MAX_ELEMENTS` is therefore one ScatterND, and a larger one a Loop of such pieces.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from toolchain.exporters.onnx_writer import FUNCTION_DOMAIN, OPSET, OnnxWriter
from toolchain.ir.ops import Reduce

MAX_ELEMENTS = 160_000

_SCATTER = {Reduce.SUM: "add", Reduce.MEAN: "add", Reduce.MAX: "max", Reduce.MIN: "min"}


def segment_reduce(writer: OnnxWriter, start: str, target: str, rows: str, channels: int, reduce: Reduce) -> str:
    """`start` [N, C] with every row of `rows` [E, C] reduced into the row that `target` [E, 1] int64 names.

    Args:
        channels: C.
        reduce: MEAN adds, as SUM does; the caller divides.
    """
    reduction = _SCATTER[reduce]
    name = f"Segment{reduction.capitalize()}"
    writer.function(name, lambda: _function(name, reduction))
    step = writer.constant(np.array([max(MAX_ELEMENTS // channels, 1)]))  # rows of one piece
    fits = writer.once("LessOrEqual", writer.once("Size", target), step)
    return writer.op(name, start, target, rows, step, fits, domain=FUNCTION_DOMAIN)


def _function(name: str, reduction: str) -> onnx.FunctionProto:
    """Segment<Reduction>(start, target, rows, step, fits) -> out: at once where it fits, otherwise `step` rows at a time."""

    def value(name: str, kind: int, rank: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, [None] * rank)

    once = helper.make_graph(
        [helper.make_node("ScatterND", ["start", "target", "rows"], ["all"], reduction=reduction)],
        "once", [], [value("all", TensorProto.FLOAT, 2)],
    )  # fmt: skip
    piece = helper.make_graph(
        [
            helper.make_node("Mul", ["i", "step"], ["first"]),
            helper.make_node("Add", ["first", "step"], ["last"]),
            helper.make_node("Slice", ["target", "first", "last", "axis"], ["some_target"]),
            helper.make_node("Slice", ["rows", "first", "last", "axis"], ["some_rows"]),
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
            helper.make_node("Shape", ["rows"], ["count"], end=1),
            helper.make_node("Add", ["count", "step"], ["above"]),
            helper.make_node("Div", ["above", "step"], ["pieces"]),  # the last piece may be empty
            helper.make_node("Squeeze", ["pieces"], ["trips"]),
            helper.make_node("Loop", ["trips", "go", "start"], ["looped"], body=piece),
        ],
        "in_pieces", [], [value("looped", TensorProto.FLOAT, 2)],
    )  # fmt: skip
    choice = helper.make_node("If", ["fits"], ["out"], then_branch=once, else_branch=in_pieces)
    inputs = ["start", "target", "rows", "step", "fits"]
    return helper.make_function(FUNCTION_DOMAIN, name, inputs, ["out"], [choice], [helper.make_opsetid("", OPSET)])


def _constant(name: str, array: np.ndarray) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
