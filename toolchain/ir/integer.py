"""The fixed-point primitives that every integer op is made of: scales, multipliers, row factors, requantization.

All functions are exact on int64. A C implementation must give the same integers; nothing here depends on float rounding
except where a scale, a multiplier or a weight code is derived, which happens once at export.
"""

from __future__ import annotations

import math

import numpy as np

from toolchain.errors import OutsideContract
from toolchain.ir.types import DType, QParams

Q31_ONE = 2**31 - 1


def activation_qparams(low: float, high: float, dtype: DType, bits: int = 8) -> QParams:
    """Per-tensor parameters of a range, first widened to include 0: asymmetric int8, symmetric int16.

    Args:
        bits: width of the codes that int8 stores, 1 to 8. One bit is the two codes -1 and 0.
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if dtype is DType.I8:
        least = -(2 ** (bits - 1))
        scale = _float32_scale((high - low) / (2**bits - 1))
        return QParams((scale,), int(np.clip(np.rint(least - low / scale), least, -least - 1)), bits)
    if dtype is DType.I16:
        return QParams((_float32_scale(max(-low, high) / 32767),), 0, 16)
    raise ValueError(f"activations are int8 or int16, not {dtype}")


def _float32_scale(scale: float) -> float:
    value = float(np.float32(scale))
    return value if value > 1e-30 else 1.0  # an all-zero range needs some scale; every code is then the zero point


def quantize_input(x: np.ndarray, qparams: QParams) -> np.ndarray:
    """Codes of float32 values: clamp(rint(f32(x * f32(1/s))) + z). One float32 product, then integers."""
    inverse = np.float32(1.0 / np.float64(qparams.scale[0]))
    low, high = qparams.code_range
    scaled = np.rint(x.astype(np.float32) * inverse).astype(np.float64)
    return np.clip(scaled + qparams.zero_point, low, high).astype(np.int64)


def weight_codes(
    weight: np.ndarray,
    bias: np.ndarray | None,
    input_scale: float,
    bits: int = 8,
    per_tensor: bool = False,
    least_scale: np.ndarray | float = 0.0,
    scales: np.ndarray | None = None,
) -> tuple[np.ndarray, QParams]:
    """Symmetric codes of a weight [out, in], one scale per output channel, or one for all.

    The scale also keeps |bias code| <= 2^23 where a row is tiny beside its bias (ARITHMETIC 1.6), and is at least
    `least_scale` ([out] or one number). Zero stays code 0, except with 1 bit: there the codes are the signs, +1 for 0.

    Args:
        bits: 1 to 8; the stored width is the next of 2, 4 and 8.
        scales: [out], taken instead of the one that the largest weight of a row needs (with 1 bit: the mean magnitude);
            weights beyond them are cut.
    """
    top = max(2 ** (bits - 1) - 1, 1)
    w = weight.astype(np.float64)
    if scales is not None:
        scales = scales.astype(np.float64)
    elif bits == 1:
        scales = np.abs(w).mean(axis=1)
    else:
        scales = np.abs(w).max(axis=1, initial=0.0) / top
    if bias is not None:
        scales = np.maximum(scales, np.abs(bias.astype(np.float64)) / (float(input_scale) * 2**23))
    scales = np.maximum(scales, least_scale)
    if per_tensor:
        scales = np.full_like(scales, scales.max(initial=0.0))
    scales = scales.astype(np.float32).astype(np.float64)
    scales = np.where(scales > 1e-30, scales, 1.0)  # as for activations
    codes = np.where(w >= 0, 1, -1) if bits == 1 else np.clip(np.rint(w / scales[:, None]), -top, top)
    codes, stored = codes.astype(np.int8), next(width for width in (2, 4, 8) if width >= bits)
    if per_tensor:
        return codes, QParams((float(scales[0]),), 0, stored, None)
    return codes, QParams(tuple(scales.tolist()), 0, stored, 0)


def bias_codes(bias: np.ndarray, input_scale: float, weight_qparams: QParams) -> tuple[np.ndarray, QParams]:
    """int32 codes at scale s_x * s_w[c]."""
    scales = np.float64(input_scale) * np.asarray(weight_qparams.scale, np.float64)
    codes = np.rint(bias.astype(np.float64) / scales)
    if (np.abs(codes) >= 2**31).any():
        raise OutsideContract(f"bias code {np.abs(codes).max():.0f} does not fit int32")
    stored = tuple(scales.astype(np.float32).astype(np.float64).tolist())
    return codes.astype(np.int32), QParams(stored, 0, 32, None if len(stored) == 1 else 0)


def multiplier(ratio: float) -> tuple[int, int]:
    """Fixed-point form (m, s) of a positive ratio: ratio ~ m * 2^-s with m < 2^31 and 1 <= s <= 62."""
    m, s = multipliers(np.array([ratio]))
    return int(m[0]), int(s[0])


def multipliers(ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`multiplier` of each ratio: two int64 arrays."""
    fraction, exponent = np.frexp(np.atleast_1d(ratios).astype(np.float64))
    m, s = np.floor(fraction * 2**31 + 0.5).astype(np.int64), 31 - exponent.astype(np.int64)
    m, s = np.where(m == 2**31, 2**30, m), np.where(m == 2**31, s - 1, s)
    if (s < 1).any():
        channel = f" in channel {int(np.argmax(ratios))}" if np.size(ratios) > 1 else ""
        raise OutsideContract(
            f"one step of what it rounds is {np.max(ratios):g} steps of its result{channel}, expected less than 2^30: the range of "
            "the result is far too small for weights and inputs as large as these. Calibrate it on graphs like those it runs on, "
            "or train with a lower learning rate."
        )
    beyond = np.maximum(s - 62, 0)
    return np.where(beyond >= 31, 0, m >> np.minimum(beyond, 31)), np.minimum(s, 62)


