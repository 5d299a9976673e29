"""CostModel: how long a plan should take, from counts of its work and constants that were fitted to measurements.

    microseconds = c · (1, ops, multiply-adds, elements, aggregated elements, aggregated rows)

with six constants for each format and kind of aggregation. cost_constants.json holds those of one x86-64 core, fitted to the
probes of `python -m device_benchmarks.planner.calibration`, which wrote the file. On another target, in another precision or
on a loaded machine the figures are wrong, but by about the same factor for all plans of one runtime: the search measures that
factor with its first measurements (`search`), and trusts the model only to tell which of them are worth measuring.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from device_benchmarks.planner.plan import DENSE, NEIGHBOURS, Plan
from toolchain.errors import MeasurementError
from toolchain.inputs import GraphInputs
from toolchain.ir import Domain, Graph
from toolchain.ir.operation_counts import GraphSizes, value_counts
from toolchain.ir.ops import Aggregate, Const, Gather, Input, Propagate

CONSTANTS = Path(__file__).with_name("cost_constants.json")
COUNTS = ("inference", "ops", "multiply_adds", "elements", "aggregated_elements", "aggregated_rows")


@dataclass(frozen=True, slots=True)
class CostModel:
    """Constants by format and kind, in microseconds for each of COUNTS."""

    constants: Mapping[str, np.ndarray]

    @classmethod
    def load(cls, path: Path = CONSTANTS) -> CostModel:
        """Read the constants that come with the package."""
        data = json.loads(path.read_text(encoding="utf-8"))
        return cls({key: np.array([values[name] for name in COUNTS]) for key, values in data["constants"].items()})

    def predict_us(self, plan: Plan, graph: Graph, inputs: GraphInputs) -> float:
        """Microseconds of one inference of a deployable float Graph on a graph of this size.

        Raises:
            MeasurementError: there are no constants for such plans.
        """
        prepared = GraphSizes.mean_of(graph.topologies, [inputs])
        kind = plan.kind(inputs.num_nodes, int(max(prepared.edges, default=0)))
        key = constants_key(plan.format, kind)
        if key not in self.constants:
            raise MeasurementError(f"{plan.name}: the cost model knows {', '.join(sorted(self.constants))}, not {key}.")
        return float(self.constants[key] @ work(graph, inputs, kind))


def constants_key(format: str, kind: str) -> str:
    """The name of a row of constants."""
    return f"{format} {kind}"


def work(graph: Graph, inputs: GraphInputs, kind: str) -> np.ndarray:
    """[6] the COUNTS of one inference, where aggregations run in one way.

    A sum over neighbours costs a row of channels for each place that it visits: N^2 of a dense matrix, N K of neighbour lists
    that are padded to the largest degree K, E along edges. Values of edges that are stored are elements like any other.
    """
    sizes = GraphSizes.mean_of(graph.topologies, [inputs])
    degrees = [max(int(t.in_degree.max(initial=0)), 1) for t in inputs.prepare(graph.topologies).topologies]
    nodes = inputs.num_nodes
    ops = multiply_adds = elements = aggregated = rows = 0.0
    for value in graph.values:
        if isinstance(value.op, Const | Input):
            continue
        type = value.type
        count = {Domain.NODE: nodes, Domain.GRAPH: inputs.num_graphs}.get(type.domain, 1)
        if type.domain is Domain.EDGE:
            assert type.topology is not None
            count = int(sizes.edges[type.topology])
        ops += 1
        elements += count * type.channels
        if isinstance(value.op, Propagate) and "weight" not in value.op.operands:
            along = sizes.edges[value.op.topology]
            places = {DENSE: nodes * nodes, NEIGHBOURS: nodes * degrees[value.op.topology]}.get(kind, along)
        elif isinstance(value.op, Propagate | Aggregate):
            topology = (
                value.op.topology if isinstance(value.op, Propagate) else graph.values[value.inputs[0]].type.topology
            )
            assert topology is not None
            places = nodes * degrees[topology] if kind == NEIGHBOURS else sizes.edges[topology]
        else:
            places = count if isinstance(value.op, Gather) else 0
            multiply_adds += value_counts(graph, value, sizes).macs
        aggregated += places * type.channels
        rows += places
    return np.array([1.0, ops, multiply_adds, elements, aggregated, rows])
