"""Calls of the integer kernels that work on each code alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from tests.c_kernels import ENUMS
from tests.unit.runtimes.c.integer_cases import EXTREME, RANGE, TYPES, enum, random_codes, random_requant, stored_rows
from tests.unit.runtimes.c.integer_reference import padded
from tests.unit.runtimes.c.kernel_case import Call, Output, Struct
from toolchain.ir.integer import activation_qparams, quantize_input
from toolchain.ir.types import DType


def widen_cases() -> Iterator[Call]:
    rng = np.random.default_rng(9)
    for x_type, channels, rows in itertools.product(("s8", "s16"), (1, 3, 4, 5, 8), (1, 4)):
        x = random_codes(rng, x_type, (rows, channels))
        y = stored_rows(x.astype(np.int64), "s16", padded(channels))
        yield Call(f"widen {x_type} C={channels}", f"gnn_widen_{x_type}", (x, channels, rows, y))


def add_cases() -> Iterator[Call]:
    rng = np.random.default_rng(10)
    for a_type, b_type, y_type in itertools.product(("s8", "s16"), repeat=3):
        count = 37
        a, b = random_codes(rng, a_type, (count,)), random_codes(rng, b_type, (count,))
        zero = {"s8": -100, "s16": 0}
        k = 20 if a_type == b_type == "s8" else 14
        a_scale, b_scale = 2**k, -int(rng.integers(1, 2**k))
        requant = random_requant(rng, y_type, 2.0**k * RANGE["s8" if k == 20 else "s16"][1], relu=a_type == "s8")
        total = a_scale * (a.astype(np.int64) - zero[a_type]) + b_scale * (b.astype(np.int64) - zero[b_type])
        op = Struct(
            "gnn_add_op",
            {
                "a_type": enum(a_type), "b_type": enum(b_type), "y_type": enum(y_type), "a_zero": zero[a_type],
                "b_zero": zero[b_type], "a_scale": a_scale, "b_scale": b_scale, "requant": requant.struct(),
            },
        )  # fmt: skip
        y = Output(requant.codes(total[None])[0].astype(TYPES[y_type]))
        yield Call(f"add {a_type} {b_type} {y_type}", "gnn_add", (op, a, b, count, y))


def maximum_cases() -> Iterator[Call]:
    rng = np.random.default_rng(11)
    for a_type, b_type, y_type in itertools.product(("s8", "s16"), repeat=3):
        count = 41
        a, b = random_codes(rng, a_type, (count,)), random_codes(rng, b_type, (count,))
        of_a, of_b = (random_requant(rng, y_type, RANGE[t][1]) for t in (a_type, b_type))
        op = Struct(
            "gnn_maximum_op",
            {
                "a_type": enum(a_type), "b_type": enum(b_type), "y_type": enum(y_type), "a_zero": -5, "b_zero": 9,
                "a_requant": of_a.struct(), "b_requant": of_b.struct(),
            },
        )  # fmt: skip
        codes = np.maximum(of_a.codes(a[None].astype(np.int64) + 5), of_b.codes(b[None].astype(np.int64) - 9))[0]
        yield Call(
            f"maximum {a_type} {b_type} {y_type}", "gnn_maximum", (op, a, b, count, Output(codes.astype(TYPES[y_type])))
        )


def table_cases() -> Iterator[Call]:
    rng = np.random.default_rng(12)
    table, x = rng.permutation(np.arange(-128, 128)).astype(np.int8), np.arange(-128, 128).astype(np.int8)
    yield Call("table", "gnn_table_s8", (table, x, 256, Output(table)))
    store = Output(table[x[::-1].astype(int) + 128], initial=x[::-1].copy())
    yield Call("table in place", "gnn_table_s8", (table, store, 256, store))


def quantize_cases() -> Iterator[Call]:
    """Ties, the ends of the range, infinities and NaN."""
    rng = np.random.default_rng(13)
    for y_type, dtype in (("s8", DType.I8), ("s16", DType.I16)):
        for low, high in ((-3.0, 1.0), (0.0, 7.0), (-1e-3, 2e5), (-1e30, 1e29)):
            qparams = activation_qparams(low, high, dtype)
            scale = np.float32(qparams.scale[0])
            ties = (np.arange(-140, 140) + 0.5).astype(np.float32) * scale
            wild = np.array([0.0, -0.0, np.inf, -np.inf, 3e38, -3e38, 1e-45, 2**31 * float(scale)], np.float32)
            x = np.concatenate(
                [rng.uniform(2 * low, 2 * high, 100).astype(np.float32), ties, wild, np.float32([np.nan] * 2)]
            ).reshape(-1, 5)
            with np.errstate(invalid="ignore", over="ignore"):
                codes = quantize_input(np.where(np.isnan(x), 0, x), qparams)
            floor, top = qparams.code_range
            codes = np.where(np.isnan(x), floor, codes)
            op = Struct(
                "gnn_quantize_op",
                {
                    "channels": 5, "zero_point": qparams.zero_point, "low": floor, "high": top,
                    "inverse_scale": float(np.float32(1.0 / np.float64(scale))),
                },
            )  # fmt: skip
            y = stored_rows(codes, y_type, 6)
            yield Call(f"quantize {y_type} [{low}, {high}]", f"gnn_quantize_{y_type}", (op, x, x.shape[0], y, 6))


def dequantize_cases() -> Iterator[Call]:
    """Products of more than 53 bits are rounded to a double first: among random ones, codes whose two roundings matter."""
    rng = np.random.default_rng(14)
    for x_type, per_channel in itertools.product(TYPES, (0, 1)):
        low, high = RANGE[x_type]
        x = random_codes(rng, x_type, (60, 5))
        if x_type == "s32":
            x[:8].reshape(-1)[: EXTREME.size] = EXTREME
            x[8:20] >>= rng.integers(0, 31, (12, 5)).astype(np.int32)
        for zero, smallest in (
            (0, 1e-30),
            (int(np.clip(-7, low, high)), 1e-3),
            (2**31 - 1 if x_type == "s32" else 100, 1e30),
        ):
            scale = (smallest * rng.uniform(1, 2, 5)).astype(np.float32)
            scale[1] = np.float32(2.0**-20)
            with np.errstate(over="ignore"):
                y = ((x.astype(np.int64) - zero) * (scale if per_channel else scale[:1]).astype(np.float64)).astype(
                    np.float32
                )
            arguments = (enum(x_type), x, 5, scale, per_channel, zero, 60, 5, Output(y))
            yield Call(f"dequantize {x_type} zero {zero}", "gnn_dequantize", arguments)
    for count, scale in itertools.product((0, 1, 3, 4, 5, 11), (np.float32(3.3e-7), np.float32(1e33))):
        x = random_codes(rng, "s16", (count,))
        y = (x.astype(np.float64) * np.float64(scale)).astype(np.float32)
        yield Call(f"dequantize_s16 {count}", "gnn_dequantize_s16", (x, count, scale, Output(y)))
    x, scale = _double_roundings()
    y = (x.astype(np.int64) * scale.astype(np.float64)).astype(np.float32)
    yield Call("dequantize, two roundings", "gnn_dequantize", ("GNN_S32", x, x.size, scale, 1, 0, 1, x.size, Output(y)))


def check_sparse_cases() -> Iterator[Call]:
    """Rows of every length, with one number that does not increase at any place, and with a last one that is too large."""
    rng = np.random.default_rng(16)
    features = 70
    for count, place in ((n, k) for n in range(10) for k in range(n + 1)):
        index = np.sort(rng.choice(features, count, replace=False)).astype(np.uint16)
        if 0 < place < count:
            index[place] = index[place - 1] - (int(index[place - 1]) if count % 2 else 0)
        elif count and place == 0:
            index[-1] = features + 60_000 * (count % 2)
        status = 0 if place == count else ENUMS["GNN_ERROR_VALUE"]
        pointer = np.array([0, 2, 2 + count, 3 + count], np.uint32)  # rows beside it that do not continue it
        given = np.concatenate([[3, 69], index, [0]]).astype(np.uint16)
        result = Output(np.array([status], np.int32))
        yield Call(f"check_sparse {count} {place}", "gnn_check_sparse", (pointer, given, 3, features), result)


def _double_roundings() -> tuple[np.ndarray, np.ndarray]:
    """Codes and scales whose product lies 1 above a tie of 24 bits: 53 bits make it the tie, which then goes down, not up."""
    rng = np.random.default_rng(15)
    codes, scales = [], []
    while len(codes) < 6:
        mantissa = int(rng.integers(2**22, 2**23)) * 2 + 1
        # code * mantissa == (2 q + 1) 2^30 + 1, a number of 55 bits, with q even
        tie = -pow(2**30, -1, mantissa) % mantissa
        for odd in range(tie, 2**25, mantissa):
            code = ((odd << 30) + 1) // mantissa
            if odd > 2**24 and odd % 4 == 1 and code < 2**31:
                codes.append(code)
                scales.append(mantissa)
    return np.array(codes, np.int32), (np.array(scales) * 2.0**-30).astype(np.float32)
