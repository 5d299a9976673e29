"""The stored integers of an integer graph: weight, bias and self-term codes, chosen so that no int32 sum can overflow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolchain.errors import OutsideContract
from toolchain.ir.integer import activation_qparams, bias_codes, weight_codes
from toolchain.ir.integer_softmax import MOST_EDGES
from toolchain.ir.types import DType, QParams, TensorType

INT32_LIMIT = 2**31 - 1
MOST_SELF_SCALE_BITS = 8


@dataclass(frozen=True, slots=True, eq=False)
class LinearCodes:
    """Codes of a Linear: weight [out, in] int8, bias [out] int32. No accumulator exceeds `bound`."""

    weight: np.ndarray
    weight_qparams: QParams
    bias: np.ndarray | None
    bias_qparams: QParams | None
    bound: int


def largest_code(type_: TensorType) -> int:
    """Largest |q - z| that a value of an integer type can have."""
    assert type_.qparams is not None
    low, high = type_.qparams.code_range
    return max(high - type_.qparams.zero_point, type_.qparams.zero_point - low)


@dataclass(frozen=True, slots=True, eq=False)
class WeightFormat:
    """How a weight [out, in] is stored: 1 to 8 bits, and scales [out] or [1], or None for those that its rows need."""

    bits: int
    scales: np.ndarray | None = None


def linear_codes(
    weight: np.ndarray, bias: np.ndarray | None, x: TensorType, stored_as: WeightFormat, *, per_tensor: bool
) -> LinearCodes:
    """Quantize a Linear for an input type.

    A row whose accumulator could leave int32 for some input gets a coarser scale, so that it cannot.
    """
    scales = None if stored_as.scales is None else np.broadcast_to(stored_as.scales, weight.shape[:1])
    assert x.qparams is not None
    scale_x, reach = x.qparams.scale[0], largest_code(x)
    floor = np.zeros(weight.shape[0])
    while True:
        codes, qparams = weight_codes(weight, bias, scale_x, stored_as.bits, per_tensor, floor, scales)
        bound = np.abs(codes.astype(np.int64)).sum(axis=1) * reach
        stored, stored_qparams = (None, None) if bias is None else bias_codes(bias, scale_x, qparams)
        if stored is not None:
            bound = bound + np.abs(stored.astype(np.int64))
        excess = bound / INT32_LIMIT
        if (excess <= 1).all():
            return LinearCodes(codes, qparams, stored, stored_qparams, int(bound.max(initial=0)))
        floor = np.where(excess > 1, np.asarray(qparams.scale) * excess * 1.01, floor)


def head_codes(weight: np.ndarray, x: TensorType) -> tuple[np.ndarray, QParams]:
    """int8 codes of attention vectors [H, C], one scale per head. They are few, so 8 bits whatever the width of others."""
    codes = linear_codes(weight, None, x, WeightFormat(8), per_tensor=False)
    return codes.weight, codes.weight_qparams


def factor_codes(factor: np.ndarray) -> tuple[np.ndarray, QParams]:
    """int16 codes of a constant factor, [C] or [1], around 0."""
    peak = float(np.abs(factor).max(initial=0.0))
    qparams = activation_qparams(-peak, peak, DType.I16)
    codes = np.clip(np.rint(factor.astype(np.float64) / qparams.scale[0]), -32767, 32767)
    return codes.astype(np.int16), qparams


def accumulator_parameters(x: TensorType, weight: QParams) -> QParams:
    """Parameters of the int32 accumulators: s_x * s_w[c], zero point 0."""
    assert x.qparams is not None
    scales = np.float64(x.qparams.scale[0]) * np.asarray(weight.scale, np.float64)
    stored = tuple(float(np.float32(s)) for s in scales)
    return QParams(stored, 0, 32, None if len(stored) == 1 else 0)


def self_scale_codes(self_scale: float, x: TensorType, degree: int) -> tuple[np.ndarray, QParams]:
    """E = rint(self_scale * 2^k), [1] int32 at scale 2^-k, with the largest k <= 8 for which T = (S << k) + E q fits int32.

    Raises:
        OutsideContract: not even k = 0 fits.
    """
    if not abs(self_scale) * largest_code(x) <= INT32_LIMIT:
        raise OutsideContract(
            f"its self term is {self_scale:g} times the node's own value, beyond int32. Train with a lower learning rate, or "
            "keep the float model."
        )
    bits = 0 if self_scale == round(self_scale) else MOST_SELF_SCALE_BITS
    while largest_code(x) * (degree * 2**bits + abs(round(self_scale * 2**bits))) > INT32_LIMIT:
        bits -= 1
        if bits < 0:
            raise OutsideContract(_too_many(x, degree))
    return np.array([np.rint(self_scale * 2**bits)], np.int32), QParams((2.0**-bits,), 0, 32)


def check_sums(x: TensorType, degree: int) -> None:
    """Refuse in-degrees whose sums of codes could leave int32."""
    if largest_code(x) * degree > INT32_LIMIT:
        raise OutsideContract(_too_many(x, degree))


def check_attention(degree: int) -> None:
    """Refuse in-degrees beyond those that the integer softmax is defined for."""
    if degree > MOST_EDGES:
        raise OutsideContract(
            f"integer attention takes {MOST_EDGES} in-edges of a node, max_degree is {degree}. "
            "Set max_degree to the largest in-degree that occurs, or use edge_arithmetic='float'."
        )


def _too_many(x: TensorType, degree: int) -> str:
    kind = "8-bit" if x.dtype is DType.I8 else "16-bit"
    return (
        f"sums over {degree} in-edges of {kind} codes may leave int32. Set max_degree to the largest in-degree that occurs, "
        "use mode='int8', or keep the float model."
    )
