"""SearchSpace: the slots of a model, the widths that each may take, and what an assignment of widths costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from toolchain.compression.bit_search.additive import Assignment
from toolchain.compression.evaluation import as_inputs
from toolchain.compression.integer_constants import WeightFormat
from toolchain.compression.integer_graph import IntegerPlan, integer_graph
from toolchain.compression.quantizers import Fixed, Learned, Quantizer, check_bits
from toolchain.compression.scale_search import value_qparams
from toolchain.compression.slots import Slots, slots_of
from toolchain.compression.static_int8 import StaticInt8, select
from toolchain.errors import RecipeError
from toolchain.ir import Graph
from toolchain.ir.operation_counts import GraphSizes, operation_counts

Accounting = Literal["bit_operations", "bops", "storage"]
ACCOUNTINGS: tuple[Accounting, ...] = ("bit_operations", "bops", "storage")

Widths = Sequence[int] | Mapping[str, Sequence[int]]
"""Candidate widths of every slot, or by names and patterns of slots, general ones first."""


@dataclass(frozen=True, eq=False)
class SearchSpace:
    """What a search over bits varies.

    Attributes:
        source: the float graph that integer graphs are made from.
        plan: ranges, and everything that the search leaves as it is.
        slots: the values and weights that have a width.
        candidates: widths of every slot, rising. One width: the slot is not searched.
        sizes: of the graphs that costs are counted for.
        accounting: of a cost: "bit_operations" is MixQ's (operations times mean bits), "bops" the product of the widths of
            both factors, "storage" the bits of all weights and of the rows of all values.
    """

    source: Graph
    plan: IntegerPlan
    slots: Slots
    candidates: Mapping[str, tuple[int, ...]]
    sizes: GraphSizes
    accounting: Accounting
    _ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(
        cls, graph: Graph, static: StaticInt8, widths: Widths, graphs: Iterable[Any], accounting: Accounting = "bit_operations",
    ) -> SearchSpace:  # fmt: skip
        """The space of a float graph.

        Args:
            static: how ranges are calibrated; its mode gives the widths of slots that `widths` does not name.
            graphs: whose average size the costs are counted for.

        Raises:
            RecipeError: a width that no codes have, no graphs, or a pattern that names no slot.
        """
        if accounting not in ACCOUNTINGS:
            raise RecipeError(f"accounting: {accounting!r}, expected one of {', '.join(ACCOUNTINGS)}.")
        if static.equalization == "auto":  # which moves range into weights, and those have few bits here
            static = replace(static, equalization=None)
        selection = select(graph, static, accept_best=True)
        slots = slots_of(selection.source, selection.plan, integer_graph(selection.source, selection.plan))
        stated = slots.assign("widths", widths if isinstance(widths, Mapping) else {"*": widths})
        present = {slot.name: slot.qparams.bits for slot in slots.values} | {
            slot.name: slot.bits for slot in slots.weights
        }
        candidates = {name: tuple(sorted(set(stated.get(name, (bits,))))) for name, bits in present.items()}
        weights = {slot.name for slot in slots.weights}
        for name, choices in candidates.items():
            if not choices:
                raise RecipeError(f"{name}: no candidate widths, expected at least one, such as [2, 4, 8].")
            for bits in choices:
                check_bits(bits)
                if name in weights and bits > 8:
                    raise RecipeError(
                        f"widths of {name!r}: {bits} bits, weights have 1 to 8. Give values and weights widths of their own, such "
                        "as {'*': (4, 8, 16), '*weight': (4, 8)}."
                    )
        inputs = as_inputs(graphs)
        if not inputs:
            raise RecipeError("graphs: none given, expected at least one to count the cost of an inference for.")
        return cls(
            selection.source, selection.plan, slots, candidates, GraphSizes.mean_of(selection.source.topologies, inputs),
            accounting,
        )  # fmt: skip

    @property
    def widest(self) -> dict[str, int]:
        """Every slot at its most bits."""
        return {name: widths[-1] for name, widths in self.candidates.items()}

    def quantizers(self, assignment: Assignment) -> dict[str, Quantizer]:
        """What `QAT.quantizers` takes to train an assignment: scales learn, but that of the input, which does not change."""
        inputs = {slot.name for slot in self.slots.values if slot.is_input}
        return {name: Fixed(bits, "mse") if name in inputs else Learned(bits) for name, bits in assignment.items()}

    def cost(self, assignment: Assignment) -> float:
        """Of one average inference; slots that the assignment leaves out are at their widest."""
        bits = {**self.widest, **assignment}
        if self.accounting == "storage":
            return sum(self.elements[name] * width for name, width in bits.items())
        return float(getattr(operation_counts(self.integer(bits), self.sizes), self.accounting))

    def integer(self, assignment: Assignment) -> Graph:
        """The integer graph of an assignment without training; slots that it leaves out are at their widest."""
        bits = {**self.widest, **assignment}
        formats = {slot.id: value_qparams(*slot.statistics.range(), bits[slot.name]) for slot in self.slots.values}
        weights = {slot.name: WeightFormat(bits[slot.name]) for slot in self.slots.weights}
        return integer_graph(self.source, replace(self.plan, formats=formats, weights=weights)).graph

    @cached_property
    def costs(self) -> dict[str, dict[int, float]]:
        """What each slot adds to the cost at each width, where costs add up over slots.

        Raises:
            RecipeError: the accounting multiplies widths, so that they do not.
        """
        if self.accounting == "bops":
            raise RecipeError("accounting: 'bops' multiplies the widths of two slots; costs that add up are those of "
                              "'bit_operations' and 'storage'.")  # fmt: skip
        whole = self.cost({})
        table = {
            name: {bits: self.cost({name: bits}) - whole for bits in widths} for name, widths in self.candidates.items()
        }
        rest = whole - sum(-min(row.values()) for row in table.values())
        return {
            name: {bits: value - min(row.values()) + rest / len(table) for bits, value in row.items()}
            for name, row in table.items()
        }

    @cached_property
    def shares(self) -> dict[str, float]:
        """Cost of one bit of each slot, as a share of the cost of everything at its widest."""
        whole = self.cost({})
        shares = {}
        for name, widths in self.candidates.items():
            span = widths[-1] - widths[0]
            shares[name] = (whole - self.cost({name: widths[0]})) / span / whole if span else 0.0
        return shares

    @cached_property
    def elements(self) -> dict[str, float]:
        """Numbers of a weight, and of all rows of a value, by the name of the slot."""
        rows = {"node": self.sizes.nodes, "graph": self.sizes.graphs, "edge": max(self.sizes.edges, default=0)}
        values = {slot.name: rows[slot.domain.value] * slot.channels for slot in self.slots.values}
        return values | {slot.name: float(np.size(slot.weight)) for slot in self.slots.weights}
