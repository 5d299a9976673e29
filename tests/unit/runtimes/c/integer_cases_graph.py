"""Calls of the integer kernels that follow edges or graphs: Propagate and Pool."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from tests.unit.runtimes.c.integer_cases import RANGE, TYPES, enum, random_codes, random_requant, stored_rows
from tests.unit.runtimes.c.integer_reference import Requant
from tests.unit.runtimes.c.kernel_case import Aligned, Call, Output, Struct, scratch
from toolchain.ir.integer import recip_q31, rsqrt_q31

REDUCE = {"sum": np.add, "max": np.maximum, "min": np.minimum}


def propagate_call(
    name: str, x: np.ndarray, x_type: str, y_type: str, degrees: list[int], source: np.ndarray, zero: int, requant: Requant, *,
    reduce: str = "sum", factor: str = "NONE", self_term: tuple[int, int] = (0, 0), bias: np.ndarray | None = None,
    first: int = 0, stride_pad: int = 0,
) -> Call:  # fmt: skip
    """Propagate over nodes first.. with these in-degrees; `self_term` is (shift, scale)."""
    channels = x.shape[1]
    rows = min(4, len(degrees) - first)
    pointer = np.cumsum([0, *degrees])
    centred = x.astype(np.int64) - zero
    shift, scale = self_term
    totals = np.zeros((rows, channels), np.int64)
    for r in range(rows):
        edges = source[pointer[first + r] : pointer[first + r + 1]]
        if edges.size:
            totals[r] = REDUCE[reduce].reduce(centred[edges])
    totals = (totals << shift) + scale * centred[first : first + rows]
    in_degree = np.array(degrees)[first : first + rows]
    row_factor = rsqrt_q31(np.array(degrees))
    rows_factor = {"NONE": None, "NORMALIZATION": row_factor[first : first + rows], "MEAN": recip_q31(in_degree)}[
        factor
    ]
    y_stride = channels + stride_pad
    added, fields = (None, requant.struct()) if bias is None else requant.late(bias)
    op = Struct(
        "gnn_propagate_op",
        {
            "channels": channels, "zero_point": zero, "reduce": enum(reduce), "factor": f"GNN_FACTOR_{factor}", "self_shift": shift,
            "self_scale": scale, "bias": added, "requant": fields,
        },
    )  # fmt: skip
    topology = Struct(
        "gnn_topology",
        {
            "row_pointer": pointer.astype(np.uint32), "source": source.astype(np.uint16),
            "row_factor": row_factor.astype(np.int32) if factor == "NORMALIZATION" else None,
        },
    )  # fmt: skip
    y = stored_rows(requant.codes(totals, rows_factor, bias), y_type, y_stride)
    given = x if bias is None or first else Aligned(x)  # rows on 4 bytes may take another way
    arguments = (op, topology, given, first, rows, y, y_stride, scratch(channels, np.int32))
    kernel = f"gnn_propagate_{'' if bias is None else 'biased_'}{x_type}_{y_type}"
    return Call(f"propagate {x_type}->{y_type} C={channels} {name}", kernel, arguments)


def propagate_cases() -> Iterator[Call]:
    rng = np.random.default_rng(6)
    variants = ("plain", "normalized", "mean", "self", "max", "min", "max self", "relu")
    variants += ("bias", "normalized bias", "mean bias", "self bias", "max bias")
    widths = (1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 20, 64)
    number = 0
    for (x_type, y_type), channels, variant in itertools.product(
        itertools.product(("s8", "s16"), repeat=2), widths, variants
    ):
        number += 1
        if number % 3 and channels != 8:
            continue
        degrees = [2, 0, 5, 1, 0, 3, 9][: 4 + number % 4]
        first = number % 3
        x = random_codes(rng, x_type, (len(degrees), channels))
        zero = int(rng.integers(-128, 128)) if x_type == "s8" else int(rng.choice([0, 0, 300]))
        self_term = (int(rng.integers(0, 9)), int(rng.integers(-300, 300))) if "self" in variant else (0, 0)
        # A ratio of 1/4 or more needs a left shift for the high word to be enough, which the exporter gives where it can.
        smaller, left = ((1, 0), (20, 0), (1, 3))[number // 3 % 3]
        magnitude = 4.0 * smaller * RANGE[x_type][1] * 2 ** self_term[0]
        requant = random_requant(rng, y_type, magnitude, relu="relu" in variant, left=left)
        bias = None
        if "bias" in variant:
            limit = min(2**61, 100 << int(requant.s[0]))
            bias = rng.integers(-limit, limit, channels)
            if number % 2 and channels > 1:
                bias[:2] = 2**61 - 1, -(2**61) + 1
        yield propagate_call(
            f"{variant} case {number}", x, x_type, y_type, degrees, rng.integers(0, len(degrees), sum(degrees)), zero, requant,
            reduce=next((kind for kind in ("max", "min") if kind in variant), "sum"),
            factor="NORMALIZATION" if "normalized" in variant else "MEAN" if "mean" in variant else "NONE",
            self_term=self_term, bias=bias, first=first, stride_pad=number % 4,
        )  # fmt: skip


def hub_cases() -> Iterator[Call]:
    """Degrees around 255, where sums of 16 bits are full, with codes at an end of their range; every shift."""
    rng = np.random.default_rng(7)
    ends = itertools.product(("s8", "s16"), (4, 7, 8, 19, 20), (0, 1))
    for x_type, channels, end in ends:
        degrees = [254, 255, 256, 257, 511, 512, 1021, 2]
        x = np.full((8, channels), RANGE[x_type][end], TYPES[x_type])
        x[7] = random_codes(rng, x_type, (channels,))
        source = np.where(rng.random(sum(degrees)) < 0.999, rng.integers(0, 7, sum(degrees)), 7)
        for first, zero, smaller in ((0, 0, 9), (4, RANGE["s8"][1 - end], 9), (0, 0, 1)):
            requant = random_requant(rng, "s16", 700.0 * smaller * RANGE[x_type][1])
            yield propagate_call(f"hub {first} {end}", x, x_type, "s16", degrees, source, zero, requant, first=first)
        for y_type, relu in (("s8", False), ("s16", False), ("s16", True)):
            requant = random_requant(rng, y_type, 700.0 * RANGE[x_type][1], left=3, relu=relu)
            bias = rng.integers(-100, 100, channels) << int(requant.s[0])
            yield propagate_call(
                f"biased hub {end}", x, x_type, y_type, degrees, source, 5, requant, bias=bias, first=first
            )
    for s in range(1, 63):
        x = random_codes(rng, "s16", (5, 5))
        requant = Requant(rng.integers(2**30, 2**31, 1), np.array([s]), 3, -120, 90)
        bias = None if s % 3 == 0 else rng.integers(-(2**61) + 1, 2**61, 5) >> int(rng.integers(0, 60))
        edges = rng.integers(0, 5, 11)
        yield propagate_call(
            f"shift {s}",
            x,
            "s16",
            "s8",
            [3, 0, 4, 1, 3],
            edges,
            0,
            requant,
            bias=bias,
            factor="NORMALIZATION",
            first=s % 2,
        )


def pool_cases() -> Iterator[Call]:
    """Start, two blocks of rows and finish on one accumulator, with empty graphs."""
    rng = np.random.default_rng(8)
    sizes = [3, 0, 1, 5, 0, 2, 0]
    pointer = np.cumsum([0, *sizes])
    nodes, graphs = int(pointer[-1]), len(sizes)
    kinds = itertools.product(("s8", "s16"), ("s8", "s16"), ("sum", "mean", "max", "min"))
    for (x_type, y_type, reduce), channels in zip(kinds, itertools.cycle((1, 4, 7, 33)), strict=False):
        x = random_codes(rng, x_type, (nodes, channels))
        zero = -128 if x_type == "s8" else 0
        requant = random_requant(rng, y_type, 3.0 * RANGE[x_type][1] * (1 if reduce in ("max", "min", "mean") else 3))
        op = Struct(
            "gnn_pool_op",
            {"channels": channels, "zero_point": zero, "reduce": enum(reduce), "requant": requant.struct()},
        )
        start = {"max": -(2**31), "min": 2**31 - 1}.get(reduce, 0)
        centred, stride = x.astype(np.int64) - zero, channels + channels % 2
        acc = np.full((graphs, channels), start, np.int64)
        final = np.zeros((graphs, channels), np.int64)
        for g in range(graphs):
            if sizes[g]:
                ufunc = REDUCE["sum" if reduce == "mean" else reduce]
                acc[g] = final[g] = ufunc.reduce(centred[pointer[g] : pointer[g + 1]])
        store, graph_pointer = Output(acc.astype(np.int32)), pointer.astype(np.uint32)
        name = f"pool {x_type}->{y_type} {reduce} C={channels}"
        yield Call(f"{name}: start", "gnn_pool_start", (op, graphs, store))
        for first, rows in ((0, 4), (4, 4), (8, 3)):
            block = np.zeros((rows, stride), TYPES[x_type])
            block[:, :channels] = x[first : first + rows]
            yield Call(
                f"{name}: add", f"gnn_pool_{x_type}", (op, block, stride, graph_pointer, graphs, first, rows, store)
            )
        factor = recip_q31(np.array(sizes)) if reduce == "mean" else None
        codes = requant.codes(final, factor)
        for first, rows in ((0, 4), (4, 3)):
            y = stored_rows(codes[first : first + rows], y_type, channels + 3)
            arguments = (op, store, graph_pointer, first, rows, enum(y_type), y, channels + 3)
            yield Call(f"{name}: finish", "gnn_pool_finish", arguments)
