"""From real codes to codes while training: the integers go forward, the gradient of the real codes comes back."""

from __future__ import annotations

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
        low, high = (bound - out.zero_point for bound in out.code_range)
        codes = rounded.clamp(max(low, 0) if relu else low, high)
        inside: Tensor | None = None
        if self.clips_gradient:
            inside = codes == rounded
        elif relu:
            inside = rounded >= 0
        if self.observe is not None or self.protection is not None:
            real = smooth.detach().clamp(min=0) if relu else smooth.detach()
            if self.observe is not None:
                seen = real if self.protection is None else real.index_select(0, self.protection.others)
                self.observe(seen * out.scale[0])
            if self.protection is not None:
                rows = self.protection.rows
                codes = torch.where(rows, real, codes.to(real.dtype))
                if inside is not None:
                    inside = torch.where(rows, real > 0, inside) if relu else inside | rows
        result: Tensor = _Settle.apply(smooth, codes, inside)  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return result


@dataclass(frozen=True, slots=True, eq=False)
class Protection:
    """Rows that stay real numbers: `rows` [N, 1] bool; `others` are the numbers of all other rows."""

    rows: Tensor
    others: Tensor

    @classmethod
    def of(cls, rows: Tensor) -> Protection:
        return cls(rows, (~rows[:, 0]).nonzero()[:, 0])


def straight_through(smooth: Tensor, exact: Tensor) -> Tensor:
    """The value of `exact` with the gradient of `smooth`, of the same shape and dtype."""
    result: Tensor = _StraightThrough.apply(smooth, exact)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return result


def exact_dtype(bound: float) -> torch.dtype:
    """The cheapest float dtype in which sums of integers that stay below a bound are exact in any order."""
    return torch.float32 if bound < 2**24 else torch.float64


class _Settle(torch.autograd.Function):
    """The codes in the forward pass; backward the gradient of the real codes, where `inside`."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, codes: Tensor, inside: Tensor | None) -> Tensor:
        ctx.inside = inside
        return codes.to(smooth.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        return (gradients[0] if ctx.inside is None else gradients[0] * ctx.inside), None, None


class _StraightThrough(torch.autograd.Function):
    """The value of `exact` with the gradient of `smooth`."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: Tensor) -> Tensor:
        return exact.view_as(exact)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None
