"""What happens within a row: any linear function of its channels as one op, and broadcasting of layouts.

A row with the layout (H, C) is H * C channels of the IR. Reshaping costs nothing. Whatever else is linear in a row (sums
over an axis, transposition, repetition, products with weights) is the matrix that it makes of unit rows.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from toolchain.frontend.symbols import Rows
from toolchain.ir.ops import HeadDot, HeadMean, Linear, Mul, Slice

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


def linear_map(lowering: Lowering, x: Rows, function: Callable[[Tensor], Tensor], name: str) -> Rows:
    """Apply a torch function that is linear in each row, and treats all rows alike.

    Args:
        function: from [rows, *x.tail] to [rows, ...]; called with the unit rows and a row of zeros.
        name: what the function is called in messages.

    Raises:
        UnsupportedModule: the function changes the rows.
    """
    rows = torch.cat([torch.eye(x.channels), torch.zeros(1, x.channels)]).view(-1, *x.tail)
    try:
        made = function(rows)
    except (RuntimeError, IndexError) as error:
        raise lowering.refuse_use(f"{name} of {x.what} with rows of {list(x.tail)}", str(error)) from error
    if made.dim() < 1 or made.shape[0] != rows.shape[0]:
        raise lowering.refuse_use(f"{name} of {x.what}", "it must keep the rows (dimension 0) as they are")
    tail = tuple(made.shape[1:])
    matrix = made.reshape(rows.shape[0], -1)[:-1].T.contiguous().numpy()  # [out, in]
    return Rows(lowering, _product(lowering, x.value, matrix), tail=tail)


def _product(lowering: Lowering, x: int, matrix: np.ndarray) -> int:
    """x times a matrix [out, in], as the cheapest op that computes it."""
    outputs, inputs = matrix.shape
    if outputs == inputs and (matrix == np.eye(inputs)).all():
        return x
    start = int(matrix[0].argmax())
    if start + outputs <= inputs and (matrix == np.eye(inputs)[start : start + outputs]).all():
        return lowering.add(Slice(start, start + outputs), x)
    if inputs % outputs == 0:
        width = inputs // outputs
        if (matrix == np.kron(np.eye(outputs), np.ones((1, width)))).all():  # sums of neighbouring channels
            return lowering.add(HeadDot(), x, lowering.table(np.ones((outputs, width), np.float32), "ones"))
        if (matrix == matrix[0, 0] * np.kron(np.ones((1, width)), np.eye(outputs))).all():  # sums over heads
            mean = lowering.add(HeadMean(width), x)
            factor = float(matrix[0, 0]) * width
            return mean if abs(factor - 1) < 1e-6 else lowering.add(Mul(), mean, lowering.number(factor))
    return lowering.add(Linear(), x, lowering.table(matrix, "map"))


def expanded(lowering: Lowering, x: Rows, tail: tuple[int, ...]) -> Rows:
    """x with its rows broadcast to a layout, as torch broadcasts from the right."""
    if x.tail == tail:
        return x
    wide = linear_map(lowering, x, lambda rows: rows.expand(rows.shape[0], *tail), "expand")
    if len(tail) == 2 and x.tail == (tail[0], 1):
        lowering.spread_heads[wide.value] = x.value
    return wide


def common_tail(lowering: Lowering, name: str, *tails: tuple[int, ...]) -> tuple[int, ...]:
    """The layout that layouts broadcast to."""
    try:
        return tuple(np.broadcast_shapes(*tails))
    except ValueError as error:
        shapes = " and ".join(str(list(tail)) for tail in tails)
        raise lowering.refuse_use(name, f"rows of {shapes} do not broadcast") from error


def constant_tail(lowering: Lowering, name: str, constant: Tensor, rank: int) -> tuple[int, ...]:
    """The layout of a constant that meets rows of `rank` dimensions: its shape without the dimension of the rows."""
    shape = tuple(constant.shape)
    if len(shape) > rank or (len(shape) == rank and shape[0] != 1):
        raise lowering.refuse_use(
            f"{name} with a tensor of shape {list(shape)}", "a constant must be the same for every row"
        )
    shape = shape[1:] if len(shape) == rank else shape
    return shape if shape else (1,) * (rank > 1)


def constant_channels(lowering: Lowering, constant: Tensor, tail: tuple[int, ...]) -> int:
    """A constant laid out as rows of a layout; one number stays one number, and a parameter that fits stays trainable."""
    if constant.numel() == 1:
        return lowering.constant(constant, shape=(1,))
    if constant.numel() == prod(tail):
        return lowering.constant(constant, shape=(prod(tail),))
    wide = constant.detach().reshape(tuple(constant.shape)[-len(tail) :]).expand(tail)
    return lowering.table(wide.reshape(-1).to(torch.float32).numpy(), "constant")
