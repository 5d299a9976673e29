"""From real codes to codes while training: the integers go forward, the gradient of the real codes comes back."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolchain.ir import QParams


@dataclass(frozen=True, slots=True, eq=False)
class Rounding:
    """How the results of one value become codes while training.

    Attributes:
        step: the scale, where it learns.
        clips_gradient: no gradient where the code is cut to its range; else the gradient passes (but never through a ReLU).
        protection: the rows that stay real numbers.
        keeps_fractions: some rows of this forward pass are real numbers, so sums may be.
        observe: called with the real values of the other rows before rounding and cutting, [rows, C].
    """

    step: Tensor | None = None
    clips_gradient: bool = True
    protection: Protection | None = None
    keeps_fractions: bool = False
    observe: Callable[[Tensor], None] | None = None

    def settle(self, smooth: Tensor, rounded: Tensor, out: QParams, *, relu: bool = False) -> Tensor:
        """Codes minus zero point.

        Args:
            smooth: real codes [rows, C], differentiable, before a fused ReLU.
            rounded: the same as integers, not cut yet; may be overwritten.
        """
        low, high = (float(bound - out.zero_point) for bound in out.code_range)
        if relu:
            low = max(low, 0.0)
        rounded = rounded.to(smooth.dtype)
        codes = rounded.clamp(low, high)
        if not self.clips_gradient:
            low, high = (0.0 if relu else -math.inf), math.inf
        real = smooth.detach()
        if self.observe is not None:
            seen = (real if self.protection is None else real.index_select(0, self.protection.others)) * out.scale[0]
            self.observe(seen.clamp_(min=0) if relu else seen)
        if self.protection is not None:
            rows = self.protection.rows
            kept = real.index_select(0, rows)
            if relu:
                kept.clamp_(min=0)
            codes.index_copy_(0, rows, kept)
            # 0 is in every range of codes, and -1 is not in that of a ReLU.
            rounded.index_copy_(0, rows, (kept > 0).to(kept.dtype) - 1 if relu else torch.zeros_like(kept))
        result: Tensor = _Settle.apply(smooth, codes, rounded, low, high)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Protection:
    """The numbers of the rows that stay real numbers, and of all others."""

    rows: Tensor
    others: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Protection:
        """Of a mask [N, 1]."""
        return cls(rows[:, 0].nonzero()[:, 0], (~rows[:, 0]).nonzero()[:, 0])


def straight_through(smooth: Tensor, exact: Tensor) -> Tensor:
    """The value of `exact` with the gradient of `smooth`, of the same shape."""
    result: Tensor = _StraightThrough.apply(smooth, exact)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return result


def exact_dtype(bound: float) -> torch.dtype:
    """The cheapest float dtype in which sums of integers that stay below a bound are exact in any order."""
    return torch.float32 if bound < 2**24 else torch.float64


def scaled_down(total: Tensor, m: Tensor, added: Tensor, s: Tensor, *, fraction_bits: int | None = None) -> Tensor:
    """(total m + added) >> s, exactly, as float32: beyond 2^24 rounded, where every range of codes has ended.

    Sums of int32 are exact. Beyond them lie sums that protected nodes join with codes of no range: those are near, and never wrap.

    Args:
        total: [rows, C] holding integers, float32 or float64.
        m, added, s: int64, of shapes that broadcast to it.
        fraction_bits: `total` holds any numbers, which are rounded to so many bits of fraction.
    """
    bits = fraction_bits or 0
    s, added, one = s + bits, added << bits, 2.0**bits
    largest = max(map(abs, map(float, torch.aminmax(total)))) if total.numel() else 0.0
    reach = math.ceil(largest * one) * int(m.max()) + int(added.abs().max())
    if reach >= 2**53:
        whole = total if fraction_bits is None else (total * one).round_()
        exact = ((whole.long() * m + added) >> s).float()
        if reach < 2**63:
            return exact
    # All of it, divided by 2^s, is a number of float64, whose products and sums are several times as fast as int64's.
    unit = torch.from_numpy(np.ldexp(1.0, -s.numpy()))
    factor, offset, near = m * unit, added * unit, torch.empty(total.shape)
    for rows in cached_blocks(*total.shape):
        block = total[rows].double()
        if fraction_bits is not None:
            block = (block * one).round_()
        near[rows] = torch.mul(block, _of_rows(factor, rows)).add_(_of_rows(offset, rows)).floor_()
    return near if reach < 2**53 else torch.where(whole.abs().double() * m < 2**62, exact, near)


CACHED = 2**15  # float64 numbers, which a core's own cache holds several times


def cached_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Rows that stay in the cache from one pass over them to the next."""
    size = max(1, CACHED // max(1, columns))
    return (slice(start, start + size) for start in range(0, rows, size))


def _of_rows(operand: Tensor, rows: slice) -> Tensor:
    """Those of an operand [rows, C] or [rows, 1]; one of [C] or [1] is the same for all."""
    return operand[rows] if operand.ndim > 1 else operand


class _Settle(torch.autograd.Function):
    """The codes in the forward pass; backward the gradient of the real codes, where the rounded ones are in [low, high]."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, codes: Tensor, rounded: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(rounded)
        ctx.low, ctx.high = low, high
        return codes.view_as(codes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        if math.isinf(ctx.low) and math.isinf(ctx.high):
            return gradients[0], None, None, None, None
        (rounded,) = ctx.saved_tensors
        # The gradient of a clamp: several times as fast as a product with a mask of booleans.
        inside = torch.ops.aten.hardtanh_backward(gradients[0], rounded, ctx.low - 0.5, ctx.high + 0.5)
        return inside, None, None, None, None


class _StraightThrough(torch.autograd.Function):
    """The value of `exact` with the gradient of `smooth`."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: Tensor) -> Tensor:
        return exact.view_as(exact)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
