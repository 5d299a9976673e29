"""SizeBucket: sample graphs of about one size, stood for by one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from toolchain.errors import InvalidInput
from toolchain.inputs import GraphInputs

DEFAULT_BUCKETS = 3


@dataclass(frozen=True, slots=True, eq=False)
class SizeBucket:
    """Graphs of about one size.

    Attributes:
        up_to: nodes of the largest.
        share: of all sample graphs, in (0, 1].
        graph: the one of median size, which is measured.
    """

    up_to: int
    share: float
    graph: GraphInputs

    def to_json(self) -> dict[str, Any]:
        return {
            "up_to_nodes": self.up_to, "share": self.share, "nodes": self.graph.num_nodes, "edges": self.graph.num_edges,
        }  # fmt: skip


def size_buckets(graphs: Sequence[GraphInputs], count: int = DEFAULT_BUCKETS) -> tuple[SizeBucket, ...]:
    """Cut graphs by their number of nodes into at most `count` buckets of as many graphs each; equal sizes stay together.

    Raises:
        InvalidInput: there are no graphs.
    """
    if not graphs:
        raise InvalidInput(
            "no sample graphs, expected at least one that the model will meet. Check get_graphs() or --graphs."
        )
    ordered = sorted(graphs, key=lambda graph: (graph.num_nodes, graph.num_edges))
    ends = {ordered[-(-len(ordered) * part // count) - 1].num_nodes for part in range(1, count + 1)}
    buckets, first = [], 0
    for end in sorted(ends):
        last = sum(graph.num_nodes <= end for graph in ordered)
        middle = ordered[(first + last - 1) // 2]
        buckets.append(SizeBucket(end, (last - first) / len(ordered), middle))
        first = last
    return tuple(buckets)
