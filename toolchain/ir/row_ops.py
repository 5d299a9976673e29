"""The ops of row scales: groups of nodes, and a factor for every row by the group of its node.

A value keeps the one scale of its type. What A2Q calls a step per node is a factor s / s_g ahead of a Linear, which brings the
rows of group g to a common scale s and cuts them at the codes of their width, and a factor s_g / s behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from toolchain.ir.attributes import Function, RowFactor
from toolchain.ir.op import Op, mismatch
from toolchain.ir.types import Domain, TensorType, node


@dataclass(frozen=True, slots=True)
class DegreeGroup(Op):
    """node[1]: how many of the bounds the in-degree of each node in a topology exceeds.

    Attributes:
        bounds: ascending. K - 1 bounds make K groups.
        shares: of all nodes in each group, as calibration saw them, [K]; for counting bits, without effect on results.
    """

    topology: int
    bounds: tuple[int, ...]
    shares: tuple[float, ...] = ()
    slots: ClassVar[tuple[str, ...]] = ()

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        _check_bounds(self, self.bounds, self.shares)
        return node(1)


@dataclass(frozen=True, slots=True)
class PeakGroup(Op):
    """node[1]: how many of the bounds the largest magnitude in each row exceeds. `bounds`, `shares`: as for DegreeGroup.

    With the midpoints between ascending reaches as bounds, it is the group whose reach is the nearest.
    """

    bounds: tuple[float, ...]
    shares: tuple[float, ...] = ()

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        if operands[0].domain is not Domain.NODE:
            raise mismatch(self, f"x must be a node value, got {operands[0]}")
        _check_bounds(self, self.bounds, self.shares)
        return node(1)


@dataclass(frozen=True, slots=True)
class RowScale(Op):
    """y_i = clip( f( factors[g_i] * x_i + bias ), -limits[g_i], limits[g_i] ) * row_factor, g_i the group of row i.

    Operands: x node[C], group node[1], and optionally bias const[C]. No `limits`: nothing is cut. Not both a row factor and
    limits. f is identity or a fused ReLU.
    """

    factors: tuple[float, ...]
    limits: tuple[float, ...] = ()
    activation: Function | None = None
    row_factor: RowFactor | None = None
    slots: ClassVar[tuple[str, ...]] = ("x", "group", "bias")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x, group = operands[0], operands[1]
        if x.domain is not Domain.NODE or group.domain is not Domain.NODE or group.shape != (1,):
            raise mismatch(self, f"x must be a node value and group node[1], got {x} and {group}")
        if len(operands) == 3 and operands[2].shape != (x.channels,):
            raise mismatch(self, f"bias {operands[2]} does not fit x {x}")
        if not self.factors or min(self.factors) <= 0 or (self.limits and min(self.limits) < 0):
            raise mismatch(self, f"factors must be positive and limits not negative, got {self.factors}, {self.limits}")
        if self.limits and (len(self.limits) != len(self.factors) or self.row_factor is not None):
            raise mismatch(self, "limits are one per factor, and none beside a row factor")
        return TensorType(Domain.NODE, x.shape)


def _check_bounds(op: Op, bounds: tuple[int, ...] | tuple[float, ...], shares: tuple[float, ...]) -> None:
    if list(bounds) != sorted(bounds):
        raise mismatch(op, f"bounds must ascend, got {bounds}")
    if shares and len(shares) != len(bounds) + 1:
        raise mismatch(op, f"{len(shares)} shares for {len(bounds) + 1} groups")
