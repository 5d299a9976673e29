"""A bias that joins after a sum of neighbours and before its only rounding: its codes, with the rounding worked out."""

from __future__ import annotations

import numpy as np

from toolchain.errors import ExportError, OutsideContract
from toolchain.exporters.c.layers import INT32, scale_of
from toolchain.exporters.c.program import Program
from toolchain.ir import Value
from toolchain.ir.integer import late_bias_codes, multipliers

HIGH_WORD = 32  # a sum whose shift is at least this needs only its high word
LARGEST_ADDEND = 2**62  # the product with the sum is less than that as well


def late_bias_fields(
    program: Program, value: Value, bias: Value, ratio: np.ndarray, bound: int, *, relu: bool
) -> tuple[str, str]:
    """Initializers of `.requant` and `.bias`: y = clamp(zero + (((T << t) m + bias) >> s)), exactly `reference_integer.biased`.

    The bias holds the rounding 2^(s-1), and the zero point where that fits; t brings s to where the high word is enough.

    Args:
        bound: largest magnitude of T.
    """
    out = value.type.qparams
    assert out is not None
    m, s = multipliers(ratio)
    given, shift, zero = late_bias(program, value, bias, ratio), int(s[0]), out.zero_point
    left = max(0, HIGH_WORD - shift)
    if bound << left > INT32:
        left = 0
    addend = [(code << left) + (1 << (shift + left - 1)) for code in given]
    folded = [code + (zero << (shift + left)) for code in addend]
    if max(map(abs, folded)) < LARGEST_ADDEND:
        addend, zero = folded, 0
    low, high = out.code_range
    number = value.id
    requant = (
        f"{{.multiplier = {program.constant(f'multiplier_{number}', m.astype(np.int32))}, "
        f".shift = {program.constant(f'shift_{number}', (s + left).astype(np.uint8))}, .per_channel = 0, "
        f".left_shift = {left}, .zero_point = {zero}, .low = {max(low, out.zero_point) if relu else low}, .high = {high}}}"
    )
    return requant, program.constant(f"bias_{number}", np.array(addend, np.int64))


def late_bias(program: Program, value: Value, bias: Value, ratio: np.ndarray) -> list[int]:
    """B_c = rint(b_c / s_y * 2^s) of every channel."""
    _, s = multipliers(ratio)
    try:
        codes = late_bias_codes(program.graph.constant(bias), scale_of(value.type), s)
    except OutsideContract as error:
        raise ExportError(f"{value.place}: {error}") from error
    return [int(code) for code in np.broadcast_to(codes, (value.type.channels,))]
