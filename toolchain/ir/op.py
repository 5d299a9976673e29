"""Op: the root of the op classes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from toolchain.errors import TypeMismatch
from toolchain.ir.types import TensorType


def mismatch(op: object, message: str) -> TypeMismatch:
    """The error for operands that an op does not take."""
    return TypeMismatch(f"{type(op).__name__}: {message}")


class Op(ABC):
    """Root of the op classes. `slots` names the operands in order."""

    slots: ClassVar[tuple[str, ...]] = ("x",)

    @abstractmethod
    def infer(self, operands: Sequence[TensorType]) -> TensorType:
        """Result type of float32 operands.

        Raises:
            TypeMismatch: an operand has the wrong domain, width or topology.
        """

    def operand_names(self, count: int) -> tuple[str, ...]:
        return self.slots[:count]
