"""BatchNorm and LayerNorm, of torch and of PyG."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg

from toolchain.frontend.calls import LayerCall
from toolchain.frontend.registry import lowers
from toolchain.frontend.symbols import Rows
from toolchain.ir.ops import BatchNorm, Extent, LayerNorm


@lowers(pyg.BatchNorm)
def pyg_batch_norm(call: LayerCall) -> Rows:
    """PyG's layer holds torch's; its allow_single_element only matters in training."""
    return call.layer.module(call.rows("x"))


@lowers(nn.BatchNorm1d)
def batch_norm(call: LayerCall) -> Rows:
    """(x - mean) / sqrt(variance + eps) * weight + bias, with the running statistics."""
    layer, x = call.layer, call.rows("input")
    if layer.running_mean is None or layer.running_var is None:
        raise call.refuse(
            "track_running_stats=False normalizes by the statistics of each batch; train with running statistics"
        )
    # momentum=None is a cumulative average, whose count a Graph does not hold; fine-tuning uses torch's default.
    momentum = 0.1 if layer.momentum is None else float(layer.momentum)
    operands = [
        *_affine(call, layer.weight, layer.bias, x.channels),
        call.constant(layer.running_mean),
        call.constant(layer.running_var),
    ]
    return call.emit(BatchNorm(float(layer.eps), momentum), x.value, *operands)


@lowers(nn.LayerNorm)
def layer_norm(call: LayerCall) -> Rows:
    """Statistics over the channels of each row."""
    layer, x = call.layer, call.rows("input")
    if tuple(layer.normalized_shape) != (x.channels,):
        raise call.refuse(
            f"normalized_shape {tuple(layer.normalized_shape)}, expected the {x.channels} channels of one row"
        )
    return call.emit(LayerNorm(float(layer.eps)), x.value, *_affine(call, layer.weight, layer.bias, x.channels))


@lowers(pyg.LayerNorm)
def pyg_layer_norm(call: LayerCall) -> Rows:
    """Statistics over each node's channels, or over all nodes and channels of each graph."""
    layer, x = call.layer, call.rows("x")
    affine = _affine(call, layer.weight, layer.bias, x.channels)
    if layer.mode == "node":
        return call.emit(LayerNorm(float(layer.eps)), x.value, *affine)
    if layer.mode != "graph":
        raise call.refuse(f"mode {layer.mode!r}; supported modes: graph, node")
    # PyG adds eps to the variance where it is given batch, and to the standard deviation where it is not.
    return call.emit(LayerNorm(float(layer.eps), Extent.GRAPH, eps_outside=not call.batch()), x.value, *affine)


def _affine(call: LayerCall, weight: Tensor | None, bias: Tensor | None, channels: int) -> tuple[int, int]:
    """Weight and bias, ones and zeros where the layer has none."""
    lowering = call.lowering
    return (
        lowering.constant(torch.ones(channels), derived="weight") if weight is None else call.constant(weight),
        lowering.constant(torch.zeros(channels), derived="bias") if bias is None else call.constant(bias),
    )
