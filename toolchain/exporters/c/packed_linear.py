"""Integer Linears on packed weights: which have them, and their calls."""

from __future__ import annotations

import numpy as np

from toolchain.exporters.c.layers import linear_constants, linear_ratio, pack_weights, padded, requant_fields
from toolchain.exporters.c.linear_uses import linear_uses
from toolchain.exporters.c.packing import PackedCodes, packed_codes
from toolchain.exporters.c.program import Place, Program
from toolchain.ir import DType, Value
from toolchain.ir.ops import Const

PANEL_BYTES = 512  # of weights that are unpacked at a time


def packed_form(program: Program, value: Value) -> PackedCodes | None:
    """The packed form of a Linear's weight, if it has one that is worth it. Linears that hand out accumulators have none."""
    weight = program.graph.operand(value, "weight")
    if value.type.dtype is DType.I32 or weight is None or not isinstance(weight.op, Const):
        return None
    constants = linear_constants(program.graph, value)
    plain = pack_weights(constants.codes, constants.bits)
    rows = pack_weights(constants.codes, 8).view(np.int8).reshape(len(constants.codes), -1)
    return packed_codes(weight.op, rows, plain.size, program.packing)


def packed_linear(
    program: Program, value: Value, packed: PackedCodes, rows: str, factor: str, y: Place, *, relu: bool
) -> None:
    """Append the call that computes the current block of rows.

    Args:
        rows: int16 rows as a plain Linear takes them.
        factor: pointer to the row factors.
    """
    graph, number = program.graph, value.id
    constants = linear_constants(graph, value)
    out, width = constants.codes.shape
    requant = requant_fields(
        program, str(number), linear_ratio(graph, value), constants.bound, value.type, relu=relu
    )  # fmt: skip
    fields = [
        f".weight = {program.constant(f'weight_{number}', packed.bytes)}",
        f".bias = {program.constant(f'bias_{number}', constants.bias)}",
        f".in = {width}, .out = {out}, .weight_bits = {packed.bits}",
        f".requant = {requant}",
    ]
    program.uses |= {"WEIGHTS_OF_8_BITS"} | linear_uses(graph, value)  # to which they are unpacked
    if factor != "NULL":
        program.uses.add("ROW_FACTOR")
    layer = program.struct("gnn_linear_layer", f"linear_{number}", fields)
    panel = max(1, min(PANEL_BYTES // padded(width), out))
    scratch = program.scratch("panel", value, "int8_t", panel * padded(width))
    kernel, is_s8 = f"gnn_linear_{packed.storage}", y.dtype is DType.I8
    stride = () if is_s8 else (f"{y.stride}u",)
    program.call(
        f"{kernel}_s8" if is_s8 else f"{kernel}_s16", layer, rows, "rows", factor, y.rows, *stride, scratch, f"{panel}u",
        scope=value.scope,
    )  # fmt: skip