def late_bias_codes(bias: np.ndarray, scale: float, s: np.ndarray) -> np.ndarray:
    """B_c = rint(b_c / s_y * 2^s), int64: a bias that joins a sum before its only rounding.

    Args:
        scale: s_y, of the result.
        s: the shift of the multiplier.
    """
    real = bias.astype(np.float64) / np.float64(scale)
    codes = np.rint(real * np.float64(2) ** s)
    if (np.abs(codes) >= 2.0**61).any():
        raise OutsideContract(
            f"its bias is {np.abs(real).max():.3g} steps of its result, more than a sum can hold: the range of the result is far "
            "too small. Calibrate it on graphs like those it runs on, or train with a lower learning rate."
        )
    return np.asarray(codes.astype(np.int64))


def srdhm(a: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Rounding doubling high multiply: (a * r + 2^30) >> 31, the NEON sqrdmulh and MVE VQRDMULH."""
    return (a.astype(np.int64) * r.astype(np.int64) + (1 << 30)) >> 31


def rsqrt_q31(degree: np.ndarray) -> np.ndarray:
    """round(2^31 / sqrt(d)) as integers, capped at 2^31 - 1; 0 for d = 0."""

    def one(d: int) -> int:
        return 0 if d == 0 else min(Q31_ONE, (math.isqrt((2**64 - 1) // d) + 1) >> 1)

    return _by_distinct(degree, one)


def recip_q31(count: np.ndarray) -> np.ndarray:
    """round(2^31 / d) as integers, capped at 2^31 - 1; 0 for d = 0."""
    return _by_distinct(count, lambda d: 0 if d == 0 else min(Q31_ONE, (2**32 // d + 1) >> 1))


def _by_distinct(values: np.ndarray, function) -> np.ndarray:  # type: ignore[no-untyped-def]  # int -> int
    distinct, inverse = np.unique(values, return_inverse=True)
    return np.array([function(int(d)) for d in distinct], np.int64)[inverse].reshape(values.shape)


def requantize(
    accumulator: np.ndarray, m: np.ndarray, s: np.ndarray, qparams: QParams, *, relu: bool = False
) -> np.ndarray:
    """clamp(z + ((acc * m + 2^(s-1)) >> s)): round half up, once. `relu` raises the lower clamp to the zero point."""
    check_int32(accumulator, "accumulator")
    low, high = qparams.code_range
    rounded = (accumulator * m + (np.int64(1) << (s - 1))) >> s
    return np.clip(rounded + qparams.zero_point, max(low, qparams.zero_point) if relu else low, high)


def check_int32(accumulator: np.ndarray, what: str) -> None:
    """Refuse accumulators beyond int32, which a device could not hold."""
    if accumulator.size and int(np.abs(accumulator).max()) >= 2**31:
        raise OutsideContract(
            f"{what} reaches {int(np.abs(accumulator).max())}, beyond int32: this graph (degrees or size) is larger than "
            "the calibration graphs allowed for. Calibrate on graphs like it, or use the float model."
        )
