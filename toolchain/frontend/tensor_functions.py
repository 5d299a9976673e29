"""Tensor functions that select, join or move: indexing, cat, stack, conversions, and what makes new tensors."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from toolchain.frontend.functions import checked_rows
from toolchain.frontend.index_symbols import EdgeEnd, EdgeIndex, GraphIndex, RelationMask
from toolchain.frontend.layouts import linear_map
from toolchain.frontend.pools import require_single_graph
from toolchain.frontend.registry import lowers_function
from toolchain.frontend.symbols import Count, Mask, Rows, Stacked, Symbol
from toolchain.ir.ops import Broadcast, Concat, Role
from toolchain.ir.types import Domain

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


# --- selecting and joining --------------------------------------------------------------------------------------------


@lowers_function("cat", "concat", "concatenate")
def cat(lowering: Lowering, tensors: Any, dim: int = 0) -> Rows:
    """Join along a dimension of the rows."""
    rows = [checked_rows(lowering, "cat", x) for x in tensors]
    rank = rows[0].rank
    if rank < 2 or any(x.rank != rank for x in rows):
        raise lowering.refuse_use("cat", f"expected 2 dimensions, got {', '.join(str(x.rank) for x in rows)}")
    if dim not in range(1, rank) and dim not in range(1 - rank, 0):
        raise lowering.refuse_use(f"cat with dim={dim}", "only channels can be joined (dim=-1)")
    if len(rows) == 1:
        return rows[0]
    side_by_side = lowering.rows(Concat(), *(x.value for x in rows))
    if rank == 2:
        return side_by_side
    widths, tails = [x.channels for x in rows], [x.tail for x in rows]

    def join(flat: Tensor) -> Tensor:
        parts = [part.reshape(-1, *tail) for part, tail in zip(flat.split(widths, -1), tails, strict=True)]
        return torch.cat(parts, dim)

    return linear_map(lowering, side_by_side, join, "cat")


@lowers_function("stack")
def stack(lowering: Lowering, tensors: Any, dim: int = 0) -> Any:
    """Join along a new dimension of the rows, or in front of them for a reduction over what was joined."""
    rows = [checked_rows(lowering, "stack", x) for x in tensors]
    rank = rows[0].rank + 1
    at = dim if dim >= 0 else rank + dim
    if at == 0:
        return Stacked(lowering, tuple(rows))
    wide = [x.laid_out(*x.tail[: at - 1], 1, *x.tail[at - 1 :]) for x in rows]
    return cat(lowering, wide, at)


@lowers_function("index_select")
def index_select(lowering: Lowering, input: Any, dim: int, index: Any) -> Rows:
    x = checked_rows(lowering, "index_select", input)
    if dim not in (0, -x.rank):
        raise lowering.refuse_use(f"index_select with dim={dim}", "only rows can be selected (dim=0)")
    return take(lowering, "index_select", x, index)


@lowers_function("getitem")
def getitem(lowering: Lowering, input: Any, index: Any) -> Any:
    """edge_index[0], x[row], x[batch], x[:, start:stop], x[..., :k], x[:, i]."""
    if isinstance(input, EdgeIndex) and index in (0, 1, -1, -2):
        return input.end(index % 2)
    if isinstance(input, EdgeIndex) and (mask := _mask_of_all_ends(index)) is not None:
        return mask.edges_of(input)
    x = checked_rows(lowering, "indexing", input)
    if isinstance(index, Symbol):
        return take(lowering, "indexing", x, index)
    if isinstance(index, slice) and index.start is None and index.step is None and _is_all_rows(index.stop, x):
        return x  # x[:x.size(0)]
    if _keeps_rows(index, x):
        return linear_map(lowering, x, lambda rows: rows[index], "indexing")
    raise lowering.refuse_use(
        f"indexing with {index!r}",
        "supported: edge_index[0], edge_index[:, edge_type == r], x[edge_index[0]], x[batch], x[:, start:stop]",
    )


def _mask_of_all_ends(index: Any) -> RelationMask | None:
    """The mask of `edge_index[:, mask]`."""
    is_pair = isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None)
    return index[1] if is_pair and isinstance(index[1], RelationMask) else None


def _keeps_rows(index: Any, x: Rows) -> bool:
    """Whether an index is about the dimensions behind the rows, and its numbers are known."""
    index = index if isinstance(index, tuple) else (index,)
    if not all(item is None or item is ... or isinstance(item, int | slice) for item in index):
        return False
    if any(isinstance(bound, Symbol) for item in index if isinstance(item, slice) for bound in (item.start, item.stop)):
        return False
    if index[0] is ...:
        return len([item for item in index if item is not None and item is not ...]) <= len(x.tail)
    return isinstance(index[0], slice) and index[0] == slice(None)


def _is_all_rows(count: Any, x: Rows) -> bool:
    return isinstance(count, Count) and count.domain is x.domain


def take(lowering: Lowering, name: str, x: Rows, index: Any) -> Rows:
    """Rows by index: node values at an end of each edge, graph values at each node, edge inputs of one relation."""
    if isinstance(index, RelationMask) and x.role in (Role.EDGE_WEIGHT, Role.EDGE_ATTR):
        return x.along(index.edges_of(EdgeIndex(lowering)))
    if isinstance(index, RelationMask):
        raise lowering.refuse_use(
            name, "edge_type == r selects edge_weight or edge_attr, before anything is computed of them"
        )
    if isinstance(index, EdgeEnd):
        if x.domain is not Domain.NODE:
            raise lowering.refuse_use(name, f"the ends of edges select node values, got {x.what}")
        return x.like(lowering.gather(index.edges, index.end, x.value))
    if isinstance(index, GraphIndex):
        return x.like(lowering.add(Broadcast(), x.value))
    raise lowering.refuse_use(name, "rows are selected by edge_index[0], edge_index[1] or batch, unchanged")


@lowers_function("chunk")
def chunk(lowering: Lowering, input: Any, chunks: int, dim: int = 0) -> tuple[Rows, ...]:
    x = checked_rows(lowering, "chunk", input)
    if dim in (0, -x.rank):
        raise lowering.refuse_use(f"chunk with dim={dim}", "only channels can be split (dim=-1)")
    return split(lowering, x, -(-x.shape[dim] // chunks), dim)


@lowers_function("split")
def split(
    lowering: Lowering, tensor: Any, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Rows, ...]:
    """Cut a dimension of the rows into pieces."""
    x = checked_rows(lowering, "split", tensor)
    if dim in (0, -x.rank):
        raise lowering.refuse_use(f"split with dim={dim}", "only channels can be split (dim=-1)")
    size = x.shape[dim]
    if isinstance(split_size_or_sections, int):
        starts = list(range(0, size, split_size_or_sections))
        bounds = list(zip(starts, [*starts[1:], size], strict=True))
    else:
        ends = list(accumulate(split_size_or_sections))
        bounds = list(zip([0, *ends[:-1]], ends, strict=True))

    def piece(start: int, stop: int) -> Rows:
        return linear_map(lowering, x, lambda rows: rows.narrow(dim, start, stop - start), "split")

    return tuple(piece(start, stop) for start, stop in bounds)


@lowers_function("unbind")
def unbind(lowering: Lowering, input: Any, dim: int = 0) -> tuple[Rows, ...]:
    x = checked_rows(lowering, "unbind", input)
    if dim in (0, -x.rank):
        raise lowering.refuse_use("unbind with dim=0", "rows are not known before the model runs")
    return tuple(
        linear_map(lowering, x, lambda rows, i=i: rows.select(dim, i), "unbind")  # type: ignore[misc]
        for i in range(x.shape[dim])
    )


# --- what gives the same tensor again ---------------------------------------------------------------------------------


@lowers_function("clone")
def clone(lowering: Lowering, input: Any) -> Any:
    """A symbol of its own, so that in-place operations on one of the two leave the other alone."""
    return Rows(lowering, input.value, tail=input.tail) if isinstance(input, Rows) else input


@lowers_function("contiguous", "detach", "float", "cpu", "type_as", "requires_grad")
def unchanged(lowering: Lowering, input: Any, *like: Any) -> Any:
    """What gives the same tensor again."""
    return input


@lowers_function("long")
def long(lowering: Lowering, input: Any) -> Any:
    if isinstance(input, Rows) and not isinstance(input, Mask):
        raise lowering.refuse_use("rounding to integers", "values are float32")
    return input


@lowers_function("to")
def to(lowering: Lowering, input: Any, target: Any) -> Any:
    """Moves to the CPU or to float32; nothing to do."""
    if target not in (torch.float32, torch.device("cpu"), "cpu"):
        raise lowering.refuse_use(f"to({target})", "everything is lowered in float32 on the CPU")
    return input


@lowers_function("numel")
def numel(lowering: Lowering, input: Any) -> Any:
    raise lowering.refuse_use("numel", "the number of rows is only known when the model runs")


# --- new tensors ------------------------------------------------------------------------------------------------------


def _filled(lowering: Lowering, name: str, size: tuple[Any, ...], number: float, like: Any = None) -> Rows:
    """A tensor of one number with a known width and a row for each node, edge or graph."""
    sizes = tuple(size[0]) if len(size) == 1 and isinstance(size[0], tuple | list) else size
    if not sizes or not isinstance(sizes[0], Count) or not all(isinstance(s, int) for s in sizes[1:]):
        raise lowering.refuse_use(name, "its size must be (the number of nodes, edges or graphs, known widths ...)")
    domain, width = sizes[0].domain, 1
    for size_ in sizes[1:]:
        width *= size_
    edges = EdgeIndex(lowering) if domain is Domain.EDGE else None
    value = lowering.filled(domain, width, number, edges)
    if number == 1 and width == 1 and edges is not None:
        lowering.unit_edges.add(value)
    return Rows(lowering, value, tail=tuple(sizes[1:]))


def _batch_of_one(lowering: Lowering, name: str, size: tuple[Any, ...]) -> GraphIndex:
    sizes = tuple(size[0]) if len(size) == 1 and isinstance(size[0], tuple | list) else size
    if not (len(sizes) == 1 and isinstance(sizes[0], Count) and sizes[0].domain is Domain.NODE):
        raise lowering.refuse_use(
            name, "supported: torch.zeros(x.size(0), dtype=torch.long), the batch of a single graph"
        )
    require_single_graph(lowering, f"{name} as batch")
    return GraphIndex(lowering, is_single=True)


@lowers_function("zeros")
def zeros(lowering: Lowering, *size: Any, dtype: Any = None, device: Any = None) -> Any:
    """torch.zeros(x.size(0), 8); and of torch.long what models make where they are called without batch."""
    if dtype is torch.long:
        return _batch_of_one(lowering, "zeros", size)
    if dtype not in (None, torch.float32):
        raise lowering.refuse_use(f"zeros of {dtype}", "values are float32")
    return _filled(lowering, "zeros", size, 0.0)


@lowers_function("new_zeros")
def new_zeros(lowering: Lowering, input: Any, *size: Any, dtype: Any = None, device: Any = None) -> Any:
    """x.new_zeros(x.size(0), 8), and edge_index.new_zeros(x.size(0))."""
    return zeros(lowering, *size, dtype=getattr(input, "dtype", None) if dtype is None else dtype)


@lowers_function("zeros_like")
def zeros_like(lowering: Lowering, input: Any, dtype: Any = None, device: Any = None) -> Rows:
    x = checked_rows(lowering, "zeros_like", input)
    return x * 0.0


@lowers_function("ones")
def ones(lowering: Lowering, *size: Any, dtype: Any = None, device: Any = None) -> Rows:
    if dtype not in (None, torch.float32):
        raise lowering.refuse_use(f"ones of {dtype}", "values are float32")
    return _filled(lowering, "ones", size, 1.0)


@lowers_function("new_ones")
def new_ones(lowering: Lowering, input: Any, *size: Any, dtype: Any = None, device: Any = None) -> Rows:
    return ones(lowering, *size, dtype=getattr(input, "dtype", None) if dtype is None else dtype)


@lowers_function("ones_like")
def ones_like(lowering: Lowering, input: Any, dtype: Any = None, device: Any = None) -> Rows:
    return zeros_like(lowering, input) + 1.0
