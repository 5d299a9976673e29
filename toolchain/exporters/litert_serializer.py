"""Serializer: the parts of a .tflite file, each written once.

With the flatbuffers builder and the schema's own functions, so that equal parts are stored once: constants, shapes, operand
lists, options. `python -m device_benchmarks.export_size_study` prints what a file holds beside its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

SCHEMA_VERSION = 3
SIGNATURE_KEY = "serving_default"
CONSTANT_ALIGNMENT = 16  # of the data of constants in the file, as the schema asks for: kernels read them in place

# Operators whose attributes are a table of another name than the operator's, or of none.
_OPTIONS = {
    **dict.fromkeys(("MEAN", "REDUCE_MAX", "SUM"), "ReducerOptions"), "BATCH_MATMUL": "BatchMatMulOptions",
    **dict.fromkeys(
        ("ABS", "CAST", "DEQUANTIZE", "ELU", "EXP", "FILL", "GREATER", "LESS", "LOG", "LOGISTIC", "LOG_SOFTMAX",
         "MAXIMUM", "MINIMUM", "NEG", "QUANTIZE", "RELU", "RESHAPE", "SCATTER_ND", "SELECT_V2", "SLICE", "SQRT", "TANH",
         "UNSORTED_SEGMENT_MAX", "UNSORTED_SEGMENT_MIN"), "",
    ),
}  # fmt: skip


# Fields of one byte are written last, beside each other: each would be padded to the four bytes of the field after it.
_ONE_BYTE = frozenset(
    {
        ("Tensor", "Type"),
        ("Tensor", "HasRank"),
        ("Operator", "BuiltinOptionsType"),
        ("OperatorCode", "DeprecatedBuiltinCode"),
    }
)


@dataclass(frozen=True, slots=True)
class Quantization:
    """Codes of a tensor: real = scale * (code - zero_point), one scale or one for each index of `axis`."""

    scale: tuple[float, ...]
    zero_point: int = 0
    axis: int = 0


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a subgraph."""

    dtype: str
    shape: tuple[int, ...]  # -1: known when the model runs
    buffer: int = 0  # 0: not a constant
    name: str = ""
    quantization: Quantization | None = None


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator of a subgraph: its name in the schema, its tensors, and the fields of its options table."""

    kind: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: tuple[tuple[str, Any], ...]


class Serializer:
    """One flatbuffer. What was written before is referred to again, not written again."""

    def __init__(self, buffers: Sequence[bytes], codes: Sequence[tuple[str, int]]) -> None:
        self._buffers = list(buffers)
        self._codes = codes
        self._builder = flatbuffers.Builder(sum(map(len, buffers)) + 4096)
        self._written: dict[object, int] = {}

    def model(self, name: str, subgraph: int, signature: int, metadata: Mapping[str, str]) -> bytes:
        """The finished file."""
        entries = [self._metadata(key, text) for key, text in sorted(metadata.items())]
        codes = [self._operator_code(kind, version) for kind, version in self._codes]
        model = self._table(
            "Model", Version=SCHEMA_VERSION, OperatorCodes=self._offsets(codes), Subgraphs=self._offsets([subgraph]),
            Description=self._string(name), SignatureDefs=self._offsets([signature]), Metadata=self._offsets(entries),
            Buffers=self._offsets([self._buffer(data) for data in self._buffers]),
        )  # fmt: skip
        self._builder.Finish(model, file_identifier=b"TFL3")
        return bytes(self._builder.Output())

    def subgraph(
        self,
        name: str,
        tensors: Sequence[Tensor],
        operators: Sequence[Operator],
        inputs: Mapping[str, int],
        outputs: Mapping[str, int],
    ) -> int:
        return self._table(
            "SubGraph", Name=self._string(name), Tensors=self._offsets([self._tensor(tensor) for tensor in tensors]),
            Operators=self._offsets([self._operator(operator) for operator in operators]),
            Inputs=self._numbers(inputs.values()), Outputs=self._numbers(outputs.values()),
        )  # fmt: skip

    def signature(self, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> int:
        """Inputs and outputs by name, under the key that converters give the only signature of a model."""
        maps = [
            self._offsets([self._table("TensorMap", Name=self._string(n), TensorIndex=t) for n, t in names.items()])
            for names in (inputs, outputs)
        ]
        return self._table("SignatureDef", Inputs=maps[0], Outputs=maps[1], SignatureKey=self._string(SIGNATURE_KEY))

    def _tensor(self, tensor: Tensor) -> int:
        is_dynamic = -1 in tensor.shape
        fields: dict[str, Any] = {"Shape": self._numbers(max(dim, 1) for dim in tensor.shape)}
        if is_dynamic:
            fields["ShapeSignature"] = self._numbers(tensor.shape)
        if tensor.name:
            fields["Name"] = self._string(tensor.name)
        if tensor.quantization is not None:
            fields["Quantization"] = self._quantization(tensor.quantization)
        if not tensor.shape:  # without it no shape would mean an unknown one
            fields["HasRank"] = True
        type = getattr(schema.TensorType, tensor.dtype.upper())
        return self._table("Tensor", Type=type, Buffer=tensor.buffer, **fields)

    def _quantization(self, quantization: Quantization) -> int:
        scale = self._numbers(quantization.scale, np.float32)
        zero = self._numbers([quantization.zero_point] * len(quantization.scale), np.int64)
        return self._table("QuantizationParameters", Scale=scale, ZeroPoint=zero, QuantizedDimension=quantization.axis)

    def _operator(self, operator: Operator) -> int:
        fields: dict[str, Any] = {}
        table = _options_table(operator.kind)
        if table and any(
            value for _, value in operator.options
        ):  # without a table every attribute is 0, as in the table
            fields["BuiltinOptions"] = self._table(table, **dict(operator.options))
            fields["BuiltinOptionsType"] = getattr(schema.BuiltinOptions, table)
        return self._table(
            "Operator", OpcodeIndex=self._codes.index((operator.kind, operator.version)),
            Inputs=self._numbers(operator.inputs), Outputs=self._numbers(operator.outputs), **fields,
        )  # fmt: skip

    def _operator_code(self, kind: str, version: int) -> int:
        code = getattr(schema.BuiltinOperator, kind)
        # Readers from before there were more than 127 operators look at the one-byte field only.
        return self._table("OperatorCode", BuiltinCode=code, DeprecatedBuiltinCode=min(code, 127), Version=version)

    def _metadata(self, key: str, text: str) -> int:
        self._buffers.append(text.encode())
        return self._table("Metadata", Name=self._string(key), Buffer=len(self._buffers) - 1)

    def _buffer(self, data: bytes) -> int:
        if not data:
            return self._table("Buffer")
        self._builder.Prep(CONSTANT_ALIGNMENT, len(data))
        return self._table("Buffer", Data=self._builder.CreateByteVector(data))

    # --- flatbuffers --------------------------------------------------------------------------------------------------

    def _table(self, table: str, **fields: Any) -> int:
        """A table of the schema; equal ones are written once."""
        key = (table, tuple(sorted(fields.items())))
        return self._once(key, lambda: self._new_table(table, fields))

    def _new_table(self, table: str, fields: Mapping[str, Any]) -> int:
        getattr(schema, f"{table}Start")(self._builder)
        for name, value in sorted(fields.items(), key=lambda field: (table, field[0]) in _ONE_BYTE):
            getattr(schema, f"{table}Add{name}")(self._builder, value)
        return int(getattr(schema, f"{table}End")(self._builder))

    def _string(self, text: str) -> int:
        return self._once(("string", text), lambda: self._builder.CreateString(text))

    def _numbers(self, numbers: Any, dtype: Any = np.int32) -> int:
        array = np.array(list(numbers), dtype)
        if not array.size:  # CreateNumpyVector takes no empty array
            return self._once("no numbers", lambda: self._offsets([]))
        key = (array.dtype.str, array.tobytes())
        return self._once(key, lambda: self._builder.CreateNumpyVector(array))

    def _offsets(self, offsets: Sequence[int]) -> int:
        self._builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self._builder.PrependUOffsetTRelative(offset)
        return int(self._builder.EndVector())

    def _once(self, key: object, write: Callable[[], int]) -> int:
        if key not in self._written:
            self._written[key] = int(write())
        return self._written[key]


def _options_table(kind: str) -> str:
    """The schema's table of an operator's attributes; "" where it has none."""
    if kind in _OPTIONS:
        return _OPTIONS[kind]
    return "".join(word.capitalize() for word in kind.split("_")) + "Options"
