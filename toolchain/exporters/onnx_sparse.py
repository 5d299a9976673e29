"""A Linear on sparse features in ONNX: the sum of the rows of its transposed weights that the entries of x name.

onnxruntime 1.31 takes 8 ns to look up a row of 16 channels and 6 ns to add it, on one core of an AVX-512 x86: for Cora's 49,216
entries 0.70 ms, where the product with whole rows takes 1.2 ms and the operator of lowering="spmm" 0.06 ms. Measured on prototypes
and not kept, in times of looking up and adding each: rows padded to the longest one, then ReduceSum or MatMul with a row of ones
(1.5 to 1.6); groups of 4, 8 or 16 entries of a row, added by ReduceSum (1.5 to 1.7) or by Sum of one Gather for each place (0.9 to
1.3; with 64 channels 1.3 to 1.8). The columns with most entries as a dense product would take 0.7, by calculation, in a file that
knows them.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from toolchain.exporters.constants import weight_scales
from toolchain.exporters.lowerings import Lowering
from toolchain.exporters.onnx_ops import Site, activated, row_scaled
from toolchain.exporters.onnx_segments import segment_sum_of_table
from toolchain.ir.ops import Linear


def sparse_linear(op: Linear, site: Site) -> str:
    """f(x W^T + b), as float32.

    Integer weights and biases are added as whole numbers, which float32 holds exactly, and their sums scaled: what an int8 kernel
    makes of codes 0 and 1.
    """
    writer, graph = site.writer, site.graph
    weight, bias = graph.values[site.value.inputs[1]], graph.operand(site.value, "bias")
    is_integer = weight.type.dtype.is_integer
    table = writer.constant(np.ascontiguousarray(graph.constant(weight).T))  # [F, out]
    table = writer.op("Cast", table, to=TensorProto.FLOAT) if is_integer else table  # once, when the file is loaded
    is_summed = bias is not None and bias.type.dtype.is_integer is is_integer  # dynamic int8 has float biases
    addend = writer.constant(graph.constant(bias).astype(np.float32)) if bias is not None and is_summed else None
    y = (_sparse_product if site.lowering is Lowering.SPMM else _scattered)(site, table, addend)
    if is_integer:
        y = writer.op("Mul", y, writer.constant(weight_scales(weight)))
    if bias is not None and not is_summed:
        y = writer.op("Add", y, writer.constant(graph.constant(bias)))
    return row_scaled(site, activated(writer, y, op.activation), op.row_factor)


def _scattered(site: Site, table: str, addend: str | None) -> str:
    """Rows of `table` [F, C] added where the entries are, to `addend` [C]."""
    writer, feeds = site.writer, site.feeds
    start = site.filled(feeds.x_start(), site.channels, 0.0)
    start = start if addend is None else writer.op("Add", start, addend)
    target = site.column(feeds.x_row())
    return segment_sum_of_table(writer, start, target, table, feeds.x_column(), feeds.x_value(), site.channels)


def _sparse_product(site: Site, table: str, addend: str | None) -> str:
    """The same with the operator of runtimes/operators, to which entries are edges from columns to rows of x."""
    writer, feeds, column = site.writer, site.feeds, site.feeds.x_column()
    pointer = writer.once("Concat", feeds.x_start(), writer.once("Shape", column), axis=0)  # [N + 1]
    value = feeds.x_value()
    y = writer.spmm(table, pointer, column, *([] if value is None else [value]))
    return y if addend is None else writer.op("Add", y, addend)
