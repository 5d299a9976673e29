"""Site: one value to emit into an ML Program, and the small compositions that several ops share."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.exporters.constants import real_constant
from toolchain.exporters.coreml_program import CoreMlProgram, Ref
from toolchain.exporters.feed_names import FeedNames
from toolchain.exporters.lowerings import Lowering
from toolchain.ir import Domain, Graph, Value
from toolchain.ir.ops import RowFactor


@dataclass(frozen=True, slots=True)
class Site:
    """One value to emit: where it stands and what its operands are.

    Attributes:
        refs: what was emitted so far.
        lowering: DENSE or SCATTER.
    """

    graph: Graph
    value: Value
    refs: dict[int, Ref]
    program: CoreMlProgram
    feeds: FeedNames[Ref]
    lowering: Lowering

    @property
    def operands(self) -> tuple[Ref, ...]:
        return tuple(self.refs[i] for i in self.value.inputs)

    @property
    def x(self) -> Ref:
        """The first operand."""
        return self.operands[0]

    def operand(self, slot: str) -> Ref | None:
        """The operand in a slot, or None where the op was built without it."""
        value = self.graph.operand(self.value, slot)
        return None if value is None else self.refs[value.id]

    def number(self, slot: str) -> float:
        """The one number of the constant in a slot."""
        value = self.graph.operand(self.value, slot)
        assert value is not None, f"%{self.value.id} has no {slot}"
        return float(real_constant(self.graph, value)[0])

    @property
    def channels(self) -> int:
        return self.value.type.channels

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

    @property
    def nodes(self) -> Ref:
        """A value with one row a node."""
        return next(self.refs[v.id] for v in self.graph.inputs if v.type.domain is Domain.NODE)
