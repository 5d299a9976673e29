"""From real codes to codes while training: the integers go forward, the gradient of the real codes comes back."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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
            rounded: the same as integers, not cut yet.
        """
        low, high = (float(bound - out.zero_point) for bound in out.code_range)
        if relu:
            low = max(low, 0.0)
        rounded = rounded.to(smooth.dtype)
        codes = rounded.clamp(low, high)
        if not self.clips_gradient:
            low, high = (0.0 if relu else -math.inf), math.inf
        if self.observe is not None or self.protection is not None:
            real = smooth.detach().clamp(min=0) if relu else smooth.detach()
            if self.observe is not None:
                seen = real if self.protection is None else real.index_select(0, self.protection.others)
                self.observe(seen * out.scale[0])
            if self.protection is not None:
                rows = self.protection.rows
                kept = real.index_select(0, rows)
                codes.index_copy_(0, rows, kept)
                # 0 is in every range of codes, and -1 is not in that of a ReLU.
                rounded = rounded.index_copy(0, rows, (kept > 0).to(kept.dtype) - 1 if relu else torch.zeros_like(kept))
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
