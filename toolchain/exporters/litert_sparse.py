"""A Linear on sparse features in LiteRT: the sum of the rows of its transposed weights that the entries of x name."""

from __future__ import annotations

import numpy as np

from toolchain.exporters.constants import weight_scales
from toolchain.exporters.litert_ops import activated
from toolchain.exporters.litert_segments import node_sum
from toolchain.exporters.litert_site import NONE, RELU, Site
from toolchain.ir.ops import Function, Linear

CAST_INT8 = 1  # every version of CAST takes int8


def sparse_linear(op: Linear, site: Site) -> int:
    """f(x W^T + b), as float32.

    Integer weights and biases are added as whole numbers, which float32 holds exactly, and their sums scaled: what an int8 kernel
    makes of codes 0 and 1.
    """
    writer, feeds, graph = site.writer, site.feeds, site.graph
    weight, bias = graph.values[site.value.inputs[1]], graph.operand(site.value, "bias")
    table = writer.constant(np.ascontiguousarray(graph.constant(weight).T))  # [F, out]
    is_integer = weight.type.dtype.is_integer
    if is_integer:
        table = writer.op("CAST", table, shape=weight.type.shape[::-1], version=CAST_INT8)
    rows = site.rowwise("GATHER", table, feeds.x_column())  # [Z, out]
    value = feeds.x_value()
    rows = rows if value is None else site.rowwise("MUL", rows, value)
    y = node_sum(site, rows, feeds.x_row(), site.channels)
    steps: list[tuple[str, np.ndarray]] = [("MUL", weight_scales(weight))] if is_integer else []
    if bias is not None:  # dynamic int8 has float biases
        is_summed = bias.type.dtype.is_integer
        steps.insert(0 if is_summed else len(steps), ("ADD", graph.constant(bias).astype(np.float32)))
    fused = RELU if op.activation is Function.RELU and steps else NONE
    for place, (kind, operand) in enumerate(steps, 1):
        last = fused if place == len(steps) else NONE
        y = site.rowwise(kind, y, writer.constant(operand), FusedActivationFunction=last)
    return site.scaled(y if fused else activated(site, y, op.activation), op.row_factor)
