"""Attention and aggregation along edges in torch, on codes: the integers of `toolchain.ir.reference_integer_edges`, differentiable.

Importing this module adds these ops to `code_domain.emit_codes`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from toolchain.compression.code_domain import CodeCall, emit_codes
from toolchain.compression.code_rounding import exact_dtype, straight_through
from toolchain.compression.integer_constants import largest_code
from toolchain.ir import ops
from toolchain.ir.integer import recip_q31
from toolchain.ir.integer_softmax import ONE, softmax_codes
from toolchain.ir.ops import End, Function, Reduce
from toolchain.ir.types import Domain
from toolchain.torch_ops import edge_topology
from toolchain.torch_structure import segment_reduce, segment_softmax, weigh_heads


@emit_codes.register
def _(op: ops.Gather, code: CodeCall) -> Tensor:
    edges = code.graph.topologies[op.topology]
    return code.x.index_select(0, edges.source if op.end is End.SOURCE else edges.target)


@emit_codes.register
def _(op: ops.HeadDot, code: CodeCall) -> Tensor:
    factor = code.factor
    assert factor is not None
    bound = int(np.abs(factor.codes.astype(np.int64)).sum(axis=1).max(initial=0)) * largest_code(code.call.types[0])
    dtype = exact_dtype(bound)
    total = (code.x.to(dtype).unflatten(1, factor.codes.shape) * factor.tensor(dtype)).sum(dim=2)  # [., H, C] to [., H]
    ratio = code.scale() * factor.scale / code.out_scale
    slope = torch.from_numpy(factor.scale.astype(np.float32)) * code.step() / code.out_step
    return code.requantize(total, ratio, slope)


@emit_codes.register
def _(op: ops.HeadMean, code: CodeCall) -> Tensor:
    bound = op.heads * largest_code(code.call.types[0])
    total = code.x.to(exact_dtype(bound)).unflatten(1, (op.heads, -1)).sum(dim=1)  # [., H, C] to [., C]
    return code.requantize(total, code.scale() / op.heads / code.out_scale, code.step() / op.heads / code.out_step)


@emit_codes.register
def _(op: ops.EdgeSoftmax, code: CodeCall) -> Tensor:
    number = edge_topology(code.call)
    topology = code.topology(number)
    logits = code.x.detach().round().numpy().astype(np.int64)
    exact = torch.from_numpy(softmax_codes(logits, float(code.scale()), topology.row_pointer)).to(code.x.dtype)
    smooth = segment_softmax(code.x * code.step(), code.graph.topologies[number].target, topology.num_nodes)
    return straight_through(smooth * ONE, exact)


def attend(op: ops.Propagate, code: CodeCall) -> Tensor:
    """A Propagate with weights per head, from an EdgeSoftmax."""
    edges, nodes = code.graph.topologies[op.topology], code.topology(op.topology).num_nodes
    weight, x_type = code.call.operand("weight"), code.call.types[0]
    assert weight is not None
    dtype = exact_dtype(ONE * largest_code(x_type))
    messages = weigh_heads(code.x.to(dtype).index_select(0, edges.source), weight.to(dtype), weight.shape[1])
    total = segment_reduce(messages, edges.target, nodes, Reduce.SUM)
    ratio, slope = code.scale(0) * code.scale(1) / code.out_scale, code.step(0) * code.step(1) / code.out_step
    is_relu, bias = op.activation is Function.RELU, code.call.operand("bias")
    return code.requantize(total, ratio, slope, relu=is_relu, bias=bias)


@emit_codes.register
def _(op: ops.Aggregate, code: CodeCall) -> Tensor:
    number = edge_topology(code.call)
    topology, is_mean = code.topology(number), op.reduce is Reduce.MEAN
    is_extreme = op.reduce in (Reduce.MAX, Reduce.MIN)
    bound = largest_code(code.call.types[0]) * int(topology.in_degree.max(initial=1))
    x = code.x.to(exact_dtype(0 if is_extreme else bound))
    target = code.graph.topologies[number].target
    total = segment_reduce(x, target, topology.num_nodes, op.reduce if is_extreme else Reduce.SUM)
    rows = recip_q31(topology.in_degree) if is_mean else None
    return code.requantize(total, code.scale() / code.out_scale, code.step() / code.out_step, rows=rows)


@emit_codes.register
def _(op: ops.Mul, code: CodeCall) -> Tensor:
    scales, steps, tensors = [code.scale(0), code.scale(1)], [code.step(0), code.step(1)], list(code.call.tensors)
    if code.factor is not None:
        place = next(i for i, type_ in enumerate(code.call.types) if type_.domain is Domain.CONST)
        tensors[place], scales[place] = code.factor.tensor(torch.float64), np.float64(code.factor.scale[0])
        steps[place] = float(scales[place])
    total = tensors[0].double() * tensors[1].double()
    return code.requantize(total, scales[0] * scales[1] / code.out_scale, steps[0] * steps[1] / code.out_step)
