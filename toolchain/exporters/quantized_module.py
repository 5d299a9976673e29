"""What the torch exporters share for quantized Graphs: values as real numbers, on the grids of their types."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from toolchain.exporters.feed_module import FeedModule
from toolchain.ir import Graph, ops
from toolchain.ir.graph import Value
from toolchain.ir.ops import Const, Linear
from toolchain.ir.types import DType, QParams, TensorType
from toolchain.torch_ops import Call, activate, scale_rows


def is_quantized(graph: Graph) -> bool:
    """Whether any value or constant holds integer codes."""
    return any(value.type.dtype.is_integer for value in graph.values)


class QuantizedModule(FeedModule):
    """A FeedModule of a quantized Graph: every op computes its float meaning on real numbers, and every result is brought
    into the range, and int8 results onto the grid, of its type. Subclasses bring the int8 product and the rounding.
    """

    def _register(self, op: Const, array: np.ndarray, dtype: torch.dtype) -> None:
        if self._is_linear_weight(op):
            return  # each Linear stores the form of them that its kernel reads
        if op.type.qparams is not None:  # self_scale, biases, factors and attention vectors as real numbers
            real = TensorType(op.type.domain, op.type.shape)
            scales = scales_of(op.type)
            per_row = scales.reshape(-1, *[1] * (array.ndim - 1)) if scales.size > 1 else scales
            array = (array * per_row).astype(np.float32)
            op = replace(op, type=real)
        super()._register(op, array, dtype)

    def _is_linear_weight(self, op: Const) -> bool:
        """Whether a constant holds the int8 codes of a Linear; the int8 codes of a HeadDot are read as real numbers."""
        if op.type.dtype is not DType.I8:
            return False
        readers = (v for v in self.graph.values if isinstance(v.op, ops.HeadDot))
        return all(self.graph.values[v.inputs[1]].op != op for v in readers)

    def product(self, call: Call) -> Tensor:
        """x W^T + b with int8 weights: [rows, out] float32."""
        raise NotImplementedError(type(self).__name__)  # abstract: every subclass defines it

    def on_grid(self, y: Tensor, value: Value) -> Tensor:
        """The result of an int8 value on the grid of its type, saturating."""
        raise NotImplementedError(type(self).__name__)  # abstract: every subclass defines it

    def emit(self, op: ops.Op, call: Call) -> Tensor:
        if isinstance(op, Const) and self._is_linear_weight(op):
            return torch.empty(0)  # read by nobody
        if isinstance(op, Linear) and call.types[1].dtype is DType.I8:
            y = scale_rows(activate(op.activation, self.product(call)), op.row_factor, call.structure)
        elif isinstance(op, ops.Quantize):
            y = scale_rows(call.tensors[0], op.row_factor, call.structure)
        elif isinstance(op, ops.Dequantize):
            y = call.tensors[0]  # values are real numbers already
        else:
            y = super().emit(op, call)
        if isinstance(op, Const) or call.value.type.dtype not in (DType.I8, DType.I16):
            return y
        qparams, scale = qparams_of(call.value.type), scale_of(call.value.type)
        if qparams.bits != 8:  # the rounding of int8 results saturates at 8 bits only
            low, high = (scale * (code - qparams.zero_point) for code in qparams.code_range)
            y = y.clamp(low, high)
        return self.on_grid(y, call.value) if call.value.type.dtype is DType.I8 else y


def qparams_of(type: TensorType) -> QParams:
    assert type.qparams is not None, f"{type} carries no quantization parameters"
    return type.qparams


def scale_of(type: TensorType) -> float:
    """The one scale of a value."""
    return qparams_of(type).scale[0]


def scales_of(type: TensorType) -> np.ndarray:
    """All scales of a constant: one, or one per output channel. float64."""
    return np.asarray(qparams_of(type).scale, np.float64)
