"""Quantized Graphs in ExecuTorch: the quantize and dequantize patterns that XNNPACK's partitioner turns into int8 kernels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from toolchain.exporters.quantized_module import QuantizedModule, qparams_of, scale_of, scales_of
from toolchain.ir.ops import Linear
from toolchain.ir.types import DType, TensorType
from toolchain.torch_ops import Call

_RANGE = (-128, 127)


class XnnpackInt8Module(QuantizedModule):
    """A quantized Graph for XNNPACK.

    A Linear from an int8 value straight to an int8 value is XNNPACK's static int8 product (qs8-qc8w). Any other Linear
    (of an int16 or float value, to int32 logits, or with a row factor before its rounding) is the product with a float
    result, whose input is quantized to 8 bits row by row in each run (qd8-f32-qc8w): a row has its own range, so a
    16-bit value keeps more of its width than under one scale.
    """

    def prepare(self) -> None:
        import torch.ao.quantization.fx._decomposed  # registers torch.ops.quantized_decomposed

        for value in self.graph.values:
            if not isinstance(value.op, Linear):
                continue
            weight = self.graph.operands(value)[1]
            if weight.type.dtype is DType.I8:
                channels = weight.type.shape[0]
                scales = torch.tensor(scales_of(weight.type), dtype=torch.float32).expand(channels).contiguous()
                self.register_buffer(f"scales{value.id}", scales)
                self.register_buffer(f"zeros{value.id}", torch.zeros(channels, dtype=torch.int64))

    def product(self, call: Call) -> Tensor:
        number, quantized = call.value.id, torch.ops.quantized_decomposed
        scales, zeros = getattr(self, f"scales{number}"), getattr(self, f"zeros{number}")
        weight = quantized.dequantize_per_channel(call.tensors[1], scales, zeros, 0, -127, 127, torch.int8)
        x = call.tensors[0]
        if not is_static(call):
            scale, zero = quantized.choose_qparams(x, *_RANGE, torch.finfo(torch.float32).eps, torch.int8)
            codes = quantized.quantize_per_tensor(x, scale, zero, *_RANGE, torch.int8)
            x = quantized.dequantize_per_tensor(codes, scale, zero, *_RANGE, torch.int8)
        return F.linear(x, weight, call.operand("bias"))

    def on_grid(self, y: Tensor, to: TensorType) -> Tensor:
        quantized, parameters = torch.ops.quantized_decomposed, (scale_of(to), qparams_of(to).zero_point, *_RANGE)
        codes = quantized.quantize_per_tensor(y, *parameters, torch.int8)
        return quantized.dequantize_per_tensor(codes, *parameters, torch.int8)


def is_static(call: Call) -> bool:
    """Whether a Linear is XNNPACK's static int8 product."""
    op = call.value.op
    assert isinstance(op, Linear)
    return call.types[0].dtype is DType.I8 and call.value.type.dtype is DType.I8 and op.row_factor is None
