"""Values: the names under which the values of a Graph are known while one branch of an ONNX file is written."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from toolchain.exporters.constants import qparams_of, real_constant, uncut_ends
from toolchain.exporters.onnx_writer import OnnxWriter
from toolchain.ir import DType, Graph, Value
from toolchain.ir.ops import Const


@dataclass(slots=True)
class Values:
    """Every value has a real form, float32, and an int8 value also its codes, as uint8: 128 more than in the Graph.

    The real form of codes is written when it is first asked for. An int16 or int32 value has only its real form, which
    holds more than 16 bits; an int16 one is cut at the ends of its range.
    """

    graph: Graph
    writer: OnnxWriter
    _real: dict[int, str] = field(default_factory=dict)
    _codes: dict[int, str] = field(default_factory=dict)

    def real(self, id: int) -> str:
        """The float32 form of a value."""
        if id not in self._real:
            value = self.graph.values[id]
            if isinstance(value.op, Const):
                array = real_constant(self.graph, value)
                is_half = value.op.is_half
                self._real[id] = (
                    self.writer.widened(array.astype(np.float16)) if is_half else self.writer.constant(array)
                )
            else:
                self._real[id] = self.writer.op("DequantizeLinear", self._codes[id], *self._parameters(value))
        return self._real[id]

    def codes(self, id: int) -> str:
        """The uint8 form of an int8 value."""
        return self._codes[id]

    def store(self, id: int, raw: str) -> None:
        """Keep the float result of a value, cut at the ends of its range; an int8 value is rounded to its codes."""
        value = self.graph.values[id]
        ends = uncut_ends(value)
        if ends is not None:
            raw = self.writer.op("Clip", raw, *(self.writer.constant(end) for end in ends))
        if value.type.dtype is DType.I8:
            self._codes[id] = self.writer.op("QuantizeLinear", raw, *self._parameters(value))
        else:
            self._real[id] = raw

    def _parameters(self, value: Value) -> tuple[str, str]:
        qparams = qparams_of(value)
        return self.writer.constant(qparams.scale[0]), self.writer.constant(np.uint8(qparams.zero_point + 128))
