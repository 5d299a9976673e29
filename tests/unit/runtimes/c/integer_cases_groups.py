"""Calls of the kernels of row scales."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from tests.unit.runtimes.c.integer_cases import (
    EXTREME,
    FACTORS,
    Q31_ONE,
    RANGE,
    enum,
    random_codes,
    random_requant,
    stored_rows,
)
from tests.unit.runtimes.c.kernel_case import Call, Output, Struct
from toolchain.ir.integer import srdhm

ROWS = 4


def group_cases() -> Iterator[Call]:
    rng = np.random.default_rng(40)
    degrees = np.array([0, 3, 1, 7, 2, 300])
    topology = {"row_pointer": np.cumsum([0, *degrees]).astype(np.uint32)}
    for bounds, first in itertools.product(((), (0,), (1, 2, 6), (2, 299)), (0, 2)):
        op = Struct("gnn_degree_group_op", {"bound": np.array(bounds or (0,), np.uint32), "bounds": len(bounds)})
        own = np.searchsorted(np.array(bounds), degrees[first : first + ROWS], side="left")
        arguments = (op, Struct("gnn_topology", dict(topology)), first, ROWS, Output(own.astype(np.int16)))
        yield Call(f"degree_group {bounds} from {first}", "gnn_degree_group", arguments)
    for x_type, channels, bounds in itertools.product(("s8", "s16"), (1, 5), ((), (0,), (20, 100, 5000))):
        zero = -100 if x_type == "s8" else 0
        x = random_codes(rng, x_type, (ROWS, channels + 2))
        x[0] = zero
        peaks = np.abs(x[:, :channels].astype(np.int64) - zero).max(axis=1)
        op = Struct(
            "gnn_peak_group_op",
            {
                "bound": np.array(bounds or (0,), np.int32), "bounds": len(bounds), "channels": channels, "x_type": enum(x_type),
                "zero_point": zero,
            },
        )  # fmt: skip
        own = Output(np.searchsorted(np.array(bounds), peaks, side="left").astype(np.int16))
        yield Call(f"peak_group {x_type} C={channels} {bounds}", "gnn_peak_group", (op, x, channels + 2, ROWS, own))


def row_scale_cases() -> Iterator[Call]:
    rng = np.random.default_rng(41)
    variants = ("plain", "limits", "relu limits", "bias", "relu bias", "row factor", "row factor bias")
    for number, (x_type, y_type, channels, variant) in enumerate(
        itertools.product(("s8", "s16", "s32"), ("s8", "s16"), (1, 6), variants)
    ):
        x = random_codes(rng, x_type, (ROWS, channels))
        if x_type == "s32":
            x[0] = rng.choice(EXTREME, channels)
        zero = 5 if x_type == "s8" else 0
        per_channel = channels if number % 2 else 0
        requant = random_requant(rng, y_type, float(RANGE[x_type][1]), channels=per_channel, relu="relu" in variant)
        factors = np.concatenate([rng.choice(FACTORS, 2), [Q31_ONE]])
        limits = np.array([0, 3, RANGE[y_type][1]])
        groups = rng.integers(0, 3, ROWS)
        rows, bias, degree = factors[groups], None, None
        if "bias" in variant:
            most = min(2**61, 100 << int(requant.s.min()))
            bias = rng.integers(-most, most, channels)
            bias[:1] = 2**61 - 1 if number % 3 else -(2**61) + 1
        added = np.zeros((1, channels), object) if bias is None else bias.astype(object)[None, :]
        if "row factor" in variant:
            degree = rng.choice(FACTORS, ROWS)
            rows, added = srdhm(rows, degree), (added * degree.astype(object)[:, None] + 2**30) >> 31
        m = srdhm(requant.m[None, :], rows[:, None]).astype(object)
        half = np.array([1 << (int(v) - 1) for v in requant.s], object)
        value = ((x.astype(object) - zero) * m + added + half) >> requant.s.astype(object)
        codes = np.clip(value + requant.zero, requant.low, requant.high)
        if "limits" in variant:
            own = limits[groups][:, None]
            codes = np.clip(codes, requant.zero - own, requant.zero + own)
        op = Struct(
            "gnn_row_scale_op",
            {
                "factor": factors.astype(np.int32), "limit": limits.astype(np.int16) if "limits" in variant else None,
                "bias": bias, "channels": channels, "x_type": enum(x_type), "y_type": enum(y_type), "zero_point": zero,
                "requant": requant.struct(),
            },
        )  # fmt: skip
        y = stored_rows(codes.astype(np.int64), y_type, channels + number % 3)
        factor = None if degree is None else degree.astype(np.int32)
        arguments = (op, x, channels, ROWS, groups.astype(np.int16), factor, y, channels + number % 3)
        yield Call(f"row_scale {x_type}->{y_type} C={channels} {variant}", "gnn_row_scale", arguments)
