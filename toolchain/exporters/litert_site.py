"""Site: one value to emit into a .tflite file, and the small compositions that several ops share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
from ai_edge_litert.schema_py_generated import ActivationFunctionType, TensorType

from toolchain.exporters.litert_values import Values
from toolchain.exporters.litert_writer import LiteRtWriter
from toolchain.exporters.value_site import ValueSite
from toolchain.ir import Domain
from toolchain.ir.ops import RowFactor

NONE, RELU = (
    int(ActivationFunctionType.NONE),
    int(ActivationFunctionType.RELU),
)  # what an operator applies to its result
INT32 = int(TensorType.INT32)
FULLY_CONNECTED_WITHOUT_BIAS = 6  # the first version that allows it


class Compat(Enum):
    """Which runtime a file is for."""

    LITERT = "litert"  # ai-edge-litert 2.3 and newer
    TFLITE_RUNTIME = "tflite-runtime"  # also tflite-runtime 2.14, the last of its name, which boards still have


@dataclass(frozen=True, slots=True)
class Site(ValueSite[int]):
    """One value to emit into a .tflite file.

    Attributes:
        values: what was emitted so far.
    """

    values: Values
    writer: LiteRtWriter
    compat: Compat = Compat.LITERT

    def real(self, id: int) -> int:
        return self.values.real(id)

    def rowwise(self, kind: str, *inputs: int, channels: int | None = None, version: int = 1, **options: Any) -> int:
        """An operator whose float result has one row for each row of the value, and its channels unless stated."""
        shape = (-1, self.channels if channels is None else channels)
        return self.writer.op(kind, *inputs, shape=shape, version=version, **options)

    def scaled(self, x: int, factor: RowFactor | None, channels: int | None = None) -> int:
        """x times a topology's row factor, where there is one."""
        return x if factor is None else self.rowwise("MUL", x, self.feeds.row_factor(factor), channels=channels)

    def linear(self, x: int, weight: int, bias: int | None, *, channels: int, activation: int = NONE) -> int:
        """f(x W^T + b) with W [out, in]."""
        version = FULLY_CONNECTED_WITHOUT_BIAS if bias is None else 1
        operands = (x, weight, -1 if bias is None else bias)
        return self.rowwise(
            "FULLY_CONNECTED", *operands, channels=channels, version=version, FusedActivationFunction=activation
        )

    def reshaped(self, x: int, shape: tuple[int, ...], dtype: str = "float32") -> int:
        """x in another shape; -1 stands for the rows."""
        return self.writer.once("RESHAPE", x, self.integers(*shape), shape=shape, dtype=dtype)

    def shape(self, x: int) -> int:
        """The shape of a tensor, int32: known before the model runs, once the inputs have theirs."""
        return self.writer.once("SHAPE", x, shape=(self.writer.rank(x),), dtype="int32", OutType=INT32)

    def node_shape(self, channels: int) -> int:
        """[number of nodes, channels], from the first tensor of that shape where there is one."""
        same = self.values.first_real(Domain.NODE, channels)
        if same is not None:
            return self.shape(same)
        start, size = self.integers(0), self.integers(1)
        rows = self.writer.once("SLICE", self.shape(self.nodes), start, size, shape=(1,), dtype="int32")
        return self.writer.once("CONCATENATION", rows, self.integers(channels), shape=(2,), dtype="int32", Axis=0)

    def integers(self, *numbers: int) -> int:
        """A stored vector of int32."""
        return self.writer.constant(np.array(numbers, np.int32))
