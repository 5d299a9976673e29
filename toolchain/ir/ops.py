"""The ops: frozen attributes plus `infer`, which checks operand types and names the result type.

An op knows types, not emitters: emitters are `functools.singledispatch` functions over these classes. Operands are
positional; `slots` names them; a trailing operand that is not given is absent. Shapes: N nodes, E edges of a
topology, G graphs, C channels. What each op computes is defined in `toolchain.ir.reference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from toolchain.ir.attributes import PROPAGATED, End, Extent, Function, Order, Reduce, Role, RowFactor
from toolchain.ir.op import Op, mismatch
from toolchain.ir.row_ops import DegreeGroup, PeakGroup, RowScale
from toolchain.ir.types import Domain, DType, QParams, TensorType


@dataclass(frozen=True, slots=True)
class Input(Op):
    """An array of the runtime graph: node[F] for X, edge[D] in the order of a topology otherwise."""

    role: Role
    type: TensorType
    slots: ClassVar[tuple[str, ...]] = ()

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        expected = Domain.NODE if self.role is Role.X else Domain.EDGE
        if self.type.domain is not expected:
            raise mismatch(self, f"{self.role.value} is a {expected.value} value, got {self.type}")
        return self.type


@dataclass(frozen=True, slots=True)
class Const(Op):
    """A stored tensor; its array is `Graph.constants[name]`.

    Attributes:
        trainable: fine-tuning may change it (BatchNorm statistics are not).
        pruned: its zeros are pruned weights: they stay zero through fine-tuning, folding and quantization.
        codebook: name of the codebook that its values come from, or None. The codebook is the set of distinct values of all
            constants that name it, and equal values are one: fine-tuning moves them together, and 0 not at all.
        is_half: its numbers are IEEE halves, which a file may store in 16 bits; in the Graph they are float32 like all others.
        is_table: the lowering made it, such as the permutation of a layout; it is no weight of the model, so nothing trains,
            prunes, shares or counts it as one.
    """

    name: str
    type: TensorType
    trainable: bool = True
    pruned: bool = False
    codebook: str | None = None
    is_half: bool = False
    is_table: bool = False
    slots: ClassVar[tuple[str, ...]] = ()

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        if self.type.domain is not Domain.CONST:
            raise mismatch(self, f"{self.name} must be a const, got {self.type}")
        return self.type


@dataclass(frozen=True, slots=True)
class Linear(Op):
    """y = f(x W^T + b) * row_factor, with W [out, in] and b [out]. f is identity or a fused ReLU."""

    activation: Function | None = None
    row_factor: RowFactor | None = None
    slots: ClassVar[tuple[str, ...]] = ("x", "weight", "bias")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x, weight = operands[0], operands[1]
        if weight.domain is not Domain.CONST or len(weight.shape) != 2:
            raise mismatch(self, f"weight must be const[out x in], got {weight}")
        if x.domain is Domain.CONST or weight.shape[1] != x.channels:
            raise mismatch(self, f"weight {weight} does not fit x {x}")
        if len(operands) == 3 and operands[2].shape != (weight.shape[0],):
            raise mismatch(self, f"bias {operands[2]} does not fit weight {weight}")
        if self.row_factor is not None and x.domain is not Domain.NODE:
            raise mismatch(self, "a row factor needs node rows")
        return TensorType(x.domain, (weight.shape[0],), topology=x.topology)


@dataclass(frozen=True, slots=True)
class Propagate(Op):
    """Gather, scale, reduce over in-edges in one op, without an edge buffer.

        y_i = f( self_scale * x_i + l_i * reduce_{j->i} ( w_ij * h_ij * r_j * x_j ) + bias ) * row_factor

    w, r, l are the topology's edge weights and normalization row factors; h is the optional operand `weight`, edge[H] with
    H dividing C (one weight per head). `source_scaled` says that r is already multiplied into x (by the producer's
    row_factor), which integer graphs do. MEAN divides by the number of in-edges. No in-edge: the reduction is 0.

    `operands` names the operands after x, a subset of ("weight", "self_scale", "bias") in this order:
    weight edge[H]; self_scale const[1]; bias const[C].

    `order` is the side of a neighbouring Linear that was asked for; None is the side with fewer channels.
    """

    topology: int
    reduce: Reduce = Reduce.SUM
    operands: tuple[str, ...] = ()
    activation: Function | None = None
    row_factor: RowFactor | None = None
    source_scaled: bool = False
    order: Order | None = None
    slots: ClassVar[tuple[str, ...]] = ("x", "weight", "self_scale", "bias")

    def operand_names(self, count: int) -> tuple[str, ...]:
        return ("x", *self.operands)

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        names = self.operand_names(len(operands))
        if len(names) != len(operands) or tuple(n for n in self.slots if n in names) != names:
            raise mismatch(self, f"operands {names} do not match {len(operands)} values")
        if self.reduce not in PROPAGATED:
            raise mismatch(self, "a product needs the messages as edge values. Use Gather and Aggregate")
        given = dict(zip(names, operands, strict=True))
        x = given["x"]
        if x.domain is not Domain.NODE:
            raise mismatch(self, f"x must be a node value, got {x}")
        if "weight" in given:
            weight = given["weight"]
            if weight.domain is not Domain.EDGE or weight.topology != self.topology or x.channels % weight.channels:
                raise mismatch(
                    self, f"weight {weight} is not edge[H] of topology {self.topology} with H dividing {x.channels}"
                )
        if "self_scale" in given and given["self_scale"].shape != (1,):
            raise mismatch(self, f"self_scale must be const[1], got {given['self_scale']}")
        if "bias" in given and given["bias"].shape != (x.channels,):
            raise mismatch(self, f"bias {given['bias']} does not fit x {x}")
        return TensorType(Domain.NODE, x.shape)


@dataclass(frozen=True, slots=True)
class Gather(Op):
    """Node values at one end of every edge: [N, C] -> [E, C]."""

    topology: int
    end: End

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        if operands[0].domain is not Domain.NODE:
            raise mismatch(self, f"x must be a node value, got {operands[0]}")
        return TensorType(Domain.EDGE, operands[0].shape, operands[0].dtype, operands[0].qparams, self.topology)


@dataclass(frozen=True, slots=True)
class Aggregate(Op):
    """Reduce edge values at one end of the edges (TARGET unless stated): [E, C] -> [N, C]. No edge: 0, or 1 for PRODUCT."""

    reduce: Reduce
    end: End = End.TARGET

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        if operands[0].domain is not Domain.EDGE:
            raise mismatch(self, f"x must be an edge value, got {operands[0]}")
        return TensorType(Domain.NODE, operands[0].shape)


@dataclass(frozen=True, slots=True)
class EdgeSoftmax(Op):
    """Softmax over the in-edges of each node, per channel, with the maximum subtracted: [E, H] -> [E, H]."""

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        if operands[0].domain is not Domain.EDGE:
            raise mismatch(self, f"x must be an edge value, got {operands[0]}")
        return operands[0]


@dataclass(frozen=True, slots=True)
class HeadDot(Op):
    """Inner product per head: [., H*C] with attention [H, C] -> [., H]."""

    slots: ClassVar[tuple[str, ...]] = ("x", "weight")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x, weight = operands
        if (
            weight.domain is not Domain.CONST
            or len(weight.shape) != 2
            or weight.shape[0] * weight.shape[1] != x.channels
        ):
            raise mismatch(self, f"weight {weight} is not const[H x C] for x {x}")
        return TensorType(x.domain, (weight.shape[0],), topology=x.topology)


@dataclass(frozen=True, slots=True)
class HeadMean(Op):
    """Mean over heads: [., H*C] -> [., C]."""

    heads: int

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x = operands[0]
        if self.heads < 1 or x.channels % self.heads:
            raise mismatch(self, f"{self.heads} heads do not divide {x}")
        return x.with_channels(x.channels // self.heads)


@dataclass(frozen=True, slots=True)
class Pool(Op):
    """Reduce the nodes of each graph: [N, C] -> [G, C]. A graph without nodes: 0, or 1 for PRODUCT."""

    reduce: Reduce

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        if operands[0].domain is not Domain.NODE:
            raise mismatch(self, f"x must be a node value, got {operands[0]}")
        return TensorType(Domain.GRAPH, operands[0].shape)


@dataclass(frozen=True, slots=True)
class Broadcast(Op):
    """The graph value of each node's graph: [G, C] -> [N, C]."""

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        if operands[0].domain is not Domain.GRAPH:
            raise mismatch(self, f"x must be a graph value, got {operands[0]}")
        return TensorType(Domain.NODE, operands[0].shape, operands[0].dtype, operands[0].qparams)


