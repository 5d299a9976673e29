"""Activations and elementwise arithmetic on symbols."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from toolchain.errors import UnsupportedModule
from toolchain.frontend.dense import gelu_function
from toolchain.frontend.layouts import common_tail, constant_channels, constant_tail, expanded
from toolchain.frontend.registry import lowers_function
from toolchain.frontend.symbols import Rows, Symbol, is_constant
from toolchain.ir.ops import (
    Activation,
    Add,
    Div,
    Dropout,
    Function,
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
    return x.move_to(value) if inplace else x.like(value)


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
    return x.move_to(value) if inplace else x.like(value)


# --- arithmetic -------------------------------------------------------------------------------------------------------


def binary(lowering: Lowering, op: Op, a: Any, b: Any) -> Rows:
    """Elementwise on two tensors of one domain and rank, or a tensor and a constant; rows broadcast as in torch."""
    name = type(op).__name__.lower()
    symbols = [side for side in (a, b) if isinstance(side, Symbol)]
    rows = [checked_rows(lowering, name, side) for side in symbols]
    rank = rows[0].rank
    if any(side.rank != rank for side in rows):
        raise lowering.refuse_use(name, "operands have one and two dimensions; make a column with .view(-1, 1)")
    if rank == 1 and any(is_constant(side) and side.numel() != 1 for side in (a, b)):
        raise lowering.refuse_use(name, "a one-dimensional tensor meets a constant of several elements")
    constants = [_constant(lowering, name, side) for side in (a, b) if not isinstance(side, Symbol)]
    tails = [side.tail for side in rows]
    tails += [constant_tail(lowering, name, side, rank) for side in constants if isinstance(side, torch.Tensor)]
    tail = common_tail(lowering, name, *tails)
    sides = [_operand(lowering, side, tail) for side in (a, b)]
    return Rows(lowering, lowering.add(op, *sides), tail=tail)


def _operand(lowering: Lowering, side: Any, tail: tuple[int, ...]) -> int:
    if isinstance(side, Rows):
        return side.value if side.channels == 1 else expanded(lowering, side, tail).value
    if isinstance(side, torch.Tensor) and side.is_floating_point():
        return constant_channels(lowering, side, tail)
    return lowering.number(float(side))


def _constant(lowering: Lowering, name: str, side: Any) -> Any:
    """A constant operand as a float tensor or a number."""
    if isinstance(side, torch.Tensor) and side.is_floating_point():
        return side if side.dim() else float(side) if not isinstance(side, torch.nn.Parameter) else side
    if isinstance(side, torch.Tensor) and side.dim() == 0 and side.dtype is not torch.bool:
        return float(side)
    if isinstance(side, int | float | np.number) and not isinstance(side, bool):
        return float(side)
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
        other = binary(lowering, Mul(), other, alpha)
    return binary(lowering, Add(), input, other)


@lowers_function("sub", "subtract")
def sub(lowering: Lowering, input: Any, other: Any) -> Rows:
    return binary(lowering, Sub(), input, other)


@lowers_function("mul", "multiply")
def mul(lowering: Lowering, input: Any, other: Any) -> Rows:
    return binary(lowering, Mul(), input, other)


@lowers_function("div", "divide", "true_divide", "truediv")
def div(lowering: Lowering, input: Any, other: Any) -> Rows:
    return binary(lowering, Div(), input, other)


@lowers_function("rsub")
def rsub(lowering: Lowering, input: Any, other: Any) -> Rows:
    return binary(lowering, Sub(), other, input)


@lowers_function("rdiv", "rtruediv")
def rdiv(lowering: Lowering, input: Any, other: Any) -> Rows:
    return binary(lowering, Div(), other, input)


@lowers_function("reciprocal")
def reciprocal(lowering: Lowering, input: Any) -> Rows:
    return binary(lowering, Div(), 1.0, input)


@lowers_function("neg", "negative")
def neg(lowering: Lowering, input: Any) -> Rows:
    return binary(lowering, Mul(), input, -1.0)


@lowers_function("maximum")
def maximum(lowering: Lowering, input: Any, other: Any) -> Rows:
    return binary(lowering, Maximum(), input, other)


@lowers_function("minimum")
def minimum(lowering: Lowering, input: Any, other: Any) -> Rows:
    """-max(-a, -b)."""
    sides = [neg(lowering, side) if isinstance(side, Rows) else -side for side in (input, other)]
    return neg(lowering, binary(lowering, Maximum(), *sides))
