"""Quantized Graphs in TorchScript: int8 weights packed for one engine, products in its int8 kernels."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from toolchain.errors import ExportError
from toolchain.exporters.feed_module import Lowering
from toolchain.exporters.fixed_feeds import FixedFeeds
from toolchain.exporters.quantized_module import QuantizedModule, qparams_of, scale_of, scales_of
from toolchain.ir import Graph
from toolchain.ir.graph import Value
from toolchain.ir.ops import Const, Linear
from toolchain.ir.types import DType, TensorType
from toolchain.torch_ops import Call

WIDE_LINEARS = ("digits", "dynamic")


class PackedModule(QuantizedModule):
    """A quantized Graph on one of torch's quantized engines.

    The engines have one int8 product with a float result, `linear_dynamic`, which chooses the range of x itself. A
    value with a stated range is given one more row that spans that range, so that the choice becomes the stated one
    and the product is the exact integer sum.

    Args:
        wide_linear: how a Linear reads an int16 value: "digits" as two 8-bit digits of its code, exactly; "dynamic" as
            8-bit codes over the range that the value has in this run.
    """

    def __init__(
        self, graph: Graph, lowering: Lowering, *, wide_linear: str = "digits", fixed: FixedFeeds | None = None
    ) -> None:
        if wide_linear not in WIDE_LINEARS:
            raise ExportError(f"wide_linear {wide_linear!r} is unknown. Choices: {', '.join(WIDE_LINEARS)}.")
        self.wide_linear = wide_linear
        super().__init__(graph, lowering, fixed=fixed)

    def prepare(self) -> None:
        """Pack the weights of each Linear, and store what its input's range needs."""
        for value in self.graph.values:
            if isinstance(value.op, Linear) and self.graph.operands(value)[1].type.dtype is DType.I8:
                self._pack(value)

    def _pack(self, value: Value) -> None:
        x, weight = self.graph.operands(value)[:2]
        codes, bias = self.graph.constant(weight), self.graph.operand(value, "bias")
        offset = self.constant(bias.op.name) if bias is not None and isinstance(bias.op, Const) else None
        if x.type.dtype is DType.I16 and self.wide_linear == "digits":
            # x = s (256 hi + lo + 128), so the sum over 128 s W joins the bias.
            sums = torch.tensor(
                128.0 * scale_of(x.type) * codes.sum(axis=1) * scales_of(weight.type), dtype=torch.float32
            )
            self.register_buffer(f"offset{value.id}", sums if offset is None else sums + offset)
            offset = None
            self.register_buffer(f"range{value.id}", _range_rows(-128.0, 127.0, x.type.channels))
        elif x.type.dtype is DType.I8:
            low, high = (scale_of(x.type) * (code - qparams_of(x.type).zero_point) for code in (-128, 127))
            self.register_buffer(f"range{value.id}", _range_rows(low, high, x.type.channels))
        packed = torch.ops.quantized.linear_prepack(_quantized(torch.tensor(codes), weight.type), offset)
        setattr(self, f"packed{value.id}", packed)

    def product(self, call: Call) -> Tensor:
        x, x_type, number = call.tensors[0], call.types[0], call.value.id
        packed = getattr(self, f"packed{number}")
        extra = _range_row_count(x_type.channels)
        if x_type.dtype is DType.I8:
            ranged = torch.cat((x, getattr(self, f"range{number}")))
            return torch.ops.quantized.linear_dynamic(ranged, packed)[:-extra]
        if x_type.dtype is DType.I16 and self.wide_linear == "digits":
            code = x * (1.0 / scale_of(x_type))
            high = torch.floor(code * (1.0 / 256.0))
            low = code - high * 256.0 - 128.0
            digits = torch.cat((high, low, getattr(self, f"range{number}")))  # [2 N + 1, in]
            sums = torch.ops.quantized.linear_dynamic(digits, packed)[:-extra].unflatten(0, (2, -1))  # [2, N, out]
            return (sums[0] * 256.0 + sums[1]) * scale_of(x_type) + getattr(self, f"offset{number}")
        return torch.ops.quantized.linear_dynamic(x, packed)

    def on_grid(self, y: Tensor, value: Value) -> Tensor:
        # Not fake_quantize_per_tensor_affine, which is scalar code: 724 us on [620, 64] where these two take 15 us.
        with _quantized_tensors():
            codes = torch.quantize_per_tensor(
                y, scale_of(value.type), qparams_of(value.type).zero_point + 128, torch.quint8
            )
        return codes.dequantize()


@contextmanager
def _quantized_tensors() -> Iterator[None]:
    """torch 2.13 announces the end of quantized tensors; the packed weights of its int8 kernels are made of them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*quantized tensor creation functions", category=UserWarning)
        yield


def _range_row_count(channels: int) -> int:
    return 1 if channels > 1 else 2


def _range_rows(low: float, high: float, channels: int) -> Tensor:
    """Rows that hold both ends of a range: one row, or two where rows have one channel."""
    rows = torch.zeros(_range_row_count(channels), channels)
    rows.view(-1)[0], rows.view(-1)[-1] = low, high
    return rows


def _quantized(codes: Tensor, type: TensorType) -> Tensor:
    """A torch quantized tensor of weight codes [out, in], per output channel or per tensor."""
    scales = torch.tensor(scales_of(type))
    with _quantized_tensors():
        if qparams_of(type).axis is None:
            return torch._make_per_tensor_quantized_tensor(codes, float(scales[0]), 0)
        return torch._make_per_channel_quantized_tensor(codes, scales, torch.zeros(len(scales), dtype=torch.int64), 0)
