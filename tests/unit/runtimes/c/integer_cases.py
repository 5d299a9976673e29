"""Calls of every integer kernel with what they must give: random and extreme values, every type, width and alignment."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.c_kernels import SOURCE
from tests.unit.runtimes.c.integer_reference import Requant, packed, padded
from tests.unit.runtimes.c.kernel_case import Aligned, Call, Output, Struct, scratch
from toolchain.ir.integer import rsqrt_q31

TYPES = {"s8": np.int8, "s16": np.int16, "s32": np.int32}
RANGE = {"s8": (-128, 127), "s16": (-32767, 32767), "s32": (-(2**31), 2**31 - 1)}
ROWS = 4
Q31_ONE = 2**31 - 1
EXTREME = np.array(
    [0, 1, -1, 2, -2, 127, -128, 2**30, -(2**30), 2**31 - 1, -(2**31), 2**31 - 2, -(2**31) + 1], np.int64
)
FACTORS = np.array([0, 1, 2**15, 2**30 - 1, 2**30, 2**30 + 1, Q31_ONE, Q31_ONE - 1], np.int64)


def enum(type_: str) -> str:
    return f"GNN_{type_.upper()}"


def random_codes(rng: np.random.Generator, type_: str, shape: tuple[int, ...]) -> np.ndarray:
    """Codes of a type, the ends of its range among them."""
    low, high = RANGE[type_]
    values = rng.integers(low, high + 1, shape)
    return np.where(rng.random(shape) < 0.2, rng.choice([low, high], shape), values).astype(TYPES[type_])


def random_requant(
    rng: np.random.Generator, type_: str, magnitude: float, channels: int = 0, *, left: int = 0, relu: bool = False
) -> Requant:
    """A requantization that brings accumulators of this magnitude to codes of a type; per channel if `channels` is given."""
    count = max(1, channels)
    low, high = RANGE[type_]
    ratio = (high - low) / max(magnitude, 1.0) * rng.uniform(0.3, 1.5, count)
    fraction, exponent = np.frexp(ratio)
    m, s = np.floor(fraction * 2**31).astype(np.int64), np.clip(31 - exponent + left, 1 + left, 62)
    zero = int(rng.integers(low, high + 1)) if type_ == "s8" else 0
    return Requant(m, s, zero, zero if relu else low, high, left, per_channel=channels > 0)


def stored_rows(values: np.ndarray, type_: str, stride: int) -> Output:
    """Rows of codes in an array with a longer stride; what lies between is not written."""
    rows, channels = values.shape
    expected = np.zeros((rows, stride), np.int64)
    expected[:, :channels] = values
    written = np.broadcast_to(np.arange(stride) < channels, expected.shape)
    return Output(expected.astype(TYPES[type_]), written)


# ---- requantization itself -----------------------------------------------------------------------------------------------


def every_shift() -> Iterator[Call]:
    """Every shift with every extreme accumulator, and accumulators on both sides of a rounding step."""
    rng = np.random.default_rng(1)
    for s, (m, type_) in itertools.product(range(1, 63), ((2**31 - 1, "s8"), (2**30, "s16"), (3, "s8"), (None, "s16"))):
        m = int(rng.integers(2**30, 2**31)) if m is None else m
        near = [
            round((2 * k + 1) * 2.0 ** (s - 1) / m) + d
            for k in (-30000, -128, -3, -1, 0, 1, 2, 127, 30000)
            for d in (-1, 0, 1)
        ]
        acc = np.clip(np.concatenate([EXTREME, near, rng.integers(-(2**31), 2**31, 8)]), -(2**31), 2**31 - 1).astype(
            np.int64
        )
        low, high = RANGE[type_]
        requant = Requant(np.array([m]), np.array([s]), int(rng.integers(low, high + 1)), low, high)
        yield requantize_call(
            f"shift {s}, m {m}", requant, acc.reshape(2, -1), "s32", type_, 0, rng.choice(FACTORS, 2) if s % 2 else None
        )


def requantize_call(
    name: str, requant: Requant, x: np.ndarray, x_type: str, y_type: str, zero: int, factor: np.ndarray | None
) -> Call:
    rows, channels = x.shape
    op = Struct(
        "gnn_requantize_op",
        {
            "channels": channels,
            "zero_point": zero,
            "x_type": enum(x_type),
            "y_type": enum(y_type),
            "requant": requant.struct(),
        },
    )
    stride, y_stride = channels + 1, channels + channels % 3
    source = np.zeros((rows, stride), TYPES[x_type])
    source[:, :channels] = x
    y = stored_rows(requant.codes(x.astype(np.int64) - zero, factor), y_type, y_stride)
    rows_factor = None if factor is None else factor.astype(np.int32)
    return Call(
        f"requantize {x_type}->{y_type} {name}", "gnn_requantize", (op, source, stride, rows, rows_factor, y, y_stride)
    )


def requantize_cases() -> Iterator[Call]:
    rng = np.random.default_rng(2)
    for x_type, y_type, channels in itertools.product(("s8", "s16", "s32"), ("s8", "s16"), (1, 4, 7)):
        magnitude = float(RANGE[x_type][1])
        factor = rng.integers(0, 2**31, 3) if channels != 4 else None
        zero = 5 if x_type == "s8" else 0
        requant = random_requant(rng, y_type, magnitude, relu=channels == 7, left=3 if x_type == "s8" else 0)
        yield requantize_call(
            f"C={channels}", requant, random_codes(rng, x_type, (3, channels)), x_type, y_type, zero, factor
        )


# ---- Linear --------------------------------------------------------------------------------------------------------------


def linear_call(
    name: str, rng: np.random.Generator, y_type: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, requant: Requant | None,
    *, bits: int = 8, rows: int = ROWS, factor: np.ndarray | None = None, has_terms: bool = False,
) -> Call:  # fmt: skip
    """x [4, in] int16, weight [out, in] codes, bias [out]. `has_terms`: bias and shift are stored as one number."""
    out, width = weight.shape
    acc = x[:rows].astype(np.int64) @ weight.T + bias
    fields: dict[str, object] = {
        "weight": Aligned(packed(weight, bits)), "bias": bias.astype(np.int32), "in": width, "out": out, "weight_bits": bits,
    }  # fmt: skip
    source = rng.integers(-32767, 32768, (ROWS, padded(width))).astype(np.int16)  # what pads is multiplied by 0
    source[:, :width] = x
    space = None if bits == 8 else scratch(padded(width), np.int8, aligned=True)
    factors = None if factor is None else factor.astype(np.int32)
    values: np.ndarray
    if requant is None:
        values = acc
    else:
        fields["requant"] = requant.struct()
        values = requant.codes(acc, None if factor is None else factor[:rows])
        if has_terms:
            least = requant.s.min(keepdims=True)
            fields |= {"bias": None, "terms": (16 * bias + requant.s - least).astype(np.int16)}
            fields["requant"] = replace(requant, s=least).struct()
    layer = Struct("gnn_linear_layer", fields)
    stride = out + int(rng.integers(0, 5)) if y_type == "s16" else out
    y = stored_rows(values, y_type, stride)
    arguments: dict[str, tuple[object, ...]] = {
        "s8": (layer, Aligned(source), rows, factors, y, space),
        "s16": (layer, Aligned(source), rows, factors, y, stride, space),
        "s32": (layer, Aligned(source), rows, y, space),
    }
    return Call(f"linear {y_type} {width}->{out} w{bits} {name}", f"gnn_linear_{y_type}", arguments[y_type])


def linear_cases() -> Iterator[Call]:
    rng = np.random.default_rng(3)
    sizes = ((1, 1), (2, 3), (3, 64), (4, 2), (5, 5), (7, 1), (8, 4), (12, 7), (16, 16), (20, 3), (24, 2), (40, 3), (59, 4),
             (63, 2), (64, 9), (65, 3), (72, 2), (130, 4))  # fmt: skip
    number = 0
    for (width, out), bits, y_type in itertools.product(sizes, (8, 4, 2), TYPES):
        number += 1
        if bits != 8 and number % 2:
            continue
        rows, relu = 1 + number % ROWS, number % 3 == 0
        top = 2 ** (bits - 1) - 1
        weight = rng.integers(-top, top + 1, (out, width))
        x = random_codes(rng, "s16" if number % 4 else "s8", (ROWS, width)).astype(np.int64)
        acc = x @ weight.T
        bias = rng.integers(-(2**23), 2**23, out)
        requant = None
        if y_type != "s32":
            codes = "s8" if y_type == "s16" and number % 5 == 0 else y_type
            requant = random_requant(
                rng, codes, float(np.abs(acc).max() + 2**22), 0 if number % 7 == 0 else out, relu=relu
            )
        factor = rng.integers(0, 2**31, rows) if number % 2 and y_type != "s32" else None
        yield linear_call(f"case {number}", rng, y_type, x, weight, bias, requant, bits=bits, rows=rows, factor=factor)


def linear_terms() -> Iterator[Call]:
    """Weights of 4 bits whose bias and shift are one number of 16 bits."""
    rng = np.random.default_rng(17)
    for number, (width, y_type) in enumerate(itertools.product((4, 6, 12, 20, 28, 32, 64), ("s8", "s16", "s16"))):
        out, rows, left = 3 + number % 5, 1 + number % ROWS, number % 3
        top = 48 if y_type == "s8" else 43
        shift = rng.integers(top - 10, top + 6, out) + left
        zero, low, high = (int(rng.integers(-128, 128)), -128, 127) if y_type == "s8" else (0, -32767, 32767)
        relu = y_type == "s16" and number % 2
        requant = Requant(
            rng.integers(2**30, 2**31, out), shift, zero, 0 if relu else low, high, left, per_channel=True
        )
        x = random_codes(rng, "s16", (ROWS, width))
        weight = rng.integers(-8, 8, (out, width))
        bias = rng.choice([-2048, 2047, -1, 0, 1], out)
        factor = rng.integers(0, 2**31, rows) if number % 2 else None
        yield linear_call(
            f"terms {number}", rng, y_type, x, weight, bias, requant, bits=4, rows=rows, factor=factor, has_terms=True
        )


def linear_extremes() -> Iterator[Call]:
    """Every shift and extreme accumulator through Linear: its weights are 0, so the bias is the accumulator."""
    rng = np.random.default_rng(4)
    s = np.repeat(np.arange(1, 63), 5)
    for y_type, factor, zero in itertools.product(
        ("s8", "s16"), (None, FACTORS[:4], FACTORS[4:]), (-128, 0, 127, 20000)
    ):
        if y_type == "s8" and zero > 127:
            continue
        low, high = RANGE[y_type]
        m = np.where(
            rng.random(s.size) < 0.3, rng.choice([0, 1, 2**30, Q31_ONE], s.size), rng.integers(2**30, 2**31, s.size)
        )
        requant = Requant(m, s, zero, low, high, per_channel=True)
        near = np.rint((2 * rng.integers(low, high + 1, s.size) + 1) * 2.0 ** (s - 1) / np.maximum(m, 1))
        bias = np.where(
            rng.random(s.size) < 0.4, rng.choice(EXTREME, s.size), np.clip(near, -(2**31), 2**31 - 1)
        ).astype(np.int64)
        nothing = np.zeros((s.size, 4), np.int64)
        yield linear_call(
            f"extremes z={zero}", rng, y_type, np.zeros((ROWS, 4), np.int64), nothing, bias, requant, factor=factor
        )
    for left, y_type in itertools.product((1, 7), ("s8", "s16")):
        weight = rng.integers(-127, 128, (6, 8))
        x = rng.integers(-300, 300, (ROWS, 8))
        requant = random_requant(rng, y_type, 2e5, 6, left=left)
        yield linear_call(
            f"left shift {left}", rng, y_type, x, weight, np.zeros(6, np.int64), requant, factor=FACTORS[2:6]
        )
    for sign in (1, -1):  # partial sums leave int32, the whole does not
        x, weight = np.full((ROWS, 1040), 32767), np.full((2, 1040), 127)
        weight[:, 520:] = -127
        requant = random_requant(rng, "s8", 1e3, 2)
        yield linear_call("wrapping", rng, "s8", x, sign * weight, np.array([5, -900]), requant)


def linear_sparse_cases() -> Iterator[Call]:
    rng = np.random.default_rng(5)
    blocks = itertools.cycle(
        ((2, 4), (0, 4), (1, 4), (6, 2), (0, 1), (4, 3), (6, 1))
    )  # (first, rows); the first one has a long row
    for (out, y_type), with_factor in itertools.product(
        itertools.product((1, 3, 4, 7, 8, 16, 19, 20, 36), TYPES), (False, True)
    ):
        features, nodes, (first, rows) = 600, 8, next(blocks)
        chosen = [np.sort(rng.choice(features, count, replace=False)) for count in (3, 0, 1, 0, 18, 600, 2, 255)]
        pointer = np.cumsum([0, *map(len, chosen)])
        weight = np.where(rng.random((features, out)) < 0.5, -127, rng.integers(-127, 128, (features, out)))
        bias = rng.integers(-(2**15), 2**15, out)
        dense = np.zeros((nodes, features), np.int64)
        for row, ones in zip(dense, chosen, strict=True):
            row[ones] = 1
        acc = (dense @ weight + bias)[first : first + rows]
        fields: dict[str, object] = {
            "weight": Aligned(weight.astype(np.int8)), "bias": bias.astype(np.int32), "in": features, "out": out,
        }  # fmt: skip
        factor = rsqrt_q31(rng.integers(0, 9, rows)) if with_factor else None
        values = acc
        if y_type != "s32":
            left = out % 3
            requant = random_requant(rng, y_type, 2e4 * 8, 0 if out == 7 else out, relu=with_factor, left=left)
            fields |= {"requant": requant.struct(), "ready": requant.ready(bias) if out % 8 != 3 else None}
            values = requant.codes(acc, factor)
        arguments = (
            Struct("gnn_linear_sparse_layer", fields), pointer.astype(np.uint32), np.concatenate(chosen).astype(np.uint16), first,
            rows,
            None if factor is None else factor.astype(np.int32), enum(y_type), stored_rows(values, y_type, out),
            scratch(out, np.int32),
        )  # fmt: skip
        yield Call(f"linear_sparse {y_type} out={out}", "gnn_linear_sparse", arguments)


def linear_narrow_cases() -> Iterator[Call]:
    """Sixteen inputs; factors on both sides of 1/2, and accumulators that leave int32 on the way."""
    rng = np.random.default_rng(17)
    for out, rows, with_factor in itertools.product((1, 2, 7, 16), (1, 4, 5), (False, True)):
        weight, x = rng.integers(-127, 128, (out, 16)), rng.integers(-32767, 32768, (rows, 16))
        bias = rng.integers(-(2**20), 2**20, out)
        requant = random_requant(rng, "s8", 4e6, out)
        ready = requant.ready(bias)
        assert ready is not None
        halves = [np.ascontiguousarray(weight[:, k : k + 8].astype(np.int16)).view(np.int32) for k in (0, 8)]
        table = np.concatenate([halves[0], ready[:, :1], halves[1], ready[:, 1:]], axis=1).astype(np.int32)
        factor = rsqrt_q31(np.arange(1, rows + 1) * 2 - 1) if with_factor else None
        codes = requant.codes(x @ weight.T + bias, factor)
        arguments = (
            Struct("gnn_linear_narrow_layer", {"channel": table, "out": out}), Aligned(x.astype(np.int16)), rows,
            None if factor is None else factor.astype(np.int32),
            stored_rows(codes, "s8", out),
        )  # fmt: skip
        yield Call(f"linear_narrow out={out} rows={rows}", "gnn_linear_narrow_s8", arguments)


@functools.cache
def integer_calls() -> dict[str, list[Call]]:
    """All calls, by kind."""
    from tests.unit.runtimes.c import integer_cases_edges as edges
    from tests.unit.runtimes.c import integer_cases_graph as graph
    from tests.unit.runtimes.c import integer_cases_groups as groups
    from tests.unit.runtimes.c import integer_cases_packed as packed_weights
    from tests.unit.runtimes.c import integer_cases_rows as rows

    kinds = (
        every_shift, requantize_cases, linear_cases, linear_terms, linear_narrow_cases, linear_extremes, linear_sparse_cases,
        packed_weights.linear_packed_cases, graph.propagate_cases, graph.hub_cases, graph.pool_cases, rows.widen_cases,
        rows.add_cases, rows.maximum_cases, rows.table_cases, rows.quantize_cases, rows.dequantize_cases,
        rows.check_sparse_cases, groups.group_cases, groups.row_scale_cases, *edges.EDGE_KINDS,
    )  # fmt: skip
    return {kind.__name__: list(kind()) for kind in kinds}


def integer_sources() -> tuple[Path, ...]:
    """The C files of all kernels that are called."""
    return tuple(
        SOURCE / f"{name}.c" for name in sorted({call.function for calls in integer_calls().values() for call in calls})
    )


__all__ = ["EXTREME", "FACTORS", "integer_calls", "integer_sources", "random_codes", "random_requant"]
