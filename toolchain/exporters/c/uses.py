"""What a model uses of its kernels (gnn_uses.h): compiled as one file, a model holds no more than that."""

from __future__ import annotations

from toolchain.exporters.c.layers import Requant, padded
from toolchain.ir import DType, TensorType

USES = (
    "RELATIONS", "WEIGHTS_OF_8_BITS", "WEIGHTS_OF_4_BITS", "WEIGHTS_OF_2_BITS", "ONE_MULTIPLIER", "LEFT_SHIFT", "TERMS", "NO_TERMS",
    "LONG_ROWS", "ROW_FACTOR", "WIDE_SUMS", "EXTREMES", "MEAN_ROWS", "SELF", "SMALL_SHIFTS", "RARE",
)  # fmt: skip
_INTERLEAVED = 64  # GNN_INTERLEAVED
_LANE_COUNT = 255  # GNN_LANE_COUNT
_HIGH_SHIFT, _ROUNDING_LIMIT = 33, 23  # GNN_HIGH_SHIFT, GNN_ROUNDING_LIMIT
_UNIT_BITS = 12
_FLOAT_BOUND = 2**24  # up to which all integers are floats


def of_linear(inputs: int, requant: Requant, out: TensorType, low: int) -> set[str]:
    """Of an integer Linear that hands out codes, the least of which is `low`."""
    used = {
        "ONE_MULTIPLIER": len(requant.multiplier) == 1,
        "LEFT_SHIFT": requant.left_shift > 0,
        "LONG_ROWS": padded(inputs) > _INTERLEAVED,
        "RARE": _is_rare(requant, out, low),
    }
    return {name for name, is_used in used.items() if is_used}


def of_dequantize(bound: int) -> set[str]:
    """Of a Dequantize, whose codes are `bound` from the zero point at most."""
    return {"WIDE_SUMS"} if bound > _FLOAT_BOUND else set()


def of_propagate(*, is_extreme: bool, is_mean: bool, has_self: bool) -> set[str]:
    """Of any integer Propagate without edge weights."""
    used = {"EXTREMES": is_extreme, "MEAN_ROWS": is_mean, "SELF": has_self}
    return {name for name, is_used in used.items() if is_used}


def of_plain_propagate(
    x: TensorType, requant: Requant, out: TensorType, low: int, *, is_extreme: bool, self_shift: int, degree: int
) -> set[str]:
    """Of an integer Propagate without edge weights and late bias."""
    is_slow = (
        x.channels % 8 != 0
        or degree > _LANE_COUNT
        or self_shift + requant.left_shift > _UNIT_BITS
        or _is_rare(requant, out, low)
    )
    return {"RARE"} if is_extreme or x.channels < 4 or (is_slow and x.dtype is DType.I8) else set()


def _is_rare(requant: Requant, out: TensorType, low: int) -> bool:
    """Whether a requantization has a shift, a zero point or bounds that the loops in assembly leave to C."""
    assert out.qparams is not None
    shift = requant.shift.astype(int) - _HIGH_SHIFT
    is_cut = out.dtype is DType.I8 and (low, out.qparams.code_range[1]) != (-128, 127)
    return bool(
        shift.min() < 0 or shift.max() >= _ROUNDING_LIMIT or not -128 <= out.qparams.zero_point <= 127 or is_cut
    )
