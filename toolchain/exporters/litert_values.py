"""Values: the tensors that the values of a Graph are while one subgraph of a .tflite file is written."""

from __future__ import annotations

from dataclasses import dataclass, field

from toolchain.exporters.constants import real_constant
from toolchain.exporters.litert_writer import LiteRtWriter
from toolchain.ir import Domain, Graph
from toolchain.ir.ops import Const


@dataclass(slots=True)
class Values:
    """Every value has a real form, float32."""

    graph: Graph
    writer: LiteRtWriter
    _real: dict[int, int] = field(default_factory=dict)

    def real(self, id: int) -> int:
        """The float32 form of a value."""
        if id not in self._real:
            value = self.graph.values[id]
            assert isinstance(value.op, Const), f"%{id} was not emitted"
            self._real[id] = self.writer.constant(real_constant(self.graph, value))
        return self._real[id]

    def first_real(self, domain: Domain, channels: int) -> int | None:
        """The first float32 tensor with one row for each row of a domain and that many channels, among those written."""
        types = [(id, self.graph.values[id].type) for id in self._real]
        return next((self._real[id] for id, t in types if t.domain is domain and t.channels == channels), None)

    def store(self, id: int, raw: int) -> None:
        """Keep the float result of a value."""
        self._real[id] = raw
