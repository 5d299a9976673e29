"""IntegerPlan: the choices that turn a float graph into an integer graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from toolchain.compression.calibration import ValueStatistics
from toolchain.compression.integer_constants import WeightFormat
from toolchain.compression.integer_forms import EdgeArithmetic
from toolchain.compression.row_formats import RowFormat
from toolchain.ir import QParams

Mode = Literal["int8", "sums-int16", "all-int16"]
INT16_HEADROOM = 4
MODES: tuple[Mode, ...] = ("int8", "sums-int16", "all-int16")  # from the cheapest to the most exact


@dataclass(frozen=True, slots=True)
class IntegerPlan:
    """All choices that, with the weights, make an integer graph.

    Attributes:
        statistics: of every value of the float graph, by id.
        percentile: where int8 ranges are cut; None: minimum and maximum. int16 ranges are never cut but widened by
            `INT16_HEADROOM`: 16 bits have room, and a graph beyond the calibration then does not clip.
        weight_bits: width of the weight codes; stored in 8.
        max_degree: of the prepared graphs, per topology: the integer sums of such graphs fit int32.
        edge_arithmetic: whether attention and values of edges are integers as well.
        formats: parameters of single values of the float graph, by id, instead of those that mode and statistics give.
            Up to 8 bits are stored as int8, 16 bits as int16.
        rows: row scales of single values, by id, on top of the parameters that they have as one tensor.
        weights: formats of single Linear weights, by the name of the constant, instead of `weight_bits`.
    """

    mode: Mode
    statistics: Mapping[int, ValueStatistics]
    percentile: float | None
    weight_bits: int
    max_degree: tuple[int, ...]
    edge_arithmetic: EdgeArithmetic = "float"
    formats: Mapping[int, QParams] = field(default_factory=dict)
    weights: Mapping[str, WeightFormat] = field(default_factory=dict)
    rows: Mapping[int, RowFormat] = field(default_factory=dict)

    def weight_format(self, constant: str) -> WeightFormat:
        """How a Linear weight is stored."""
        return self.weights.get(constant, WeightFormat(self.weight_bits))