@dataclass(frozen=True, slots=True)
class _Binary(Op):
    """Elementwise on two values of one domain; channels must agree, or one side has 1 channel or is const[C] / const[1]."""

    slots: ClassVar[tuple[str, ...]] = ("a", "b")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        a, b = operands
        rows = [t for t in (a, b) if t.domain is not Domain.CONST]
        if not rows:
            raise mismatch(self, "two constants; fold them before building the graph")
        if any(len(t.shape) != 1 for t in (a, b)):
            raise mismatch(self, f"operands must have one channel axis, got {a} and {b}")
        if len({(t.domain, t.topology) for t in rows}) != 1:
            raise mismatch(self, f"operands live in different domains: {a} and {b}")
        if a.channels != b.channels and 1 not in (a.channels, b.channels):
            raise mismatch(self, f"channels differ: {a} and {b}")
        return TensorType(rows[0].domain, (max(a.channels, b.channels),), topology=rows[0].topology)


@dataclass(frozen=True, slots=True)
class Add(_Binary):
    """f(a + b); f is identity or a fused ReLU."""

    activation: Function | None = None


@dataclass(frozen=True, slots=True)
class Sub(_Binary):
    """a - b."""


@dataclass(frozen=True, slots=True)
class Mul(_Binary):
    """a * b."""


