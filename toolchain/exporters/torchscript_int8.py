"""Quantized Graphs in TorchScript: int8 weights packed for one engine, products in its int8 kernels, values as float.

Every value is a float tensor of real numbers: an int8 value lies on its grid, an int16 value anywhere in its range.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from toolchain.errors import ExportError
from toolchain.exporters.feed_module import FeedModule, Lowering
from toolchain.ir import Graph, ops
from toolchain.ir.graph import Value
from toolchain.ir.ops import Const, Linear
from toolchain.ir.types import DType, QParams, TensorType
from toolchain.torch_ops import Call, activate, scale_rows

WIDE_LINEARS = ("digits", "dynamic")


def is_quantized(graph: Graph) -> bool:
    """Whether any value or constant holds integer codes."""
    return any(value.type.dtype.is_integer for value in graph.values)


class QuantizedFeedModule(FeedModule):
    """A FeedModule of a quantized Graph.

    The engines have one int8 product with a float result, `linear_dynamic`, which chooses the range of x itself. A
    value with a stated range is given one more row that spans that range, so that the choice becomes the stated one
    and the product is the exact integer sum.

    Args:
        wide_linear: how a Linear reads an int16 value: "digits" as two 8-bit digits of its code, exactly; "dynamic" as
            8-bit codes over the range that the value has in this run.
    """

    def __init__(self, graph: Graph, lowering: Lowering, *, wide_linear: str = "digits") -> None:
        if wide_linear not in WIDE_LINEARS:
            raise ExportError(f"wide_linear {wide_linear!r} is unknown. Choices: {', '.join(WIDE_LINEARS)}.")
        self.wide_linear = wide_linear
        super().__init__(graph, lowering)

    def _register(self, op: Const, array: np.ndarray, dtype: torch.dtype) -> None:
        if op.type.qparams is not None and op.type.dtype is not DType.I8:  # self_scale and biases as real numbers
            scale = np.asarray(op.type.qparams.scale, np.float64)
            real = TensorType(op.type.domain, op.type.shape)
            op, array = Const(op.name, real, op.trainable, op.pruned), (array * scale).astype(np.float32)
        super()._register(op, array, dtype)

    def prepare(self) -> None:
        """Pack the weights of each Linear, and store what its input's range needs."""
        for value in self.graph.values:
            if isinstance(value.op, Linear) and self.graph.operands(value)[1].type.dtype is DType.I8:
                self._pack(value)

    def _pack(self, value: Value) -> None:
        x, weight = self.graph.operands(value)[:2]
        codes = torch.tensor(self.graph.constant(weight))
        bias = self.graph.operand(value, "bias")
        offset = None if bias is None else self.constant(bias.op.name)  # type: ignore[attr-defined]  # a Const
        if x.type.dtype is DType.I16 and self.wide_linear == "digits":
            # x = s (256 hi + lo + 128), so the sum over 128 s W joins the bias.
            sums = 128.0 * _scale(x.type) * self.graph.constant(weight).sum(axis=1) * _scales(weight.type)
            correction = torch.tensor(sums, dtype=torch.float32)
            self.register_buffer(f"offset{value.id}", correction if offset is None else correction + offset)
            offset = None
            self.register_buffer(f"range{value.id}", _range_rows(-128.0, 127.0, x.type.channels))
        elif x.type.dtype is DType.I8:
            low, high = (_scale(x.type) * (code - _qparams(x.type).zero_point) for code in (-128, 127))
            self.register_buffer(f"range{value.id}", _range_rows(low, high, x.type.channels))
        setattr(self, f"packed{value.id}", torch.ops.quantized.linear_prepack(_quantized(codes, weight.type), offset))

    def emit(self, op: ops.Op, call: Call) -> Tensor:
        if isinstance(op, Linear) and call.types[1].dtype is DType.I8:
            y = scale_rows(activate(op.activation, self._product(call)), op.row_factor, call.structure)
        elif isinstance(op, ops.Quantize):
            y = scale_rows(call.tensors[0], op.row_factor, call.structure)
        elif isinstance(op, ops.Dequantize):
            y = call.tensors[0]  # values are real numbers already
        else:
            y = super().emit(op, call)
        return y if isinstance(op, Const) else on_grid(y, call.value.type)

    def _product(self, call: Call) -> Tensor:
        """x W^T + b through the engine's int8 kernel: [rows, out] float32."""
        x, x_type, number = call.tensors[0], call.types[0], call.value.id
        packed = getattr(self, f"packed{number}")
        extra = _range_row_count(x_type.channels)
        if x_type.dtype is DType.I8:
            ranged = torch.cat((x, getattr(self, f"range{number}")))
            return torch.ops.quantized.linear_dynamic(ranged, packed)[:-extra]
        if x_type.dtype is DType.I16 and self.wide_linear == "digits":
            code = x * (1.0 / _scale(x_type))
            high = torch.floor(code * (1.0 / 256.0))
            low = code - high * 256.0 - 128.0
            digits = torch.cat((high, low, getattr(self, f"range{number}")))  # [2 N + 1, in]
            sums = torch.ops.quantized.linear_dynamic(digits, packed)[:-extra].unflatten(0, (2, -1))  # [2, N, out]
            return (sums[0] * 256.0 + sums[1]) * _scale(x_type) + getattr(self, f"offset{number}")
        return torch.ops.quantized.linear_dynamic(x, packed)


def on_grid(y: Tensor, type: TensorType) -> Tensor:
    """Round an int8 value to its grid, and keep int8 and int16 values within their ranges."""
    if type.dtype not in (DType.I8, DType.I16):
        return y
    low, high = _qparams(type).code_range
    if type.dtype is DType.I16:
        return y.clamp(low * _scale(type), high * _scale(type))
    return torch.fake_quantize_per_tensor_affine(y, _scale(type), _qparams(type).zero_point, low, high)


def _qparams(type: TensorType) -> QParams:
    assert type.qparams is not None, f"{type} carries no quantization parameters"
    return type.qparams


def _scale(type: TensorType) -> float:
    return _qparams(type).scale[0]


def _scales(type: TensorType) -> np.ndarray:
    return np.asarray(_qparams(type).scale, np.float64)


def _range_row_count(channels: int) -> int:
    return 1 if channels > 1 else 2


def _range_rows(low: float, high: float, channels: int) -> Tensor:
    """Rows that hold both ends of a range: one row, or two where rows have one channel."""
    rows = torch.zeros(_range_row_count(channels), channels)
    rows.view(-1)[0], rows.view(-1)[-1] = low, high
    return rows


def _quantized(codes: Tensor, type: TensorType) -> Tensor:
    """A torch quantized tensor of weight codes [out, in], per output channel or per tensor."""
    scales = torch.tensor(_scales(type))
    with warnings.catch_warnings():
        # torch 2.13 announces the end of quantized tensors; the packed weights of its int8 kernels are made of them.
        warnings.filterwarnings("ignore", message=".*quantized tensor creation functions", category=UserWarning)
        if _qparams(type).axis is None:
            return torch._make_per_tensor_quantized_tensor(codes, float(scales[0]), 0)
        return torch._make_per_channel_quantized_tensor(codes, scales, torch.zeros(len(scales), dtype=torch.int64), 0)
