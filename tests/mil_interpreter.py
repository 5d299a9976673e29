"""A Core ML package read back and computed in numpy: exactly the operations that the exporter writes, as Apple documents them.

It stands in for Core ML, which runs on Apple's systems only: it proves wiring, weights, axes and shapes of the written file, not
Core ML's kernels. It reads the serialized specification and weight file and shares no code with the exporter. Every value must have
the type and the known sizes that the file states for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from coremltools.libmilstoragepython import _BlobStorageReader as BlobReader
from coremltools.proto import FeatureTypes_pb2, MIL_pb2, Model_pb2

Array = np.ndarray
ML = "Data/com.apple.CoreML"
_DTYPES = {
    MIL_pb2.FLOAT32: np.float32, MIL_pb2.FLOAT16: np.float16, MIL_pb2.INT32: np.int32, MIL_pb2.BOOL: np.bool_,
}  # fmt: skip
_CASTS = {"fp32": np.float32, "fp16": np.float16, "int32": np.int32, "bool": np.bool_}


class MilModel:
    """The ML Program of a package."""

    def __init__(self, package: Path) -> None:
        self.specification = Model_pb2.Model()
        self.specification.ParseFromString((package / ML / "model.mlmodel").read_bytes())
        function = self.specification.mlProgram.functions["main"]
        self.block = function.block_specializations[function.opset]
        self.inputs = {feature.name: feature.type.multiArrayType for feature in self.specification.description.input}
        self.weights = BlobReader(str(package / ML / "weights" / "weight.bin"))

    @property
    def kinds(self) -> list[str]:
        """The operations in order, without constants."""
        return [operation.type for operation in self.block.operations if operation.type != "const"]

    def run(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        """The outputs for one set of inputs, which must have the stated types and lie in the stated ranges."""
        assert feeds.keys() == self.inputs.keys()
        for name, array in feeds.items():
            _check_input(name, array, self.inputs[name])
        values: dict[str, Any] = dict(feeds)
        with np.errstate(all="ignore"):
            for operation in self.block.operations:
                (stated,) = operation.outputs
                result = self._constant(operation) if operation.type == "const" else _computed(operation, values)
                _check_result(operation, stated, result)
                values[stated.name] = result
        return tuple(values[feature.name] for feature in self.specification.description.output)

    def _constant(self, operation: MIL_pb2.Operation) -> Any:
        value = operation.attributes["val"]
        if value.WhichOneof("value") == "immediateValue":
            return _immediate(value)
        shape = [dim.constant.size for dim in value.type.tensorType.dimensions]
        offset = value.blobFileValue.offset
        assert value.blobFileValue.fileName == "@model_path/weights/weight.bin"
        if value.type.tensorType.dataType == MIL_pb2.FLOAT16:
            return np.array(self.weights.read_fp16_data(offset), np.uint16).view(np.float16).reshape(shape)
        assert value.type.tensorType.dataType == MIL_pb2.FLOAT32
        return np.array(self.weights.read_float_data(offset), np.float32).reshape(shape)


def _immediate(value: MIL_pb2.Value) -> Any:
    tensor, type = value.immediateValue.tensor, value.type.tensorType
    shape = [dim.constant.size for dim in type.dimensions]
    kind = tensor.WhichOneof("value")
    if kind == "strings":
        return tensor.strings.values[0]
    if kind == "bytes":
        assert type.dataType == MIL_pb2.FLOAT16
        return np.frombuffer(tensor.bytes.values, np.float16).reshape(shape)
    return np.array(getattr(tensor, kind).values, _DTYPES[type.dataType]).reshape(shape)


def _computed(operation: MIL_pb2.Operation, values: Mapping[str, Any]) -> Any:
    arguments = {
        name: [values[binding.name] for binding in argument.arguments] for name, argument in operation.inputs.items()
    }
    given = {name: items if name == "values" else items[0] for name, items in arguments.items()}
    return _OPERATIONS[operation.type](**given)


def _check_input(name: str, array: Array, type: FeatureTypes_pb2.ArrayFeatureType) -> None:
    wanted = {FeatureTypes_pb2.ArrayFeatureType.FLOAT32: np.float32, FeatureTypes_pb2.ArrayFeatureType.INT32: np.int32}
    assert array.dtype == wanted[type.dataType], name
    ranges = [(r.lowerBound, r.upperBound) for r in type.shapeRange.sizeRanges]
    ranges = ranges or [(size, size) for size in type.shape]
    assert len(ranges) == array.ndim, name
    assert all(low <= size <= high for size, (low, high) in zip(array.shape, ranges, strict=True)), (name, array.shape)


def _check_result(operation: MIL_pb2.Operation, stated: MIL_pb2.NamedValueType, result: Any) -> None:
    if isinstance(result, str):
        return
    type, place = stated.type.tensorType, f"{operation.type} {stated.name}"
    assert result.dtype == _DTYPES[type.dataType], (place, result.dtype)
    sizes = [d.constant.size if d.WhichOneof("dimension") == "constant" else None for d in type.dimensions]
    assert len(sizes) == result.ndim, (place, result.shape, sizes)
    assert all(s in (None, n) for s, n in zip(sizes, result.shape, strict=True)), (place, result.shape, sizes)


# --- operations: iOS17.*.html of Apple's MIL reference ----------------------------------------------------------------


def _gather(x: Array, indices: Array, axis: Array, batch_dims: Array, validate_indices: Array) -> Array:
    assert batch_dims == 0 and not validate_indices and _in_range(indices, x.shape[int(axis)])
    return np.take(x, indices, axis=int(axis))


def _scatter(data: Array, indices: Array, updates: Array, axis: Array, mode: str, validate_indices: Array) -> Array:
    assert axis == 0 and not validate_indices and _in_range(indices, len(data))
    assert updates.shape == (len(indices), *data.shape[1:])
    result = data.copy()
    {"add": np.add, "max": np.maximum, "mul": np.multiply}[mode].at(result, indices, updates)
    return result


def _in_range(indices: Array, size: int) -> bool:
    return bool(((indices >= 0) & (indices < size)).all())


def _linear(x: Array, weight: Array, bias: Array) -> Array:
    return x @ weight.T + bias


def _matmul(x: Array, y: Array, transpose_x: Array, transpose_y: Array) -> Array:
    assert not transpose_x and not transpose_y
    return x @ y


def _slice_by_size(x: Array, begin: Array, size: Array) -> Array:
    stops = (None if n == -1 else b + n for b, n in zip(begin, size, strict=True))
    return x[tuple(slice(b, stop) for b, stop in zip(begin, stops, strict=True))]


def _concat(values: list[Array], axis: Array, interleave: Array) -> Array:
    assert not interleave
    return np.concatenate(values, axis=int(axis))


def _gelu(x: Array, mode: str) -> Array:
    if mode == "EXACT":
        return (x * 0.5 * (1 + np.vectorize(math.erf, otypes=[np.float64])(x / math.sqrt(2)))).astype(x.dtype)
    assert mode == "TANH_APPROXIMATION"
    return (0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))).astype(x.dtype)


def _softmax(x: Array, axis: Array) -> Array:
    weights = np.exp(x - x.max(axis=int(axis), keepdims=True))
    return weights / weights.sum(axis=int(axis), keepdims=True)


def _reduced(function: Callable[..., Array]) -> Callable[..., Array]:
    def reduce(x: Array, axes: Array, keep_dims: Array) -> Array:
        return np.asarray(function(x, axis=tuple(axes), keepdims=bool(keep_dims)), x.dtype)

    return reduce


_OPERATIONS: dict[str, Callable[..., Any]] = {
    "abs": lambda x: np.abs(x),
    "add": lambda x, y: x + y,
    "cast": lambda x, dtype: x.astype(_CASTS[dtype]),
    "concat": _concat,
    "elu": lambda x, alpha: np.where(x > 0, x, alpha * (np.exp(np.minimum(x, 0)) - 1)),
    "exp": lambda x: np.exp(x),
    "fill": lambda shape, value: np.full(tuple(shape), value, value.dtype),
    "gather": _gather,
    "gelu": _gelu,
    "greater": lambda x, y: np.asarray(x > y),
    "identity": lambda x: x,
    "leaky_relu": lambda x, alpha: np.where(x >= 0, x, alpha * x),
    "linear": _linear,
    "log": lambda x, epsilon: np.log(x + epsilon),
    "matmul": _matmul,
    "maximum": lambda x, y: np.maximum(x, y),
    "mul": lambda x, y: x * y,
    "real_div": lambda x, y: x / y,
    "reduce_max": _reduced(np.max),
    "reduce_mean": _reduced(np.mean),
    "reduce_sum": _reduced(np.sum),
    "relu": lambda x: np.maximum(x, x.dtype.type(0)),
    "reshape": lambda x, shape: x.reshape(tuple(shape)),
    "scatter": _scatter,
    "select": lambda cond, a, b: np.where(cond, a, b),
    "shape": lambda x: np.array(x.shape, np.int32),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "slice_by_size": _slice_by_size,
    "softmax": _softmax,
    "sqrt": lambda x: np.sqrt(x),
    "sub": lambda x, y: x - y,
    "tanh": lambda x: np.tanh(x),
}
