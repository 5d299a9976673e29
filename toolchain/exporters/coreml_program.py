"""CoreMlProgram: the operations of an ML Program in order, as data. It knows nothing of coremltools, nor what they mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolchain.errors import ExportError
from toolchain.feeds import Feed

_MIL_NAMES = {"float32": "fp32", "float16": "fp16"}


@dataclass(frozen=True, slots=True)
class Ref:
    """The result of an operation, or an input."""

    name: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        kind: its name in MIL, Core ML's intermediate language.
        arguments: by parameter: a Ref, a list of Refs, or a constant.
    """

    kind: str
    name: str
    arguments: dict[str, Any]


@dataclass(slots=True)
class CoreMlProgram:
    """Collects operations. Every method that adds one returns its result.

    Attributes:
        precision: "float32" or "float16": the type of all floats between the inputs and the outputs.
        operations: in the order in which they are written.
        outputs: name → what it carries.
    """

    precision: str = "float32"
    operations: list[Operation] = field(default_factory=list)
    outputs: dict[str, Ref] = field(default_factory=dict)
    _known: dict[tuple[Any, ...], Ref] = field(default_factory=dict)

    @property
    def dtype(self) -> np.dtype:
        """Type of the floats inside."""
        return np.dtype(self.precision)

    @property
    def type_name(self) -> str:
        """The same as MIL calls it."""
        return _MIL_NAMES[self.precision]

    @property
    def lowest(self) -> np.generic:
        """The smallest number there is, less than what a model computes with."""
        return np.finfo(self.dtype).min

    def op(self, kind: str, **arguments: Any) -> Ref:
        """Append an operation. Float arrays and numbers become constants of the program's precision."""
        operation = Operation(kind, f"v{len(self.operations)}", {k: self._stored(v) for k, v in arguments.items()})
        self.operations.append(operation)
        return Ref(operation.name)

    def once(self, kind: str, **arguments: Any) -> Ref:
        """As `op`, but an equal operation is used again."""
        key = (kind, *((name, _hashable(value)) for name, value in arguments.items()))
        if key not in self._known:
            self._known[key] = self.op(kind, **arguments)
        return self._known[key]

    def constant(self, array: np.ndarray) -> Ref:
        """A stored tensor; equal tensors are stored once."""
        return self.once("const", val=self._stored(array))

    def input(self, feed: Feed) -> Ref:
        """An input, in the program's precision."""
        given = Ref(feed.name)
        if feed.dtype == "float32" and self.precision != "float32":
            return self.once("cast", x=given, dtype=self.type_name)
        return given

    def output(self, name: str, value: Ref) -> None:
        """Name a result; it leaves the program as float32."""
        if self.precision != "float32":
            value = self.op("cast", x=value, dtype=_MIL_NAMES["float32"])
        self.outputs[name] = value

    def _stored(self, value: Any) -> Any:
        is_float = isinstance(value, float) or (isinstance(value, np.ndarray | np.generic) and value.dtype.kind == "f")
        if not is_float:
            return value
        largest = float(np.max(np.abs(value), initial=0.0))
        if largest > float(np.finfo(self.dtype).max):
            raise ExportError(
                f"a stored number of {largest:.6g} is infinite in {self.precision}. Use precision='float32'."
            )
        return self.dtype.type(value) if isinstance(value, float) else value.astype(self.dtype)


def _hashable(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.str, value.shape, value.tobytes()
    return tuple(map(_hashable, value)) if isinstance(value, list) else value
