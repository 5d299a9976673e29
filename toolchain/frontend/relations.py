"""Convolutions over relations: each relation is a topology of its own, of the edges whose edge_type is its number."""

from __future__ import annotations

import torch
from torch_geometric import nn as pyg

from toolchain.frontend.calls import LayerCall
from toolchain.frontend.convs import is_reversed, reduction
from toolchain.frontend.index_symbols import EdgeType
from toolchain.frontend.registry import lowers
from toolchain.frontend.symbols import Rows
from toolchain.ir.ops import Add, Linear, Propagate


@lowers(pyg.RGCNConv, pyg.FastRGCNConv)
def rgcn_conv(call: LayerCall) -> Rows:
    """sum_r W_r reduce_{j -> i of relation r}(x_j) + W x_i + b; an edge of any other relation adds nothing, as in RGCNConv."""
    call.only("x", "edge_index", "edge_type")
    call.edge_index()
    if not isinstance(call.get("edge_type"), EdgeType):
        raise call.refuse("its edge_type must be the edge_type that forward was given")
    layer, x, reduce, backwards = call.layer, call.rows("x"), reduction(call), is_reversed(call)
    total = None if layer.root is None else call.emit(Linear(), x.value, call.lowering.transposed(layer.root))
    for relation, weight in enumerate(_weights(layer)):
        topology = call.topology(reversed=backwards, relation=relation)
        gathered = call.emit(Propagate(topology, reduce), x.value)
        matrix = call.derived(layer.weight, f"weight.{relation}", weight)
        y = call.emit(Linear(), gathered.value, matrix)
        total = y if total is None else call.emit(Add(), total.value, y.value)
    assert total is not None, "a layer has relations"
    return total if layer.bias is None else call.emit(Add(), total.value, call.constant(layer.bias))


def _weights(layer: pyg.RGCNConv) -> list[torch.Tensor]:
    """W of each relation, [out, in]: stored, mixed of bases, or with blocks on its diagonal."""
    weight = layer.weight.detach()
    if layer.num_bases is not None:
        weight = torch.einsum("rb,bio->rio", layer.comp.detach(), weight)
    if layer.num_blocks is not None:
        return [torch.block_diag(*blocks).T.contiguous() for blocks in weight]
    return [matrix.T.contiguous() for matrix in weight]
