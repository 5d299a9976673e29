"""The integer ops in torch, differentiable: tensors hold q - z exactly, gradients pass straight through the roundings.

Codes are float32, which holds them exactly. A sum or product runs in float32 where its bound is below 2^24, else in float64:
then every partial sum is exact in any order. A requantization runs in int64. So a forward pass gives the integers of
`toolchain.ir.reference_integer`, not something near them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor

from toolchain.compression.integer_constants import LinearCodes, largest_code
from toolchain.errors import TypeMismatch
from toolchain.ir import ops
from toolchain.ir.integer import Q31_ONE, multipliers, recip_q31, rsqrt_q31
from toolchain.ir.ops import Function, Reduce
from toolchain.ir.reference_integer import activation_table
from toolchain.ir.types import DType, QParams, TensorType
from toolchain.topology import Topology
from toolchain.torch_ops import ACTIVATIONS, Call
from toolchain.torch_structure import TorchGraph, segment_reduce


class _StraightThrough(torch.autograd.Function):
    """The value of `exact` with the gradient of `smooth`."""

    @staticmethod
    def forward(ctx: Any, smooth: Tensor, exact: Tensor) -> Tensor:
        return exact.view_as(exact)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


def straight_through(smooth: Tensor, exact: Tensor) -> Tensor:
    """The value of `exact` with the gradient of `smooth`, of the same shape and dtype."""
    result: Tensor = _StraightThrough.apply(smooth, exact)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return result


def exact_dtype(bound: float) -> torch.dtype:
    """The cheapest float dtype in which sums of integers that stay below a bound are exact in any order."""
    return torch.float32 if bound < 2**24 else torch.float64


@dataclass(frozen=True, slots=True, eq=False)
class TrainedLinear:
    """Weight and bias of an integer Linear: the codes that the present weights give, and the weights that learn."""

    codes: LinearCodes
    weight: Tensor  # [out, in] float32
    bias: Tensor | None  # [out] float32

    def accumulate(self, x: Tensor, scale_x: float) -> Tensor:
        """Accumulators of codes x - z, [rows, out]."""
        dtype = exact_dtype(self.codes.bound)
        scales = np.broadcast_to(np.asarray(self.codes.weight_qparams.scale, np.float64), (self.weight.shape[0],))
        scale = torch.from_numpy(scales.copy()).to(dtype)
        weight = straight_through(self.weight.to(dtype) / scale[:, None], torch.from_numpy(self.codes.weight).to(dtype))
        y = x.to(dtype) @ weight.T
        if self.bias is None or self.codes.bias is None:
            return y
        return y + straight_through(
            self.bias.to(dtype) / (scale_x * scale), torch.from_numpy(self.codes.bias).to(dtype)
        )


@dataclass(frozen=True, slots=True, eq=False)
class TrainedScale:
    """Self-term factor of an integer Propagate: E at 2^bits, and the weight that learns."""

    code: int
    bits: int
    weight: Tensor  # [1] float32

    def scale_up(self, total: Tensor, x: Tensor) -> Tensor:
        """T = (S << bits) + E x, float64."""
        exact = torch.tensor([float(self.code)], dtype=torch.float64)
        factor = straight_through(self.weight.double() * 2.0**self.bits, exact)
        return total.double() * 2.0**self.bits + factor * x.double()


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
class CodeCall:
    """An op on codes: the plain call, and what its constants mean at the present weights."""

    call: Call
    linear: TrainedLinear | None = None
    self_scale: TrainedScale | None = None
    factor: TrainedFactor | None = None

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
    def out_scale(self) -> np.float64:
        return np.float64(qparams_of(self.call.value.type).scale[0])


def qparams_of(type_: TensorType) -> QParams:
    """Parameters of an integer type."""
    if type_.qparams is None:
        raise TypeMismatch(f"{type_} carries no quantization parameters")
    return type_.qparams


class _Requantize(torch.autograd.Function):
    """clamp((total * m + added) >> s) in int64; its gradient is the slope m 2^-s, and 0 where it clamps."""

    @staticmethod
    def forward(
        ctx: Any,
        total: Tensor,
        bias: Tensor | None,
        out_scale: float,
        m: Tensor,
        added: Tensor,
        s: Tensor,
        low: int,
        high: int,
    ) -> Tensor:
        codes = (total.long() * m + added) >> s
        exact = codes.clamp(low, high)
        ctx.save_for_backward((codes == exact) * (m.double() * torch.exp2(-s.double())).float(), codes == exact)
        ctx.out_scale, ctx.total_dtype, ctx.has_bias = out_scale, total.dtype, bias is not None
        return exact.float()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        slope, inside = ctx.saved_tensors
        to_bias = (gradients[0] * inside).sum(dim=0) / ctx.out_scale if ctx.has_bias else None
        return (gradients[0] * slope).to(ctx.total_dtype), to_bias, None, None, None, None, None, None


def requantize(
    total: Tensor, ratio: np.ndarray, out: QParams, *, rows: np.ndarray | None = None, relu: bool = False,
    bias: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Codes minus zero point of an accumulator: one rounding, then the clamp. [rows, C] float32.

    Args:
        total: [rows, C] holding integers.
        ratio: [C] or [1], scale of `total` over that of the result.
        rows: [rows] Q31 row factors, multiplied into the multiplier.
        bias: [C] real values that join before the rounding.
    """
    m, s = (torch.from_numpy(a) for a in multipliers(ratio))
    if rows is not None:
        m = (m[None, :] * torch.from_numpy(rows)[:, None] + (1 << 30)) >> 31  # srdhm: [rows, C] or [rows, 1]
    added = torch.ones_like(s) << (s - 1)
    if bias is not None:
        real = bias.detach().numpy().astype(np.float64) / np.float64(out.scale[0])
        added = added + torch.from_numpy(np.rint(real * np.float64(2) ** s.numpy()).astype(np.int64))
    low, high = (bound - out.zero_point for bound in out.code_range)
    low = max(low, 0) if relu else low
    result: Tensor = _Requantize.apply(total, bias, out.scale[0], m, added, s, low, high)  # type: ignore[no-untyped-call]
    return result