@dataclass(frozen=True, slots=True)
class Div(_Binary):
    """a / b."""


@dataclass(frozen=True, slots=True)
class Maximum(_Binary):
    """max(a, b)."""


@dataclass(frozen=True, slots=True)
class Activation(Op):
    """One elementwise function."""

    function: Function
    alpha: float = 0.01

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        return operands[0]


@dataclass(frozen=True, slots=True)
class LogSoftmax(Op):
    """log(softmax(x)) over the channels of each row; `log=False` gives the softmax."""

    log: bool = True

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        return operands[0]


@dataclass(frozen=True, slots=True)
class Concat(Op):
    """Concatenate along channels. Any number of operands of one domain."""

    def operand_names(self, count: int) -> tuple[str, ...]:
        return tuple(f"x{i}" for i in range(count))

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        if not operands or len({(t.domain, t.topology) for t in operands}) != 1:
            raise mismatch(self, f"operands live in different domains: {', '.join(map(str, operands))}")
        return TensorType(operands[0].domain, (sum(t.channels for t in operands),), topology=operands[0].topology)


@dataclass(frozen=True, slots=True)
class Slice(Op):
    """Channels start:stop."""

    start: int
    stop: int

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x = operands[0]
        if not 0 <= self.start < self.stop <= x.channels:
            raise mismatch(self, f"channels {self.start}:{self.stop} do not lie in {x}")
        return x.with_channels(self.stop - self.start)


@dataclass(frozen=True, slots=True)
class BatchNorm(Op):
    """(x - mean) / sqrt(variance + eps) * weight + bias with stored statistics; all four operands const[C]."""

    eps: float = 1e-5
    momentum: float = 0.1
    slots: ClassVar[tuple[str, ...]] = ("x", "weight", "bias", "mean", "variance")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x, *stats = operands
        if len(stats) != 4 or any(t.domain is not Domain.CONST or t.shape != (x.channels,) for t in stats):
            raise mismatch(self, f"weight, bias, mean, variance must be const[{x.channels}]")
        return x


@dataclass(frozen=True, slots=True)
class LayerNorm(Op):
    """(x - mean) / sqrt(variance + eps) * weight + bias, statistics over `extent`; weight, bias const[C].

    `eps_outside` divides by sqrt(variance) + eps instead, as PyG's graph mode does for a graph without batch.
    """

    eps: float = 1e-5
    extent: Extent = Extent.ROW
    eps_outside: bool = False
    slots: ClassVar[tuple[str, ...]] = ("x", "weight", "bias")

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        x, *affine = operands
        if len(affine) != 2 or any(t.domain is not Domain.CONST or t.shape != (x.channels,) for t in affine):
            raise mismatch(self, f"weight and bias must be const[{x.channels}]")
        if self.extent is Extent.GRAPH and x.domain is not Domain.NODE:
            raise mismatch(self, f"statistics per graph need node rows, got {x}")
        return x


@dataclass(frozen=True, slots=True)
class Dropout(Op):
    """Identity at inference; zeroes elements with probability p while fine-tuning."""

    p: float

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        return operands[0]


@dataclass(frozen=True, slots=True)
class Quantize(Op):
    """Float to integer codes (ARITHMETIC 1.1, input), or integer codes to other integer codes (1.2)."""

    dtype: DType
    qparams: QParams
    row_factor: RowFactor | None = None

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        return operands[0].with_dtype(self.dtype, self.qparams)


@dataclass(frozen=True, slots=True)
class Dequantize(Op):
    """Integer codes to float32: scale * (code - zero_point)."""

    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        if not operands[0].dtype.is_integer:
            raise mismatch(self, f"x must be integer, got {operands[0]}")
        return operands[0].with_dtype(DType.F32)


ALL_OPS: tuple[type[Op], ...] = (
    Input, Const, Linear, Propagate, Gather, Aggregate, EdgeSoftmax, HeadDot, HeadMean, Pool, Broadcast, Add, Sub, Mul, Div,
    Maximum, Activation, LogSoftmax, Concat, Slice, BatchNorm, LayerNorm, Dropout, Quantize, Dequantize, DegreeGroup,
    PeakGroup, RowScale,
)  # fmt: skip
