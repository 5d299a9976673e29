"""Move the addition of a constant into the op that makes the value: its bias then costs nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from toolchain.ir import Graph, GraphBuilder, Value, rewrite
from toolchain.ir.ops import Add, Const, HeadMean, Linear, Propagate


def fuse_bias(graph: Graph) -> Graph:
    """Add(y, const[C]) goes where y is made, when nothing else reads a value in between.

    A Linear or Propagate takes it as its bias, a HeadMean hands it to the op before it (once per head, which is the same
    mean), an Add of two values to one of its operands.
    """
    mover = _Mover(graph, graph.users())

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if not isinstance(value.op, Add):
            return None
        for place in (0, 1):
            producer, addend = graph.values[value.inputs[place]], graph.values[value.inputs[1 - place]]
            if not isinstance(addend.op, Const) or addend.type.shape != producer.type.shape:
                continue
            if mover.takes(producer) and (value.op.activation is None or not isinstance(producer.op, HeadMean)):
                return mover.moved(builder, producer, inputs[place], _Addend(inputs[1 - place]), value)
        return None

    return rewrite(graph, rule)


@dataclass(frozen=True, slots=True)
class _Addend:
    """A stored [C] in the new graph, to be added once, or to each of several heads."""

    const: int
    heads: int = 1

    def stored(self, builder: GraphBuilder, old: int | None) -> int:
        """The constant that a Linear or Propagate takes as its bias in place of the one it has, if any."""
        if self.heads == 1 and old is None:
            return self.const
        place = self.const if old is None else old
        added, named = (builder.values[i].op for i in (self.const, place))
        assert isinstance(added, Const) and isinstance(named, Const)
        array = np.tile(builder.constants[added.name], self.heads)  # [H * C]
        if old is not None:
            array = array + builder.constants[named.name]
        return builder.const(named.name, array, trainable=named.trainable, scope=builder.values[place].scope)


@dataclass(frozen=True, slots=True)
class _Mover:
    graph: Graph
    users: tuple[tuple[int, ...], ...]

    def takes(self, value: Value) -> bool:
        """Whether a constant can be added where a value is made, for its only reader."""
        if len(self.users[value.id]) != 1 or value.id in self.graph.outputs:
            return False
        if isinstance(value.op, Linear | Propagate):
            return value.op.activation is None and value.op.row_factor is None
        if isinstance(value.op, HeadMean):
            return self.takes(self.graph.values[value.inputs[0]])
        return isinstance(value.op, Add) and value.op.activation is None and self._taker(value) is not None

    def _taker(self, value: Value) -> int | None:
        """Which operand of an Add can take a constant."""
        operands = self.graph.operands(value)
        if any(isinstance(o.op, Const) for o in operands):
            return None  # that constant goes first
        fits = (o.type.shape == value.type.shape and self.takes(o) for o in operands)
        return next((place for place, is_taker in enumerate(fits) if is_taker), None)

    def moved(
        self, builder: GraphBuilder, value: Value, made: int, addend: _Addend, reader: Value | None = None
    ) -> int:
        """The new id of `value` plus a constant.

        Args:
            made: new id of `value` as it was.
            reader: the Add that goes away, and whose activation its operand takes over.
        """
        op, inputs = builder.values[made].op, builder.values[made].inputs
        scope = value.scope or (reader.scope if reader is not None else "")
        if isinstance(value.op, HeadMean):
            before = self.graph.values[value.inputs[0]]
            repeated = replace(addend, heads=addend.heads * value.op.heads)
            return builder.add(op, self.moved(builder, before, inputs[0], repeated), scope=scope)
        activation = reader.op.activation if reader is not None and isinstance(reader.op, Add) else None
        if isinstance(value.op, Add):
            place = self._taker(value)
            assert place is not None
            operands = list(inputs)
            operands[place] = self.moved(builder, self.graph.values[value.inputs[place]], inputs[place], addend)
            return builder.add(Add(activation), *operands, scope=scope)
        has_bias = self.graph.operand(value, "bias") is not None
        bias = addend.stored(builder, inputs[-1] if has_bias else None)
        if has_bias:
            inputs = inputs[:-1]
        elif isinstance(op, Propagate):
            op = replace(op, operands=(*op.operands, "bias"))
        return builder.add(replace(op, activation=activation), *inputs, bias, scope=scope)  # type: ignore[type-var]  # Linear or Propagate