@singledispatch
def emit_codes(op: ops.Op, code: CodeCall) -> Tensor:
    """The meaning of an op whose operands or result are codes: [rows, C] holding q - z, or real values for Dequantize."""
    raise TypeMismatch(f"%{code.call.value.id} {type(op).__name__}: has no integer form")


@emit_codes.register
def _(op: ops.Quantize, code: CodeCall) -> Tensor:
    out = qparams_of(code.call.value.type)
    if code.call.types[0].dtype.is_integer:
        rows = None if op.row_factor is None else row_factors(code.topology(op.row_factor.topology))
        return requantize(code.x, np.array([code.scale() / code.out_scale]), out, rows=rows)
    inverse = torch.tensor(np.float32(1.0 / np.float64(out.scale[0])))
    low, high = (bound - out.zero_point for bound in out.code_range)
    exact = torch.round(code.x.detach() * inverse).clamp(low, high)
    return straight_through((code.x / out.scale[0]).clamp(low, high), exact)


@emit_codes.register
def _(op: ops.Dequantize, code: CodeCall) -> Tensor:
    scale = torch.tensor(qparams_of(code.call.types[0]).scale, dtype=torch.float64)
    return (code.x.double() * scale).float()


@emit_codes.register
def _(op: ops.Linear, code: CodeCall) -> Tensor:
    linear = code.linear
    assert linear is not None
    total = linear.accumulate(code.x, qparams_of(code.call.types[0]).scale[0])
    if code.call.value.type.dtype is DType.I32:
        return total
    ratio = code.scale() * np.asarray(linear.codes.weight_qparams.scale, np.float64) / code.out_scale
    rows = None if op.row_factor is None else row_factors(code.topology(op.row_factor.topology))
    return requantize(total, ratio, qparams_of(code.call.value.type), rows=rows, relu=op.activation is Function.RELU)


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
    ratio = np.array([code.scale() * unit / code.out_scale])
    out = qparams_of(code.call.value.type)
    return requantize(total, ratio, out, rows=rows, relu=op.activation is Function.RELU, bias=bias)


