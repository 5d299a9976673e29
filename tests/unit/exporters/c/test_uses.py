"""What a model is said not to use of its kernels: never anything that their C could still need."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from toolchain.exporters.c import uses
from toolchain.exporters.c.layers import Requant
from toolchain.ir import Domain, DType, QParams, TensorType

INCLUDE = Path(__file__).resolve().parents[4] / "runtimes" / "c" / "include"
I8 = TensorType(Domain.NODE, (64,), DType.I8, QParams((0.125,), -128, 8))
I16 = TensorType(Domain.NODE, (64,), DType.I16, QParams((0.125,), 0, 16))


def requant(*shift: int, left: int = 0) -> Requant:
    return Requant(np.full(len(shift), 2**30, np.int32), np.array(shift, np.uint8), left)


def test_limits_are_those_of_the_kernels() -> None:
    text = "\n".join(path.read_text() for path in INCLUDE.glob("gnn_*.h"))
    stated = {
        "GNN_INTERLEAVED": uses._INTERLEAVED, "GNN_LANE_COUNT": uses._LANE_COUNT, "GNN_HIGH_SHIFT": uses._HIGH_SHIFT,
        "GNN_ROUNDING_LIMIT": uses._ROUNDING_LIMIT,
    }  # fmt: skip
    for name, value in stated.items():
        assert re.findall(rf"#define {name} (\d+)u", text) == [str(value)]
    assert f"unit_bits <= {uses._UNIT_BITS}u" in text
    assert f"magnitude <= 0x{uses._FLOAT_BOUND:X}u" in text


@pytest.mark.parametrize(
    ("given", "out", "low", "expected"),
    [
        (requant(33, 55), I8, -128, set()),
        (requant(33, 56), I8, -128, {"RARE"}),
        (requant(32, 40), I8, -128, {"RARE"}),
        (requant(40, 41), I8, -100, {"RARE"}),
        (requant(40, 41), I16, 0, set()),
        (requant(40), I16, 0, {"ONE_MULTIPLIER"}),
        (requant(40, 41, left=2), I8, -128, {"LEFT_SHIFT"}),
    ],
)
def test_a_linear_uses_what_its_requantization_needs(
    given: Requant, out: TensorType, low: int, expected: set[str]
) -> None:
    assert uses.of_linear(64, given, out, low) == expected
    assert uses.of_linear(65, given, out, low) == expected | {"LONG_ROWS"}


@pytest.mark.parametrize(
    ("x", "given", "degree", "expected"),
    [
        (I8, requant(40), 255, set()),
        (I8, requant(40), 256, {"RARE"}),
        (I8, requant(55), 9, set()),
        (I8, requant(56), 9, {"RARE"}),
        (I8, requant(40, left=12), 9, set()),
        (I8, requant(40, left=13), 9, {"RARE"}),
        (I16, requant(20), 10_000, set()),
    ],
)
def test_a_propagate_of_int8_rows_has_limits(x: TensorType, given: Requant, degree: int, expected: set[str]) -> None:
    made = uses.of_plain_propagate(x, given, I16, -32767, is_extreme=False, self_shift=0, degree=degree)

    assert made == expected
    assert uses.of_plain_propagate(x, given, I16, -32767, is_extreme=True, self_shift=0, degree=1) == {"RARE"}


def test_sums_of_up_to_24_bits_are_dequantized_by_one_product() -> None:
    assert uses.of_dequantize(2**24) == set() and uses.of_dequantize(2**24 + 1) == {"WIDE_SUMS"}
