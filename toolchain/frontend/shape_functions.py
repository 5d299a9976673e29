"""Tensor functions that lay rows out otherwise, or reduce dimensions: view, transpose, repeat, sum, mean, max."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

from toolchain.frontend.functions import add, binary, checked_rows, maximum, minimum
from toolchain.frontend.index_symbols import EdgeIndex
from toolchain.frontend.layouts import linear_map
from toolchain.frontend.pools import require_single_graph
from toolchain.frontend.registry import lowers_function
from toolchain.frontend.symbols import Count, Refused, Rows, Stacked, Symbol
from toolchain.ir.ops import Maximum, Mul, Pool, Reduce, Sub
from toolchain.ir.types import Domain

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


@lowers_function("view", "reshape")
def view(lowering: Lowering, input: Any, *shape: Any) -> Rows:
    """Another layout of the same rows."""
    x = checked_rows(lowering, "view", input)
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    is_rows = [isinstance(s, Count) and s.domain is x.domain for s in sizes]
    if any(is_rows[1:]) or any(isinstance(s, Symbol) and not known for s, known in zip(sizes, is_rows, strict=True)):
        raise lowering.refuse_use("view", "its sizes must be numbers or the number of rows of the tensor")
    tail = list(sizes[1:])
    known = 1
    for size in tail:
        known *= size if size != -1 else 1
    if -1 in tail and is_rows[0] and known and x.channels % known == 0:
        tail[tail.index(-1)] = x.channels // known
        known = x.channels
    if (is_rows[0] or sizes[0] == -1) and -1 not in tail and known == x.channels:
        return x.laid_out(*tail)
    shown = tuple(-1 if row else size for row, size in zip(is_rows, sizes, strict=True))
    raise lowering.refuse_use(
        f"view to {shown}", f"a tensor of {x.channels} channels can only become [-1, {x.channels}], or heads of them"
    )


@lowers_function("flatten")
def flatten(lowering: Lowering, input: Any, start_dim: int = 0, end_dim: int = -1) -> Rows:
    """Joins dimensions behind the rows; one column flattens to a vector."""
    x = checked_rows(lowering, "flatten", input)
    start, end = start_dim % x.rank, end_dim % x.rank
    if start == 0 and end == x.rank - 1 and x.channels == 1:
        return x.laid_out()
    if start == 0 and end > 0:
        raise lowering.refuse_use("flatten", f"a tensor of {x.channels} channels keeps its rows. Use flatten(1)")
    return linear_map(lowering, x, lambda rows: rows.flatten(start, end), "flatten") if start else x


@lowers_function("squeeze")
def squeeze(lowering: Lowering, input: Any, dim: int | None = None) -> Rows:
    x = checked_rows(lowering, "squeeze", input)
    if dim is None or dim % x.rank == 0:
        raise lowering.refuse_use(
            "squeeze without dim=-1", "it would also drop a dimension of one row. Use squeeze(-1)"
        )
    tail = list(x.tail)
    if tail[dim % x.rank - 1] == 1:
        del tail[dim % x.rank - 1]
    return x.laid_out(*tail)


@lowers_function("unsqueeze")
def unsqueeze(lowering: Lowering, input: Any, dim: int) -> Rows:
    x = checked_rows(lowering, "unsqueeze", input)
    at = dim if dim >= 0 else dim + x.rank + 1
    if not 1 <= at <= x.rank:
        raise lowering.refuse_use(f"unsqueeze with dim={dim}", "only a column can be made (dim=-1)")
    return x.laid_out(*x.tail[: at - 1], 1, *x.tail[at - 1 :])


@lowers_function("transpose", "swapaxes")
def transpose(lowering: Lowering, input: Any, dim0: int, dim1: int) -> Rows:
    x = checked_rows(lowering, "transpose", input)
    if 0 in (dim0 % x.rank, dim1 % x.rank) and dim0 % x.rank != dim1 % x.rank:
        raise lowering.refuse_use("transpose of the rows", "rows are the first dimension of every tensor")
    return linear_map(lowering, x, lambda rows: rows.transpose(dim0, dim1), "transpose")


@lowers_function("permute")
def permute(lowering: Lowering, input: Any, *dims: Any) -> Rows:
    x = checked_rows(lowering, "permute", input)
    order = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], tuple | list) else dims
    if not order or order[0] % x.rank != 0:
        raise lowering.refuse_use("permute of the rows", "rows are the first dimension of every tensor")
    return linear_map(lowering, x, lambda rows: rows.permute(order), "permute")


@lowers_function("flip")
def flip(lowering: Lowering, input: Any, *dims: Any) -> Any:
    """edge_index.flip([0]) turns every edge round; other tensors may flip dimensions behind the rows."""
    order = tuple(dims[0]) if len(dims) == 1 and isinstance(dims[0], tuple | list) else dims
    if isinstance(input, EdgeIndex) and order in ((0,), (-2,)):
        return input.turned
    x = checked_rows(lowering, "flip", input)
    if any(dim % x.rank == 0 for dim in order):
        raise lowering.refuse_use("flip of the rows", "the order of rows is not known before the model runs")
    return linear_map(lowering, x, lambda rows: rows.flip(order), "flip")


@lowers_function("repeat")
def repeat(lowering: Lowering, input: Any, *sizes: Any) -> Rows:
    x = checked_rows(lowering, "repeat", input)
    counts = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
    if len(counts) != x.rank or counts[0] != 1:
        raise lowering.refuse_use(f"repeat{counts}", "rows can only be repeated in themselves: repeat(1, n, ...)")
    return linear_map(lowering, x, lambda rows: rows.repeat(counts), "repeat")


@lowers_function("expand")
def expand(lowering: Lowering, input: Any, *sizes: Any) -> Rows:
    x = checked_rows(lowering, "expand", input)
    wanted = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
    keeps = wanted[0] == -1 or (isinstance(wanted[0], Count) and wanted[0].domain is x.domain)
    if len(wanted) != x.rank or not keeps or any(isinstance(size, Symbol) for size in wanted[1:]):
        raise lowering.refuse_use("expand", "rows can only be expanded in themselves: expand(-1, n, ...)")
    return linear_map(lowering, x, lambda rows: rows.expand(-1, *wanted[1:]), "expand")


@lowers_function("expand_as", "view_as")
def expand_as(lowering: Lowering, input: Any, other: Any) -> Rows:
    return expand(lowering, input, -1, *checked_rows(lowering, "expand_as", other).tail)


# --- reductions -------------------------------------------------------------------------------------------------------


def _over_rows(lowering: Lowering, name: str, x: Rows, dim: Any, keepdim: bool, reduce: Reduce) -> Rows:
    """A reduction over the nodes of a single graph, as x.mean(dim=0, keepdim=True)."""
    if x.rank != 2 or dim not in (0, -2) or not keepdim or x.domain is not Domain.NODE:
        raise lowering.refuse_use(
            f"{name} with dim={dim}, keepdim={keepdim}",
            f"supported: {name}(dim=0, keepdim=True) of nodes, over dimensions of each row, or global pooling",
        )
    require_single_graph(lowering, name)
    return lowering.rows(Pool(reduce), x.value)


def _is_within_rows(x: Rows, dim: Any) -> bool:
    dims = dim if isinstance(dim, tuple | list) else (dim,)
    return bool(dims) and all(isinstance(d, int) and -x.rank <= d < x.rank and d % x.rank != 0 for d in dims)


def _combined(
    lowering: Lowering, name: str, stacked: Stacked, dim: Any, keepdim: bool, join: Callable[..., Rows]
) -> Rows:
    """A reduction of a stack over what was stacked."""
    if dim not in (0, -1 - stacked.parts[0].rank) or keepdim:
        raise lowering.refuse_use(f"{name} of a stack with dim={dim}", f"supported: torch.stack([...]).{name}(dim=0)")
    return reduce(partial(join, lowering), stacked.parts)


@lowers_function("mean")
def mean(lowering: Lowering, input: Any, dim: Any = None, keepdim: bool = False) -> Rows:
    if isinstance(input, Stacked):
        return _combined(lowering, "mean", input, dim, keepdim, add) * (1.0 / len(input.parts))
    x = checked_rows(lowering, "mean", input)
    if _is_within_rows(x, dim):
        return linear_map(lowering, x, lambda rows: rows.mean(dim, keepdim=keepdim), "mean")
    return _over_rows(lowering, "mean", x, dim, keepdim, Reduce.MEAN)


@lowers_function("sum")
def sum(lowering: Lowering, input: Any, dim: Any = None, keepdim: bool = False) -> Rows:
    if isinstance(input, Stacked):
        return _combined(lowering, "sum", input, dim, keepdim, add)
    x = checked_rows(lowering, "sum", input)
    if _is_within_rows(x, dim):
        return linear_map(lowering, x, lambda rows: rows.sum(dim, keepdim=keepdim), "sum")
    return _over_rows(lowering, "sum", x, dim, keepdim, Reduce.SUM)


def _extreme(lowering: Lowering, name: str, x: Rows, dim: Any, keepdim: bool) -> Rows:
    """The largest or smallest along one dimension of each row."""
    pieces = [
        linear_map(lowering, x, lambda rows, i=i: rows.narrow(dim, i, 1), name)  # type: ignore[misc]
        for i in range(x.shape[dim])
    ]
    best = pieces[0]
    for piece in pieces[1:]:
        best = (maximum if name == "max" else minimum)(lowering, best, piece)
    if keepdim:
        return best
    return linear_map(lowering, best, lambda rows: rows.squeeze(dim), name)


@lowers_function("amax")
def amax(lowering: Lowering, input: Any, dim: Any = (), keepdim: bool = False) -> Rows:
    x = checked_rows(lowering, "amax", input)
    if _is_within_rows(x, dim) and isinstance(dim, int):
        return _extreme(lowering, "max", x, dim, keepdim)
    return _over_rows(lowering, "amax", x, dim, keepdim, Reduce.MAX)


@lowers_function("max")
def max(lowering: Lowering, input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """torch.max(a, b), or the maximum over a dimension of each row or over all nodes of a single graph, and where it was."""
    other = dim if isinstance(dim, Rows) else other
    if other is not None:
        return binary(lowering, Maximum(), input, other)
    places = Refused(lowering, "the positions that max returns")
    if isinstance(input, Stacked):
        return _combined(lowering, "max", input, dim, keepdim, maximum), places
    x = checked_rows(lowering, "max", input)
    if _is_within_rows(x, dim):
        return _extreme(lowering, "max", x, dim, keepdim), places
    return _over_rows(lowering, "max", x, dim, keepdim, Reduce.MAX), places


@lowers_function("min")
def min(lowering: Lowering, input: Any, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """torch.min(a, b), or the minimum over a dimension of each row, and where it was."""
    other = dim if isinstance(dim, Rows) else other
    if other is not None:
        return minimum(lowering, input, other)
    places = Refused(lowering, "the positions that min returns")
    if isinstance(input, Stacked):
        return _combined(lowering, "min", input, dim, keepdim, minimum), places
    x = checked_rows(lowering, "min", input)
    if _is_within_rows(x, dim):
        return _extreme(lowering, "min", x, dim, keepdim), places
    return _over_rows(lowering, "min", x, dim, keepdim, Reduce.MIN), places


@lowers_function("var")
def var(
    lowering: Lowering,
    input: Any,
    dim: Any = None,
    unbiased: bool = True,
    keepdim: bool = False,
    correction: Any = None,
) -> Rows:
    """Variance over dimensions of each row."""
    x = checked_rows(lowering, "var", input)
    if not _is_within_rows(x, dim) or not isinstance(dim, int):
        raise lowering.refuse_use(f"var with dim={dim}", "supported: over one dimension of each row")
    count = x.shape[dim]
    centred = binary(lowering, Sub(), x, mean(lowering, x, dim, keepdim=True))
    total = sum(lowering, binary(lowering, Mul(), centred, centred), dim, keepdim)
    lost = correction if correction is not None else int(unbiased)
    return binary(lowering, Mul(), total, 1.0 / (count - lost))
