"""What attention and aggregation along edges mean on integer codes. As in `reference_integer`, each rounds once.

`Gather` copies codes and needs no function here; elementwise ops treat rows of edges as rows of nodes.
"""

from __future__ import annotations

import numpy as np

from toolchain.errors import TypeMismatch
from toolchain.ir import ops
from toolchain.ir.integer import recip_q31
from toolchain.ir.integer_softmax import WEIGHT_QPARAMS, softmax_codes
from toolchain.ir.ops import End, Reduce
from toolchain.ir.reference import Array, Call
from toolchain.ir.reference_integer import biased, centred, extreme, finish, qparams_of, store
from toolchain.ir.types import DType


def head_dot(op: ops.HeadDot, call: Call) -> Array:
    """acc_h = sum_c (x_hc - z) w_hc with int8 weights [H, C], one scale per head; ratio s_x s_w[h] / s_y."""
    x_type, w_type = call.types
    heads, width = call.arrays[1].shape
    x = centred(call.arrays[0], x_type).reshape(-1, heads, width)
    total = (x * call.arrays[1].astype(np.int64)).sum(axis=2)  # [rows, H]
    scale_w = np.broadcast_to(np.asarray(qparams_of(w_type).scale, np.float64), (heads,))
    ratio = np.float64(qparams_of(x_type).scale[0]) * scale_w / np.float64(qparams_of(call.type).scale[0])
    return finish(total, ratio, None, call, None)


def edge_softmax(op: ops.EdgeSoftmax, call: Call) -> Array:
    """`integer_softmax.softmax_codes`: int16 logits around 0 to int16 weights at 1 / 32767, which sum to 1 at every node."""
    x, out = qparams_of(call.types[0]), qparams_of(call.type)
    if call.types[0].dtype is not DType.I16 or x.zero_point != 0:
        raise TypeMismatch(f"EdgeSoftmax of {call.types[0]}: expected int16 logits around 0")
    if call.type.dtype is not DType.I16 or out != WEIGHT_QPARAMS:
        raise TypeMismatch(f"EdgeSoftmax to {call.type}: expected int16 at scale 1 / 32767")
    assert call.types[0].topology is not None
    topology = call.topology(call.types[0].topology)
    return store(softmax_codes(call.arrays[0], x.scale[0], topology.row_pointer), call.type)


def propagate(op: ops.Propagate, call: Call) -> Array:
    """S_i = sum w_ij[h] (x_j - z), ratio s_x s_w / s_y; bias and ReLU as in `reference_integer.propagate`.

    The weights are those of an EdgeSoftmax: they sum to 32767 at every node, so |S| <= 32767 max|x - z| < 2^31 whatever the
    degree.
    """
    topology, w_type = call.topology(op.topology), call.operand_type("weight")
    assert w_type is not None
    plain = topology.weight is None and topology.source_scale is None and call.array("self_scale") is None
    if not plain or op.reduce is not Reduce.SUM or op.row_factor is not None:
        raise TypeMismatch("with weights per head, integers have the plain sum only; keep this Propagate in float")
    weight = centred(_given(call.array("weight")), w_type)  # [E, H]
    x = centred(call.arrays[0], call.types[0])
    heads, channels = weight.shape[1], x.shape[1]
    messages = x[topology.source].reshape(-1, heads, channels // heads) * weight[:, :, None]  # [E, H, C/H]
    total = np.zeros((topology.num_nodes, channels), np.int64)
    np.add.at(total, topology.target, messages.reshape(-1, channels))
    scale_x, scale_w = np.float64(qparams_of(call.types[0]).scale[0]), np.float64(qparams_of(w_type).scale[0])
    ratio = np.array([scale_x * scale_w / np.float64(qparams_of(call.type).scale[0])])
    bias = call.array("bias")
    if bias is None:
        return finish(total, ratio, None, call, op.activation)
    return biased(total, ratio, None, bias, call, op.activation)


def aggregate(op: ops.Aggregate, call: Call) -> Array:
    """acc_i = sum (x_e - z) over the in-edges e of node i; the mean by a Q31 reciprocal on the multiplier; max and min of codes."""
    assert call.types[0].topology is not None
    topology = call.topology(call.types[0].topology)
    if op.end is not End.TARGET:
        raise TypeMismatch("integers aggregate at the target of an edge only; keep this Aggregate in float")
    x = centred(call.arrays[0], call.types[0])
    ratio = np.array([np.float64(qparams_of(call.types[0]).scale[0]) / np.float64(qparams_of(call.type).scale[0])])
    if op.reduce in (Reduce.MAX, Reduce.MIN):
        return finish(extreme(x, topology.target, topology.num_nodes, op.reduce), ratio, None, call, None)
    total = np.zeros((topology.num_nodes, x.shape[1]), np.int64)
    np.add.at(total, topology.target, x)
    rows = recip_q31(topology.in_degree) if op.reduce is Reduce.MEAN else None
    return finish(total, ratio, rows, call, None)


def head_mean(op: ops.HeadMean, call: Call) -> Array:
    """acc_c = sum_h (x_hc - z), ratio s_x / heads / s_y."""
    x = centred(call.arrays[0], call.types[0])
    total = x.reshape(-1, op.heads, x.shape[1] // op.heads).sum(axis=1)  # [rows, C]
    scale_x, scale_y = np.float64(qparams_of(call.types[0]).scale[0]), np.float64(qparams_of(call.type).scale[0])
    return finish(total, np.array([scale_x / op.heads / scale_y]), None, call, None)


def _given(array: Array | None) -> Array:
    assert array is not None
    return array
