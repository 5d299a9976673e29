"""PyG functions of the edges as a whole: self-loops, degrees, normalizations. They become properties of a topology."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from toolchain.frontend.index_symbols import EdgeEnd, EdgeIndex, GraphIndex
from toolchain.frontend.pools import pool
from toolchain.frontend.registry import lowers_function, lowers_graph_function
from toolchain.frontend.symbols import Count, Rows
from toolchain.ir.ops import End, Mul, Reduce, Role
from toolchain.ir.types import Domain
from toolchain.topology import LoopAttributes, Normalization, SelfLoops

if TYPE_CHECKING:
    from toolchain.frontend.lowering import Lowering


def _given_edges(lowering: Lowering, name: str, edge_index: Any) -> EdgeIndex:
    if not isinstance(edge_index, EdgeIndex):
        raise lowering.refuse_use(name, "its edge_index must be the one that forward was given, dense")
    if edge_index.spec != edge_index.bare.spec:
        raise lowering.refuse_use(name, "its edges are normalized already; call it on edge_index before that")
    return edge_index


def _raw_or_none(lowering: Lowering, name: str, values: Any) -> Rows | None:
    """Edge values that can follow the edges: those of the graph, untouched."""
    if values is None or (isinstance(values, Rows) and values.role in (Role.EDGE_WEIGHT, Role.EDGE_ATTR)):
        return values
    raise lowering.refuse_use(
        f"{name} with computed edge values",
        "only the graph's own edge_weight or edge_attr can be prepared with the edges",
    )


@lowers_graph_function("torch_geometric.remove_self_loops")
def remove_self_loops(lowering: Lowering, edge_index: Any, edge_attr: Any = None) -> tuple[EdgeIndex, Any]:
    edges = _given_edges(lowering, "remove_self_loops", edge_index)
    if edges.spec.self_loops is not SelfLoops.KEEP:
        raise lowering.refuse_use("remove_self_loops", "self-loops were added before; leave that out")
    removed = edges.with_spec(self_loops=SelfLoops.REMOVE)
    values = _raw_or_none(lowering, "remove_self_loops", edge_attr)
    return removed, None if values is None else values.along(removed)


@lowers_graph_function("torch_geometric.add_self_loops")
def add_self_loops(
    lowering: Lowering, edge_index: Any, edge_attr: Any = None, fill_value: Any = None, num_nodes: Any = None
) -> tuple[EdgeIndex, Any]:
    """One loop for each node, after existing ones were removed."""
    edges = _given_edges(lowering, "add_self_loops", edge_index)
    if edges.spec.self_loops is not SelfLoops.REMOVE:
        raise lowering.refuse_use(
            "add_self_loops beside existing self-loops", "call remove_self_loops first, or use add_remaining_self_loops"
        )
    return _with_loops(lowering, "add_self_loops", edges, SelfLoops.REPLACE, edge_attr, fill_value, num_nodes)


@lowers_graph_function("torch_geometric.add_remaining_self_loops")
def add_remaining_self_loops(
    lowering: Lowering, edge_index: Any, edge_attr: Any = None, fill_value: Any = None, num_nodes: Any = None
) -> tuple[EdgeIndex, Any]:
    edges = _given_edges(lowering, "add_remaining_self_loops", edge_index)
    if edges.spec.self_loops is not SelfLoops.KEEP:
        raise lowering.refuse_use("add_remaining_self_loops", "self-loops were changed before; leave that out")
    name = "add_remaining_self_loops"
    return _with_loops(lowering, name, edges, SelfLoops.REMAINING, edge_attr, fill_value, num_nodes)


def _with_loops(
    lowering: Lowering, name: str, edges: EdgeIndex, loops: SelfLoops, edge_attr: Any, fill_value: Any, num_nodes: Any
) -> tuple[EdgeIndex, Any]:
    if not (num_nodes is None or (isinstance(num_nodes, Count) and num_nodes.domain is Domain.NODE)):
        raise lowering.refuse_use(f"{name} with {num_nodes!r} nodes", "pass x.size(0)")
    values = _raw_or_none(lowering, name, edge_attr)
    if values is None:
        return edges.with_spec(self_loops=loops), None
    if values.role is Role.EDGE_WEIGHT:
        weight = 1.0 if fill_value is None else fill_value
        if isinstance(weight, int | float):
            made = edges.with_spec(self_loops=loops, weighted=True, loop_weight=float(weight))
            return made, values.along(made)
    if fill_value == "mean" and loops is SelfLoops.REPLACE:
        made = edges.with_spec(self_loops=loops, loop_attributes=LoopAttributes.MEAN)
        return made, values.along(made)
    raise lowering.refuse_use(
        f"{name} with {values.role.value if values.role else 'values'} filled by {fill_value!r}",
        "supported: edge_weight filled with a number, edge_attr with fill_value='mean' after remove_self_loops",
    )


@lowers_graph_function("torch_geometric.gcn_norm")
def gcn_norm(
    lowering: Lowering,
    edge_index: Any,
    edge_weight: Any = None,
    num_nodes: Any = None,
    improved: bool = False,
    add_self_loops: bool = True,
    flow: str = "source_to_target",
    dtype: Any = None,
) -> tuple[EdgeIndex, Rows]:
    """D^-1/2 (A + I) D^-1/2: the coefficients of a topology, one per edge."""
    edges = _given_edges(lowering, "gcn_norm", edge_index).towards(1 if flow == "source_to_target" else 0)
    if edge_weight is not None and (not isinstance(edge_weight, Rows) or edge_weight.role is not Role.EDGE_WEIGHT):
        raise lowering.refuse_use(
            "gcn_norm of computed edge weights",
            "the normalization is prepared before the model runs. Pass the graph's own edge_weight, or use normalize=False",
        )
    if edges.spec.self_loops is not SelfLoops.KEEP and add_self_loops:
        raise lowering.refuse_use("gcn_norm", "self-loops were changed before; pass add_self_loops=False")
    normalized = edges.with_spec(
        self_loops=SelfLoops.REMAINING if add_self_loops else edges.spec.self_loops,
        normalization=Normalization.SYMMETRIC,
        weighted=edge_weight is not None,
        # PyG ignores `improved` without edge_weight: add_remaining_self_loops fills weights only where there are some.
        loop_weight=2.0 if improved and add_self_loops and edge_weight is not None else 1.0,
    )
    return normalized, coefficients(lowering, normalized)


def coefficients(lowering: Lowering, edges: EdgeIndex) -> Rows:
    """l_i * w_ij * r_j of every edge, [E]; times x_j and aggregated, it becomes a Propagate, which does without."""
    topology = edges.topology
    value = lowering.gather(edges, End.SOURCE, lowering.node_factor(topology, End.SOURCE))
    target = lowering.gather(edges, End.TARGET, lowering.node_factor(topology, End.TARGET))
    value = lowering.add(Mul(), value, target)
    if edges.spec.weighted:
        value = lowering.add(Mul(), value, lowering.edge_input(Role.EDGE_WEIGHT, topology))
    lowering.coefficients[value] = topology
    return Rows(lowering, value, rank=1)


@lowers_graph_function("torch_geometric.degree")
def degree(lowering: Lowering, index: Any, num_nodes: Any = None, dtype: Any = None) -> Rows:
    """Edges at each node, [N]: a row factor of the topology."""
    if isinstance(index, GraphIndex):
        ones = Rows(lowering, lowering.filled(Domain.NODE, 1, 1.0))
        return pool(lowering, "degree", ones, index, num_nodes, Reduce.SUM).laid_out()
    if not isinstance(index, EdgeEnd):
        raise lowering.refuse_use("degree", "its index must be edge_index[0], edge_index[1] or batch, unchanged")
    if not (isinstance(num_nodes, Count) and num_nodes.domain is Domain.NODE):
        raise lowering.refuse_use(
            "degree", "without num_nodes its result has as many rows as the largest index. Pass num_nodes=x.size(0)"
        )
    if dtype is torch.bool:
        raise lowering.refuse_use("degree of bool", "values are float32")
    row = 1 if index.end is (End.SOURCE if index.edges.spec.reversed != index.edges.is_flipped else End.TARGET) else 0
    counted = index.edges.bare.towards(row).with_spec(normalization=Normalization.DEGREE)
    return Rows(lowering, lowering.node_factor(counted.topology, End.TARGET), rank=1)


@lowers_graph_function("torch_geometric.is_torch_sparse_tensor", "torch_geometric.is_sparse")
def is_sparse(lowering: Lowering, src: Any) -> bool:
    """Symbols stand for dense tensors."""
    return False


@lowers_graph_function("torch_geometric.maybe_num_nodes")
def maybe_num_nodes(lowering: Lowering, edge_index: Any, num_nodes: Any = None) -> Any:
    """The number of nodes of the graph."""
    return Count(lowering, Domain.NODE) if num_nodes is None else num_nodes


@lowers_function("is_floating_point")
def is_floating_point(lowering: Lowering, input: Any) -> bool:
    return isinstance(input, Rows)
