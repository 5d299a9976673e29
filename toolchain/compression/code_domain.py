"""The integer ops in torch, differentiable: tensors hold q - z exactly, gradients pass straight through the roundings.

Codes are float32, which holds them exactly. A sum or product runs in float32 where its bound is below 2^24, else in float64:
then every partial sum is exact in any order. A requantization runs in float64 where its products stay below 2^53, else in int64.
So a forward pass gives the integers of `toolchain.ir.reference_integer`, not something near them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import singledispatch

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from toolchain.compression.code_rounding import Rounding, cached_blocks, exact_dtype, scaled_down, straight_through
from toolchain.compression.integer_constants import LinearCodes, largest_code
from toolchain.errors import TypeMismatch
from toolchain.ir import ops
from toolchain.ir.integer import Q31_ONE, late_bias_codes, multipliers, recip_q31, rsqrt_q31
from toolchain.ir.ops import Function, Reduce
from toolchain.ir.reference import Call as ReferenceCall
from toolchain.ir.reference import evaluate
from toolchain.ir.reference_integer import activation_table
from toolchain.ir.reference_rows import wide_srdhm
from toolchain.ir.types import DType, QParams, TensorType
from toolchain.topology import Topology
from toolchain.torch_ops import ACTIVATIONS, Call, emit
from toolchain.torch_sparse import SparseMatrix
from toolchain.torch_structure import TorchGraph, segment_reduce


@dataclass(frozen=True, slots=True, eq=False)
class TrainedLinear:
    """Weight and bias of an integer Linear: the codes that the present weights give, and the weights that learn.

    Attributes:
        step: [out] float32, the scales of the weight's codes, with the gradient of those that learn.
        reach: weights beyond it, in steps, have no gradient.
        sparse: the codes that it reads as a sparse matrix, where most of them are 0.
    """

    codes: LinearCodes
    weight: Tensor  # [out, in] float32
    bias: Tensor | None  # [out] float32
    step: Tensor
    reach: float
    sparse: SparseMatrix | None = None

    def accumulate(self, x: Tensor, scale_x: float | Tensor) -> Tensor:
        """Accumulators of codes x - z, [rows, out]."""
        dtype = exact_dtype(self.codes.bound)
        smooth = (self.weight / self.step[:, None]).clamp(-self.reach, self.reach)
        weight = straight_through(smooth.to(dtype), torch.from_numpy(self.codes.weight).to(dtype))
        bias = None
        if self.bias is not None and self.codes.bias is not None:
            smooth_bias = self.bias / (scale_x * self.step)
            bias = straight_through(smooth_bias.to(dtype), torch.from_numpy(self.codes.bias).to(dtype))
        if self.sparse is None:
            return functional.linear(x.to(dtype), weight, bias)
        y = self.sparse.product(weight.T.contiguous())
        return y if bias is None else y + bias


@dataclass(frozen=True, slots=True, eq=False)
class TrainedScale:
    """Self-term factor of an integer Propagate: E at 2^bits, and the weight that learns."""

    code: int
    bits: int
    weight: Tensor  # [1] float32

    def scale_up(self, total: Tensor, x: Tensor) -> Tensor:
        """T = (S << bits) + E x, float64; the gradient is that of float32."""
        one = 2.0**self.bits
        exact = torch.empty(total.shape, dtype=torch.float64)
        for rows in cached_blocks(*total.shape):
            scaled = total.detach()[rows].double().mul_(one)
            exact[rows] = scaled.add_(x.detach()[rows].double(), alpha=self.code)
        return straight_through(one * (total.float() + x * self.weight), exact)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedFactor:
    """Constant of a HeadDot or Mul: the codes that the present weights give, and the weights that learn.

    `scale` is one number per row of the codes, or one for all.
    """

    codes: np.ndarray
    scale: np.ndarray  # float64
    weight: Tensor

    def tensor(self, dtype: torch.dtype) -> Tensor:
        """The codes, with the gradient of the weights."""
        per_row = self.scale.reshape(-1, *[1] * (self.codes.ndim - 1)) if self.scale.size > 1 else self.scale
        smooth = self.weight.to(dtype) / torch.from_numpy(np.asarray(per_row)).to(dtype)
        return straight_through(smooth, torch.from_numpy(self.codes.astype(np.float64)).to(dtype))


@dataclass(frozen=True, slots=True, eq=False)
class TrainedRows:
    """What learns of a RowScale.

    Attributes:
        steps: [K], the step of each group.
        tops: [K], the largest code of each group.
        count: called with the group of each node, [N].
        observe: called with real values [rows, C], their groups [rows] and their codes; elements that are 0 may be missing.
    """

    steps: Tensor
    tops: Tensor
    count: Callable[[Tensor], None] | None = None
    observe: Callable[[Tensor, Tensor, Tensor], None] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CodeCall:
    """An op on codes: the plain call, what its constants mean at the present weights, and how its result is rounded.

    Attributes:
        steps: the scale of each operand, where it learns.
    """

    call: Call
    steps: tuple[Tensor | None, ...]
    rounding: Rounding
    linear: TrainedLinear | None = None
    self_scale: TrainedScale | None = None
    factor: TrainedFactor | None = None
    rows: TrainedRows | None = None

    @property
    def x(self) -> Tensor:
        return self.call.tensors[0]

    @property
    def graph(self) -> TorchGraph:
        assert isinstance(self.call.structure, TorchGraph), "training runs on edge lists"
        return self.call.structure

    def topology(self, index: int) -> Topology:
        return self.graph.prepared.topologies[index]

    def scale(self, operand: int = 0) -> np.float64:
        return np.float64(qparams_of(self.call.types[operand]).scale[0])

    @property
    def out(self) -> QParams:
        return qparams_of(self.call.value.type)

    @property
    def out_scale(self) -> np.float64:
        return np.float64(self.out.scale[0])

    def step(self, operand: int = 0) -> Tensor | float:
        """The scale of an operand, with its gradient where it learns."""
        learned = self.steps[operand]
        return float(self.scale(operand)) if learned is None else learned

    @property
    def out_step(self) -> Tensor | float:
        """The scale of the result, with its gradient where it learns."""
        return float(self.out_scale) if self.rounding.step is None else self.rounding.step

    def requantize(
        self, total: Tensor, ratio: np.ndarray | np.float64, slope: Tensor | float, *, rows: np.ndarray | None = None,
        smooth_rows: Tensor | None = None, bias_rows: np.ndarray | None = None, relu: bool = False,
        bias: Tensor | None = None,
    ) -> Tensor:  # fmt: skip
        """Codes minus zero point of an accumulator: one rounding, then the clamp. [rows, C] float32.

        Args:
            total: [rows, C] holding integers.
            ratio: [C], [1] or one number, scale of `total` over that of the result: gives the integers.
            slope: the same, differentiable: gives the gradients.
            rows: [rows] Q31 row factors, multiplied into the multiplier.
            smooth_rows: [rows, 1], the same with a gradient, where they learn.
            bias_rows: [rows] Q31 row factors of the bias.
            bias: [C] real values that join before the rounding.
        """
        m, s = (torch.from_numpy(a) for a in multipliers(np.atleast_1d(ratio)))
        if rows is not None:
            factors = torch.from_numpy(rows)[:, None]
            m = (m[None, :] * factors + (1 << 30)) >> 31  # srdhm: [rows, C] or [rows, 1]
            smooth_rows = _as_real(factors) if smooth_rows is None else smooth_rows
        added = torch.ones_like(s) << (s - 1)
        smooth = total.float() * (slope if smooth_rows is None else slope * smooth_rows)
        if bias is not None:
            codes = late_bias_codes(bias.detach().numpy(), float(self.out_scale), s.numpy())
            smooth_bias = bias / self.out_step
            if bias_rows is not None:
                codes = wide_srdhm(codes[None, :], bias_rows[:, None])
                smooth_bias = smooth_bias * _as_real(torch.from_numpy(bias_rows)[:, None])
            added, smooth = added + torch.from_numpy(codes), smooth + smooth_bias
        # Of numbers below 2^24 there is room for sixteenths beside m.
        kept = (4 if total.dtype is torch.float32 else 0) if self.rounding.keeps_fractions else None
        rounded = scaled_down(total.detach(), m, added, s, fraction_bits=kept)
        return self.rounding.settle(smooth, rounded, self.out, relu=relu)


def _as_real(q31: Tensor) -> Tensor:
    return (q31.double() / 2**31).float()


def qparams_of(type_: TensorType) -> QParams:
    """Parameters of an integer type."""
    if type_.qparams is None:
        raise TypeMismatch(f"{type_} carries no quantization parameters")
    return type_.qparams


def emit_real(op: ops.Op, call: Call) -> Tensor:
    """The meaning of an op between real numbers; at evaluation it is the interpreter's, number for number.

    torch rounds sums, square roots and exponentials differently by an ulp here and there, which may be a code of what comes next.
    """
    has_gradient = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in call.tensors)
    if call.training or has_gradient or isinstance(op, ops.Input):
        return emit(op, call)
    assert isinstance(call.structure, TorchGraph), "training runs on edge lists"
    arrays = tuple(tensor.detach().numpy() for tensor in call.tensors)
    return torch.from_numpy(evaluate(op, ReferenceCall(call.value, arrays, call.types, call.structure.prepared, {})))


@singledispatch
def emit_codes(op: ops.Op, code: CodeCall) -> Tensor:
    """The meaning of an op whose operands or result are codes: [rows, C] holding q - z, or real values for Dequantize."""
    raise TypeMismatch(f"%{code.call.value.id} {type(op).__name__}: has no integer form")


@emit_codes.register
def _(op: ops.Quantize, code: CodeCall) -> Tensor:
    if code.call.types[0].dtype.is_integer:
        rows = None if op.row_factor is None else row_factors(code.topology(op.row_factor.topology))
        return code.requantize(code.x, code.scale() / code.out_scale, code.step() / code.out_step, rows=rows)
    inverse = torch.tensor(np.float32(1.0 / code.out_scale))
    return code.rounding.settle(code.x / code.out_step, torch.round(code.x.detach() * inverse), code.out)


@emit_codes.register
def _(op: ops.Dequantize, code: CodeCall) -> Tensor:
    scale = torch.tensor(qparams_of(code.call.types[0]).scale, dtype=torch.float64)
    learned = code.steps[0]
    if learned is not None:
        scale = straight_through(*torch.broadcast_tensors(learned.double(), scale))
    if code.x.dtype is torch.float32:  # as the scale is one, the product is rounded once either way
        return code.x * scale.float()
    return (code.x.double() * scale).float()


@emit_codes.register
def _(op: ops.Linear, code: CodeCall) -> Tensor:
    linear = code.linear
    assert linear is not None
    total = linear.accumulate(code.x, code.step())
    if code.call.value.type.dtype is DType.I32:
        return total
    ratio = code.scale() * np.asarray(linear.codes.weight_qparams.scale, np.float64) / code.out_scale
    slope = code.step() * linear.step / code.out_step
    rows = None if op.row_factor is None else row_factors(code.topology(op.row_factor.topology))
    return code.requantize(total, ratio, slope, rows=rows, relu=op.activation is Function.RELU)


def row_factors(topology: Topology) -> np.ndarray:
    """Q31 factors of a normalization, [N]."""
    if topology.source_scale is None:
        return np.full(topology.num_nodes, Q31_ONE, np.int64)
    return rsqrt_q31(topology.in_degree)


@emit_codes.register
def _(op: ops.Propagate, code: CodeCall) -> Tensor:
    if "weight" in op.operands:
        from toolchain.compression.code_domain_edges import attend

        return attend(op, code)
    edges, topology = code.graph.topologies[op.topology], code.topology(op.topology)
    is_extreme = op.reduce in (Reduce.MAX, Reduce.MIN)
    bound = largest_code(code.call.types[0]) * int(topology.in_degree.max(initial=1))
    messages = code.x.to(exact_dtype(0 if is_extreme else bound)).index_select(0, edges.source)  # [E, C]
    total = segment_reduce(messages, edges.target, topology.num_nodes, op.reduce if is_extreme else Reduce.SUM)
    unit = 1.0
    if code.self_scale is not None:
        total, unit = code.self_scale.scale_up(total, code.x), 2.0**-code.self_scale.bits
    rows = None
    if topology.source_scale is not None:
        rows = rsqrt_q31(topology.in_degree)
    elif op.reduce is Reduce.MEAN:
        rows = recip_q31(topology.in_degree)
    bias = code.call.operand("bias")
    ratio, slope = code.scale() * unit / code.out_scale, code.step() * unit / code.out_step
    return code.requantize(total, ratio, slope, rows=rows, relu=op.activation is Function.RELU, bias=bias)


@emit_codes.register
def _(op: ops.Pool, code: CodeCall) -> Tensor:
    inputs = code.graph.prepared.inputs
    is_mean = op.reduce is Reduce.MEAN
    bound = largest_code(code.call.types[0]) * int(inputs.nodes_per_graph.max())
    x = code.x.to(exact_dtype(bound))
    total = segment_reduce(x, code.graph.graph_index, inputs.num_graphs, Reduce.SUM if is_mean else op.reduce)
    rows = recip_q31(inputs.nodes_per_graph) if is_mean else None
    return code.requantize(total, code.scale() / code.out_scale, code.step() / code.out_step, rows=rows)


@emit_codes.register(ops.Add)
@emit_codes.register(ops.Sub)
def _(op: ops.Add | ops.Sub, code: CodeCall) -> Tensor:
    bits = 14 if DType.I16 in (code.call.types[0].dtype, code.call.types[1].dtype) else 20
    top = max(code.scale(0), code.scale(1))
    sign = 1.0 if isinstance(op, ops.Add) else -1.0
    total: Tensor | float = 0.0
    for i, tensor in enumerate(code.call.tensors):
        factor = np.rint(2**bits * code.scale(i) / top)
        # The factor follows the scales; where they learn, its gradient is that of the unrounded one.
        learned = code.steps[i]
        weight = (
            factor if learned is None else straight_through(learned.double() * (2**bits / top), torch.tensor(factor))
        )
        total = total + (sign if i else 1.0) * weight * tensor.double()
    relu = isinstance(op, ops.Add) and op.activation is Function.RELU
    assert isinstance(total, Tensor)
    return code.requantize(total, top / 2**bits / code.out_scale, float(top / 2**bits) / code.out_step, relu=relu)


@emit_codes.register
def _(op: ops.Maximum, code: CodeCall) -> Tensor:
    return torch.maximum(*_on_common_scale(code))


@emit_codes.register
def _(op: ops.Concat, code: CodeCall) -> Tensor:
    return torch.cat(_on_common_scale(code), dim=1)


def _on_common_scale(code: CodeCall) -> list[Tensor]:
    return [
        code.requantize(x, code.scale(i) / code.out_scale, code.step(i) / code.out_step)
        for i, x in enumerate(code.call.tensors)
    ]


@emit_codes.register
def _(op: ops.Activation, code: CodeCall) -> Tensor:
    x, out = qparams_of(code.call.types[0]), code.out
    ratio, slope = code.scale() / code.out_scale, code.step() / code.out_step
    if op.function is Function.RELU:
        return code.requantize(code.x, ratio, slope, relu=True)
    if op.function is Function.LEAKY_RELU and op.alpha >= 0 and 16 in (x.bits, out.bits):
        quiet = replace(
            code, rounding=replace(code.rounding, observe=None)
        )  # each half is right for some elements only
        above = quiet.requantize(code.x, ratio, slope)
        below = quiet.requantize(code.x, np.float64(op.alpha) * ratio, op.alpha * slope)
        if code.rounding.observe is not None:
            code.rounding.observe(ACTIVATIONS[op.function](code.x.detach() * x.scale[0], op.alpha))
        return torch.where(code.x >= 0, above, below)
    smooth = ACTIVATIONS[op.function](code.x * code.step(), op.alpha) / code.out_step
    table = torch.from_numpy(activation_table(op, x, out)).long() - out.zero_point
    codes = table[(code.x.detach().round().long() + (x.zero_point + 128)).clamp(0, 255)]
    rounded = smooth.detach().round().long()  # the table is cut; where, is seen here
    low, high = (bound - out.zero_point for bound in out.code_range)
    return code.rounding.settle(smooth, torch.where((rounded < low) | (rounded > high), rounded, codes), out)


@emit_codes.register
def _(op: ops.Broadcast, code: CodeCall) -> Tensor:
    return code.graph.broadcast(code.x)


@emit_codes.register
def _(op: ops.Slice, code: CodeCall) -> Tensor:
    return code.x[:, op.start : op.stop]
