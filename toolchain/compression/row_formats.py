"""RowFormat: codes of a node value with a step and a width for each group of rows; which values can have them."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np

from toolchain.compression.integer_forms import needs_table
from toolchain.ir import DType, Graph, GraphBuilder, QParams, TensorType, Value
from toolchain.ir.ops import DegreeGroup, Function, Linear, PeakGroup, RowScale
from toolchain.ir.types import Domain, node

GROUP_QPARAMS = QParams((1.0,), 0, 16)  # numbers of groups as codes


@dataclass(frozen=True, slots=True)
class RowFormat:
    """How the rows of a node value are stored: codes q of group g stand for steps[g] q, with |q| <= tops[g].

    Attributes:
        groups: the op that gives each row its group.
        steps: float32 values.
        tops: at most 127.
        is_signed: codes may be negative; else they start at 0.
    """

    groups: DegreeGroup | PeakGroup
    steps: tuple[float, ...]
    tops: tuple[int, ...]
    is_signed: bool

    @property
    def bits(self) -> tuple[int, ...]:
        """Width of the codes of each group."""
        return tuple(top.bit_length() + self.is_signed for top in self.tops)

    @property
    def qparams(self) -> QParams:
        """Of the codes in memory: at the largest step, in as many bits as the widest group needs with a sign."""
        return QParams((max(self.steps),), 0, max(2, max(self.tops).bit_length() + 1))


def row_group(builder: GraphBuilder, rows: RowFormat, code: int, scope: str) -> int:
    """The group of each row of the codes of a value."""
    operands = [code] if isinstance(rows.groups, PeakGroup) else []
    return builder.add(rows.groups, *operands, type=node(1).with_dtype(DType.I16, GROUP_QPARAMS), scope=scope)


def row_codes(builder: GraphBuilder, rows: RowFormat, code: int, group: int, scope: str) -> int:
    """int8 codes, at one scale, of the codes of a value with one scale."""
    qparams = rows.qparams
    unit = np.float64(qparams.scale[0])
    factors = tuple(float(unit / np.float64(step)) for step in rows.steps)
    limits = tuple(float(unit * top) for top in rows.tops)
    op = RowScale(factors, limits, None if rows.is_signed else Function.RELU)
    type_ = builder.type(code).with_dtype(DType.I8, qparams)
    return builder.add(op, code, group, type=type_, scope=scope)


def row_result(
    builder: GraphBuilder, rows: RowFormat, accumulators: int, group: int, bias: int | None, linear: Linear,
    type_: TensorType, scope: str,
) -> int:  # fmt: skip
    """The result of a Linear on such codes, from its accumulators, which hold no bias yet."""
    unit = np.float64(rows.qparams.scale[0])
    factors = tuple(float(np.float64(step) / unit) for step in rows.steps)
    op = RowScale(factors, (), linear.activation, linear.row_factor)
    operands = [accumulators, group] if bias is None else [accumulators, group, bias]
    return builder.add(op, *operands, type=type_, scope=scope)


def why_no_row_scales(graph: Graph, value: Value, readers: Sequence[Value], integers: Container[int]) -> str:
    """What keeps a value of a float graph from row scales; empty where nothing does.

    Args:
        readers: of the value.
        integers: ids of the values that are computed on codes.
    """
    if value.type.domain is not Domain.NODE:
        return f"it is a value of each {value.type.domain.value}, and groups are of nodes"
    if value.id in graph.outputs:
        return "it is an output of the model"
    if needs_table(value):
        return "its activation is a table of int8 codes, which are too few to be rounded again"
    for reader in readers:
        where = type(reader.op).__name__ + (f" ({reader.scope})" if reader.scope else "")
        if reader.id not in integers:
            return f"{where} reads it as real numbers"
        if not isinstance(reader.op, Linear):
            return f"{where} reads it, where rows with different scales cannot meet"
    return ""
