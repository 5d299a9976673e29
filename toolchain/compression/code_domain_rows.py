"""Row scales while training: the integers of `toolchain.ir.reference_rows`, with the gradients of what learns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from toolchain.compression.code_domain import CodeCall, emit_codes, qparams_of, row_factors
from toolchain.ir import ops
from toolchain.ir.integer import srdhm
from toolchain.ir.ops import Function
from toolchain.ir.reference_rows import factors_q31, limit_codes, peak_bounds, scale_ratio
from toolchain.torch_sparse import SparseMatrix

UNCUT_BITS = 16


@emit_codes.register
def _(op: ops.DegreeGroup, code: CodeCall) -> Tensor:
    degree = code.topology(op.topology).in_degree
    return _groups(np.searchsorted(np.array(op.bounds, np.int64), degree, side="left"))


@emit_codes.register
def _(op: ops.PeakGroup, code: CodeCall) -> Tensor:
    peaks = code.x.detach().abs().amax(dim=1).numpy()
    return _groups(np.searchsorted(peak_bounds(op, code.call.types[0]), peaks, side="left"))


def _groups(numbers: np.ndarray) -> Tensor:
    """[N, 1], as codes are."""
    return torch.from_numpy(numbers[:, None]).float()


@emit_codes.register
def _(op: ops.RowScale, code: CodeCall) -> Tensor:
    group = code.call.tensors[1][:, 0].long()
    return _scaled(op, code, code.x, group, group)


def sparse_codes(op: ops.RowScale, code: CodeCall, x: SparseMatrix) -> SparseMatrix:
    """The same of a matrix that is mostly 0, element by element: 0 stays 0."""
    group = code.call.tensors[1][:, 0].long()
    rows = torch.repeat_interleave(torch.arange(x.shape[0]), x.rows.diff())  # [elements]
    return x.with_values(_scaled(op, code, x.values[:, None], group.index_select(0, rows), group)[:, 0])


def _scaled(op: ops.RowScale, code: CodeCall, x: Tensor, group: Tensor, nodes: Tensor) -> Tensor:
    """Codes of rows x, whose groups are `group`, among nodes whose groups are `nodes`."""
    x_type, out = code.call.types[0], code.out
    table = torch.tensor(op.factors)
    if code.rows is not None:  # ahead of a Linear s / s_g, behind it s_g / s
        unit = float(np.max(code.rows.steps.detach().numpy()))
        table = unit / code.rows.steps if op.limits else code.rows.steps / unit
    rows, bias_rows = factors_q31(op)[group.numpy()], None
    smooth = (table / max(op.factors)).index_select(0, group)[:, None]
    if op.row_factor is not None:
        bias_rows = row_factors(code.topology(op.row_factor.topology))
        rows = srdhm(rows, bias_rows)
        smooth = smooth * torch.from_numpy(bias_rows / 2**31).float()[:, None]
    ratio, relu = scale_ratio(op, x_type, out), op.activation is Function.RELU
    slope = code.step() * (max(op.factors) / code.out_step)
    codes = (_uncut(code) if op.limits else code).requantize(
        x, ratio, slope, rows=rows, smooth_rows=smooth, bias_rows=bias_rows, relu=relu, bias=code.call.operand("bias")
    )
    if not op.limits:
        return codes
    # Where a code is cut, the gradient is that of the largest code of the group.
    tops = torch.from_numpy(limit_codes(op, out)).float() if code.rows is None else code.rows.tops
    tops = tops.index_select(0, group)[:, None]
    codes = codes.clamp(-tops, tops)
    if code.rows is not None and code.rows.count is not None:
        code.rows.count(nodes)
    if code.rows is not None and code.rows.observe is not None:
        code.rows.observe(x.detach() * qparams_of(x_type).scale[0], group, codes.detach())
    return codes


def _uncut(code: CodeCall) -> CodeCall:
    """The same with a result of more bits, so that only the limits cut, through which the gradient of a width flows."""
    value = code.call.value
    type_ = value.type.with_dtype(value.type.dtype, replace(code.out, bits=UNCUT_BITS))
    return replace(code, call=replace(code.call, value=replace(value, type=type_)))
