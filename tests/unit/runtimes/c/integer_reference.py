"""What integer kernels must compute, in Python's unbounded integers, on top of `toolchain.ir.integer`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tests.unit.runtimes.c.kernel_case import Struct
from toolchain.ir.integer import srdhm

QUAD = (0, 2, 1, 3)  # order of the weights within each four
EIGHT = (0, 2, 4, 6, 1, 3, 5, 7)  # of weights of 4 bits within each eight, behind four that are left


@dataclass(frozen=True, eq=False)
class Requant:
    """One gnn_requant.

    Attributes:
        m, s: [channels] or [1].
    """

    m: np.ndarray
    s: np.ndarray
    zero: int = 0
    low: int = -128
    high: int = 127
    left: int = 0
    per_channel: bool = False

    def struct(self, **fields: object) -> Struct:
        return Struct(
            "gnn_requant",
            {
                "multiplier": self.m.astype(np.int32), "shift": self.s.astype(np.uint8), "per_channel": int(self.per_channel),
                "left_shift": self.left, "zero_point": self.zero, "low": self.low, "high": self.high,
                **fields,
            },
        )  # fmt: skip

    def late(self, bias: np.ndarray) -> tuple[np.ndarray, Struct]:
        """What a kernel adds before the rounding, which it holds, with the zero point where that fits, and the struct."""
        shift = int(self.s[0])
        rounded = [int(b) + (1 << (shift - 1)) for b in bias]
        whole = [b + (self.zero << shift) for b in rounded]
        if max(map(abs, whole)) >= 2**62:
            return np.array(rounded, np.int64), self.struct()
        return np.array(whole, np.int64), self.struct(zero_point=0)

    def ready(self, bias: np.ndarray) -> np.ndarray | None:
        """A gnn_ready_channel for each bias; None where one needs more than the high word."""
        shift = np.broadcast_to(self.s, bias.shape).tolist()
        if min(shift) < 33:
            return None
        rounding = [(1 << (s - 33)) + (self.zero << (s - 32)) for s in shift]
        if max(map(abs, rounding)) >= 2**30:
            return None
        return np.stack(
            [bias << self.left, np.broadcast_to(self.m, bias.shape), rounding, np.array(shift) - 32], axis=1
        ).astype(np.int32)

    def codes(self, acc: np.ndarray, factor: np.ndarray | None = None, bias: np.ndarray | None = None) -> np.ndarray:
        """Codes of accumulators [rows, channels], with Q31 row factors [rows] or None, and late biases [channels] or None."""
        m = self.m if factor is None else srdhm(self.m[None, :], factor[:, None])
        exact, s = acc.astype(object) * 2**self.left, self.s.astype(object)
        half = np.array([1 << (int(v) - 1) for v in self.s], object)
        value = (exact * m.astype(object) + (0 if bias is None else bias.astype(object)) + half) >> s
        return np.clip(value + self.zero, self.low, self.high).astype(np.int64)


def padded(width: int) -> int:
    return width + -width % 4


def packed(codes: np.ndarray, bits: int) -> np.ndarray:
    """[out, in] weight codes as the rows that gnn_linear_layer describes: uint8."""
    out, width = codes.shape
    rows = np.zeros((out, padded(width)), np.int64)
    rows[:, :width] = codes
    order = np.arange(padded(width)).reshape(-1, 4)[:, QUAD].ravel()
    if bits == 4:
        first = padded(width) % 8
        for start in range(first, padded(width), 8):
            order[start : start + 8] = start + np.array(EIGHT)
    stored = (rows if bits == 8 else rows + 2 ** (bits - 1))[:, order].reshape(-1, 8 // bits) & (2**bits - 1)
    return (stored << (bits * np.arange(8 // bits))).sum(axis=1).astype(np.uint8)
