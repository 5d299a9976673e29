"""Linear layers, activations, dropout, softmax and jumping knowledge."""

from __future__ import annotations

from functools import reduce

from torch import nn
from torch_geometric import nn as pyg

from toolchain.frontend.calls import LayerCall
from toolchain.frontend.registry import lowers
from toolchain.frontend.symbols import Rows
from toolchain.ir.ops import Activation, Concat, Dropout, Function, Linear, LogSoftmax, Maximum


@lowers(nn.Linear, pyg.Linear)
def linear(call: LayerCall) -> Rows:
    """y = x W^T + b."""
    layer = call.layer
    operands = [call.rows("input" if isinstance(layer, nn.Linear) else "x").value, call.constant(layer.weight)]
    if layer.bias is not None:
        operands.append(call.constant(layer.bias))
    return call.emit(Linear(), *operands)


@lowers(nn.Identity)
def identity(call: LayerCall) -> Rows:
    value = call.get("input")
    if not isinstance(value, Rows):
        raise call.refuse("its argument must be a tensor of nodes, edges or graphs")
    return value


@lowers(nn.Dropout)
def dropout(call: LayerCall) -> Rows:
    x = call.rows("input")
    return call.emit(Dropout(float(call.layer.p)), x.value)


def _activation(call: LayerCall, function: Function, alpha: float = 0.01) -> Rows:
    """An elementwise layer; `inplace=True` also changes the tensor that it is given."""
    x = call.get("input")
    if not isinstance(x, Rows):
        raise call.refuse("its argument must be a tensor of nodes, edges or graphs")
    value = call.lowering.add(Activation(function, alpha), x.value)
    if getattr(call.layer, "inplace", False):
        return x.move_to(value)
    return x.like(value)


@lowers(nn.ReLU)
def relu(call: LayerCall) -> Rows:
    return _activation(call, Function.RELU)


@lowers(nn.LeakyReLU)
def leaky_relu(call: LayerCall) -> Rows:
    return _activation(call, Function.LEAKY_RELU, float(call.layer.negative_slope))


@lowers(nn.ELU)
def elu(call: LayerCall) -> Rows:
    return _activation(call, Function.ELU, float(call.layer.alpha))


@lowers(nn.GELU)
def gelu(call: LayerCall) -> Rows:
    return _activation(call, gelu_function(call.layer.approximate))


def gelu_function(approximate: str) -> Function:
    """GELU by torch's name of the approximation, "none" or "tanh"."""
    return {"none": Function.GELU, "tanh": Function.GELU_TANH}[approximate]


@lowers(nn.Sigmoid)
def sigmoid(call: LayerCall) -> Rows:
    return _activation(call, Function.SIGMOID)


@lowers(nn.Tanh)
def tanh(call: LayerCall) -> Rows:
    return _activation(call, Function.TANH)


@lowers(nn.Softmax, nn.LogSoftmax)
def softmax(call: LayerCall) -> Rows:
    """Softmax over channels."""
    if call.layer.dim not in (1, -1):
        raise call.refuse(f"dim={call.layer.dim}; only softmax over channels is supported. Use dim=-1")
    return call.emit(LogSoftmax(log=isinstance(call.layer, nn.LogSoftmax)), call.rows("input").value)


@lowers(pyg.JumpingKnowledge)
def jumping_knowledge(call: LayerCall) -> Rows:
    """Concatenation or maximum of the outputs of all layers."""
    layers = call.get("xs")
    if not isinstance(layers, list | tuple) or not layers or not all(isinstance(x, Rows) for x in layers):
        raise call.refuse("xs must be a list of node features")
    if call.layer.mode == "cat":
        return call.emit(Concat(), *(x.value for x in layers))
    if call.layer.mode == "max":
        return reduce(lambda a, b: call.emit(Maximum(), a.value, b.value), layers)
    raise call.refuse(f"mode {call.layer.mode!r}; supported modes: cat, max")
