"""Tensor functions that select, join, reshape or reduce: indexing, cat, view, mean over all nodes, and their kin."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import torch

from toolchain.frontend.functions import checked_rows, maximum
from toolchain.frontend.pools import require_single_graph
from toolchain.frontend.registry import lowers_function
from toolchain.frontend.symbols import Count, EdgeEnd, EdgeIndex, GraphIndex, Refused, Rows, Symbol
from toolchain.ir.ops import Broadcast, Concat, End, Gather, Pool, Reduce, Slice
from toolchain.ir.types import Domain

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


# --- selecting and joining --------------------------------------------------------------------------------------------


@lowers_function("cat", "concat", "concatenate")
def cat(lowering: Lowering, tensors: Any, dim: int = 0) -> Rows:
    """Join along channels."""
    rows = [checked_rows(lowering, "cat", x, rank=2) for x in tensors]
    if dim not in (1, -1):
        raise lowering.refuse_use(f"cat with dim={dim}", "only channels can be joined (dim=-1)")
    return rows[0] if len(rows) == 1 else lowering.rows(Concat(), *(x.value for x in rows))


@lowers_function("index_select")
def index_select(lowering: Lowering, input: Any, dim: int, index: Any) -> Rows:
    x = checked_rows(lowering, "index_select", input)
    if dim not in (0, -x.rank):
        raise lowering.refuse_use(f"index_select with dim={dim}", "only rows can be selected (dim=0)")
    return _take(lowering, "index_select", x, index)


@lowers_function("getitem")
def getitem(lowering: Lowering, input: Any, index: Any) -> Any:
    """edge_index[0], x[row], x[batch], x[:, start:stop]."""
    if isinstance(input, EdgeIndex) and index in (0, 1, -1, -2):
        return EdgeEnd(lowering, End.SOURCE if index in (0, -2) else End.TARGET)
    x = checked_rows(lowering, "indexing", input)
    if isinstance(index, Symbol):
        return _take(lowering, "indexing", x, index)
    if x.rank == 2 and isinstance(index, tuple) and len(index) == 2 and index[0] in (slice(None), ...):
        return _channels(lowering, x, index[1])
    raise lowering.refuse_use(
        f"indexing with {index!r}", "supported: edge_index[0], x[edge_index[0]], x[batch], x[:, start:stop]"
    )


def _take(lowering: Lowering, name: str, x: Rows, index: Any) -> Rows:
    """Rows by index: node values at an end of each edge, or graph values at each node."""
    if isinstance(index, EdgeEnd):
        return Rows(lowering, lowering.add(Gather(lowering.edges(), index.end), x.value), x.rank)
    if isinstance(index, GraphIndex):
        return Rows(lowering, lowering.add(Broadcast(), x.value), x.rank)
    raise lowering.refuse_use(name, "rows are selected by edge_index[0], edge_index[1] or batch, unchanged")


def _channels(lowering: Lowering, x: Rows, index: Any) -> Rows:
    if isinstance(index, int) and not isinstance(index, bool) and -x.channels <= index < x.channels:
        start = index % x.channels
        return Rows(lowering, lowering.add(Slice(start, start + 1), x.value), rank=1)
    if isinstance(index, slice):
        start, stop, step = index.indices(x.channels)
        if step == 1 and start < stop:
            return x if (start, stop) == (0, x.channels) else lowering.rows(Slice(start, stop), x.value)
    raise lowering.refuse_use(f"channels {index!r}", "supported: x[:, i] and x[:, start:stop]")


@lowers_function("chunk")
def chunk(lowering: Lowering, input: Any, chunks: int, dim: int = 0) -> tuple[Rows, ...]:
    x = checked_rows(lowering, "chunk", input, rank=2)
    return split(lowering, x, -(-x.channels // chunks), dim)


@lowers_function("split")
def split(
    lowering: Lowering, tensor: Any, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Rows, ...]:
    """Cut the channels into pieces."""
    x = checked_rows(lowering, "split", tensor, rank=2)
    if dim not in (1, -1):
        raise lowering.refuse_use(f"split with dim={dim}", "only channels can be split (dim=-1)")
    if isinstance(split_size_or_sections, int):
        starts = list(range(0, x.channels, split_size_or_sections))
        bounds = list(zip(starts, [*starts[1:], x.channels], strict=True))
    else:
        ends = list(accumulate(split_size_or_sections))
        bounds = list(zip([0, *ends[:-1]], ends, strict=True))
    return tuple(_channels(lowering, x, slice(start, stop)) for start, stop in bounds)


# --- shapes -----------------------------------------------------------------------------------------------------------


@lowers_function("view", "reshape")
def view(lowering: Lowering, input: Any, *shape: Any) -> Rows:
    """[rows, 1] to [rows] and back, or the shape that is already there."""
    x = checked_rows(lowering, "view", input)
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    is_rows = [isinstance(s, Count) and s.domain is x.domain for s in sizes]
    sizes = tuple(-1 if known else size for known, size in zip(is_rows, sizes, strict=True))
    if any(isinstance(size, Symbol) for size in sizes):
        raise lowering.refuse_use("view", "its sizes must be numbers or the number of rows of the tensor")
    if sizes == (-1,) and x.channels == 1:
        return Rows(lowering, x.value, rank=1)
    if sizes == (-1, x.channels) or (sizes == (-1, -1) and is_rows[0]):
        return Rows(lowering, x.value, rank=2)
    raise lowering.refuse_use(
        f"view to {sizes}", f"a tensor of {x.channels} channels can only become [-1, {x.channels}]"
    )


@lowers_function("flatten")
def flatten(lowering: Lowering, input: Any, start_dim: int = 0, end_dim: int = -1) -> Rows:
    """Nothing to do from the second dimension on; one column flattens to a vector."""
    x = checked_rows(lowering, "flatten", input)
    if end_dim in (-1, x.rank - 1) and start_dim in (1, -1):
        return Rows(lowering, x.value, x.rank)
    if end_dim in (-1, x.rank - 1) and start_dim == 0 and x.channels == 1:
        return Rows(lowering, x.value, rank=1)
    raise lowering.refuse_use("flatten", f"a tensor of {x.channels} channels keeps its rows. Use flatten(1)")


@lowers_function("squeeze")
def squeeze(lowering: Lowering, input: Any, dim: int | None = None) -> Rows:
    x = checked_rows(lowering, "squeeze", input, rank=2)
    if dim not in (1, -1):
        raise lowering.refuse_use(
            "squeeze without dim=-1", "it would also drop a dimension of one row. Use squeeze(-1)"
        )
    return Rows(lowering, x.value, rank=1) if x.channels == 1 else x


@lowers_function("unsqueeze")
def unsqueeze(lowering: Lowering, input: Any, dim: int) -> Rows:
    x = checked_rows(lowering, "unsqueeze", input, rank=1)
    if dim not in (1, -1):
        raise lowering.refuse_use(f"unsqueeze with dim={dim}", "only a column can be made (dim=-1)")
    return Rows(lowering, x.value, rank=2)


@lowers_function("clone")
def clone(lowering: Lowering, input: Any) -> Any:
    """A symbol of its own, so that in-place operations on one of the two leave the other alone."""
    return Rows(lowering, input.value, input.rank) if isinstance(input, Rows) else input


@lowers_function("contiguous", "detach", "float", "cpu")
def unchanged(lowering: Lowering, input: Any) -> Any:
    """What gives the same tensor again."""
    return input


@lowers_function("long")
def long(lowering: Lowering, input: Any) -> Any:
    if isinstance(input, Rows):
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


# --- reductions over all rows -----------------------------------------------------------------------------------------


def _over_rows(lowering: Lowering, name: str, input: Any, dim: Any, keepdim: bool, reduce: Reduce) -> Rows:
    """A reduction over the nodes of a single graph, as x.mean(dim=0, keepdim=True)."""
    x = checked_rows(lowering, name, input, rank=2)
    if dim not in (0, -2) or not keepdim or x.domain is not Domain.NODE:
        raise lowering.refuse_use(
            f"{name} with dim={dim}, keepdim={keepdim}",
            f"supported: {name}(dim=0, keepdim=True) of nodes, or global pooling",
        )
    require_single_graph(lowering, name)
    return lowering.rows(Pool(reduce), x.value)


@lowers_function("mean")
def mean(lowering: Lowering, input: Any, dim: Any = None, keepdim: bool = False) -> Rows:
    return _over_rows(lowering, "mean", input, dim, keepdim, Reduce.MEAN)


@lowers_function("sum")
def sum(lowering: Lowering, input: Any, dim: Any = None, keepdim: bool = False) -> Rows:
    return _over_rows(lowering, "sum", input, dim, keepdim, Reduce.SUM)


@lowers_function("amax")
def amax(lowering: Lowering, input: Any, dim: Any = (), keepdim: bool = False) -> Rows:
    return _over_rows(lowering, "amax", input, dim, keepdim, Reduce.MAX)


@lowers_function("max")
def max(lowering: Lowering, input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """torch.max(a, b), or the maximum over all nodes of a single graph with the positions that it came from."""
    other = dim if isinstance(dim, Rows) else other
    if other is not None:
        return maximum(lowering, input, other)
    return _over_rows(lowering, "max", input, dim, keepdim, Reduce.MAX), Refused(
        lowering, "the positions that max returns"
    )


# --- the batch of a single graph --------------------------------------------------------------------------------------


@lowers_function("zeros")
def zeros(lowering: Lowering, *size: Any, dtype: Any = None, device: Any = None) -> GraphIndex:
    """torch.zeros(x.size(0), dtype=torch.long): what models make where they are called without batch."""
    sizes = tuple(size[0]) if len(size) == 1 and isinstance(size[0], tuple | list) else size
    is_nodes = len(sizes) == 1 and isinstance(sizes[0], Count) and sizes[0].domain is Domain.NODE
    if not is_nodes or dtype is not torch.long:
        raise lowering.refuse_use(
            "zeros", "supported: torch.zeros(x.size(0), dtype=torch.long), the batch of a single graph"
        )
    require_single_graph(lowering, "zeros as batch")
    return GraphIndex(lowering)


@lowers_function("new_zeros")
def new_zeros(lowering: Lowering, input: Any, *size: Any, dtype: Any = None, device: Any = None) -> GraphIndex:
    """x.new_zeros(x.size(0), dtype=torch.long), and edge_index.new_zeros(x.size(0))."""
    return zeros(lowering, *size, dtype=getattr(input, "dtype", None) if dtype is None else dtype)
