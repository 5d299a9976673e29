"""Quantized Graphs in ExecuTorch: the quantize and dequantize patterns that XNNPACK's partitioner turns into int8 kernels."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from toolchain.errors import ExportError
from toolchain.exporters.executorch_module import ExecuTorchModule
from toolchain.exporters.feed_module import Lowering
from toolchain.exporters.fixed_feeds import FixedFeeds
from toolchain.exporters.quantized_module import QuantizedModule, qparams_of, scale_of, scales_of
from toolchain.ir import Graph, ops
from toolchain.ir.graph import Value
from toolchain.ir.ops import Linear
from toolchain.ir.types import Domain, DType, TensorType
from toolchain.torch_ops import Call
from toolchain.torch_structure import Structure

WIDE_LINEARS = ("auto", "digits", "rows")
_RANGE = (-128, 127)


class XnnpackInt8Module(QuantizedModule, ExecuTorchModule):
    """A quantized Graph for XNNPACK.

    A Linear from an int8 value straight to an int8 value is XNNPACK's static int8 product (qs8-qc8w). Any other Linear
    is the product with a float result, whose input XNNPACK quantizes to 8 bits row by row in each run (qd8-f32-qc8w).
    Where the codes of the input are known, each row is given two more columns that span their range and that meet
    weights of 0: then the row's own range is the stated one, and the product is the exact integer sum.

    Args:
        wide_linear: how a Linear reads an int16 value: "digits" as two 8-bit digits of its code, exactly, by two products
            that double the time and the weights; "rows" as 8-bit codes over the range of each row; "auto" as digits where
            a row is a graph (a pool of many nodes needs its 16 bits, and there are few rows) and as rows elsewhere.
    """

    def __init__(
        self, graph: Graph, lowering: Lowering, *, wide_linear: str = "auto", fixed: FixedFeeds | None = None
    ) -> None:
        if wide_linear not in WIDE_LINEARS:
            raise ExportError(f"wide_linear {wide_linear!r} is unknown. Choices: {', '.join(WIDE_LINEARS)}.")
        self.wide_linear = wide_linear
        super().__init__(graph, lowering, fixed=fixed)

    def prepare(self) -> None:
        import torch.ao.quantization.fx._decomposed  # noqa: F401  # registers torch.ops.quantized_decomposed

        self._codes: dict[int, Tensor] = {}  # int8 codes of the values of a run, by value id
        for value in self.graph.values:
            if isinstance(value.op, Linear) and self.graph.operands(value)[1].type.dtype is DType.I8:
                self._store(value)

    def _store(self, value: Value) -> None:
        x, weight = self.graph.operands(value)[:2]
        codes, channels = torch.tensor(self.graph.constant(weight)), weight.type.shape[0]
        if x.type.dtype is DType.I16 and self._in_digits(x.type):
            # x = s (256 hi + lo + 128), and the sum over 128 s W is a constant.
            sums = 128.0 * scale_of(x.type) * self.graph.constant(weight).sum(axis=1) * scales_of(weight.type)
            self.register_buffer(f"offset{value.id}", torch.tensor(sums, dtype=torch.float32))
            self.register_buffer(f"range{value.id}", torch.tensor(_RANGE, dtype=torch.float32))
            codes = F.pad(codes, (0, 2))
        elif x.type.dtype is DType.I8 and not is_static(value, x.type):
            ends = [scale_of(x.type) * (code - qparams_of(x.type).zero_point) for code in _RANGE]
            self.register_buffer(f"range{value.id}", torch.tensor(ends, dtype=torch.float32))
            codes = F.pad(codes, (0, 2))
        self.register_buffer(f"codes{value.id}", codes)
        scales = torch.tensor(scales_of(weight.type), dtype=torch.float32).expand(channels).contiguous()
        self.register_buffer(f"scales{value.id}", scales)
        self.register_buffer(f"zeros{value.id}", torch.zeros(channels, dtype=torch.int64))

    def _in_digits(self, type: TensorType) -> bool:
        return self.wide_linear == "digits" or (self.wide_linear == "auto" and type.domain is Domain.GRAPH)

    def run(self, structure: Structure) -> tuple[Tensor, ...]:
        try:
            return super().run(structure)
        finally:
            self._codes.clear()

    def emit(self, op: ops.Op, call: Call) -> Tensor:
        # Every reader of an int8 value dequantizes its codes anew. XNNPACK takes a dequantization into the int8 op that
        # reads it, and whoever else reads the same node is then given codes in place of numbers (executorch 1.4).
        operands = zip(call.value.inputs, call.tensors, call.types, strict=True)
        tensors = tuple(_real(self._codes[i], t) if i in self._codes else tensor for i, tensor, t in operands)
        return super().emit(op, replace(call, tensors=tensors))

    def product(self, call: Call) -> Tensor:
        x, x_type, value, bias = call.tensors[0], call.types[0], call.value, call.operand("bias")
        codes, scales, zeros = (getattr(self, f"{name}{value.id}") for name in ("codes", "scales", "zeros"))
        quantized = torch.ops.quantized_decomposed
        weight = quantized.dequantize_per_channel(codes, scales, zeros, 0, -127, 127, torch.int8)
        if is_static(value, x_type):
            return F.linear(x, weight, bias)
        if x_type.dtype is DType.I16 and self._in_digits(x_type):
            code = x * (1.0 / scale_of(x_type))
            high = torch.floor(code * (1.0 / 256.0))
            low = code - high * 256.0 - 128.0
            ends = getattr(self, f"range{value.id}")
            # The weights are in the file twice: XNNPACK's serializer keeps one copy per product.
            high, low = (F.linear(_by_rows(_spanning(digit, ends)), weight) for digit in (high, low))
            total = (high * 256.0 + low) * scale_of(x_type) + getattr(self, f"offset{value.id}")
            return total if bias is None else total + bias
        if x_type.dtype is DType.I8:
            x = _spanning(x, getattr(self, f"range{value.id}"))
        return F.linear(_by_rows(x), weight, bias)

    def on_grid(self, y: Tensor, value: Value) -> Tensor:
        quantized, zero_point = torch.ops.quantized_decomposed, qparams_of(value.type).zero_point
        codes = quantized.quantize_per_tensor(y, scale_of(value.type), zero_point, *_RANGE, torch.int8)
        self._codes[value.id] = codes
        return _real(codes, value.type)


def is_static(linear: Value, x: TensorType) -> bool:
    """Whether a Linear is XNNPACK's static int8 product: int8 in, int8 out, and nothing in between, such as a cut to 4 bits."""
    assert isinstance(linear.op, Linear)
    is_int8 = x.dtype is linear.type.dtype is DType.I8 and qparams_of(linear.type).bits == 8
    return is_int8 and linear.op.row_factor is None


def _real(codes: Tensor, type: TensorType) -> Tensor:
    zero_point, quantized = qparams_of(type).zero_point, torch.ops.quantized_decomposed
    return quantized.dequantize_per_tensor(codes, scale_of(type), zero_point, *_RANGE, torch.int8)


def _by_rows(x: Tensor) -> Tensor:
    """x through 8-bit codes. Written with one range for all rows, which is how XNNPACK's per-row product is spelt."""
    quantized = torch.ops.quantized_decomposed
    scale, zero = quantized.choose_qparams(x, *_RANGE, torch.finfo(torch.float32).eps, torch.int8)
    codes = quantized.quantize_per_tensor(x, scale, zero, *_RANGE, torch.int8)
    return quantized.dequantize_per_tensor(codes, scale, zero, *_RANGE, torch.int8)


def _spanning(x: Tensor, ends: Tensor) -> Tensor:
    """Two more columns that hold both ends of a range: [N, C + 2]."""
    return torch.cat((x, x[:, :1] * 0.0 + ends), dim=1)
