"""Packed weights: indices of a codebook, or a bitmap and the weights that are not zero, where that is much smaller."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from toolchain.ir.ops import Const

Storage = Literal["codebook", "bitmap", "half"]
PACKINGS = ("auto", "smallest", "plain")
_WORTH = {
    "auto": 0.75,
    "smallest": 1.0,
    "plain": 0.0,
}  # of the bytes of plain weights, which a packed form must stay below
WORTH_BYTES = 1024  # about what the kernels take that unpack: "auto" saves more than that over the whole model
MOST_INDEX_BITS = 8
HALF_BITS = 16
GROUP = 8  # outputs whose float weights are stored together
BLOCK = 4  # weights behind one bit, where they are pruned by blocks


@dataclass(frozen=True, slots=True, eq=False)
class PackedCodes:
    """Integer weights as gnn_kernels_packed.h describes them.

    Attributes:
        bits: of an index, or 8 times the codes behind one bit.
    """

    storage: Storage
    bytes: np.ndarray
    bits: int


@dataclass(frozen=True, slots=True, eq=False)
class PackedFloats:
    """Float weights as gnn_kernels_packed.h describes them."""

    storage: Storage
    index: np.ndarray
    values: np.ndarray
    bits: int

    @property
    def nbytes(self) -> int:
        return self.index.nbytes + self.values.nbytes


def packed_codes(const: Const, rows: np.ndarray, plain_bytes: int, packing: str) -> PackedCodes | None:
    """The smallest packed form of int8 codes, or None where it is not worth it.

    Args:
        const: where the codes come from: only weights from a codebook get one, only pruned ones a bitmap.
        rows: [out, padded(in)] codes in the order in which the kernels read them.
        plain_bytes: what they take without this.
        packing: one of `PACKINGS`.
    """
    candidates: list[PackedCodes] = []
    values = np.unique(rows)
    if const.codebook is not None and values.size <= 2**MOST_INDEX_BITS:
        bits = index_bits(values.size)
        codebook = np.zeros(2**bits, np.int8)
        codebook[: values.size] = values
        indices = pack_rows(np.searchsorted(values, rows), bits)
        candidates.append(PackedCodes("codebook", np.concatenate([codebook.view(np.uint8), indices]), bits))
    if const.pruned:
        candidates += [PackedCodes("bitmap", _bitmap(rows, unit), 8 * unit) for unit in (1, BLOCK)]
    best = min(candidates, key=lambda c: c.bytes.size, default=None)
    return best if best is not None and best.bytes.size < _WORTH[packing] * plain_bytes else None


def packed_floats(const: Const, weight: np.ndarray, packing: str) -> PackedFloats | None:
    """The smallest packed form of float weights [out, in], or None where it is not worth it; halves always have one."""
    out, width = weight.shape
    # What fills up the last tile is read by nobody; as a value of its own it could cost an index bit.
    is_dense = const.codebook is not None and bool(weight.all())
    columns = np.full((-(-out // GROUP) * GROUP, width), weight[0, 0] if is_dense else 0, np.float32)
    columns[:out] = weight
    groups = columns.reshape(-1, GROUP, width).transpose(0, 2, 1).reshape(-1, GROUP)  # [tiles * in, GROUP]
    candidates: list[PackedFloats] = []
    values = np.unique(groups)
    if const.codebook is not None and values.size <= 2**MOST_INDEX_BITS:
        bits = index_bits(values.size)
        candidates.append(PackedFloats("codebook", pack_rows(np.searchsorted(values, groups), bits), values, bits))
    if const.pruned:
        kept = groups != 0
        candidates.append(PackedFloats("bitmap", pack_rows(kept, 1), groups[kept], 1))
    best = min(candidates, key=lambda c: c.nbytes, default=None)
    if best is not None and best.nbytes < _WORTH[packing] * weight.size * (2 if const.is_half else 4):
        return best
    if const.is_half:
        halves = np.ascontiguousarray(groups, "<f2").reshape(-1).view(np.uint8)
        return PackedFloats("half", halves, np.zeros(0, np.float32), HALF_BITS)
    return None


def index_bits(values: int) -> int:
    """Bits of an index of so many values: 2 to 5 for 3 to 32 of them."""
    return max(1, math.ceil(math.log2(values)))


def pack_rows(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Rows of numbers below 2^bits, low bits first, each row from a byte of its own on: uint8."""
    fields = (numbers[:, :, None] >> np.arange(bits)) & 1 if bits > 1 else numbers[:, :, None]
    return np.packbits(fields.reshape(len(numbers), -1).astype(np.uint8), axis=1, bitorder="little").reshape(-1)


def _bitmap(rows: np.ndarray, unit: int) -> np.ndarray:
    """Each row's bits, then its units that are not zero."""
    units = rows.astype(np.int8).reshape(len(rows), -1, unit)
    kept = (units != 0).any(axis=2)
    maps = pack_rows(kept, 1).reshape(len(rows), -1)
    parts = [
        (bits, row[is_kept].reshape(-1).view(np.uint8)) for bits, row, is_kept in zip(maps, units, kept, strict=True)
    ]
    return np.concatenate([part for pair in parts for part in pair])
