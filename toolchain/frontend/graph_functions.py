"""Functions that reduce or normalize by an index: PyG's scatter, softmax and segment, and those of torch_scatter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from toolchain.frontend.edge_functions import degree
from toolchain.frontend.index_symbols import EdgeEnd, GraphIndex, GraphPointer
from toolchain.frontend.pools import pool
from toolchain.frontend.registry import lowers_graph_function
from toolchain.frontend.symbols import Count, Refused, Rows
from toolchain.ir.attributes import PROPAGATED
from toolchain.ir.ops import (
    Activation,
    Aggregate,
    Broadcast,
    Div,
    EdgeSoftmax,
    End,
    Function,
    Gather,
    Input,
    Mul,
    Pool,
    Propagate,
    Reduce,
    Role,
    Sub,
)
from toolchain.ir.types import Domain, edge
from toolchain.topology import Normalization

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering

_REDUCTIONS = {
    "sum": Reduce.SUM, "add": Reduce.SUM, "mean": Reduce.MEAN, "max": Reduce.MAX, "min": Reduce.MIN, "mul": Reduce.PRODUCT,
}  # fmt: skip


def reduce_by_index(
    lowering: Lowering, name: str, src: Any, index: Any, dim: int, dim_size: Any, reduce: Reduce
) -> Rows:
    """Reduce edge values at one end of the edges, or node values by graph.

    Without a size, torch makes as many rows as the largest index says, which may be fewer than there are nodes; so
    reducing edges needs the number of nodes.
    """
    if not isinstance(src, Rows) or dim not in (0, -src.rank):
        raise lowering.refuse_use(name, f"it must reduce the rows of a tensor (dim=0), got dim={dim}")
    if isinstance(index, GraphIndex | GraphPointer):
        return src.like(pool(lowering, name, Rows(lowering, src.value), index, dim_size, reduce).value)
    if not isinstance(index, EdgeEnd):
        raise lowering.refuse_use(name, "its index must be edge_index[0], edge_index[1] or batch, unchanged")
    if src.domain is not Domain.EDGE or src.type.topology != index.edges.topology:
        raise lowering.refuse_use(name, f"reducing over edges needs edge values, got {src.what}")
    if not (isinstance(dim_size, Count) and dim_size.domain is Domain.NODE):
        raise lowering.refuse_use(
            name, "without dim_size its result has as many rows as the largest index. Pass dim_size=x.size(0)"
        )
    if src.value in lowering.unit_edges and reduce is Reduce.SUM:
        return degree(lowering, index, dim_size).laid_out(*src.tail)
    reduced = _gather_and_reduce(lowering, src.value, index, reduce) if reduce in PROPAGATED else None
    if reduced is None:
        reduced = lowering.add(Aggregate(reduce, index.end), src.value)
    return src.like(reduced)


def _gather_and_reduce(lowering: Lowering, src: int, index: EdgeEnd, reduce: Reduce) -> int | None:
    """One Propagate for scatter(x[row], col), and for weights times x[row], so that no edge buffer remains."""
    values, edges = lowering.builder.values, index.edges
    value = values[src]
    weight: int | None = None
    if isinstance(value.op, Mul):
        sides = [values[i] for i in value.inputs]
        for candidate, other in (sides, sides[::-1]):
            if isinstance(candidate.op, Gather) and other.type.domain is Domain.EDGE:
                weight = other.id if other.type.channels == 1 else lowering.spread_heads.get(other.id)
                if weight is not None:
                    value = candidate
                    break
    if not isinstance(value.op, Gather) or value.op.end is index.end:
        return None
    along = edges if index.end is End.TARGET else edges.bare.with_spec(reversed=not edges.spec.reversed)
    if weight is None:
        return lowering.add(Propagate(along.bare.topology, reduce), *value.inputs)
    if index.end is End.TARGET and lowering.coefficients.get(weight) == edges.topology:
        return lowering.add(Propagate(edges.topology, reduce), *value.inputs)
    if values[weight].op == Input(Role.EDGE_WEIGHT, edge(1, edges.topology)):
        if edges.spec.normalization is Normalization.NONE:
            weighted = along.with_spec(weighted=True, loop_weight=edges.spec.loop_weight)
            return lowering.add(Propagate(weighted.topology, reduce), *value.inputs)
        return None
    if along.topology != edges.topology or edges.spec != edges.bare.spec:
        return (
            None  # the weights are ordered by the edges as they are, and a Propagate would apply the coefficients too
        )
    return lowering.add(Propagate(along.topology, reduce, ("weight",)), *value.inputs, weight)


def _reduction(lowering: Lowering, name: str, reduce: str) -> Reduce:
    if reduce not in _REDUCTIONS:
        raise lowering.refuse_use(f"{name} with reduce={reduce!r}", f"supported: {', '.join(_REDUCTIONS)}")
    return _REDUCTIONS[reduce]


@lowers_graph_function("torch_geometric.scatter")
def scatter(lowering: Lowering, src: Any, index: Any, dim: int = 0, dim_size: Any = None, reduce: str = "sum") -> Rows:
    return reduce_by_index(lowering, "scatter", src, index, dim, dim_size, _reduction(lowering, "scatter", reduce))


@lowers_graph_function("torch_geometric.segment")
def segment(lowering: Lowering, src: Any, ptr: Any, reduce: str = "sum") -> Rows:
    return reduce_by_index(lowering, "segment", src, ptr, 0, None, _reduction(lowering, "segment", reduce))


@lowers_graph_function("torch_geometric.softmax")
def softmax(
    lowering: Lowering, src: Any, index: Any = None, ptr: Any = None, num_nodes: Any = None, dim: int = 0
) -> Rows:
    """Softmax of edge values over the in-edges of each node."""
    return _edge_softmax(lowering, "softmax", src, index, ptr, num_nodes, dim)


@lowers_graph_function("torch_scatter.scatter")
def torch_scatter(
    lowering: Lowering, src: Any, index: Any, dim: int = -1, out: Any = None, dim_size: Any = None, reduce: str = "sum"
) -> Rows:
    return _torch_scatter(lowering, "scatter", src, index, dim, out, dim_size, reduce)


@lowers_graph_function("torch_scatter.scatter_sum", "torch_scatter.scatter_add")
def scatter_sum(lowering: Lowering, src: Any, index: Any, dim: int = -1, out: Any = None, dim_size: Any = None) -> Rows:
    return _torch_scatter(lowering, "scatter_sum", src, index, dim, out, dim_size, "sum")


@lowers_graph_function("torch_scatter.scatter_mean")
def scatter_mean(
    lowering: Lowering, src: Any, index: Any, dim: int = -1, out: Any = None, dim_size: Any = None
) -> Rows:
    return _torch_scatter(lowering, "scatter_mean", src, index, dim, out, dim_size, "mean")


@lowers_graph_function("torch_scatter.scatter_mul")
def scatter_mul(lowering: Lowering, src: Any, index: Any, dim: int = -1, out: Any = None, dim_size: Any = None) -> Rows:
    return _torch_scatter(lowering, "scatter_mul", src, index, dim, out, dim_size, "mul")


@lowers_graph_function("torch_scatter.scatter_max")
def scatter_max(
    lowering: Lowering, src: Any, index: Any, dim: int = -1, out: Any = None, dim_size: Any = None
) -> tuple[Rows, Refused]:
    largest = _torch_scatter(lowering, "scatter_max", src, index, dim, out, dim_size, "max")
    return largest, Refused(lowering, "the positions that scatter_max returns")


@lowers_graph_function("torch_scatter.scatter_min")
def scatter_min(
    lowering: Lowering, src: Any, index: Any, dim: int = -1, out: Any = None, dim_size: Any = None
) -> tuple[Rows, Refused]:
    smallest = _torch_scatter(lowering, "scatter_min", src, index, dim, out, dim_size, "min")
    return smallest, Refused(lowering, "the positions that scatter_min returns")


@lowers_graph_function("torch_scatter.scatter_softmax")
def scatter_softmax(lowering: Lowering, src: Any, index: Any, dim: int = -1, dim_size: Any = None) -> Rows:
    return _edge_softmax(lowering, "scatter_softmax", src, index, None, dim_size, dim)


@lowers_graph_function("torch_scatter.segment_csr")
def segment_csr(lowering: Lowering, src: Any, indptr: Any, out: Any = None, reduce: str = "sum") -> Rows:
    """Reduce node values by graph, over `ptr`."""
    _refuse_out(lowering, "segment_csr", out)
    if not isinstance(indptr, GraphPointer):
        raise lowering.refuse_use("segment_csr", "its indptr must be the ptr that forward was given")
    return reduce_by_index(lowering, "segment_csr", src, indptr, 0, None, _reduction(lowering, "segment_csr", reduce))


@lowers_graph_function("torch_scatter.segment_sum_csr", "torch_scatter.segment_add_csr")
def segment_sum_csr(lowering: Lowering, src: Any, indptr: Any, out: Any = None) -> Rows:
    return segment_csr(lowering, src, indptr, out, "sum")


@lowers_graph_function("torch_scatter.segment_mean_csr")
def segment_mean_csr(lowering: Lowering, src: Any, indptr: Any, out: Any = None) -> Rows:
    return segment_csr(lowering, src, indptr, out, "mean")


@lowers_graph_function("torch_scatter.segment_max_csr")
def segment_max_csr(lowering: Lowering, src: Any, indptr: Any, out: Any = None) -> tuple[Rows, Refused]:
    largest = segment_csr(lowering, src, indptr, out, "max")
    return largest, Refused(lowering, "the positions that segment_max_csr returns")


@lowers_graph_function("torch_scatter.segment_min_csr")
def segment_min_csr(lowering: Lowering, src: Any, indptr: Any, out: Any = None) -> tuple[Rows, Refused]:
    smallest = segment_csr(lowering, src, indptr, out, "min")
    return smallest, Refused(lowering, "the positions that segment_min_csr returns")


@lowers_graph_function("torch_scatter.gather_csr")
def gather_csr(lowering: Lowering, src: Any, indptr: Any, out: Any = None) -> Rows:
    """The graph value of each node's graph."""
    _refuse_out(lowering, "gather_csr", out)
    if not isinstance(src, Rows) or not isinstance(indptr, GraphPointer):
        raise lowering.refuse_use("gather_csr", "it must spread graph values over the ptr that forward was given")
    return src.like(lowering.add(Broadcast(), src.value))


