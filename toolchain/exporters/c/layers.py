"""Integer constants of a layer: packed weights, biases with the zero point folded in, requantization parameters."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolchain.errors import ExportError
from toolchain.exporters.c.program import Program
from toolchain.ir import DType, Graph, TensorType, Value
from toolchain.ir.integer import multipliers
from toolchain.ir.ops import Linear, Pool, Propagate, Quantize, RowScale

QUAD = (0, 2, 1, 3)  # order of four weights in memory: SXTB16 then yields pairs of neighbours
EIGHT = (0, 2, 4, 6, 1, 3, 5, 7)  # order of eight weights of 4 bits: AND then does
INT32 = 2**31 - 1
HIGH_WORD_SHIFT = 33  # from here on a requantization needs only the high word of the product


def padded(channels: int) -> int:
    """Row length of a Linear's input: a multiple of four."""
    return -(-channels // 4) * 4


def takes_strides(graph: Graph, value: Value) -> bool:
    """Whether the kernel that computes a value can leave gaps between its rows."""
    return isinstance(value.op, Linear | Propagate | Quantize | Pool | RowScale)


def feeds_linears_only(graph: Graph, value: Value, users: tuple[tuple[int, ...], ...]) -> bool:
    """Whether all readers of an integer value are integer Linears (which take padded int16 rows)."""
    readers = [graph.values[u] for u in users[value.id]]
    return bool(readers) and value.id not in graph.outputs and all(isinstance(r.op, Linear) for r in readers)


def scale_of(type_: TensorType) -> float:
    """The one scale of an activation type."""
    assert type_.qparams is not None
    return type_.qparams.scale[0]


def zero_of(type_: TensorType) -> int:
    assert type_.qparams is not None
    return type_.qparams.zero_point


def largest(type_: TensorType) -> int:
    """Largest magnitude of code - zero_point."""
    assert type_.qparams is not None
    low, high = type_.qparams.code_range
    return max(high - type_.qparams.zero_point, type_.qparams.zero_point - low)


def pack_weights(codes: np.ndarray, bits: int) -> np.ndarray:
    """[out, in] codes as rows of padded(in) codes, 8 / bits codes a byte, low bits first: uint8.

    The order is QUAD; of 4 bits EIGHT, behind the first four where their number is odd in fours. Of less than 8 bits the codes
    are stored plus half of their range.
    """
    out, width = codes.shape
    rows = np.zeros((out, padded(width)), np.int64)
    rows[:, :width] = codes
    first = padded(width) % 8 if bits == 4 else padded(width)
    rows = np.concatenate([_ordered(rows[:, :first], QUAD), _ordered(rows[:, first:], EIGHT)], axis=1)
    stored = rows & 255 if bits == 8 else rows + 2 ** (bits - 1)
    per_byte = 8 // bits
    shifts = bits * np.arange(per_byte)
    return (stored.reshape(-1, per_byte) << shifts).sum(axis=1).astype(np.uint8)


def _ordered(rows: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    return rows.reshape(len(rows), -1, len(order))[:, :, order].reshape(rows.shape)


@dataclass(frozen=True, slots=True)
class Requant:
    """Multiplier, shift and the left shift that brings every shift to the cheap range."""

    multiplier: np.ndarray
    shift: np.ndarray
    left_shift: int


def requant_parameters(ratio: np.ndarray, bound: int) -> Requant:
    """(acc << t) * m >> (s + t) equals acc * m >> s exactly; t is chosen so that s + t >= 33 where |acc| << t fits int32.

    Args:
        ratio: [channels] or [1], as in `reference_integer`.
        bound: largest magnitude of the accumulator.
    """
    m, s = multipliers(ratio)
    wanted = max(0, HIGH_WORD_SHIFT - int(s.min()))
    room = 0
    while room < wanted and bound << (room + 1) <= INT32:
        room += 1
    fits = room == wanted and int(s.max()) + wanted <= 62
    shift = wanted if fits else 0
    return Requant(m.astype(np.int32), (s + shift).astype(np.uint8), shift)


def lowest(type_: TensorType, *, relu: bool) -> int:
    """The least code of an activation, which a fused ReLU raises to the zero point."""
    assert type_.qparams is not None
    return max(type_.qparams.code_range[0], type_.qparams.zero_point if relu else -INT32)


def packed_terms(bias: np.ndarray, shift: np.ndarray) -> np.ndarray | None:
    """16 bias + shift - least shift as int16, where they fit."""
    above = shift.astype(np.int64) - int(shift.min())
    terms = 16 * bias.astype(np.int64) + above
    fits = above.max() < 16 and terms.min() >= -(2**15) and terms.max() < 2**15
    return terms.astype(np.int16) if fits else None


def requant_fields(
    program: Program, name: str, ratio: np.ndarray, bound: int, out: TensorType, *, relu: bool = False,
    has_terms: bool = False,
) -> str:  # fmt: skip
    """The initializer of a gnn_requant, its arrays stored as constants. `has_terms`: of the shifts only the least."""
    parameters = requant_parameters(ratio, bound)
    if parameters.shift.min() < HIGH_WORD_SHIFT:
        program.uses.add("SMALL_SHIFTS")
    per_channel = len(parameters.multiplier) > 1
    q = out.qparams
    assert q is not None
    low, high = lowest(out, relu=relu), q.code_range[1]
    multiplier = program.constant(f"multiplier_{name}", parameters.multiplier)
    shift = program.constant(f"shift_{name}", parameters.shift.min(keepdims=True) if has_terms else parameters.shift)
    return (
        f"{{.multiplier = {multiplier}, .shift = {shift}, .per_channel = {int(per_channel)}, "
        f".left_shift = {parameters.left_shift}, .zero_point = {q.zero_point}, .low = {low}, .high = {high}}}"
    )


@dataclass(frozen=True, slots=True)
class LinearConstants:
    """Integer Linear: codes [out, in], bias with -zero * sum(w) folded in, and the largest accumulator."""

    codes: np.ndarray
    bias: np.ndarray
    bound: int
    bits: int


def linear_constants(graph: Graph, value: Value) -> LinearConstants:
    """Check that no accumulator of a Linear can leave int32, whatever the input, and fold its input's zero point.

    Raises:
        ExportError: names the layer and its bound.
    """
    x, weight, bias = (graph.operand(value, slot) for slot in ("x", "weight", "bias"))
    assert x is not None and weight is not None and x.type.qparams is not None and weight.type.qparams is not None
    codes = graph.constant(weight).astype(np.int64)
    given = np.zeros(codes.shape[0], np.int64) if bias is None else graph.constant(bias).astype(np.int64)
    folded = given - zero_of(x.type) * codes.sum(axis=1)
    low, high = x.type.qparams.code_range
    bound = int((np.abs(codes).sum(axis=1) * max(-low, high) + np.abs(folded)).max(initial=0))
    if bound > INT32:
        raise ExportError(
            f"{value.scope or 'Linear'}: an accumulator over {codes.shape[1]} inputs can reach {bound}, beyond int32. "
            "Quantize with mode='int8', or with fewer weight bits; or export the float graph."
        )
    return LinearConstants(codes, folded.astype(np.int32), bound, weight.type.qparams.bits)


def linear_ratio(graph: Graph, value: Value) -> np.ndarray:
    """scale_x * scale_w / scale_y in float64, in the order of `reference_integer.linear`."""
    x, weight = graph.operand(value, "x"), graph.operand(value, "weight")
    assert x is not None and weight is not None and weight.type.qparams is not None
    return (
        np.float64(scale_of(x.type))
        * np.asarray(weight.type.qparams.scale, np.float64)
        / np.float64(scale_of(value.type))
    )


def is_integer(type_: TensorType) -> bool:
    return type_.dtype is not DType.F32
