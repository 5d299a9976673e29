"""Plan: one way to deploy a model; plans: all that a model can have, without two that come to the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from toolchain.exporters import PLANS_MEMORY
from toolchain.exporters.emission import Bounds
from toolchain.exporters.lowerings import DENSE_UP_TO_NODES, sums_neighbours, takes_dense
from toolchain.ir import Graph
from toolchain.ir.ops import Order
from toolchain.passes import deployable
from toolchain.passes.propagate_ordering import with_order

FORMATS = (
    "onnx",
    "torchscript",
    "litert",
    "executorch",
    "c",
)  # the first that works is what `export` takes unless told
# How aggregations run. SPMM needs a compiler where the file is loaded: a plan that lacks it says so when it is tried.
DENSE, SCATTER, NEIGHBOURS, SPMM, ROWS = "dense", "scatter", "neighbours", "spmm", "rows"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a recipe has to say about one artifact.

    Attributes:
        order: the side of a Linear on which aggregations run; None is the one with fewer channels.
        lowering: the option of the exporter; empty where the format or the model has one way only.
        dense_up_to_nodes: the option of ONNX's "auto".
    """

    format: str
    precision: str = "float32"
    order: Order | None = None
    lowering: str = ""
    dense_up_to_nodes: int | None = None

    @property
    def name(self) -> str:
        """Unique among the plans of a model, readable, and fit for a file name."""
        limit = "" if self.dense_up_to_nodes is None else f"-{self.dense_up_to_nodes}"
        parts = (self.format, self.precision, self.lowering + limit, self.order.value if self.order else "")
        return " ".join(part for part in parts if part)

    @property
    def group(self) -> tuple[str, str]:
        """Plans that the same kernels run: one measurement of a group says how fast the target is for all of it."""
        return self.format, self.precision

    @property
    def options(self) -> dict[str, Any]:
        """Options of the exporter, as a recipe has them."""
        stated = {"lowering": self.lowering or None, "dense_up_to_nodes": self.dense_up_to_nodes}
        return {name: value for name, value in stated.items() if value is not None}

    def export_options(self, bounds: Bounds) -> dict[str, Any]:
        """The same, with bounds where the format plans memory ahead."""
        return {**self.options, **({"bounds": bounds} if self.format in PLANS_MEMORY else {})}

    def kind(self, nodes: int, edges: int) -> str:
        """How its aggregations run on a graph of this size."""
        if self.format == "c":
            return ROWS
        if self.lowering == "auto" and self.format == "torchscript":
            from toolchain.exporters.torchscript_lowerings import DENSE_RATIO

            return DENSE if nodes * nodes <= DENSE_RATIO * edges else SCATTER
        if self.lowering == "auto":
            limit = DENSE_UP_TO_NODES if self.dense_up_to_nodes is None else self.dense_up_to_nodes
            return DENSE if nodes <= limit else SCATTER
        if self.lowering in (DENSE, NEIGHBOURS, SPMM):
            return self.lowering
        return NEIGHBOURS if self.format == "executorch" and not self.lowering else SCATTER


def default_plan(format: str, graph: Graph, bounds: Bounds) -> Plan:
    """What `export --to FORMAT` makes: the plan that any other has to beat."""
    if not sums_neighbours(graph):
        return Plan(format)
    if format == "executorch":
        from toolchain.exporters.executorch import cheapest_lowering

        return Plan(format, lowering=cheapest_lowering(bounds))
    if format == "onnx":
        return Plan(format, lowering="auto" if takes_dense(graph) else "scatter")
    return Plan(format, lowering={"torchscript": "auto", "litert": "scatter"}.get(format, ""))


def plans(
    graph: Graph, formats: Sequence[str], precisions: Sequence[str], bounds: Bounds, sizes: Sequence[int] = ()
) -> list[Plan]:
    """Every plan of a model, the defaults first.

    Args:
        graph: a float Graph.
        bounds: largest graph of the formats that plan memory ahead.
        sizes: nodes of the graphs that it is for, ascending; ONNX's "auto" may switch to sums along edges above any but the last.
    """
    ready = deployable(graph)
    defaults = [default_plan(format, ready, bounds) for format in formats]
    found = [replace(plan, precision=precision) for plan in defaults for precision in precisions]
    for default in defaults:
        ways = [replace(default, lowering=name) for name in _lowerings(default, ready)]
        if default.lowering == "auto" and default.format == "onnx":
            ways += [replace(default, dense_up_to_nodes=limit) for limit in _switches(sizes)]
        found += [
            replace(way, precision=precision, order=order)
            for way in (default, *ways)
            for order in orders(graph)
            for precision in precisions
        ]
    return list(dict.fromkeys(found))


def orders(graph: Graph) -> list[Order | None]:
    """The orders that make a difference to a float Graph; None first."""
    seen: dict[str, Order | None] = {}
    for order in (None, *Order):
        seen.setdefault(str(with_order(deployable(with_order(graph, order)), None)), order)
    return list(seen.values())


def _lowerings(default: Plan, graph: Graph) -> tuple[str, ...]:
    if not default.lowering:
        return ()
    dense = (DENSE,) if takes_dense(graph) else ()
    return {
        "onnx": (*dense, SCATTER, SPMM), "torchscript": ("edges",), "litert": dense,
        "executorch": (NEIGHBOURS, SCATTER, DENSE, SPMM),
    }[default.format]  # fmt: skip


def _switches(sizes: Sequence[int]) -> list[int]:
    """Limits of "auto" that tell the sizes apart in another way than the default one."""

    def small(limit: int) -> int:
        return sum(nodes <= limit for nodes in sizes)

    return [limit for limit in sizes[:-1] if small(limit) != small(DENSE_UP_TO_NODES)]
