"""Calls of the integer kernels of attention and edges, each with the codes that `toolchain.ir` gives for it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from tests.unit.runtimes.c.integer_cases import RANGE, TYPES, enum, random_codes, random_requant, stored_rows
from tests.unit.runtimes.c.integer_reference import Requant
from tests.unit.runtimes.c.kernel_case import Call, Output, Struct, scratch
from toolchain.ir.integer import recip_q31
from toolchain.ir.integer_softmax import exponent, softmax_codes

PAIRS = tuple(itertools.product(("s8", "s16"), repeat=2))
ZERO = {"s8": -100, "s16": 0}
DEGREES = [3, 0, 1, 17, 2, 0, 5, 1]  # nodes without in-edges among them


def row_pointer(degrees: list[int]) -> np.ndarray:
    return np.cumsum([0, *degrees]).astype(np.uint32)


def head_dot_cases() -> Iterator[Call]:
    rng = np.random.default_rng(20)
    shapes = ((1, 1), (3, 4), (2, 7), (8, 8))
    for (x_type, y_type), (heads, width), rows in itertools.product(PAIRS, shapes, (1, 4)):
        x = random_codes(rng, x_type, (rows, heads * width))
        weight = rng.choice([-127, 127, 3, 0], (heads, width))
        requant = random_requant(rng, y_type, 127.0 * width * RANGE[x_type][1], heads)
        acc = ((x.astype(np.int64) - ZERO[x_type]).reshape(rows, heads, width) * weight).sum(axis=2)
        op = Struct(
            "gnn_head_dot_op",
            {
                "weight": weight.astype(np.int8), "bias": (-ZERO[x_type] * weight.sum(axis=1)).astype(np.int32),
                "heads": heads, "width": width, "y_type": enum(y_type), "requant": requant.struct(),
            },
        )  # fmt: skip
        stride = heads * width + 3
        stored = np.full((rows, stride), 77, TYPES[x_type])
        stored[:, : heads * width] = x
        y = Output(requant.codes(acc).astype(TYPES[y_type]))
        yield Call(
            f"head_dot {x_type} {y_type} {heads}x{width}", f"gnn_head_dot_{x_type}", (op, stored, stride, rows, y)
        )


def leaky_relu_cases() -> Iterator[Call]:
    rng = np.random.default_rng(21)
    for x_type, y_type in PAIRS:
        x = random_codes(rng, x_type, (61,))
        value = x.astype(np.int64) - ZERO[x_type]
        above = random_requant(rng, y_type, RANGE[x_type][1])
        for slope in (0.2, 0.0):
            m = np.floor(above.m * slope).astype(np.int64)
            below = Requant(m, above.s, above.zero, above.low, above.high)
            op = Struct(
                "gnn_leaky_relu_op",
                {
                    "x_type": enum(x_type), "y_type": enum(y_type), "zero_point": ZERO[x_type], "above": above.struct(),
                    "below": below.struct(),
                },
            )  # fmt: skip
            codes = np.where(value >= 0, above.codes(value[None])[0], below.codes(value[None])[0])
            y = Output(codes.astype(TYPES[y_type]))
            yield Call(f"leaky_relu {x_type}->{y_type} {slope}", "gnn_leaky_relu", (op, x, x.size, y))


def softmax_call(name: str, logits: np.ndarray, scale: float, degrees: list[int], *, in_place: bool = False) -> Call:
    pointer, by = row_pointer(degrees), exponent(scale)
    op = Struct(
        "gnn_edge_softmax_op",
        {"multiplier": by.multiplier, "reach": by.reach, "shift": by.shift, "heads": logits.shape[1]},
    )
    x = logits.astype(np.int16)
    y = Output(softmax_codes(logits, scale, pointer).astype(np.int16), initial=x.copy() if in_place else None)
    return Call(f"softmax {name}", "gnn_edge_softmax_s16", (op, pointer, len(degrees), y if in_place else x, y))


def softmax_cases() -> Iterator[Call]:
    """Scales from one at which all logits are equal to one at which a single code decides."""
    rng = np.random.default_rng(22)
    for scale, heads in itertools.product((1e-30, 1e-9, 1e-5, 3e-4, 0.02, 0.48, 0.7, 30.0, 1e9), (1, 3)):
        scale = float(np.float32(scale))
        near = rng.integers(-40, 40, (sum(DEGREES), heads))
        for kind, logits in (("random", random_codes(rng, "s16", near.shape).astype(np.int64)), ("near", near)):
            yield softmax_call(f"{kind} {scale:g} H={heads}", logits, scale, DEGREES, in_place=heads == 3)


def softmax_hubs() -> Iterator[Call]:
    """Degrees around the powers of two at which the guard changes, and the largest that there is."""
    rng = np.random.default_rng(23)
    degrees = [1, 2, 3, 4, 5, 8, 9, 255, 256, 257, 1000]
    logits = np.rint(rng.normal(0, 4000, (sum(degrees), 2))).astype(np.int64).clip(-32767, 32767)
    yield softmax_call("of hubs", logits, float(np.float32(1e-3)), degrees)
    for name, logits in (("equal", np.zeros((2**16, 1), np.int64)), ("one", np.eye(2**16, 1, dtype=np.int64) * 32767)):
        yield softmax_call(f"of 2^16 in-edges, {name}", logits, float(np.float32(3e-4)), [2**16])


def propagate_weighted_cases() -> Iterator[Call]:
    rng = np.random.default_rng(24)
    pointer = row_pointer(DEGREES).astype(np.int64)
    for (x_type, y_type), (heads, width), with_bias in itertools.product(
        PAIRS, ((1, 1), (2, 3), (3, 4), (2, 5), (1, 16), (2, 37)), (False, True)
    ):
        channels, nodes = heads * width, 9
        x = random_codes(rng, x_type, (nodes, channels))
        source = rng.integers(0, nodes, sum(DEGREES))
        logits = rng.integers(-3000, 3000, (sum(DEGREES), heads))
        weight = softmax_codes(logits, float(np.float32(1e-3)), pointer)
        messages = (x.astype(np.int64) - ZERO[x_type])[source].reshape(-1, heads, width) * weight[:, :, None]
        total = np.zeros((len(DEGREES), channels), np.int64)
        np.add.at(total, np.repeat(np.arange(len(DEGREES)), DEGREES), messages.reshape(-1, channels))
        requant = random_requant(rng, y_type, 32767.0 * RANGE[x_type][1], relu=width == 3)
        bias = rng.integers(-(2**40), 2**40, channels) if with_bias else None
        added, fields = (None, requant.struct()) if bias is None else requant.late(bias)
        op = Struct(
            "gnn_propagate_weighted_op",
            {"channels": channels, "heads": heads, "zero_point": ZERO[x_type], "bias": added, "requant": fields},
        )
        topology = Struct(
            "gnn_topology", {"row_pointer": pointer.astype(np.uint32), "source": source.astype(np.uint16)}
        )
        first, rows, y_stride = 3 * with_bias, 4, channels + width % 2
        y = stored_rows(requant.codes(total[first : first + rows], None, bias), y_type, y_stride)
        arguments = (op, topology, x, weight.astype(np.int16), first, rows, enum(y_type), y, y_stride)
        name = f"weighted {x_type}->{y_type} {heads}x{width}{' bias' if with_bias else ''}"
        yield Call(name, f"gnn_propagate_weighted_{x_type}", arguments)


def head_mean_cases() -> Iterator[Call]:
    rng = np.random.default_rng(25)
    for (x_type, y_type), (heads, width) in itertools.product(PAIRS, ((1, 4), (3, 1), (8, 7))):
        x = random_codes(rng, x_type, (3, heads * width))
        total = (x.astype(np.int64) - ZERO[x_type]).reshape(3, heads, width).sum(axis=1)
        requant = random_requant(rng, y_type, float(heads * RANGE[x_type][1]))
        op = Struct(
            "gnn_head_mean_op",
            {
                "heads": heads, "width": width, "x_type": enum(x_type), "y_type": enum(y_type),
                "zero_point": ZERO[x_type], "requant": requant.struct(),
            },
        )  # fmt: skip
        y = Output(requant.codes(total).astype(TYPES[y_type]))
        yield Call(f"head_mean {x_type}->{y_type} {heads}x{width}", "gnn_head_mean", (op, x, 3, y))


def aggregate_cases() -> Iterator[Call]:
    """All edges of eight nodes, in blocks of four as a model calls it."""
    rng = np.random.default_rng(26)
    for (x_type, y_type), reduce in itertools.product(PAIRS, ("sum", "mean", "max", "min")):
        channels, edges = 5, sum(DEGREES)
        x = random_codes(rng, x_type, (edges, channels))
        target = np.repeat(np.arange(len(DEGREES)), DEGREES)
        value = x.astype(np.int64) - ZERO[x_type]
        total = np.zeros((len(DEGREES), channels), np.int64)
        ufunc = {"max": np.maximum, "min": np.minimum}.get(reduce, np.add)
        for node in np.unique(target):
            total[node] = ufunc.reduce(value[target == node])
        magnitude = RANGE[x_type][1] * (17.0 if reduce == "sum" else 1.0)
        requant = random_requant(rng, y_type, magnitude)
        factor = recip_q31(np.array(DEGREES)) if reduce == "mean" else None
        op = Struct(
            "gnn_aggregate_op",
            {
                "channels": channels, "x_type": enum(x_type), "y_type": enum(y_type), "reduce": enum(reduce),
                "zero_point": ZERO[x_type], "requant": requant.struct(),
            },
        )  # fmt: skip
        name = f"aggregate {x_type}->{y_type} {reduce}"
        y = Output(requant.codes(total, factor).astype(TYPES[y_type]))
        yield Call(f"{name} start", "gnn_aggregate_start", (op, len(DEGREES), y))
        acc, pointer = scratch(channels, np.int32), row_pointer(DEGREES)
        for first in range(0, edges, 4):
            ends = target[first : first + 4].astype(np.uint16)
            yield Call(name, "gnn_aggregate", (op, pointer, ends, x[first : first + 4], first, len(ends), acc, y))


def mul_cases() -> Iterator[Call]:
    rng = np.random.default_rng(27)
    for (a_type, b_type), y_type, (ca, cb) in itertools.product(PAIRS, ("s8", "s16"), ((6, 6), (6, 1), (1, 6))):
        for is_constant in (False, True):
            rows, b_rows = 3, 1 if is_constant else 3
            a, b = random_codes(rng, a_type, (rows, ca)), random_codes(rng, b_type, (b_rows, cb))
            product = (a.astype(np.int64) - ZERO[a_type]) * (b.astype(np.int64) - ZERO[b_type])
            requant = random_requant(rng, y_type, float(RANGE[a_type][1] * RANGE[b_type][1]))
            op = Struct(
                "gnn_mul_op",
                {
                    "channels": 6, "a_type": enum(a_type), "b_type": enum(b_type), "y_type": enum(y_type),
                    "a_zero": ZERO[a_type], "b_zero": ZERO[b_type], "requant": requant.struct(),
                },
            )  # fmt: skip
            y = Output(requant.codes(product).astype(TYPES[y_type]))
            arguments = (op, a, ca, ca, b, cb, 0 if is_constant else cb, rows, y)
            yield Call(f"mul {a_type}*{b_type}->{y_type} {ca}x{cb}", "gnn_mul", arguments)


EDGE_KINDS = (
    head_dot_cases, leaky_relu_cases, softmax_cases, softmax_hubs, propagate_weighted_cases, head_mean_cases, aggregate_cases,
    mul_cases,
)  # fmt: skip
