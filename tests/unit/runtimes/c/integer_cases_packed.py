"""Calls of the integer Linear on packed weights: codebooks of every width of an index, bitmaps of single weights and of blocks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from tests.unit.runtimes.c.integer_cases import ROWS, random_codes, random_requant, stored_rows
from tests.unit.runtimes.c.integer_reference import packed, padded
from tests.unit.runtimes.c.kernel_case import Aligned, Call, Struct, scratch
from toolchain.exporters.c.packing import pack_rows


def codebook_bytes(rows: np.ndarray, bits: int) -> np.ndarray:
    """2^bits codes, then the indices of each row from a byte of its own on."""
    values = np.unique(rows)
    book = np.zeros(2**bits, np.int8)
    book[: values.size] = values
    return np.concatenate([book.view(np.uint8), pack_rows(np.searchsorted(values, rows), bits)])


def bitmap_bytes(rows: np.ndarray, unit: int) -> np.ndarray:
    """For each row a bit per unit that is not zero, then those units."""
    parts = []
    for row in rows.reshape(len(rows), -1, unit):
        kept = row.any(axis=1)
        parts += [np.packbits(kept, bitorder="little"), row[kept].reshape(-1).view(np.uint8)]
    return np.concatenate(parts)


def linear_packed_cases() -> Iterator[Call]:
    rng = np.random.default_rng(6)
    sizes = ((1, 1), (3, 5), (4, 16), (12, 7), (16, 9), (33, 6), (64, 17), (68, 4))
    forms = [("codebook", bits) for bits in (1, 2, 3, 4, 5, 6, 7, 8)] + [("bitmap", 8), ("bitmap", 32)]
    for number, ((width, out), (storage, bits), y_type) in enumerate(itertools.product(sizes, forms, ("s8", "s16"))):
        if storage == "codebook":
            values = np.unique([0, *rng.integers(-127, 128, 2**bits - 1)])
            weight = rng.choice(values, (out, width))
        else:
            weight = rng.integers(-127, 128, (out, width)) * (rng.random((out, width)) < (0.5, 0.0, 1.0)[number % 3])
            if bits == 32:
                weight *= np.repeat(rng.random((out, padded(width) // 4)) < 0.5, 4, axis=1)[:, :width]
        rows = packed(weight, 8).view(np.int8).reshape(out, padded(width))
        stored = codebook_bytes(rows, bits) if storage == "codebook" else bitmap_bytes(rows, bits // 8)
        count, panel = 1 + number % ROWS, (1, 3, out)[number % 3]
        x = random_codes(rng, "s16" if number % 4 else "s8", (ROWS, width)).astype(np.int64)
        bias = rng.integers(-(2**23), 2**23, out)
        acc = x[:count] @ weight.T + bias
        requant = random_requant(rng, y_type, float(np.abs(acc).max() + 2**22), 0 if number % 5 == 0 else out)
        factor = rng.integers(0, 2**31, count) if number % 2 else None
        source = np.zeros((ROWS, padded(width)), np.int16)
        source[:, :width] = x
        fields: dict[str, object] = {
            "weight": Aligned(stored), "bias": bias.astype(np.int32), "in": width, "out": out, "weight_bits": bits,
            "requant": requant.struct(),
        }  # fmt: skip
        stride = out + number % 3 if y_type == "s16" else out
        y = stored_rows(requant.codes(acc, factor), y_type, stride)
        space = scratch(panel * padded(width), np.int8, aligned=True)
        arguments = (
            Struct("gnn_linear_layer", fields), Aligned(source), count, None if factor is None else factor.astype(np.int32), y,
            *((stride,) if y_type == "s16" else ()), space, panel,
        )  # fmt: skip
        name = f"linear {storage} {y_type} {width}->{out} w{bits} panel {panel} case {number}"
        yield Call(name, f"gnn_linear_{storage}_{y_type}", arguments)
