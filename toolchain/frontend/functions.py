"""Elementwise torch functions and operators on symbols, and products with the model's weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from toolchain.errors import UnsupportedModule
from toolchain.frontend.dense import gelu_function
from toolchain.frontend.registry import lowers_function
from toolchain.frontend.symbols import Rows, Symbol
from toolchain.ir.ops import (
    Activation,
    Add,
    Div,
    Dropout,
    Function,
    LayerNorm,
    Linear,
    LogSoftmax,
    Maximum,
    Mul,
    Op,
    Sub,
)

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


def checked_rows(lowering: Lowering, name: str, x: Any, rank: int | None = None) -> Rows:
    """The argument of a function that takes a tensor of nodes, edges or graphs."""
    if not isinstance(x, Rows):
        kind = x.what if isinstance(x, Symbol) else type(x).__name__
        raise lowering.refuse_use(name, f"expected a tensor of nodes, edges or graphs, got {kind}")
    if rank is not None and x.rank != rank:
        raise lowering.refuse_use(name, f"expected {rank} dimensions, got {x.rank}")
    return x


# --- activations ------------------------------------------------------------------------------------------------------


def _activate(lowering: Lowering, x: Any, function: Function, inplace: bool, alpha: float = 0.01) -> Rows:
    x = checked_rows(lowering, function.value, x)
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
    x = checked_rows(lowering, name, input, rank=2)
    if dim not in (1, -1) or dtype not in (None, torch.float32):
        raise lowering.refuse_use(f"{name} with dim={dim}, dtype={dtype}", "only dim=-1 in float32 is supported")
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
        raise lowering.refuse_use(
            "F.dropout that is active in eval mode", "pass training=self.training, or use torch.nn.Dropout"
        )
    x = checked_rows(lowering, "dropout", input)
    value = lowering.add(Dropout(float(p)), x.value)
    return x.move_to(value) if inplace else Rows(lowering, value, x.rank)


# --- arithmetic -------------------------------------------------------------------------------------------------------


def _binary(lowering: Lowering, op: Op, a: Any, b: Any) -> Rows:
    """Elementwise on two tensors of one domain and rank, or a tensor and a constant."""
    name = type(op).__name__.lower()
    symbols = [side for side in (a, b) if isinstance(side, Symbol)]
    rows = [checked_rows(lowering, name, side) for side in symbols]
    rank = rows[0].rank
    if any(side.rank != rank for side in rows):
        raise lowering.refuse_use(name, "operands have one and two dimensions; make a column with .view(-1, 1)")
    if rank == 1 and any(isinstance(side, torch.Tensor) and side.numel() != 1 for side in (a, b)):
        raise lowering.refuse_use(name, "a one-dimensional tensor meets a constant of several elements")
    return Rows(lowering, lowering.add(op, _operand(lowering, name, a), _operand(lowering, name, b)), rank)


def _operand(lowering: Lowering, name: str, side: Any) -> int:
    if isinstance(side, Rows):
        return side.value
    if isinstance(side, torch.Tensor) and side.is_floating_point():
        leading, channels = tuple(side.shape[:-1]), tuple(side.shape[-1:]) or (1,)
        if all(size == 1 for size in leading) and len(leading) <= 1:
            return lowering.constant(side, shape=channels)
    if isinstance(side, torch.Tensor) and side.dim() == 0 and side.dtype is not torch.bool:
        return lowering.number(float(side))
    if isinstance(side, int | float | np.number) and not isinstance(side, bool):
        return lowering.number(float(side))
    raise _constant_error(lowering, name, side)


def _constant_error(lowering: Lowering, name: str, side: Any) -> UnsupportedModule:
    is_tensor = isinstance(side, torch.Tensor)
    kind = f"a tensor of shape {list(side.shape)} and {side.dtype}" if is_tensor else type(side).__name__
    return lowering.refuse_use(f"{name} with {kind}", "expected a number or one float value per channel")


@lowers_function("add")
def add(lowering: Lowering, input: Any, other: Any, alpha: float = 1) -> Rows:
    if isinstance(input, int | float) and input == 0:  # the start of sum([...])
        return checked_rows(lowering, "add", other)
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
        raise lowering.refuse_use(f"pow with exponent {exponent}", "only squares are supported")
    return _binary(lowering, Mul(), input, input)


@lowers_function("maximum")
def maximum(lowering: Lowering, input: Any, other: Any) -> Rows:
    return _binary(lowering, Maximum(), input, other)


# --- matrix products and norms ----------------------------------------------------------------------------------------


@lowers_function("linear")
def linear(lowering: Lowering, input: Any, weight: Any, bias: Any = None) -> Rows:
    """F.linear with weights of the model."""
    operands = [checked_rows(lowering, "linear", input, rank=2).value]
    for tensor, rank in ((weight, 2), (bias, 1)):
        if tensor is None and rank == 1:
            continue
        if not isinstance(tensor, torch.Tensor) or tensor.dim() != rank:
            raise lowering.refuse_use("linear", "its weight [out, in] and bias [out] must be parameters of the model")
        operands.append(lowering.constant(tensor))
    return lowering.rows(Linear(), *operands)


@lowers_function("matmul", "mm")
def matmul(lowering: Lowering, input: Any, other: Any) -> Rows:
    """x @ W with a two-dimensional weight of the model, stored transposed."""
    if not isinstance(other, torch.Tensor) or other.dim() != 2:
        raise lowering.refuse_use("matmul", "only x @ weight with a matrix of the model is supported")
    x = checked_rows(lowering, "matmul", input, rank=2)
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
    x = checked_rows(lowering, "layer_norm", input, rank=2)
    if tuple(normalized_shape) != (x.channels,):
        raise lowering.refuse_use("layer_norm", f"normalized_shape must be the {x.channels} channels of one row")
    weight = (
        lowering.constant(torch.ones(x.channels), derived="weight") if weight is None else lowering.constant(weight)
    )
    bias = lowering.constant(torch.zeros(x.channels), derived="bias") if bias is None else lowering.constant(bias)
    return lowering.rows(LayerNorm(float(eps)), x.value, weight, bias)
