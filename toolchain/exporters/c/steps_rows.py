"""Calls of the kernels of row scales: the ops of `toolchain.ir.reference_rows`, with their constants worked out."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from toolchain.errors import ExportError
from toolchain.exporters.c.layers import is_integer, lowest, zero_of
from toolchain.exporters.c.program import TYPE_NAMES, Program
from toolchain.exporters.c.steps_integer import row_factor
from toolchain.ir import Value, ops
from toolchain.ir.integer import late_bias_codes, multipliers
from toolchain.ir.ops import Function
from toolchain.ir.reference_rows import factors_q31, limit_codes, peak_bounds, scale_ratio


@singledispatch
def compute(op: ops.Op, program: Program, value: Value) -> None:
    """Append the calls of a group of nodes or of scaled rows."""
    raise ExportError(f"{value.scope}: {type(op).__name__} scales no rows.")


@compute.register
def _(op: ops.DegreeGroup, program: Program, value: Value) -> None:
    bound = program.constant(f"bound_{value.id}", np.array(op.bounds or (0,), np.uint32))
    fields = [f".bound = {bound}, .bounds = {len(op.bounds)}"]
    struct = program.struct("gnn_degree_group_op", f"group_{value.id}", fields)
    y, topology = program.place(value, writes=True), program.topology(op.topology)
    program.call("gnn_degree_group", struct, topology, "first", "rows", y.rows, scope=value.scope)


@compute.register
def _(op: ops.PeakGroup, program: Program, value: Value) -> None:
    operand = _codes(program, value)
    bounds = np.minimum(peak_bounds(op, operand.type), np.iinfo(np.int32).max)
    x, y = program.place(operand), program.place(value, writes=True)
    bound = program.constant(f"bound_{value.id}", np.array(bounds if bounds.size else [0], np.int32))
    fields = [
        f".bound = {bound}, .bounds = {len(op.bounds)}, .channels = {operand.type.channels}",
        f".x_type = {TYPE_NAMES[x.dtype]}, .zero_point = {zero_of(operand.type)}",
    ]
    struct = program.struct("gnn_peak_group_op", f"group_{value.id}", fields)
    program.call("gnn_peak_group", struct, x.rows, f"{x.stride}u", "rows", y.rows, scope=value.scope)


@compute.register
def _(op: ops.RowScale, program: Program, value: Value) -> None:
    operand, out, number = _codes(program, value), value.type.qparams, value.id
    group, bias = program.graph.values[value.inputs[1]], program.graph.operand(value, "bias")
    assert out is not None
    m, s = multipliers(scale_ratio(op, operand.type, out))
    factor = row_factor(program, op.row_factor)
    x, groups, y = program.place(operand), program.place(group), program.place(value, writes=True)
    low, high = lowest(value.type, relu=op.activation is Function.RELU), out.code_range[1]
    limit = added = "NULL"
    if op.limits:
        limit = program.constant(f"limit_{number}", limit_codes(op, out).astype(np.int16))
    if bias is not None:
        added = program.constant(f"bias_{number}", late_bias_codes(program.graph.constant(bias), out.scale[0], s))
    fields = [
        f".factor = {program.constant(f'factor_{number}', factors_q31(op).astype(np.int32))}, .limit = {limit}",
        f".bias = {added}, .channels = {value.type.channels}, .zero_point = {zero_of(operand.type)}",
        f".x_type = {TYPE_NAMES[x.dtype]}, .y_type = {TYPE_NAMES[y.dtype]}",
        f".requant = {{.multiplier = {program.constant(f'multiplier_{number}', m.astype(np.int32))}, "
        f".shift = {program.constant(f'shift_{number}', s.astype(np.uint8))}, .per_channel = {int(m.size > 1)}, "
        f".left_shift = 0, .zero_point = {out.zero_point}, .low = {low}, .high = {high}}}",
    ]
    struct = program.struct("gnn_row_scale_op", f"row_scale_{number}", fields)
    program.call(
        "gnn_row_scale", struct, x.rows, f"{x.stride}u", "rows", groups.rows, factor, y.rows, f"{y.stride}u",
        scope=value.scope,
    )  # fmt: skip


def _codes(program: Program, value: Value) -> Value:
    """The first operand, which holds codes: only integer graphs have row scales."""
    operand = program.graph.values[value.inputs[0]]
    if not is_integer(operand.type):
        raise ExportError(f"{value.scope}: {type(value.op).__name__} on {operand.type} has no kernel; it takes codes.")
    return operand
