"""Reducing rows by segment number in Core ML: scatters into rows of a start value, in any order of the segments.

Core ML takes no empty array, so a graph without edges is fed one edge of zeros (`FeedNames.min_edges`). What that edge brings is
cut off where the sums, maxima and minima of a topology are known, by its number of edges.
"""

from __future__ import annotations

from toolchain.exporters.coreml_program import Ref
from toolchain.exporters.coreml_site import Site
from toolchain.ir.ops import Reduce


def reduced_edges(site: Site, rows: Ref, ends: Ref, topology: int, channels: int, reduce: Reduce) -> Ref:
    """[N, channels]: the rows [E, channels] at each end; where there is none, 0, or 1 for PRODUCT. MEAN adds, as SUM does."""
    reduced = segments(site, rows, ends, site.nodes, channels, reduce)
    if site.feeds.topologies[topology].self_loops.adds:
        return reduced  # every node has an edge
    pointer = site.feeds.row_pointer(topology)
    count = site.program.once(
        "reduce_max", x=pointer, axes=[0], keep_dims=True
    )  # [1]: it ends with the number of edges
    has_edges = site.program.once("greater", x=count, y=0)
    return site.program.op("select", cond=has_edges, a=reduced, b=site.filled(site.nodes, channels, reduce.of_nothing))


def segments(site: Site, rows: Ref, segment: Ref, like: Ref, channels: int, reduce: Reduce) -> Ref:
    """[rows of `like`, channels]: the rows of every segment; where it has none, 0, or 1 for PRODUCT. MEAN adds, as SUM does."""
    program = site.program
    if reduce in (Reduce.SUM, Reduce.MEAN):
        return _scatter(site, site.filled(like, channels, 0.0), segment, rows, "add")
    if reduce is Reduce.PRODUCT:
        return _scatter(site, site.filled(like, channels, 1.0), segment, rows, "mul")
    # Minima are maxima of the opposite, so that one start value and one comparison serve both.
    upward = rows if reduce is Reduce.MAX else program.op("mul", x=rows, y=-1.0)
    lowest = float(program.lowest)
    peak = _scatter(site, site.filled(like, channels, lowest), segment, upward, "max")
    is_given = program.op("greater", x=peak, y=lowest)
    y = program.op("select", cond=is_given, a=peak, b=site.filled(like, channels, 0.0))
    return y if reduce is Reduce.MAX else program.op("mul", x=y, y=-1.0)


def _scatter(site: Site, start: Ref, index: Ref, rows: Ref, mode: str) -> Ref:
    return site.program.op(
        "scatter", data=start, indices=index, updates=rows, axis=0, mode=mode, validate_indices=False
    )