def _refuse_out(lowering: Lowering, name: str, out: Any) -> None:
    if out is not None:
        raise lowering.refuse_use(f"{name} with out", "leave it out and use the result")


def _torch_scatter(
    lowering: Lowering, name: str, src: Any, index: Any, dim: int, out: Any, dim_size: Any, reduce: str
) -> Rows:
    _refuse_out(lowering, name, out)
    return reduce_by_index(lowering, name, src, index, dim, dim_size, _reduction(lowering, name, reduce))


def _edge_softmax(lowering: Lowering, name: str, src: Any, index: Any, ptr: Any, num_nodes: Any, dim: int) -> Rows:
    if not isinstance(src, Rows) or dim not in (0, -src.rank) or ptr is not None:
        raise lowering.refuse_use(name, "it must normalize edge values over dim=0, by index")
    if isinstance(index, GraphIndex) and src.domain is Domain.NODE:
        return _graph_softmax(lowering, src)
    if src.domain is not Domain.EDGE:
        raise lowering.refuse_use(name, "it must normalize edge values over dim=0, by index")
    if not isinstance(index, EdgeEnd) or index.end is not End.TARGET or index.edges.topology != src.type.topology:
        raise lowering.refuse_use(
            name, "its index must be edge_index[1], so that it runs over the in-edges of each node"
        )
    if not (num_nodes is None or (isinstance(num_nodes, Count) and num_nodes.domain is Domain.NODE)):
        raise lowering.refuse_use(f"{name} with {num_nodes!r} nodes", "leave it out, or pass x.size(0)")
    return src.like(lowering.add(EdgeSoftmax(), src.value))


def _graph_softmax(lowering: Lowering, src: Rows) -> Rows:
    """Softmax of node values over the nodes of each graph, with the maximum subtracted."""
    add = lowering.add
    peak = add(Broadcast(), add(Pool(Reduce.MAX), src.value))
    weights = add(Activation(Function.EXP), add(Sub(), src.value, peak))
    total = add(Broadcast(), add(Pool(Reduce.SUM), weights))
    return src.like(add(Div(), weights, total))
