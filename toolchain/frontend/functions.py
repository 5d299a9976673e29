"""Torch functions, tensor methods and operators that a model's own code may use on symbols."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce as fold
from typing import TYPE_CHECKING, Any

import torch

from toolchain.frontend.dense import gelu_function
from toolchain.frontend.pools import require_single_graph
from toolchain.frontend.registry import lowers_function
from toolchain.frontend.symbols import Count, EdgeEnd, EdgeIndex, GraphIndex, Rows, Symbol
from toolchain.ir.ops import (
    Activation,
    Add,
    Broadcast,
    Concat,
    Div,
    Dropout,
    End,
    Function,
    Gather,
    LayerNorm,
    Linear,
    LogSoftmax,
    Maximum,
    Mul,
    Op,
    Pool,
    Reduce,
    Slice,
    Sub,
)
from toolchain.ir.types import Domain

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


def _rows(lowering: Lowering, name: str, x: Any, rank: int | None = None) -> Rows:
    """The argument of a function that takes a tensor of nodes, edges or graphs."""
    if not isinstance(x, Rows):
        kind = x.what if isinstance(x, Symbol) else type(x).__name__
        lowering.refuse_use(name, f"expected a tensor of nodes, edges or graphs, got {kind}")
    if rank is not None and x.rank != rank:
        lowering.refuse_use(name, f"expected {rank} dimensions, got {x.rank}")
    return x


# --- activations ------------------------------------------------------------------------------------------------------


def _activate(lowering: Lowering, x: Any, function: Function, inplace: bool, alpha: float = Activation.alpha) -> Rows:
    x = _rows(lowering, function.value, x)
    value = lowering.add(Activation(function, alpha), x.value)
    return x.move_to(value) if inplace else Rows(lowering, value, x.rank)


@lowers_function("relu")
def relu(lowering: Lowering, input: Any, inplace: bool = False) -> Rows:
    return _activate(lowering, input, Function.RELU, inplace)


@lowers_function("leaky_relu")
def leaky_relu(lowering: Lowering, input: Any, negative_slope: float = 0.01, inplace: bool = False) -> Rows:
    return _activate(lowering, input, Function.LEAKY_RELU, inplace, float(negative_slope))


@lowers_function("elu")
def elu(lowering: Lowering, input: Any, alpha: float = 1.0, inplace: bool = False) -> Rows:
    return _activate(lowering, input, Function.ELU, inplace, float(alpha))


@lowers_function("gelu")
def gelu(lowering: Lowering, input: Any, approximate: str = "none") -> Rows:
    return _activate(lowering, input, gelu_function(approximate), False)


@lowers_function("sigmoid")
def sigmoid(lowering: Lowering, input: Any) -> Rows:
    return _activate(lowering, input, Function.SIGMOID, False)


@lowers_function("tanh")
def tanh(lowering: Lowering, input: Any) -> Rows:
    return _activate(lowering, input, Function.TANH, False)


def _softmax(lowering: Lowering, name: str, input: Any, dim: int | None, dtype: Any, log: bool) -> Rows:
    x = _rows(lowering, name, input, rank=2)
    if dim not in (1, -1) or dtype not in (None, torch.float32):
        lowering.refuse_use(f"{name} with dim={dim}, dtype={dtype}", "only dim=-1 in float32 is supported")
    return lowering.rows(LogSoftmax(log), x.value)


@lowers_function("softmax")
def softmax(lowering: Lowering, input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Rows:
    return _softmax(lowering, "softmax", input, dim, dtype, log=False)


@lowers_function("log_softmax")
def log_softmax(
    lowering: Lowering, input: Any, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Rows:
    return _softmax(lowering, "log_softmax", input, dim, dtype, log=True)


@lowers_function("dropout")
def dropout(lowering: Lowering, input: Any, p: float = 0.5, training: bool = True, inplace: bool = False) -> Rows:
    """Dropout of a model in eval mode; without training=self.training it would drop at inference as well."""
    if training and p > 0:
        lowering.refuse_use(
            "F.dropout that is active in eval mode", "pass training=self.training, or use torch.nn.Dropout"
        )
    x = _rows(lowering, "dropout", input)
    value = lowering.add(Dropout(float(p)), x.value)
    return x.move_to(value) if inplace else Rows(lowering, value, x.rank)


# --- arithmetic -------------------------------------------------------------------------------------------------------


def _binary(lowering: Lowering, op: Op, a: Any, b: Any) -> Rows:
    """Elementwise on two tensors of one domain and rank, or a tensor and a constant."""
    name = type(op).__name__.lower()
    symbols = [side for side in (a, b) if isinstance(side, Symbol)]
    rows = [_rows(lowering, name, side) for side in symbols]
    rank = rows[0].rank
    if any(side.rank != rank for side in rows):
        lowering.refuse_use(name, "operands have one and two dimensions; make the first a column with .view(-1, 1)")
    if rank == 1 and any(isinstance(side, torch.Tensor) and side.numel() != 1 for side in (a, b)):
        lowering.refuse_use(name, "a one-dimensional tensor meets a constant of several elements")
    return Rows(lowering, lowering.add(op, _operand(lowering, name, a), _operand(lowering, name, b)), rank)


def _operand(lowering: Lowering, name: str, side: Any) -> int:
    if isinstance(side, Rows):
        return side.value
    if isinstance(side, torch.Tensor) and side.is_floating_point():
        leading, channels = tuple(side.shape[:-1]), tuple(side.shape[-1:]) or (1,)
        if all(size == 1 for size in leading) and len(leading) <= 1:
            return lowering.constant(side, shape=channels)
    if isinstance(side, int | float) and not isinstance(side, bool):
        return lowering.number(float(side))
    return _refuse_constant(lowering, name, side)


def _refuse_constant(lowering: Lowering, name: str, side: Any) -> int:
    kind = (
        f"a tensor of shape {list(side.shape)} and {side.dtype}"
        if isinstance(side, torch.Tensor)
        else type(side).__name__
    )
    lowering.refuse_use(f"{name} with {kind}", "expected a number or one float value per channel")


@lowers_function("add")
def add(lowering: Lowering, input: Any, other: Any, alpha: float = 1) -> Rows:
    if isinstance(input, int | float) and input == 0:  # the start of sum([...])
        return _rows(lowering, "add", other)
    if alpha != 1:
        other = _binary(lowering, Mul(), other, alpha)
    return _binary(lowering, Add(), input, other)


@lowers_function("sub", "subtract")
def sub(lowering: Lowering, input: Any, other: Any) -> Rows:
    return _binary(lowering, Sub(), input, other)


@lowers_function("mul", "multiply")
def mul(lowering: Lowering, input: Any, other: Any) -> Rows:
    return _binary(lowering, Mul(), input, other)


@lowers_function("div", "divide", "true_divide", "truediv")
def div(lowering: Lowering, input: Any, other: Any) -> Rows:
    return _binary(lowering, Div(), input, other)


@lowers_function("rsub")
def rsub(lowering: Lowering, input: Any, other: Any) -> Rows:
    return _binary(lowering, Sub(), other, input)


@lowers_function("rdiv", "rtruediv")
def rdiv(lowering: Lowering, input: Any, other: Any) -> Rows:
    return _binary(lowering, Div(), other, input)


@lowers_function("neg")
def neg(lowering: Lowering, input: Any) -> Rows:
    return _binary(lowering, Mul(), input, -1.0)


@lowers_function("pow", "square")
def pow(lowering: Lowering, input: Any, exponent: float = 2) -> Rows:
    if exponent != 2 or not isinstance(input, Rows):
        lowering.refuse_use(f"pow with exponent {exponent}", "only squares are supported")
    return _binary(lowering, Mul(), input, input)


@lowers_function("maximum")
def maximum(lowering: Lowering, input: Any, other: Any) -> Rows:
    return _binary(lowering, Maximum(), input, other)


# --- matrix products and norms ----------------------------------------------------------------------------------------


@lowers_function("linear")
def linear(lowering: Lowering, input: Any, weight: Any, bias: Any = None) -> Rows:
    """F.linear with weights of the model."""
    operands = [_rows(lowering, "linear", input, rank=2).value]
    for tensor, rank in ((weight, 2), (bias, 1)):
        if tensor is None and rank == 1:
            continue
        if not isinstance(tensor, torch.Tensor) or tensor.dim() != rank:
            lowering.refuse_use("linear", "its weight [out, in] and bias [out] must be parameters of the model")
        operands.append(lowering.constant(tensor))
    return lowering.rows(Linear(), *operands)


@lowers_function("matmul", "mm")
def matmul(lowering: Lowering, input: Any, other: Any) -> Rows:
    """x @ W with a two-dimensional weight of the model, stored transposed."""
    if not isinstance(other, torch.Tensor) or other.dim() != 2:
        lowering.refuse_use("matmul", "only x @ weight with a two-dimensional parameter of the model is supported")
    x = _rows(lowering, "matmul", input, rank=2)
    return lowering.rows(Linear(), x.value, lowering.transposed(other))


@lowers_function("layer_norm")
def layer_norm(
    lowering: Lowering,
    input: Any,
    normalized_shape: Sequence[int],
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Rows:
    x = _rows(lowering, "layer_norm", input, rank=2)
    if tuple(normalized_shape) != (x.channels,):
        lowering.refuse_use("layer_norm", f"normalized_shape must be the {x.channels} channels of one row")
    weight = (
        lowering.constant(torch.ones(x.channels), derived="weight") if weight is None else lowering.constant(weight)
    )
    bias = lowering.constant(torch.zeros(x.channels), derived="bias") if bias is None else lowering.constant(bias)
    return lowering.rows(LayerNorm(float(eps)), x.value, weight, bias)


# --- selecting and joining --------------------------------------------------------------------------------------------


@lowers_function("cat", "concat", "concatenate")
def cat(lowering: Lowering, tensors: Any, dim: int = 0) -> Rows:
    """Join along channels."""
    rows = [_rows(lowering, "cat", x, rank=2) for x in tensors]
    if dim not in (1, -1):
        lowering.refuse_use(f"cat with dim={dim}", "only channels can be joined (dim=-1)")
    return rows[0] if len(rows) == 1 else lowering.rows(Concat(), *(x.value for x in rows))


@lowers_function("index_select")
def index_select(lowering: Lowering, input: Any, dim: int, index: Any) -> Rows:
    x = _rows(lowering, "index_select", input)
    if dim not in (0, -x.rank):
        lowering.refuse_use(f"index_select with dim={dim}", "only rows can be selected (dim=0)")
    return _take(lowering, "index_select", x, index)


@lowers_function("getitem")
def getitem(lowering: Lowering, input: Any, index: Any) -> Any:
    """edge_index[0], x[row], x[batch], x[:, start:stop]."""
    if isinstance(input, EdgeIndex) and index in (0, 1, -1, -2):
        return EdgeEnd(lowering, End.SOURCE if index in (0, -2) else End.TARGET)
    x = _rows(lowering, "indexing", input)
    if isinstance(index, Symbol):
        return _take(lowering, "indexing", x, index)
    if x.rank == 2 and isinstance(index, tuple) and len(index) == 2 and index[0] in (slice(None), ...):
        return _channels(lowering, x, index[1])
    lowering.refuse_use(
        f"indexing with {index!r}", "supported: edge_index[0], x[edge_index[0]], x[batch], x[:, start:stop]"
    )


def _take(lowering: Lowering, name: str, x: Rows, index: Any) -> Rows:
    """Rows by index: node values at an end of each edge, or graph values at each node."""
    if isinstance(index, EdgeEnd):
        return Rows(lowering, lowering.add(Gather(lowering.edges(), index.end), x.value), x.rank)
    if isinstance(index, GraphIndex):
        return Rows(lowering, lowering.add(Broadcast(), x.value), x.rank)
    lowering.refuse_use(name, "rows are selected by edge_index[0], edge_index[1] or batch, unchanged")


def _channels(lowering: Lowering, x: Rows, index: Any) -> Rows:
    if isinstance(index, int) and not isinstance(index, bool) and -x.channels <= index < x.channels:
        start = index % x.channels
        return Rows(lowering, lowering.add(Slice(start, start + 1), x.value), rank=1)
    if isinstance(index, slice):
        start, stop, step = index.indices(x.channels)
        if step == 1 and start < stop:
            return x if (start, stop) == (0, x.channels) else lowering.rows(Slice(start, stop), x.value)
    lowering.refuse_use(f"channels {index!r}", "supported: x[:, i] and x[:, start:stop]")


@lowers_function("chunk")
def chunk(lowering: Lowering, input: Any, chunks: int, dim: int = 0) -> tuple[Rows, ...]:
    x = _rows(lowering, "chunk", input, rank=2)
    return split(lowering, x, -(-x.channels // chunks), dim)


@lowers_function("split")
def split(
    lowering: Lowering, tensor: Any, split_size_or_sections: int | Sequence[int], dim: int = 0
) -> tuple[Rows, ...]:
    """Cut the channels into pieces."""
    x = _rows(lowering, "split", tensor, rank=2)
    if dim not in (1, -1):
        lowering.refuse_use(f"split with dim={dim}", "only channels can be split (dim=-1)")
    if isinstance(split_size_or_sections, int):
        starts = list(range(0, x.channels, split_size_or_sections))
        bounds = list(zip(starts, [*starts[1:], x.channels], strict=True))
    else:
        ends = list(fold(lambda done, size: [*done, (done[-1] if done else 0) + size], split_size_or_sections, []))
        bounds = list(zip([0, *ends[:-1]], ends, strict=True))
    return tuple(_channels(lowering, x, slice(start, stop)) for start, stop in bounds)


# --- shapes -----------------------------------------------------------------------------------------------------------


@lowers_function("view", "reshape")
def view(lowering: Lowering, input: Any, *shape: Any) -> Rows:
    """[rows, 1] to [rows] and back, or the shape that is already there."""
    x = _rows(lowering, "view", input)
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    is_rows = [isinstance(s, Count) and s.domain is x.domain for s in sizes]
    sizes = tuple(-1 if known else size for known, size in zip(is_rows, sizes, strict=True))
    if any(isinstance(size, Symbol) for size in sizes):
        lowering.refuse_use("view", "its sizes must be numbers or the number of rows of the tensor")
    if sizes == (-1,) and x.channels == 1:
        return Rows(lowering, x.value, rank=1)
    if sizes == (-1, x.channels) or (sizes == (-1, -1) and is_rows[0] and x.channels == 1):
        return Rows(lowering, x.value, rank=2)
    lowering.refuse_use(f"view to {sizes}", f"a tensor of {x.channels} channels can only become [-1, {x.channels}]")


@lowers_function("squeeze")
def squeeze(lowering: Lowering, input: Any, dim: int | None = None) -> Rows:
    x = _rows(lowering, "squeeze", input, rank=2)
    if dim not in (1, -1):
        lowering.refuse_use("squeeze without dim=-1", "it would also drop a dimension of one row. Use squeeze(-1)")
    return Rows(lowering, x.value, rank=1) if x.channels == 1 else x


@lowers_function("unsqueeze")
def unsqueeze(lowering: Lowering, input: Any, dim: int) -> Rows:
    x = _rows(lowering, "unsqueeze", input, rank=1)
    if dim not in (1, -1):
        lowering.refuse_use(f"unsqueeze with dim={dim}", "only a column can be made (dim=-1)")
    return Rows(lowering, x.value, rank=2)


@lowers_function("contiguous", "clone", "detach", "float", "cpu")
def unchanged(lowering: Lowering, input: Any) -> Any:
    """What does not change values; a new tensor all the same, so that in-place operations on it stay apart."""
    return Rows(lowering, input.value, input.rank) if isinstance(input, Rows) else input


@lowers_function("long")
def long(lowering: Lowering, input: Any) -> Any:
    if isinstance(input, Rows):
        lowering.refuse_use("rounding to integers", "values are float32")
    return input


@lowers_function("to")
def to(lowering: Lowering, input: Any, target: Any) -> Any:
    """Moves to the CPU or to float32; nothing to do."""
    if target not in (torch.float32, torch.device("cpu"), "cpu"):
        lowering.refuse_use(f"to({target})", "everything is lowered in float32 on the CPU")
    return input


@lowers_function("numel")
def numel(lowering: Lowering, input: Any) -> Any:
    lowering.refuse_use("numel", "the number of rows is only known when the model runs")


# --- reductions over all rows -----------------------------------------------------------------------------------------


def _over_rows(lowering: Lowering, name: str, input: Any, dim: Any, keepdim: bool, reduce: Reduce) -> Rows:
    """A reduction over the nodes of a single graph, as x.mean(dim=0, keepdim=True)."""
    x = _rows(lowering, name, input, rank=2)
    if dim not in (0, -2) or not keepdim or x.domain is not Domain.NODE:
        lowering.refuse_use(
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
def max(lowering: Lowering, input: Any, other: Any = None) -> Rows:
    """torch.max(a, b)."""
    if not isinstance(other, Rows):
        lowering.refuse_use("max", "supported: torch.max(a, b), amax(dim=0, keepdim=True), global_max_pool")
    return maximum(lowering, input, other)
