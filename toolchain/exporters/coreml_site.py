"""Site: one value to emit into an ML Program, and the small compositions that several ops share."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.exporters.coreml_program import CoreMlProgram, Ref
from toolchain.exporters.value_site import ValueSite
from toolchain.ir.ops import RowFactor


@dataclass(frozen=True, slots=True)
class Site(ValueSite[Ref]):
    """One value to emit into an ML Program.

    Attributes:
        refs: what was emitted so far.
    """

    refs: dict[int, Ref]
    program: CoreMlProgram

    def real(self, id: int) -> Ref:
        return self.refs[id]

    def scaled(self, x: Ref, factor: RowFactor | None) -> Ref:
        """x times a topology's row factor, where there is one."""
        return x if factor is None else self.program.op("mul", x=x, y=self.feeds.row_factor(factor))

    def rows(self, x: Ref, index: Ref) -> Ref:
        """The rows of x that `index` names."""
        return self.program.op("gather", x=x, indices=index, axis=0, batch_dims=0, validate_indices=False)

    def linear(self, x: Ref, weight: object, bias: object = None) -> Ref:
        """x W^T + b with a constant W [out, in]."""
        given = {} if bias is None else {"bias": bias}
        return self.program.op("linear", x=x, weight=weight, **given)

    def filled(self, like: Ref, channels: int, value: float) -> Ref:
        """[rows of `like`, channels] of one value."""
        shape = self.program.once("shape", x=like)
        count = self.program.once("slice_by_size", x=shape, begin=[0], size=[1])
        width = [channels]
        wanted = self.program.once("concat", values=[count, width], axis=0)
        return self.program.once("fill", shape=wanted, value=float(value))
