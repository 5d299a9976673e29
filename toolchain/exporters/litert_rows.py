"""Groups of nodes and row scales in LiteRT: comparisons with the bounds, and one factor for each row from a table."""

from __future__ import annotations

import numpy as np

from toolchain.exporters.constants import group_bounds
from toolchain.exporters.litert_ops import activated, emit
from toolchain.exporters.litert_site import Site
from toolchain.ir import ops


@emit.register
def _(op: ops.DegreeGroup, site: Site) -> int:
    ends = site.feeds.row_pointer(op.topology)
    nexts, starts = _between(site, ends, 1, 0, 0, 1), _between(site, ends, 0, -1, 1, 0)
    degree = site.writer.op("SUB", nexts, starts, shape=(-1,), dtype="int32")
    rows = site.reshaped(site.writer.op("CAST", degree, shape=(-1,)), (-1, 1))
    return _groups(site, rows, group_bounds(op, None))


def _between(site: Site, x: int, begin: int, end: int, from_start: int, to_end: int) -> int:
    """x[begin:end] of a vector of int32; the masks say where its own start or end is meant."""
    return site.writer.op(
        "STRIDED_SLICE", x, site.integers(begin), site.integers(end), site.integers(1), shape=(-1,), dtype="int32",
        BeginMask=from_start, EndMask=to_end,
    )  # fmt: skip


@emit.register
def _(op: ops.PeakGroup, site: Site) -> int:
    operand = site.graph.values[site.value.inputs[0]]
    magnitudes = site.rowwise("ABS", site.x, channels=operand.type.channels)
    peaks = site.rowwise("REDUCE_MAX", magnitudes, site.integers(1), channels=1, KeepDims=True)
    return _groups(site, peaks, group_bounds(op, operand.type.qparams))


def _groups(site: Site, x: int, bounds: np.ndarray) -> int:
    """How many of the bounds [N, 1] exceeds: [N, 1]."""
    if not bounds.size:
        return site.rowwise("MUL", x, site.writer.constant(0.0))
    above = site.writer.op("GREATER", x, site.writer.constant(bounds[None]), shape=(-1, bounds.size), dtype="bool")
    counted = site.rowwise("CAST", above, channels=bounds.size)
    return site.rowwise("SUM", counted, site.integers(1), KeepDims=True)


@emit.register
def _(op: ops.RowScale, site: Site) -> int:
    bias = site.operand("bias")
    y = site.rowwise("MUL", site.x, _of_groups(site, op.factors))
    y = activated(site, y if bias is None else site.rowwise("ADD", y, bias), op.activation)
    if op.limits:
        limits = _of_groups(site, op.limits)
        y = site.rowwise("MINIMUM", y, limits)
        y = site.rowwise("MAXIMUM", y, site.rowwise("NEG", limits, channels=1))
    return site.scaled(y, op.row_factor)


def _of_groups(site: Site, numbers: tuple[float, ...]) -> int:
    """[N, 1]: the number of each row's group."""
    group = site.reshaped(site.values.real(site.value.inputs[1]), (-1,))
    table = site.writer.constant(np.array(numbers, np.float32)[:, None])  # [K, 1]
    index = site.writer.once("CAST", group, shape=(-1,), dtype="int32")
    return site.rowwise("GATHER", table, index, channels=1)
