"""One call of a layer: its arguments bound by name, each of which must be used or left at its default."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from toolchain.errors import UnsupportedModule
from toolchain.frontend.index_symbols import EdgeIndex, GraphIndex
from toolchain.frontend.symbols import Count, Rows
from toolchain.ir.ops import Op
from toolchain.topology import SelfLoops, TopologySpec

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


class LayerCall:
    """What a layer's lowering works on.

    Attributes:
        layer: the layer, with its parameters; its children are symbolic too, so `call.layer.lin(x)` lowers the Linear.
        lowering: adds values and constants to the graph, in the layer's scope.
    """

    def __init__(
        self, lowering: Lowering, layer: Any, cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self.lowering, self.layer, self.cls = lowering, layer, cls
        self._relation: int | None = None
        bound = inspect.signature(cls.forward).bind(layer, *args, **kwargs)  # type: ignore[attr-defined]  # nn.Module
        self._given = dict(list(bound.arguments.items())[1:])

    def refuse(self, why: str) -> UnsupportedModule:
        """The error to raise because of how the layer is built or called."""
        return self.lowering.refuse_layer(self.cls, why)

    def only(self, *names: str) -> None:
        """Refuse any argument that is given beside these."""
        for name, value in self._given.items():
            if name not in names and value is not None:
                raise self.refuse(f"argument {name}={value!r} is not supported; leave it out")

    def rows(self, name: str = "x") -> Rows:
        """A required two-dimensional argument."""
        value = self._given.get(name)
        if isinstance(value, tuple | list):
            raise self.refuse(f"{name} is a pair (bipartite message passing); pass one tensor of node features")
        if not isinstance(value, Rows) or value.rank != 2:
            raise self.refuse(f"{name} must be a tensor of shape [rows, channels]")
        return value

    def optional_rows(self, name: str) -> Rows | None:
        """An argument that may be absent, of any rank."""
        value = self._given.get(name)
        if value is None or isinstance(value, Rows):
            return value
        raise self.refuse(f"{name} must be a tensor that forward was given or computed")

    def edge_index(self) -> None:
        """Check that the layer runs on the model's own edges, all of them or those of a relation."""
        edges = self._given.get("edge_index")
        if not isinstance(edges, EdgeIndex) or edges.is_flipped or replace(edges.spec, relation=None) != TopologySpec():
            raise self.refuse("edge_index must be the edge_index that forward was given, unchanged and dense")
        self._relation = edges.spec.relation

    def topology(self, self_loops: SelfLoops = SelfLoops.KEEP, **rules: Any) -> int:
        """The topology of the layer's edges under these rules of a TopologySpec."""
        return self.lowering.builder.topology(TopologySpec(self_loops, **{"relation": self._relation, **rules}))

    def batch(self, name: str = "batch", size: str = "batch_size") -> bool:
        """Whether the layer is given `batch`; its size argument may only be the number of graphs."""
        given, count = self._given.get(name), self._given.get(size)
        if count is not None and not isinstance(count, Count):
            raise self.refuse(f"{size}={count!r} is fixed; leave it out, or pass the number of graphs of the batch")
        if given is not None and not isinstance(given, GraphIndex):
            raise self.refuse(f"{name} must be the batch that forward was given")
        if given is None and self.lowering.inputs.num_graphs > 1:
            raise self.refuse(
                f"called without {name}, but the example holds {self.lowering.inputs.num_graphs} graphs. Pass {name}"
            )
        return given is not None

    @property
    def given(self) -> dict[str, Any]:
        """All arguments by name."""
        return dict(self._given)

    def get(self, name: str) -> Any:
        """Any other argument, None where it is not given."""
        return self._given.get(name)

    # --- emitting ---

    def emit(self, op: Op, *operands: int) -> Rows:
        return self.lowering.rows(op, *operands)

    def constant(self, tensor: Tensor, shape: tuple[int, ...] | None = None) -> int:
        return self.lowering.constant(tensor, shape=shape)

    def derived(self, source: Tensor, name: str, value: Tensor) -> int:
        """A Const computed from a parameter, trainable if the parameter is."""
        if isinstance(source, nn.Parameter):
            value = nn.Parameter(value.detach(), requires_grad=source.requires_grad)
        return self.lowering.constant(value, derived=name)
