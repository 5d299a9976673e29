"""Groups of nodes and factors for their rows: on codes they compute what they compute on real numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from toolchain.errors import InvalidGraph, TypeMismatch
from toolchain.inputs import GraphInputs
from toolchain.ir import DType, Graph, GraphBuilder, QParams, interpret, ops, verify
from toolchain.ir.ops import End, Function, Role, RowFactor
from toolchain.ir.reference_rows import wide_srdhm
from toolchain.ir.types import node
from toolchain.topology import Normalization, SelfLoops, TopologySpec

PLAIN, NORMALIZED = TopologySpec(), TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC)
GROUP = QParams((1.0,), 0, 16)
BOUNDS, FACTORS = (1, 3), (4.0, 0.3, 1.0)


def random_inputs(seed: int = 0) -> GraphInputs:
    rng = np.random.default_rng(seed)
    return GraphInputs(rng.normal(size=(40, 5)) * rng.uniform(0.1, 4, (40, 1)), rng.integers(0, 35, (2, 100)))


def scaled(op: ops.RowScale, *, bias: bool, codes: QParams | None, choice: str = "degree") -> Graph:
    """x, its groups and its scaled rows; on codes where the parameters of the result are given."""
    b = GraphBuilder((PLAIN, NORMALIZED))
    x = b.add(ops.Input(Role.X, node(5)))
    group = ops.DegreeGroup(0, BOUNDS) if choice == "degree" else ops.PeakGroup((1.0, 3.0))
    if codes is not None:
        wide = QParams((float(np.float32(1e-3)),), 0, 16)
        x = b.add(ops.Quantize(DType.I16, wide), x, type=node(5).with_dtype(DType.I16, wide))
    rows = b.add(
        group,
        *([] if choice == "degree" else [x]),
        type=node(1) if codes is None else node(1).with_dtype(DType.I16, GROUP),
    )
    operands = [x, rows]
    if bias:
        operands.append(b.const("bias", np.array([0.5, -0.3, 0.0, 2.0, -1.0])))
    result = node(5) if codes is None else node(5).with_dtype(DType.I8 if codes.bits <= 8 else DType.I16, codes)
    y = b.add(op, *operands, type=result)
    return verify(b.finish([y if codes is None else b.add(ops.Dequantize(), y)]))


def test_degrees_choose_the_group_that_their_bounds_say():
    inputs = GraphInputs(np.ones((5, 5)), np.array([[0, 0, 0, 0, 0, 1, 1], [1, 2, 2, 2, 2, 3, 3]]))
    (found,) = interpret(scaled(ops.RowScale((10.0, 20.0, 30.0)), bias=False, codes=None), inputs)

    assert found[:, 0].tolist() == [10, 10, 30, 20, 10]  # in-degrees 0, 1, 4, 2, 0


def test_peaks_choose_the_group_that_their_bounds_say():
    x = np.zeros((4, 5))
    x[:, 2] = [-1.0, 1.5, -3.5, 0.0]
    inputs = GraphInputs(x, np.zeros((2, 0), np.int64))
    (found,) = interpret(scaled(ops.RowScale((10.0, 20.0, 30.0)), bias=False, codes=None, choice="peak"), inputs)

    assert found[:, 2].tolist() == [-10, 30, -105, 0]


@pytest.mark.parametrize("choice", ["degree", "peak"])
@pytest.mark.parametrize("out", [QParams((0.0625,), -3, 8), QParams((0.0009765625,), 0, 16)])
@pytest.mark.parametrize(
    ("op", "bias"),
    [
        (ops.RowScale(FACTORS), False),
        (ops.RowScale(FACTORS, limits=(1.0, 0.5, 0.25)), False),
        (ops.RowScale(FACTORS, activation=Function.RELU), True),
        (ops.RowScale(FACTORS, activation=Function.RELU, row_factor=RowFactor(1, End.SOURCE)), True),
        (ops.RowScale(FACTORS, row_factor=RowFactor(1, End.SOURCE)), False),
    ],
)
def test_scaled_codes_are_scaled_rows_rounded_once(op: ops.RowScale, bias: bool, out: QParams, choice: str) -> None:
    inputs = random_inputs()
    wide = np.clip(np.rint(inputs.x.astype(np.float32) * np.float32(1 / np.float32(1e-3))), -32767, 32767)
    (expected,) = interpret(
        scaled(op, bias=bias, codes=None, choice=choice),
        replace(inputs, x=(wide * np.float64(np.float32(1e-3))).astype(np.float32)),
    )
    (found,) = interpret(scaled(op, bias=bias, codes=out, choice=choice), inputs)
    low, high = (out.scale[0] * (code - out.zero_point) for code in out.code_range)

    assert np.abs(found - np.clip(expected, low, high)).max() <= 0.501 * out.scale[0]


def test_a_wide_product_rounds_like_a_product_of_unbounded_integers():
    rng = np.random.default_rng(0)
    a, r = rng.integers(-(2**61) + 1, 2**61, 2000), rng.integers(0, 2**31, 2000)
    expected = [(int(x) * int(y) + 2**30) >> 31 for x, y in zip(a, r, strict=True)]

    assert wide_srdhm(a, r).tolist() == expected


def test_what_does_not_fit_is_refused():
    b = GraphBuilder((PLAIN,))
    x = b.add(ops.Input(Role.X, node(5)))
    group = b.add(ops.DegreeGroup(0, (1, 2)))

    with pytest.raises(TypeMismatch, match="bounds must ascend"):
        b.add(ops.DegreeGroup(0, (2, 1)))
    with pytest.raises(TypeMismatch, match="2 shares for 3 groups"):
        b.add(ops.PeakGroup((1.0, 2.0), (0.5, 0.5)), x)
    with pytest.raises(TypeMismatch, match="group node"):
        b.add(ops.RowScale((1.0,)), x, x)
    with pytest.raises(TypeMismatch, match="none beside a row factor"):
        b.add(ops.RowScale((1.0, 2.0, 3.0), (1.0, 1.0, 1.0), row_factor=RowFactor(0, End.SOURCE)), x, group)
    with pytest.raises(InvalidGraph, match="has 2 factors for 3 groups"):
        verify(b.finish([b.add(ops.RowScale((1.0, 2.0)), x, group)]))
    with pytest.raises(InvalidGraph, match="takes its groups from Slice"):
        verify(b.finish([b.add(ops.RowScale((1.0,)), x, b.add(ops.Slice(0, 1), x))]))


def test_the_text_of_a_graph_shows_groups_and_factors():
    text = str(scaled(ops.RowScale(FACTORS), bias=False, codes=QParams((0.0625,), 0, 8)))

    assert "%2 = DegreeGroup() topology=0 bounds=(1, 3) : node[1]:i16(s=1, z=0)" in text
    assert "%3 = RowScale(%1, group=%2) factors=(4.0, 0.3, 1.0) : node[5]:i8(s=0.0625, z=0)" in text
