"""LiteRtWriter: tensors and operators in, a serialized .tflite out. It knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from toolchain.exporters.litert_serializer import Operator, Quantization, Serializer, Tensor
from toolchain.feeds import Feed


@dataclass(slots=True)
class LiteRtWriter:
    """Collects one model of one subgraph. Methods that add something return the index of its tensor."""

    _tensors: list[Tensor] = field(default_factory=list)
    _operators: list[Operator] = field(default_factory=list)
    _inputs: dict[str, int] = field(default_factory=dict)
    _outputs: dict[str, int] = field(default_factory=dict)
    _buffers: list[bytes] = field(default_factory=lambda: [b""])  # the first stands for "no data"

    def input(self, feed: Feed) -> int:
        """The tensor of a feed: an input of the model from its first use on."""
        if feed.name not in self._inputs:
            shape = tuple(dim if isinstance(dim, int) else -1 for dim in feed.dims)
            self._inputs[feed.name] = self._add(Tensor(feed.dtype, shape, name=feed.name))
        return self._inputs[feed.name]

    def constant(self, array: np.ndarray | float, quantization: Quantization | None = None) -> int:
        """A stored tensor; equal ones are stored once. A Python float becomes a float32 scalar."""
        value = np.asarray(array, np.float32 if isinstance(array, float) else None)
        return self.stored(value.tobytes(), value.shape, value.dtype.name, quantization)

    def stored(self, data: bytes, shape: tuple[int, ...], dtype: str, quantization: Quantization | None = None) -> int:
        """A stored tensor of any type of LiteRT from its bytes, row after row."""
        if data not in self._buffers:
            self._buffers.append(data)
        tensor = Tensor(dtype, shape, self._buffers.index(data), quantization=quantization)
        return self._tensors.index(tensor) if tensor in self._tensors else self._add(tensor)

    def op(
        self,
        kind: str,
        *inputs: int,
        shape: Sequence[int],
        dtype: str = "float32",
        quantization: Quantization | None = None,
        version: int = 1,
        **options: Any,
    ) -> int:
        """Append an operator with one result.

        Args:
            inputs: tensors; -1 is an optional operand left out.
            shape: of the result; -1 for an axis that is known when the model runs.
            version: the first version of the operator that has the meaning asked for: an older runtime refuses the file.
            options: fields of its options table, as the schema names them.
        """
        result = self._add(Tensor(dtype, tuple(shape), quantization=quantization))
        self._operators.append(Operator(kind, version, inputs, (result,), tuple(sorted(options.items()))))
        return result

    def once(
        self,
        kind: str,
        *inputs: int,
        shape: Sequence[int],
        dtype: str = "float32",
        version: int = 1,
        **options: Any,
    ) -> int:
        """As `op`, but an equal operator is used again."""
        wanted = (kind, version, inputs, tuple(sorted(options.items())))
        for known in self._operators:
            if (known.kind, known.version, known.inputs, known.options) == wanted:
                return known.outputs[0]
        return self.op(kind, *inputs, shape=shape, dtype=dtype, version=version, **options)

    def rank(self, tensor: int) -> int:
        """Number of axes of a tensor."""
        return len(self._tensors[tensor].shape)

    def output(self, name: str, tensor: int) -> None:
        """Make a tensor an output. One that is an input, a constant or an output already is copied first."""
        made = {result for operator in self._operators for result in operator.outputs}
        if tensor not in made or tensor in self._outputs.values():
            original = self._tensors[tensor]
            shape = self.constant(np.array(original.shape, np.int32))
            tensor = self.op("RESHAPE", tensor, shape, shape=original.shape, dtype=original.dtype)
        self._tensors[tensor] = replace(self._tensors[tensor], name=name)
        self._outputs[name] = tensor

    @property
    def operator_versions(self) -> dict[str, int]:
        """Operator → the highest version that the file uses."""
        versions: dict[str, int] = {}
        for operator in self._operators:
            versions[operator.kind] = max(versions.get(operator.kind, 1), operator.version)
        return dict(sorted(versions.items()))

    def serialize(self, name: str, metadata: Mapping[str, str]) -> bytes:
        """The file's bytes, the same for the same calls."""
        serializer = Serializer(self._buffers, sorted({(o.kind, o.version) for o in self._operators}))
        subgraph = serializer.subgraph(name, self._tensors, self._operators, self._inputs, self._outputs)
        return serializer.model(name, subgraph, serializer.signature(self._inputs, self._outputs), metadata)

    def _add(self, tensor: Tensor) -> int:
        self._tensors.append(tensor)
        return len(self._tensors) - 1
