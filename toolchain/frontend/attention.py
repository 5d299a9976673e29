"""Attention convolutions: GATConv and GATv2Conv. Heads lie side by side in the channels, [rows, H * C]."""

from __future__ import annotations

from torch_geometric import nn as pyg

from toolchain.frontend.calls import LayerCall
from toolchain.frontend.convs import is_reversed, reduction
from toolchain.frontend.registry import lowers
from toolchain.frontend.symbols import Rows
from toolchain.ir.ops import (
    Activation,
    Add,
    Dropout,
    EdgeSoftmax,
    End,
    Function,
    Gather,
    HeadDot,
    HeadMean,
    Propagate,
    Role,
)
from toolchain.topology import LoopAttributes, SelfLoops


@lowers(pyg.GATConv)
def gat_conv(call: LayerCall) -> Rows:
    """Attention logits a_src . W x_j + a_dst . W x_i (+ a_edge . W_e e_ji), softmax over in-edges, weighted sum."""
    layer, x = call.layer, _checked_input(call)
    shape = (layer.heads, layer.out_channels)
    if layer.lin is not None:
        source = target = layer.lin(x)  # [N, H * C]
    else:  # built with a pair of in_channels
        source, target = layer.lin_src(x), layer.lin_dst(x)
    topology, attributes = _attention_edges(call, uses_attributes=layer.lin_edge is not None)
    score_source = call.emit(HeadDot(), source.value, call.constant(layer.att_src, shape))  # [N, H]
    score_target = call.emit(HeadDot(), target.value, call.constant(layer.att_dst, shape))
    logits = _edge_sum(call, topology, score_source, score_target)  # [E, H]
    if attributes is not None:
        e = layer.lin_edge(attributes)  # [E, H * C]
        score_edge = call.emit(HeadDot(), e.value, call.constant(layer.att_edge, shape))
        logits = call.emit(Add(), logits.value, score_edge.value)
    logits = call.emit(Activation(Function.LEAKY_RELU, float(layer.negative_slope)), logits.value)
    return _attend(call, topology, logits, source, x)


@lowers(pyg.GATv2Conv)
def gatv2_conv(call: LayerCall) -> Rows:
    """Attention logits a . leaky_relu(W_l x_j + W_r x_i (+ W_e e_ji)), softmax over in-edges, weighted sum."""
    layer, x = call.layer, _checked_input(call)
    source = layer.lin_l(x)  # [N, H * C]
    target = source if layer.share_weights else layer.lin_r(x)
    topology, attributes = _attention_edges(call, uses_attributes=layer.lin_edge is not None)
    hidden = _edge_sum(call, topology, source, target)  # [E, H * C]
    if attributes is not None:
        hidden = call.emit(Add(), hidden.value, layer.lin_edge(attributes).value)
    hidden = call.emit(Activation(Function.LEAKY_RELU, float(layer.negative_slope)), hidden.value)
    logits = call.emit(HeadDot(), hidden.value, call.constant(layer.att, (layer.heads, layer.out_channels)))  # [E, H]
    return _attend(call, topology, logits, source, x)


def _checked_input(call: LayerCall) -> Rows:
    call.only("x", "edge_index", "edge_attr")
    call.edge_index()
    return call.rows("x")


def _attention_edges(call: LayerCall, uses_attributes: bool) -> tuple[int, Rows | None]:
    """Topology of the layer, and edge_attr in the order of its edges where the layer reads it.

    PyG drops the user's self-loops and adds one per node, whose edge_attr is the mean over the node's in-edges.
    """
    layer, attributes = call.layer, call.optional_rows("edge_attr")
    if not uses_attributes:
        attributes = None  # without edge_dim, GATConv takes edge_attr and does not read it
    backwards = is_reversed(call)
    if attributes is not None and backwards:
        raise call.refuse("edge_attr with flow='target_to_source'; use the default flow")
    if not layer.add_self_loops:
        topology = call.topology(reversed=backwards)
        # PyG views a one-dimensional edge_attr as one column.
        return topology, None if attributes is None else Rows(call.lowering, attributes.value)
    if attributes is None:
        return call.topology(SelfLoops.REPLACE, reversed=backwards), None
    if layer.fill_value != "mean":
        raise call.refuse(f"fill_value={layer.fill_value!r} for the edge_attr of self-loops; supported: 'mean'")
    if attributes.role is not Role.EDGE_ATTR:
        raise call.refuse(
            "its edge_attr is computed by the model, so that of self-loops cannot be prepared before the model runs; "
            "pass the graph's own edge_attr, or use add_self_loops=False"
        )
    topology = call.topology(SelfLoops.REPLACE, loop_attributes=LoopAttributes.MEAN)
    return topology, Rows(call.lowering, call.lowering.edge_input(Role.EDGE_ATTR, topology))


def _edge_sum(call: LayerCall, topology: int, source: Rows, target: Rows) -> Rows:
    """source_j + target_i for every edge."""
    from_source = call.emit(Gather(topology, End.SOURCE), source.value)
    from_target = call.emit(Gather(topology, End.TARGET), target.value)
    return call.emit(Add(), from_source.value, from_target.value)


def _attend(call: LayerCall, topology: int, logits: Rows, values: Rows, x: Rows) -> Rows:
    """Softmax of the logits, weighted sum of the values, heads joined or averaged, residual, bias."""
    layer, reduce = call.layer, reduction(call)
    weights = call.emit(EdgeSoftmax(), logits.value)
    if layer.dropout > 0:
        weights = call.emit(Dropout(float(layer.dropout)), weights.value)
    y = call.emit(Propagate(topology, reduce, ("weight",)), values.value, weights.value)
    if not layer.concat:
        y = call.emit(HeadMean(layer.heads), y.value)  # [N, C]
    if layer.res is not None:
        y = call.emit(Add(), y.value, layer.res(x).value)
    if layer.bias is not None:
        y = call.emit(Add(), y.value, call.constant(layer.bias))
    return y
