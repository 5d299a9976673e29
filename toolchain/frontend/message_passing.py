"""Any message-passing layer: its own forward runs on symbols, and `propagate` calls its message, aggregate and update.

`_i` and `_j` arguments of these methods are the layer's node values at both ends of every edge; `index`, `size_i` and
their kin are symbols of the edges. `message_and_aggregate`, a shortcut for sparse matrices, is never called.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import Parameter
from typing import TYPE_CHECKING, Any

from toolchain.frontend.index_symbols import EdgeEnd, EdgeIndex
from toolchain.frontend.symbols import Count, Rows, Symbol
from toolchain.ir.types import Domain

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


def methods_on_symbols(lowering: Lowering) -> dict[str, Any]:
    """`propagate` and `edge_updater` for a layer whose forward runs on symbols."""

    def propagate(self: Any, edge_index: Any, size: Any = None, **kwargs: Any) -> Any:
        edges = _edges(lowering, self, edge_index, size)
        collected = _collect(lowering, self, edges, kwargs)
        message = self.message(**_arguments(lowering, self, "message", collected))
        total = self.aggregate(message, **_arguments(lowering, self, "aggregate", collected))
        return self.update(total, **_arguments(lowering, self, "update", collected))

    def edge_updater(self: Any, edge_index: Any, size: Any = None, **kwargs: Any) -> Any:
        edges = _edges(lowering, self, edge_index, size)
        collected = _collect(lowering, self, edges, kwargs)
        return self.edge_update(**_arguments(lowering, self, "edge_update", collected))

    return {"propagate": propagate, "edge_updater": edge_updater}


def _edges(lowering: Lowering, layer: Any, edge_index: Any, size: Any) -> EdgeIndex:
    """The edges as a topology that aggregates where the layer does."""
    if not isinstance(edge_index, EdgeIndex):
        kind = edge_index.what if isinstance(edge_index, Symbol) else type(edge_index).__name__
        raise lowering.refuse_layer(
            type(layer), f"it propagates along {kind}; pass the edge_index that forward was given, dense"
        )
    counts = size if isinstance(size, tuple | list) else (size,)
    if any(count is not None and not isinstance(count, Count) for count in counts):
        raise lowering.refuse_layer(type(layer), f"size={size!r} is fixed; leave it out")
    return edge_index.towards(1 if layer.flow == "source_to_target" else 0)


def _collect(lowering: Lowering, layer: Any, edges: EdgeIndex, given: Mapping[str, Any]) -> dict[str, Any]:
    """What the methods of a layer may ask for by name, beside what `_i` and `_j` derive."""
    i = 1 if layer.flow == "source_to_target" else 0
    nodes = Count(lowering, Domain.NODE)
    collected: dict[str, Any] = {
        name: value.along(edges) if isinstance(value, Rows) else value for name, value in given.items()
    }
    ends = {"i": edges.end(i), "j": edges.end(1 - i)}
    return {
        **collected,
        "adj_t": None, "edge_index": edges, "edge_index_i": ends["i"], "edge_index_j": ends["j"], "ptr": None,
        "index": ends["i"], "size": [nodes, nodes], "size_i": nodes, "size_j": nodes, "dim_size": nodes,
    }  # fmt: skip


def _arguments(lowering: Lowering, layer: Any, method: str, collected: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments of one of the layer's methods."""
    arguments: dict[str, Any] = {}
    for parameter in layer.inspector.get_signature(method).param_dict.values():  # without what the step before made
        name = parameter.name
        if name == "index" and method in ("message", "edge_update"):
            index = collected[name]
            arguments[name] = EdgeEnd(lowering, index.end, index.edges, in_message=True)
        elif name in collected:
            arguments[name] = collected[name]
        elif name[-2:] in ("_i", "_j") and name[:-2] in collected:
            arguments[name] = _lifted(lowering, layer, collected[name[:-2]], name, collected[f"edge_index{name[-2:]}"])
        elif parameter.default is Parameter.empty:
            raise lowering.refuse_layer(type(layer), f"{method}() asks for {name!r}, which propagate() was not given")
    return arguments


def _lifted(lowering: Lowering, layer: Any, value: Any, name: str, end: EdgeEnd) -> Any:
    """Node values at one end of every edge; of a pair the one that belongs to that end."""
    if isinstance(value, tuple | list):
        value = value[1 if name.endswith("_i") else 0]
    if value is None:
        return None
    if not isinstance(value, Rows) or value.domain is not Domain.NODE:
        raise lowering.refuse_layer(type(layer), f"{name} must be made of node values, got {type(value).__name__}")
    return value.like(lowering.gather(end.edges, end.end, value.value))
