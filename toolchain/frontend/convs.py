"""Convolutions without attention: GCN, GIN, GINE, SAGE, GraphConv. Each reads like its PyG forward."""

from __future__ import annotations

from typing import Any

from torch_geometric import nn as pyg
from torch_geometric.nn import aggr

from toolchain.frontend.calls import LayerCall
from toolchain.frontend.registry import lowers
from toolchain.frontend.symbols import Rows
from toolchain.ir.ops import Activation, Add, Aggregate, End, Function, Gather, Mul, Propagate, Reduce, Role
from toolchain.topology import Normalization, SelfLoops

_AGGREGATIONS = {
    "add": (Reduce.SUM, aggr.SumAggregation),
    "sum": (Reduce.SUM, aggr.SumAggregation),
    "mean": (Reduce.MEAN, aggr.MeanAggregation),
    "max": (Reduce.MAX, aggr.MaxAggregation),
    "min": (Reduce.MIN, aggr.MinAggregation),
}


def reduction(call: LayerCall) -> Reduce:
    """How a message-passing layer aggregates; refuses everything in it that its lowering does not read."""
    layer = call.layer
    known = _AGGREGATIONS.get(layer.aggr) if isinstance(layer.aggr, str) else None
    for name, (_, module) in _AGGREGATIONS.items():  # PyG stores "SumAggregation()" when it is given a module
        if layer.aggr == f"{module.__name__}()":
            known = _AGGREGATIONS[name]
    if known is None or not isinstance(layer.aggr_module, known[1]):
        raise call.refuse(f"aggr={layer.aggr!r}; supported: {', '.join(_AGGREGATIONS)}")
    if layer.decomposed_layers != 1:
        raise call.refuse(f"decomposed_layers={layer.decomposed_layers}; set it to 1")
    if layer.node_dim not in (-2, 0):
        raise call.refuse(f"node_dim={layer.node_dim}; nodes must be the rows of x")
    if layer._explain:
        raise call.refuse("it is in explain mode; set layer.explain = False")
    return known[0]


def is_reversed(call: LayerCall) -> bool:
    """Whether messages flow from target to source."""
    return bool(call.layer.flow == "target_to_source")


def weighted_sum(call: LayerCall, x: Rows, weight: Rows | None, reduce: Reduce, bias: int | None = None) -> Rows:
    """Reduce edge_weight * x over in-edges, with the topology's own weights where `weight` is the raw edge_weight."""
    backwards = is_reversed(call)
    raw = weight is not None and weight.role is Role.EDGE_WEIGHT
    topology = call.topology(weighted=raw, reversed=backwards)
    operands, names = [x.value], []
    if weight is not None and not raw:
        if backwards:
            raise call.refuse("computed edge weights with flow='target_to_source'; use the default flow")
        if weight.channels != 1:
            raise call.refuse(f"edge_weight has {weight.channels} columns; expected one weight per edge")
        operands.append(weight.value)
        names.append("weight")
    if bias is not None:
        operands.append(bias)
        names.append("bias")
    return call.emit(Propagate(topology, reduce, tuple(names)), *operands)


@lowers(pyg.GCNConv)
def gcn_conv(call: LayerCall) -> Rows:
    """D^-1/2 (A + I) D^-1/2 X W + b; the normalization becomes a property of the topology."""
    call.only("x", "edge_index", "edge_weight")
    call.edge_index()
    layer, x, weight = call.layer, call.rows("x"), call.optional_rows("edge_weight")
    reduce = reduction(call)
    bias = None if layer.bias is None else call.constant(layer.bias)
    h = layer.lin(x)
    if not layer.normalize:
        return weighted_sum(call, h, weight, reduce, bias)
    if weight is not None and weight.role is not Role.EDGE_WEIGHT:
        raise call.refuse(
            "its edge_weight is computed or is edge_attr, so the normalization cannot be prepared before the model "
            "runs; pass the graph's own edge_weight, or use normalize=False"
        )
    topology = call.topology(
        SelfLoops.REMAINING if layer.add_self_loops else SelfLoops.KEEP,
        normalization=Normalization.SYMMETRIC,
        weighted=weight is not None,
        # PyG ignores `improved` without edge_weight: add_remaining_self_loops fills weights only where there are some.
        loop_weight=2.0 if layer.improved and layer.add_self_loops and weight is not None else 1.0,
        reversed=is_reversed(call),
    )
    if bias is None:
        return call.emit(Propagate(topology, reduce), h.value)
    return call.emit(Propagate(topology, reduce, ("bias",)), h.value, bias)


