"""Slots: the values and weights of a float graph that an integer graph gives a width and a scale, with stable names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

import numpy as np

from toolchain.compression.calibration import ValueStatistics
from toolchain.compression.integer_forms import integer_values, is_input
from toolchain.compression.integer_graph import IntegerGraph
from toolchain.compression.integer_plan import IntegerPlan
from toolchain.compression.row_formats import why_no_row_scales
from toolchain.errors import RecipeError
from toolchain.ir import Graph, QParams, Value
from toolchain.ir.ops import Const, Input, Linear
from toolchain.ir.types import Domain

T = TypeVar("T")


@dataclass(frozen=True, slots=True, eq=False)
class ValueSlot:
    """A value that is rounded to codes of its own.

    Attributes:
        name: see `value_names`.
        id: of the value in the float graph.
        qparams: what the plan gives it.
        statistics: of its real values over the calibration graphs.
        is_input: it is the model's input.
        domain: what one of its rows belongs to.
        channels: width of a row.
        no_row_scales: what keeps it from scales of its own for groups of rows; empty where nothing does.
    """

    name: str
    id: int
    qparams: QParams
    statistics: ValueStatistics
    is_input: bool
    domain: Domain
    channels: int
    no_row_scales: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class WeightSlot:
    """A Linear weight.

    Attributes:
        name: of the constant, such as "conv1.lin.weight".
        bits: what the plan gives it.
        weight: [out, in] float32.
        per_tensor: it has one scale instead of one for each output channel.
    """

    name: str
    bits: int
    weight: np.ndarray
    per_tensor: bool


@dataclass(frozen=True, slots=True, eq=False)
class Slots:
    """All slots of a graph, in the order of execution."""

    values: tuple[ValueSlot, ...]
    weights: tuple[WeightSlot, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return (*(slot.name for slot in self.values), *(slot.name for slot in self.weights))

    def assign(self, option: str, choices: Mapping[str, T]) -> dict[str, T]:
        """For each slot that a pattern names the choice of the last such pattern.

        Args:
            option: what the errors call the choices.
            choices: by name, or by a pattern with `*` and `?`, as in "conv1.*": general ones first.

        Raises:
            RecipeError: a pattern that names no slot.
        """
        assigned: dict[str, T] = {}
        for pattern, choice in choices.items():
            matching = [name for name in self.names if fnmatchcase(name, pattern)]
            if not matching:
                raise RecipeError(
                    f"{option} of {pattern!r}: no value or weight has this name. There are {', '.join(self.names)}."
                )
            assigned.update(dict.fromkeys(matching, choice))
        return assigned


def value_names(graph: Graph) -> dict[int, str]:
    """Names of the non-constant values by id: scope and op, as in "conv1.lin.linear"; the input is "x".

    The product that equalization makes of the input is "x.scaled". A repeated name gets a number, from ".1" on.
    """
    names: dict[int, str] = {}
    seen: Counter[str] = Counter()
    for value in graph.values:
        if isinstance(value.op, Const):
            continue
        name = _name(graph, value)
        names[value.id] = name if not seen[name] else f"{name}.{seen[name]}"
        seen[name] += 1
    return names


def _name(graph: Graph, value: Value) -> str:
    if isinstance(value.op, Input):
        return value.op.role.value
    if is_input(graph, value):
        return f"{_name(graph, graph.values[value.inputs[0]])}.scaled"
    kind = type(value.op).__name__.lower()
    return f"{value.scope}.{kind}" if value.scope else kind


def slots_of(source: Graph, plan: IntegerPlan, made: IntegerGraph) -> Slots:
    """The slots of a float graph whose integer graph, by this plan, is `made`."""
    names, users = value_names(source), source.users()
    integers = integer_values(source, has_tables=plan.mode != "all-int16", edges=plan.edge_arithmetic)
    values: list[ValueSlot] = []
    weights: list[WeightSlot] = []
    first = {
        grid.source: new for new, grid in reversed(list(made.grids.items()))
    }  # the value that is rounded to the grid
    for id in sorted(first):
        value, qparams = source.values[id], made.graph.values[first[id]].type.qparams
        assert qparams is not None
        readers = [source.values[u] for u in users[id]]
        reason = why_no_row_scales(source, value, readers, integers)
        if plan.mode == "all-int16":
            reason = "mode='all-int16' keeps all codes in 16 bits"
        values.append(
            ValueSlot(
                names[id], id, qparams, plan.statistics[id], is_input(source, value), value.type.domain,
                value.type.channels, reason,
            )
        )  # fmt: skip
    for value in made.graph.values:
        if not isinstance(value.op, Linear):
            continue
        stored = made.graph.operand(value, "weight")
        if stored is None or not isinstance(stored.op, Const) or stored.type.qparams is None:
            continue
        name = made.origins[stored.op.name]
        if all(slot.name != name for slot in weights):
            is_one = stored.type.qparams.axis is None
            weights.append(WeightSlot(name, plan.weight_format(name).bits, source.constants[name], is_one))
    return Slots(tuple(values), tuple(weights))
