"""Integer constants: packed weights unpack to themselves, left shifts change no result, bounds hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.errors import ExportError
from toolchain.exporters.c.layers import EIGHT, QUAD, linear_constants, pack_weights, padded, requant_parameters
from toolchain.ir import Domain, DType, GraphBuilder, QParams, TensorType
from toolchain.ir.integer import multipliers
from toolchain.ir.ops import Input, Linear, Quantize, Role


@pytest.mark.parametrize("bits", [8, 4, 2])
@pytest.mark.parametrize("width", [1, 3, 4, 7, 9, 64])
def test_weights_unpack_to_themselves(bits: int, width: int) -> None:
    top = 2 ** (bits - 1) - 1
    codes = np.random.default_rng(width).integers(-top, top + 1, (5, width))
    packed = pack_weights(codes, bits)
    assert packed.size == 5 * padded(width) * bits // 8
    per_byte = 8 // bits
    fields = (packed[:, None] >> (bits * np.arange(per_byte))) & (2**bits - 1)
    signed = np.where(fields > top, fields.astype(int) - 2**bits, fields) if bits == 8 else fields.astype(int) - top - 1
    signed, rows = signed.reshape(5, -1), np.empty((5, padded(width)), int)
    first = padded(width) % 8 if bits == 4 else padded(width)
    for start in range(0, padded(width), 4):
        if start < first:
            rows[:, start + np.array(QUAD)] = signed[:, start : start + 4]
    for start in range(first, padded(width), 8):
        rows[:, start + np.array(EIGHT)] = signed[:, start : start + 8]
    assert (rows[:, :width] == codes).all() and not rows[:, width:].any()


@given(
    st.floats(1e-9, 4.0), st.integers(1, 2**30), st.lists(st.integers(-(2**30), 2**30), min_size=1, max_size=20)
)  # fmt: skip
def test_a_left_shift_changes_no_result(ratio: float, bound: int, accumulators: list[int]) -> None:
    acc = np.array([a for a in accumulators if abs(a) <= bound], np.int64)
    (m,), (s,) = multipliers(np.array([ratio]))
    made = requant_parameters(np.array([ratio]), bound)
    assert bound << made.left_shift < 2**31
    plain = (acc * m + (1 << (s - 1))) >> s
    shifted = ((acc << made.left_shift) * made.multiplier.astype(np.int64)) + (np.int64(1) << (int(made.shift[0]) - 1))
    assert (plain == shifted >> int(made.shift[0])).all()


def test_small_accumulators_get_the_cheap_shift() -> None:
    made = requant_parameters(np.array([1.5, 0.4]), bound=255 * 64)
    assert made.left_shift > 0 and int(made.shift.min()) >= 33


def _linear(width: int, code: int, bits: int = 16):  # type: ignore[no-untyped-def]
    builder = GraphBuilder(name="wide")
    x = builder.add(Input(Role.X, TensorType(Domain.NODE, (width,))))
    q = QParams((float(np.float32(0.01)),), 0, bits)
    dtype = DType.I16 if bits == 16 else DType.I8
    codes = builder.add(Quantize(dtype, q), x, type=TensorType(Domain.NODE, (width,), dtype, q))
    w_type = TensorType(Domain.CONST, (1, width), DType.I8, QParams((1.0,), 0, 8, 0))
    weight = builder.const("w", np.full((1, width), code, np.int8), type=w_type)
    out = QParams((1.0,), 0, 32)
    y = builder.add(Linear(), codes, weight, type=TensorType(Domain.NODE, (1,), DType.I32, out), scope="first")
    graph = builder.finish([y])
    return graph, graph.values[graph.outputs[0]]


def test_an_accumulator_that_can_overflow_is_refused_with_its_layer_and_bound() -> None:
    graph, value = _linear(600, 127)
    with pytest.raises(ExportError, match=rf"first: .* 600 inputs can reach {600 * 127 * 32767}, beyond int32"):
        linear_constants(graph, value)


def test_bounds_count_the_weights_that_are_there() -> None:
    graph, value = _linear(600, 3)
    assert linear_constants(graph, value).bound == 600 * 3 * 32767
