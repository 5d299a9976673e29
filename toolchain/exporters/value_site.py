"""ValueSite: one value to emit, whatever the format; each format's Site adds the compositions of its own operators."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from toolchain.exporters.constants import real_constant
from toolchain.exporters.feed_names import FeedNames
from toolchain.exporters.lowerings import Lowering
from toolchain.exporters.sparse_input import Features
from toolchain.ir import Domain, Graph, Value

Name = TypeVar("Name")
"""What an array is called while a file is written: a name, the number of a tensor, a reference."""


@dataclass(frozen=True, slots=True)
class ValueSite(ABC, Generic[Name]):
    """Where a value stands, and what its operands are called.

    Attributes:
        lowering: DENSE or SCATTER.
    """

    graph: Graph
    value: Value
    feeds: FeedNames[Name]
    lowering: Lowering

    @abstractmethod
    def real(self, id: int) -> Name:
        """The float32 form of a value that was emitted before."""

    @property
    def operands(self) -> tuple[Name, ...]:
        return tuple(self.real(i) for i in self.value.inputs)

    @property
    def x(self) -> Name:
        """The first operand."""
        return self.real(self.value.inputs[0])

    def operand(self, slot: str) -> Name | None:
        """The operand in a slot, or None where the op was built without it."""
        value = self.graph.operand(self.value, slot)
        return None if value is None else self.real(value.id)

    def array(self, slot: str) -> np.ndarray:
        """The constant in a slot, as it is stored."""
        return self.graph.constant(self._filled(slot))

    def number(self, slot: str) -> float:
        """The one number of the constant in a slot."""
        return float(real_constant(self.graph, self._filled(slot))[0])

    def _filled(self, slot: str) -> Value:
        value = self.graph.operand(self.value, slot)
        assert value is not None, f"{self.value.place} has no {slot}"
        return value

    @property
    def channels(self) -> int:
        return self.value.type.channels

    @property
    def nodes(self) -> Name:
        """An array with one row a node."""
        if self.feeds.features is not Features.DENSE:
            return self.feeds.x_start()
        return next(self.real(v.id) for v in self.graph.inputs if v.type.domain is Domain.NODE)
