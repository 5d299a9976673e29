"""What stands for the integer tensors of a graph: `edge_index` and its rows, `edge_type`, `batch`, `ptr`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from toolchain.frontend.symbols import Count, Symbol
from toolchain.ir.ops import End
from toolchain.ir.types import Domain
from toolchain.topology import Normalization, SelfLoops, TopologySpec

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


class EdgeIndex(Symbol):
    """`edge_index`, [2, E], or what self-loops and normalization make of it: the edges of a topology."""

    what = "edge_index"
    dtype = torch.long
    device = torch.device("cpu")
    is_sparse = False
    is_cuda = False

    def __init__(
        self,
        lowering: Lowering,
        spec: TopologySpec | None = None,
        is_flipped: bool = False,
    ) -> None:
        super().__init__(lowering)
        self.spec, self.is_flipped = spec or TopologySpec(), is_flipped

    @property
    def topology(self) -> int:
        return self.lowering.builder.topology(self.spec)

    def with_spec(self, **changes: Any) -> EdgeIndex:
        """The edges that follow from these with another self-loop or normalization rule."""
        return EdgeIndex(self.lowering, replace(self.spec, **changes), self.is_flipped)

    @property
    def bare(self) -> EdgeIndex:
        """The same edges without coefficients."""
        return self.with_spec(normalization=Normalization.NONE, weighted=False, loop_weight=1.0)

    @property
    def turned(self) -> EdgeIndex:
        """Every edge the other way round."""
        return EdgeIndex(self.lowering, self.spec, not self.is_flipped)

    def towards(self, row: int) -> EdgeIndex:
        """The same edges, as a topology that aggregates at a row of `edge_index`."""
        is_reversed = (row == 0) != self.is_flipped
        if is_reversed != self.spec.reversed and self.spec != self.bare.spec:
            raise self.lowering.refuse_use(
                "aggregating edges against the direction that they are normalized for", "normalize them for this flow"
            )
        return self.with_spec(reversed=is_reversed)

    def end(self, row: int) -> EdgeEnd:
        """One row of `edge_index`."""
        is_source = (row == 0) != (self.spec.reversed != self.is_flipped)
        return EdgeEnd(self.lowering, End.SOURCE if is_source else End.TARGET, self)

    def __iter__(self) -> Iterator[EdgeEnd]:
        return iter((self.end(0), self.end(1)))

    @property
    def shape(self) -> tuple[Any, ...]:
        return (2, Count(self.lowering, Domain.EDGE))

    def dim(self) -> int:
        return 2

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]


class EdgeEnd(Symbol):
    """One row of `edge_index`: the node at one end of every edge, [E].

    Attributes:
        end: the end along the topology's direction, whichever row of `edge_index` that is.
        in_message: it is the index of a message, which only makes edge values: code for graphs without edges makes no difference.
    """

    dtype = torch.long
    device = torch.device("cpu")

    def __init__(self, lowering: Lowering, end: End, edges: EdgeIndex, in_message: bool = False) -> None:
        super().__init__(lowering)
        self.end, self.edges, self.in_message = end, edges, in_message

    @property
    def what(self) -> str:  # type: ignore[override]
        is_first = (self.end is End.SOURCE) != (self.edges.spec.reversed != self.edges.is_flipped)
        return f"edge_index[{0 if is_first else 1}]"

    @property
    def shape(self) -> tuple[Any, ...]:
        return (Count(self.lowering, Domain.EDGE),)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> Count:
        return Count(self.lowering, Domain.EDGE, is_positive=self.in_message)

    def dim(self) -> int:
        return 1


class EdgeType(Symbol):
    """`edge_type`, the relation of each edge: [E]. It is only compared with numbers."""

    what = "edge_type"
    dtype = torch.long
    device = torch.device("cpu")

    def __eq__(self, other: object) -> Any:
        if not isinstance(other, int) or isinstance(other, bool):
            raise self.lowering.refuse_use(
                f"comparing edge_type with {other!r}", "relations are numbers, as edge_type == 2"
            )
        return RelationMask(self.lowering, other)

    __hash__ = Symbol.__hash__

    @property
    def shape(self) -> tuple[Any, ...]:
        return (Count(self.lowering, Domain.EDGE),)

    def size(self, dim: int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        return 1

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(f"{type(self).__name__} has no {name}")
        raise self.lowering.refuse_use(
            f"edge_type.{name}",
            "it chooses edges, as edge_index[:, edge_type == 2]. Pass what it stands for as edge_attr",
        )


class RelationMask(Symbol):
    """`edge_type == r`, which chooses the edges of a relation: `edge_index[:, mask]`, and `edge_attr[mask]` along them."""

    what = "edge_type == a number"
    dtype = torch.bool

    def __init__(self, lowering: Lowering, relation: int) -> None:
        super().__init__(lowering)
        self.relation = relation

    def dim(self) -> int:
        return 1

    def edges_of(self, edges: EdgeIndex) -> EdgeIndex:
        """Those of the edges that are of this relation."""
        if edges.spec != edges.bare.with_spec(self_loops=SelfLoops.KEEP, relation=None).spec:
            raise self.lowering.refuse_use(
                "choosing a relation of edges that were changed before", "apply edge_type == r to edge_index itself"
            )
        return edges.with_spec(relation=self.relation)


class GraphIndex(Symbol):
    """`batch`, the graph of each node: [N]."""

    what = "batch"
    dtype = torch.long
    device = torch.device("cpu")

    def __init__(self, lowering: Lowering, is_single: bool = False) -> None:
        super().__init__(lowering)
        self.is_single = is_single  # made by the model itself for a single graph

    def dim(self) -> int:
        return 1

    def max(self) -> LastGraph:
        return LastGraph(self.lowering)


class GraphPointer(Symbol):
    """`ptr`, the first node of each graph and the end: [G + 1]."""

    what = "ptr"
    dtype = torch.long
    device = torch.device("cpu")

    def dim(self) -> int:
        return 1


class LastGraph(Symbol):
    """`batch.max()`; adding 1 gives the number of graphs."""

    what = "batch.max()"

    def item(self) -> LastGraph:
        return self

    def __add__(self, other: Any) -> Count:
        if other != 1:
            raise self._refuse(f"adding {other} to")
        return Count(self.lowering, Domain.GRAPH)

    __radd__ = __add__
