"""Recurrent cells and what is built of them: GRUCell, LSTMCell, Set2Set."""

from __future__ import annotations

from torch import Tensor, nn
from torch_geometric.nn import aggr

from toolchain.frontend.calls import LayerCall
from toolchain.frontend.graph_functions import scatter, softmax
from toolchain.frontend.index_symbols import GraphIndex
from toolchain.frontend.registry import lowers
from toolchain.frontend.symbols import Count, Rows
from toolchain.frontend.tensor_functions import take
from toolchain.ir.ops import Activation, Concat, Function, Linear
from toolchain.ir.types import Domain


@lowers(nn.GRUCell)
def gru_cell(call: LayerCall) -> Rows:
    """h' = (1 - z) n + z h, with r, z, n the gates."""
    layer, x, h = call.layer, call.rows("input"), call.rows("hx")
    r_x, z_x, n_x = _affine(call, x, layer.weight_ih, layer.bias_ih).chunk(3, 1)
    r_h, z_h, n_h = _affine(call, h, layer.weight_hh, layer.bias_hh).chunk(3, 1)
    r, z = _activate(call, r_x + r_h, Function.SIGMOID), _activate(call, z_x + z_h, Function.SIGMOID)
    n = _activate(call, n_x + r * n_h, Function.TANH)
    return n + z * (h - n)


@lowers(nn.LSTMCell)
def lstm_cell(call: LayerCall) -> tuple[Rows, Rows]:
    """(h', c') from the gates i, f, g, o."""
    layer, state = call.layer, call.get("hx")
    if not isinstance(state, tuple | list):
        raise call.refuse("it is called without (h, c); pass both")
    weights = layer.weight_ih, layer.weight_hh, layer.bias_ih, layer.bias_hh
    return _lstm_step(call, weights, call.rows("input"), *state)


@lowers(aggr.Set2Set)
def set2set(call: LayerCall) -> Rows:
    """Attention over the nodes of each graph, with a query that an LSTM makes of the result before."""
    layer, x, index = call.layer, call.rows("x"), call.get("index")
    if layer.lstm.num_layers != 1 or layer.lstm.bidirectional:
        raise call.refuse("an LSTM of several layers; use num_layers=1")
    if index is not None and not isinstance(index, GraphIndex):
        raise call.refuse("its index must be the batch that forward was given")
    lowering, batch, graphs = call.lowering, GraphIndex(call.lowering), Count(call.lowering, Domain.GRAPH)
    width = layer.in_channels
    lstm = layer.lstm
    weights = lstm.weight_ih_l0, lstm.weight_hh_l0, lstm.bias_ih_l0, lstm.bias_hh_l0

    def zeros(channels: int) -> Rows:
        return Rows(lowering, lowering.filled(Domain.GRAPH, channels, 0.0))

    q_star, h, c = zeros(2 * width), zeros(width), zeros(width)
    for _ in range(layer.processing_steps):
        h, c = _lstm_step(call, weights, q_star, h, c)
        energy = (x * take(lowering, "Set2Set", h, batch)).sum(dim=-1, keepdim=True)  # [N, 1]
        attended = scatter(lowering, softmax(lowering, energy, batch) * x, batch, 0, graphs)  # [G, C]
        q_star = call.emit(Concat(), h.value, attended.value)
    return q_star


def _lstm_step(
    call: LayerCall, weights: tuple[Tensor, Tensor, Tensor | None, Tensor | None], x: Rows, h: Rows, c: Rows
) -> tuple[Rows, Rows]:
    gates = _affine(call, x, weights[0], weights[2]) + _affine(call, h, weights[1], weights[3])
    i, f, g, o = gates.chunk(4, 1)
    kept = _activate(call, f, Function.SIGMOID) * c
    new = kept + _activate(call, i, Function.SIGMOID) * _activate(call, g, Function.TANH)
    return _activate(call, o, Function.SIGMOID) * _activate(call, new, Function.TANH), new


def _affine(call: LayerCall, x: Rows, weight: Tensor, bias: Tensor | None) -> Rows:
    operands = [x.value, call.constant(weight), *([] if bias is None else [call.constant(bias)])]
    return call.emit(Linear(), *operands)


def _activate(call: LayerCall, x: Rows, function: Function) -> Rows:
    return call.emit(Activation(function), x.value)
