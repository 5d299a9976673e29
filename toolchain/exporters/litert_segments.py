"""Reducing rows by segment number in LiteRT: any order of the segments, any number of rows, also none.

Sums are SCATTER_ND: it adds rows that meet, leaves segments without rows at 0 and needs no order, which SEGMENT_SUM does, and it
is as fast or faster (`toolchain.exporters.lowerings`). Maxima are UNSORTED_SEGMENT_MAX, products UNSORTED_SEGMENT_PROD.
"""

from __future__ import annotations

from toolchain.exporters.litert_site import Site
from toolchain.ir.ops import Reduce

_UNSORTED = {
    Reduce.MAX: "UNSORTED_SEGMENT_MAX", Reduce.MIN: "UNSORTED_SEGMENT_MIN", Reduce.PRODUCT: "UNSORTED_SEGMENT_PROD",
}  # fmt: skip
# What an extreme over nothing is in LiteRT: the float32 of largest magnitude, here a little less to compare with.
_NOTHING = 3.0e38


def node_sum(site: Site, rows: int, node: int, channels: int) -> int:
    """[N, channels]: every row of `rows` [E, channels] added into the one that `node` [E] names."""
    column = site.reshaped(node, (-1, 1), dtype="int32")
    return site.rowwise("SCATTER_ND", column, rows, site.node_shape(channels), channels=channels)


def unsorted(site: Site, rows: int, segment: int, shape: int, channels: int, reduce: Reduce) -> int:
    """The MAX, MIN or PRODUCT of the rows [E, channels] of every segment: 0 where a segment has none, or 1 for PRODUCT.

    Args:
        shape: a shape whose first axis is the number of segments.
    """
    writer = site.writer
    first, last, step = site.integers(0), site.integers(1), site.integers(1)
    count = writer.once("STRIDED_SLICE", shape, first, last, step, shape=(), dtype="int32", ShrinkAxisMask=1)
    y = site.rowwise(_UNSORTED[reduce], rows, segment, count, channels=channels)
    if reduce is Reduce.PRODUCT:
        return y
    limit = writer.constant(_NOTHING if reduce is Reduce.MIN else -_NOTHING)
    pair = (limit, y) if reduce is Reduce.MIN else (y, limit)
    is_empty = writer.op("LESS", *pair, shape=(-1, channels), dtype="bool")
    return site.rowwise("SELECT_V2", is_empty, writer.constant(0.0), y, channels=channels)
