"""Values: the tensors that the values of a Graph are while a .tflite file is written."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from toolchain.exporters.constants import qparams_of, real_constant, uncut_ends
from toolchain.exporters.litert_serializer import Quantization
from toolchain.exporters.litert_writer import LiteRtWriter
from toolchain.ir import Domain, DType, Graph
from toolchain.ir.ops import Const

DEQUANTIZE_INT8 = 2  # the first version of the operator that takes int8
DEQUANTIZE_FLOAT16 = 3  # the first that takes float16


@dataclass(slots=True)
class Values:
    """Every value has a real form, float32, and an int8 value also its codes.

    Each form of an int8 value is written when it is first asked for, except that a float result is always rounded to codes.
    An int16 or int32 value has only its real form, which holds more than 16 bits; an int16 one is cut at the ends of its range.
    """

    graph: Graph
    writer: LiteRtWriter
    _real: dict[int, int] = field(default_factory=dict)
    _codes: dict[int, int] = field(default_factory=dict)

    def real(self, id: int) -> int:
        """The float32 form of a value."""
        if id not in self._real:
            value = self.graph.values[id]
            if isinstance(value.op, Const):
                array = real_constant(self.graph, value)
                self._real[id] = self._widened(array) if value.op.is_half else self.writer.constant(array)
            else:
                shape = (-1, value.type.channels)
                self._real[id] = self.writer.op("DEQUANTIZE", self._codes[id], shape=shape, version=DEQUANTIZE_INT8)
        return self._real[id]

    def _widened(self, array: np.ndarray) -> int:
        """float32 of a constant that is stored as float16: XNNPACK reads the halves, other kernels get it once."""
        halves = self.writer.constant(array.astype(np.float16))
        return self.writer.once("DEQUANTIZE", halves, shape=array.shape, version=DEQUANTIZE_FLOAT16)

    def codes(self, id: int) -> int:
        """The int8 form of an int8 value."""
        return self._codes[id]

    def first_real(self, domain: Domain, channels: int) -> int | None:
        """The first float32 tensor with one row for each row of a domain and that many channels, among those written."""
        types = [(id, self.graph.values[id].type) for id in self._real]
        return next((self._real[id] for id, t in types if t.domain is domain and t.channels == channels), None)

    def store(self, id: int, raw: int) -> None:
        """Keep the float result of a value, cut at the ends of its range; an int8 value is rounded to its codes."""
        value = self.graph.values[id]
        shape = (-1, value.type.channels)
        ends = uncut_ends(value)
        if ends is not None:
            raw = self.writer.op("MAXIMUM", raw, self.writer.constant(float(ends[0])), shape=shape)
            raw = self.writer.op("MINIMUM", raw, self.writer.constant(float(ends[1])), shape=shape)
        if value.type.dtype is not DType.I8:
            self._real[id] = raw
            return
        qparams = qparams_of(value)
        quantization = Quantization(qparams.scale, qparams.zero_point)
        self._codes[id] = self.writer.op("QUANTIZE", raw, shape=shape, dtype="int8", quantization=quantization)

    def store_codes(self, id: int, codes: int) -> None:
        """Keep the int8 result of a value."""
        self._codes[id] = codes
