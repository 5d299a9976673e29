"""Groups of nodes and row scales in ONNX: comparisons with the bounds, and one factor for each row from a table."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from toolchain.exporters.constants import group_bounds
from toolchain.exporters.onnx_ops import Site, activated, emit, row_scaled
from toolchain.ir import ops


@emit.register
def _(op: ops.DegreeGroup, site: Site) -> str:
    writer, ends = site.writer, site.feeds.row_pointer(op.topology)
    first, last, beyond = (writer.constant(np.array([place])) for place in (1, -1, np.iinfo(np.int64).max))
    zero = writer.constant(np.array([0]))
    degree = writer.op("Sub", writer.op("Slice", ends, first, beyond), writer.op("Slice", ends, zero, last))
    rows = writer.op("Unsqueeze", writer.op("Cast", degree, to=TensorProto.FLOAT), first)  # [N, 1]
    return _groups(site, rows, group_bounds(op, None))


@emit.register
def _(op: ops.PeakGroup, site: Site) -> str:
    operand = site.graph.values[site.value.inputs[0]]
    peaks = site.writer.op("ReduceMax", site.writer.op("Abs", site.x), site.writer.constant(np.array([1])))  # [N, 1]
    return _groups(site, peaks, group_bounds(op, operand.type.qparams))


def _groups(site: Site, x: str, bounds: np.ndarray) -> str:
    """How many of the bounds [N, 1] exceeds: [N, 1]."""
    writer = site.writer
    if not bounds.size:
        return writer.op("Mul", x, writer.constant(0.0))
    above = writer.op(
        "Cast", writer.op("Greater", x, writer.constant(bounds[None])), to=TensorProto.FLOAT
    )  # [N, K - 1]
    return writer.op("ReduceSum", above, writer.constant(np.array([1])))


@emit.register
def _(op: ops.RowScale, site: Site) -> str:
    writer, bias = site.writer, site.operand("bias")
    y = writer.op("Mul", site.x, _of_groups(site, op.factors))
    y = activated(writer, y if bias is None else writer.op("Add", y, bias), op.activation)
    if op.limits:
        limits = _of_groups(site, op.limits)
        y = writer.op("Max", writer.op("Min", y, limits), writer.op("Neg", limits))
    return row_scaled(site, y, op.row_factor)


def _of_groups(site: Site, numbers: tuple[float, ...]) -> str:
    """[N, 1]: the number of each row's group."""
    writer = site.writer
    group = writer.once("Cast", site.values.real(site.value.inputs[1]), to=TensorProto.INT64)
    table = writer.constant(np.array(numbers, np.float32)[:, None])  # [K, 1]
    return writer.op("Gather", table, writer.once("Squeeze", group, writer.constant(np.array([1]))))
