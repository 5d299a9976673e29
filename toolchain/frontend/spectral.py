"""Convolutions whose coefficients PyG changes edge by edge, or whose rows are not the first dimension: Cheb, ARMA, ClusterGCN."""

from __future__ import annotations

from torch_geometric import nn as pyg

from toolchain.frontend.calls import LayerCall
from toolchain.frontend.convs import is_reversed, reduction
from toolchain.frontend.registry import lowers
from toolchain.frontend.symbols import Rows
from toolchain.ir.ops import Add, End, HeadMean, Linear, Mul, Propagate, Reduce, Role
from toolchain.topology import Normalization, SelfLoops


@lowers(pyg.ChebConv)
def cheb_conv(call: LayerCall) -> Rows:
    """Chebyshev polynomials of the scaled Laplacian, which is -D^-1/2 A D^-1/2 where the largest eigenvalue counts as 2."""
    call.only("x", "edge_index", "edge_weight", "batch", "lambda_max")
    call.edge_index()
    layer, x, weight, largest = call.layer, call.rows("x"), call.optional_rows("edge_weight"), call.get("lambda_max")
    if layer.normalization != "sym" or (largest is not None and largest != 2):
        raise call.refuse(
            f"normalization={layer.normalization!r}, lambda_max={largest!r}: the largest eigenvalue is then read off the "
            "edges; use normalization='sym' and leave lambda_max out"
        )
    if weight is not None and weight.role is not Role.EDGE_WEIGHT:
        raise call.refuse("its edge_weight is computed; pass the graph's own edge_weight")
    if is_reversed(call):
        raise call.refuse("flow='target_to_source'; use the default flow")
    reduce = reduction(call)
    topology = call.topology(SelfLoops.REMOVE, normalization=Normalization.SYMMETRIC_OUT, weighted=weight is not None)

    def step(rows: Rows) -> Rows:
        return -call.emit(Propagate(topology, reduce), rows.value)

    before, now, y = x, x, layer.lins[0](x)
    for order, lin in enumerate(layer.lins[1:]):
        before, now = (x, step(x)) if order == 0 else (now, step(now) * 2.0 - before)
        y = y + lin(now)
    return y if layer.bias is None else call.emit(Add(), y.value, call.constant(layer.bias))


@lowers(pyg.ARMAConv)
def arma_conv(call: LayerCall) -> Rows:
    """Stacks of D^-1/2 A D^-1/2 X W + X V + b, averaged; a stack is a head of the channels."""
    call.only("x", "edge_index", "edge_weight")
    call.edge_index()
    layer, x, weight = call.layer, call.rows("x"), call.optional_rows("edge_weight")
    if weight is not None and weight.role is not Role.EDGE_WEIGHT:
        raise call.refuse("its edge_weight is computed; pass the graph's own edge_weight")
    backwards, normalization = is_reversed(call), Normalization.SYMMETRIC
    topology = call.topology(normalization=normalization, weighted=weight is not None, reversed=backwards)
    reduce, stacks = reduction(call), layer.num_stacks
    y = x
    for t in range(layer.num_layers):
        if t == 0:  # [N, in] to [N, K * out]
            matrix = layer.init_weight.detach().transpose(1, 2).flatten(0, 1)
            y = call.emit(Linear(), x.value, call.derived(layer.init_weight, "init_weight", matrix))
        else:
            stack = y.view(-1, stacks, 1, layer.out_channels) @ layer.weight[0 if layer.shared_weights else t - 1]
            y = stack.flatten(1)
        y = call.emit(Propagate(topology, reduce), y.value)
        place = 0 if layer.shared_weights else t
        root = layer.root_weight[place].detach().transpose(1, 2).flatten(0, 1)
        y = y + call.emit(Linear(), x.value, call.derived(layer.root_weight, f"root_weight_{t}", root))
        if layer.bias is not None:
            y = y + layer.bias[place].detach().reshape(1, -1)
        if layer.act is not None:
            y = layer.act(y)
    return call.emit(HeadMean(stacks), y.value)


@lowers(pyg.ClusterGCNConv)
def cluster_gcn_conv(call: LayerCall) -> Rows:
    """W_out (mean over in-edges + lambda / degree on the diagonal) X + W_root X."""
    call.only("x", "edge_index")
    call.edge_index()
    layer, x = call.layer, call.rows("x")
    if is_reversed(call) or reduction(call) is not Reduce.SUM:
        raise call.refuse("another flow or aggr than the default; use the default")
    if layer.diag_lambda and not layer.add_self_loops:
        raise call.refuse("diag_lambda without add_self_loops; use add_self_loops=True")
    loops = SelfLoops.REPLACE if layer.add_self_loops else SelfLoops.KEEP
    y = call.emit(Propagate(call.topology(loops), Reduce.MEAN), x.value)
    if layer.diag_lambda:
        counted = call.topology(loops, normalization=Normalization.DEGREE)
        degree = Rows(call.lowering, call.lowering.node_factor(counted, End.TARGET))
        y = y + call.emit(Mul(), x.value, (layer.diag_lambda / degree).value)
    y = layer.lin_out(y)
    return y + layer.lin_root(x)
