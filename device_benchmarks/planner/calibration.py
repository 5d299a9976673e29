"""The constants of the cost model, fitted anew: python -m device_benchmarks.planner.calibration

measures every float32 plan of four small probe models (GCN 2x32, GIN 3x48, SAGE 2x96, GAT 2x32) on graphs of 10 to 500 nodes,
in onnxruntime, TorchScript, LiteRT, ExecuTorch and C, all plans of a model in turns, and fits the constants of each format and
kind of aggregation by non-negative least squares on relative errors. It writes cost_constants.json with the machine, every
median that went in, and how far the fitted model is from them; the table goes to stdout. No probe is a model of planner_study.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from device_benchmarks.environment import environment
from device_benchmarks.lowering_study import FEATURES, protein_like
from device_benchmarks.planner.cost_model import CONSTANTS, COUNTS, constants_key, work
from device_benchmarks.planner.plan import FORMATS, Plan, plans
from device_benchmarks.planner.stopwatch import SHORT, Rounds, Stopwatch, median_us
from device_benchmarks.subjects import as_data
from toolchain.artifact import Artifact
from toolchain.errors import PocketGnnError, require
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower
from toolchain.graph_file import write_atomically
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.models import GAT, GCN, GIN, SAGE
from toolchain.passes import deployable
from toolchain.passes.propagate_ordering import with_order
from toolchain.pipeline import bounds_of
from toolchain.recipe import Export

COMMAND = "python -m device_benchmarks.planner.calibration"
PROBES: dict[str, Callable[[], torch.nn.Module]] = {
    "gcn": lambda: GCN(FEATURES, 2, hidden=32, layers=2),
    "gin": lambda: GIN(FEATURES, 2, hidden=48, layers=3),
    "sage": lambda: SAGE(FEATURES, 2, hidden=96, layers=2),
    "gat": lambda: GAT(FEATURES, 2, hidden=32, layers=2),
}
NODES = (10, 30, 80, 200, 500)


@dataclass(frozen=True, slots=True)
class Observation:
    """One plan on one graph: the COUNTS of its work, and its time."""

    probe: str
    plan: str
    key: str
    counts: np.ndarray
    us: float


def artifacts_of(
    graph: Graph, wanted: Sequence[Plan], bounds: Bounds, folder: Path, say: Callable[[str], None]
) -> tuple[dict[Plan, Artifact], dict[Plan, str]]:
    """The float32 artifact of each plan, and for one that cannot be exported, why."""
    made: dict[Plan, Artifact] = {}
    failed: dict[Plan, str] = {}
    for plan in wanted:
        say(f"exporting {plan.name}")
        ordered = with_order(graph, plan.order)
        try:
            made[plan] = export(
                ordered, plan.format, folder / plan.name.replace(" ", "-"), **plan.export_options(bounds)
            )
        except PocketGnnError as error:
            failed[plan] = str(error)
    return made, failed


def observe(probe: str, graph: Graph, graphs: Sequence[GraphInputs], say: Callable[[str], None]) -> list[Observation]:
    """Measure every plan of one model on every graph."""
    bounds = bounds_of(Export(), graphs)
    found: list[Observation] = []
    with (
        tempfile.TemporaryDirectory(prefix="pocketgnn-calibration-") as folder,
        Stopwatch(graphs, progress=say) as watch,
    ):
        made, _ = artifacts_of(graph, plans(graph, FORMATS, ("float32",), bounds), bounds, Path(folder), say)
        rounds, _ = watch.measure({plan.name: artifact for plan, artifact in made.items()}, SHORT)
        for plan in made:
            ready = deployable(with_order(graph, plan.order))
            for inputs, taken in zip(graphs, rounds.get(plan.name, ()), strict=False):
                found.append(_observation(probe, plan, ready, inputs, taken))
    return found


def _observation(probe: str, plan: Plan, ready: Graph, inputs: GraphInputs, rounds: Rounds) -> Observation:
    edges = max((t.num_edges for t in inputs.prepare(ready.topologies).topologies), default=0)
    kind = plan.kind(inputs.num_nodes, edges)
    key = constants_key(plan.format, kind)
    return Observation(probe, plan.name, key, work(ready, inputs, kind), median_us(rounds))


def fit(observations: Sequence[Observation]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Constants by key, and for each observation of the key the fitted over the measured time.

    Raises:
        MissingDependency: scipy is not installed.
    """
    nnls = require("scipy.optimize", "search").nnls
    constants: dict[str, np.ndarray] = {}
    fitted: dict[str, np.ndarray] = {}
    for key in sorted({o.key for o in observations}):
        chosen = [o for o in observations if o.key == key]
        counts, us = np.array([o.counts for o in chosen]), np.array([o.us for o in chosen])
        scale = np.maximum(counts.max(axis=0), 1.0)  # columns differ by six orders of magnitude
        solution, _ = nnls(counts / scale / us[:, None], np.ones(len(us)))
        constants[key] = solution / scale
        fitted[key] = counts @ constants[key] / us
    return constants, fitted


def table(constants: Mapping[str, np.ndarray], fitted: Mapping[str, np.ndarray]) -> Table:
    """Nanoseconds per count, and how well the fit explains what it was made of."""
    made = Table(title="nanoseconds for each count; fitted over measured", box=None)
    for column in ("", *COUNTS, "observations", "p10", "p90"):
        made.add_column(column.replace("_", " "), justify="right" if column else "left")
    for key, values in constants.items():
        spread = [f"{np.percentile(fitted[key], p):.2f}" for p in (10, 90)]
        made.add_row(key, *(f"{1e3 * v:.3g}" for v in values), str(len(fitted[key])), *spread)
    return made


def _say(console: Console, name: str, line: str) -> None:
    console.print(f"{name}: {line}", markup=False)


@click.command(help=__doc__)
@click.option("--output", type=click.Path(path_type=Path), default=CONSTANTS, show_default=True)
def main(output: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    console = Console(stderr=True)
    graphs = [protein_like(nodes) for nodes in NODES]
    observations: list[Observation] = []
    for name, make in PROBES.items():
        graph = lower(make().eval(), as_data(protein_like(39)), name=name)
        observations += observe(name, graph, graphs, partial(_say, console, name))
    constants, fitted = fit(observations)
    record = {
        "command": COMMAND, "unit": "us", "environment": environment(),
        "constants": {
            key: dict(zip(COUNTS, (float(f"{v:.4g}") for v in values), strict=True)) for key, values in constants.items()
        },
        "fitted_over_measured": {
            key: {f"p{p}": round(float(np.percentile(values, p)), 3) for p in (10, 50, 90)} for key, values in fitted.items()
        },
        "columns": ["probe", "plan", "key", *COUNTS, "us"],
        "observations": [
            ",".join([o.probe, o.plan, o.key, *(f"{count:g}" for count in o.counts), f"{o.us:.2f}"]) for o in observations
        ],
    }  # fmt: skip
    write_atomically(output, (json.dumps(record, indent=1) + "\n").encode())
    Console(width=180).print(table(constants, fitted))


if __name__ == "__main__":
    main()