@lowers(pyg.GINConv)
def gin_conv(call: LayerCall) -> Rows:
    """nn((1 + eps) x_i + sum_j x_j)."""
    call.only("x", "edge_index")
    call.edge_index()
    layer, x, reduce = call.layer, call.rows("x"), reduction(call)
    topology = call.topology(reversed=is_reversed(call))
    self_scale = call.derived(layer.eps, "self_scale", 1 + layer.eps.reshape(1))
    return layer.nn(call.emit(Propagate(topology, reduce, ("self_scale",)), x.value, self_scale))


@lowers(pyg.GINEConv)
def gine_conv(call: LayerCall) -> Rows:
    """nn((1 + eps) x_i + sum_j relu(x_j + e_ji))."""
    call.only("x", "edge_index", "edge_attr")
    call.edge_index()
    if is_reversed(call):
        raise call.refuse("flow='target_to_source'; use the default flow")
    layer, x, e, reduce = call.layer, call.rows("x"), call.rows("edge_attr"), reduction(call)
    if layer.lin is not None:
        e = layer.lin(e)
    gathered = call.emit(Gather(call.topology(), End.SOURCE), x.value)  # [E, C]
    message = call.emit(Activation(Function.RELU), call.emit(Add(), gathered.value, e.value).value)
    total = call.emit(Aggregate(reduce), message.value)  # [N, C]
    self_scale = call.derived(layer.eps, "self_scale", 1 + layer.eps.reshape(1))
    return layer.nn(call.emit(Add(), total.value, call.emit(Mul(), x.value, self_scale).value))


@lowers(pyg.SAGEConv)
def sage_conv(call: LayerCall) -> Rows:
    """W_l reduce_j(x_j) + W_r x_i, the neighbours projected first where the layer says so."""
    call.only("x", "edge_index")
    call.edge_index()
    layer, x, reduce = call.layer, call.rows("x"), reduction(call)
    if layer.normalize:
        raise call.refuse("normalize=True (L2 normalization of each row) is not supported")
    neighbour = x
    if layer.project:
        neighbour = call.emit(Activation(Function.RELU), layer.lin(x).value)
    y = layer.lin_l(weighted_sum(call, neighbour, None, reduce))
    return call.emit(Add(), y.value, layer.lin_r(x).value) if layer.root_weight else y


@lowers(pyg.MFConv)
def mf_conv(call: LayerCall) -> Rows:
    """W_d reduce_j(x_j) + V_d x_i, where the in-degree d of node i chooses the weights: all of them, times masks."""
    call.only("x", "edge_index")
    call.edge_index()
    layer, x, reduce = call.layer, call.rows("x"), reduction(call)
    h = weighted_sum(call, x, None, reduce)
    counted = call.topology(normalization=Normalization.DEGREE, reversed=is_reversed(call))
    degree = Rows(call.lowering, call.lowering.node_factor(counted, End.TARGET)).clamp(max=float(layer.max_degree))
    total: Any = 0
    for d, (lin_l, lin_r) in enumerate(zip(layer.lins_l, layer.lins_r, strict=True)):
        total = total + (degree == float(d)) * (lin_l(h) + lin_r(x))
    return total


@lowers(pyg.GraphConv)
def graph_conv(call: LayerCall) -> Rows:
    """W_rel reduce_j(w_ji x_j) + W_root x_i."""
    call.only("x", "edge_index", "edge_weight")
    call.edge_index()
    layer, x, weight = call.layer, call.rows("x"), call.optional_rows("edge_weight")
    y = layer.lin_rel(weighted_sum(call, x, weight, reduction(call)))
    return call.emit(Add(), y.value, layer.lin_root(x).value)