@emit_codes.register
def _(op: ops.Pool, code: CodeCall) -> Tensor:
    inputs = code.graph.prepared.inputs
    is_mean = op.reduce is Reduce.MEAN
    bound = largest_code(code.call.types[0]) * int(inputs.nodes_per_graph.max())
    x = code.x.to(exact_dtype(bound))
    total = segment_reduce(x, code.graph.graph_index, inputs.num_graphs, Reduce.SUM if is_mean else op.reduce)
    rows = recip_q31(inputs.nodes_per_graph) if is_mean else None
    return requantize(total, np.array([code.scale() / code.out_scale]), qparams_of(code.call.value.type), rows=rows)


@emit_codes.register(ops.Add)
@emit_codes.register(ops.Sub)
def _(op: ops.Add | ops.Sub, code: CodeCall) -> Tensor:
    a, b = (tensor.double() for tensor in code.call.tensors)
    bits = 14 if DType.I16 in (code.call.types[0].dtype, code.call.types[1].dtype) else 20
    top = max(code.scale(0), code.scale(1))
    factor_a, factor_b = (float(np.rint(2**bits * code.scale(i) / top)) for i in (0, 1))
    total = factor_a * a + (factor_b if isinstance(op, ops.Add) else -factor_b) * b
    relu = isinstance(op, ops.Add) and op.activation is Function.RELU
    ratio = np.array([top / 2**bits / code.out_scale])
    return requantize(total, ratio, qparams_of(code.call.value.type), relu=relu)


@emit_codes.register
def _(op: ops.Maximum, code: CodeCall) -> Tensor:
    return torch.maximum(*_on_common_scale(code))


@emit_codes.register
def _(op: ops.Concat, code: CodeCall) -> Tensor:
    return torch.cat(_on_common_scale(code), dim=1)


def _on_common_scale(code: CodeCall) -> list[Tensor]:
    out = qparams_of(code.call.value.type)
    return [
        requantize(x, np.array([code.scale(i) / code.out_scale]), out) for i, x in enumerate(code.call.tensors)
    ]  # fmt: skip


@emit_codes.register
def _(op: ops.Activation, code: CodeCall) -> Tensor:
    x, out = qparams_of(code.call.types[0]), qparams_of(code.call.value.type)
    if op.function is Function.RELU:
        return requantize(code.x, np.array([code.scale() / code.out_scale]), out, relu=True)
    if op.function is Function.LEAKY_RELU and op.alpha >= 0 and 16 in (x.bits, out.bits):
        ratio = code.scale() / code.out_scale
        above, below = (requantize(code.x, np.array([r]), out) for r in (ratio, np.float64(op.alpha) * ratio))
        return torch.where(code.x >= 0, above, below)
    table = torch.from_numpy(activation_table(op, x, out)).float() - out.zero_point
    exact = table[code.x.detach().long() + (x.zero_point + 128)]
    low, high = (bound - out.zero_point for bound in out.code_range)
    smooth = ACTIVATIONS[op.function](code.x * x.scale[0], op.alpha) / out.scale[0]
    return straight_through(smooth.clamp(low, high), exact)


@emit_codes.register
def _(op: ops.Broadcast, code: CodeCall) -> Tensor:
    return code.graph.broadcast(code.x)


@emit_codes.register
def _(op: ops.Slice, code: CodeCall) -> Tensor:
    return code.x[:, op.start : op.stop]
