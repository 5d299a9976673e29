"""How close the planner's choice comes to the best of an exhaustive sweep, and to what export does unless told.

    python -m device_benchmarks.planner_study [--model gcn ...] [--nodes 39 ...] [--precision dynamic-int8] [--output out/bench]

For five models, four sizes of graph and every runtime, the planner chooses among the plans of that runtime (lowering, order and,
with --precision, precision), and once among those of all runtimes, by its cost model and measurements of its own. Then every plan
of the model is measured on every size, all in turns, which gives the best plan, and for the choice its time over that of the best
and over that of the default: medians over the rounds of the ratio within a round, so that a busy moment meets both. The choice
is never judged by the measurements that it was made from; the best is the best of the very samples that judge it, so chance
counts against the planner. Weights are random, and no model is a probe of the cost model. --output keeps every sample, in
planner_study.json, after each model, and the verdicts in planner_study.csv; with --resume the models that are there are not done
again. device_benchmarks/published has the verdicts of a whole run.
"""

from __future__ import annotations

import csv
import io
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from device_benchmarks.environment import environment
from device_benchmarks.lowering_study import protein_like
from device_benchmarks.parity import ParityCheck
from device_benchmarks.planner.limits import Limits
from device_benchmarks.planner.plan import FORMATS, Plan, plans
from device_benchmarks.planner.search import search
from device_benchmarks.planner.size_buckets import size_buckets
from device_benchmarks.planner.stopwatch import LONG, SHORT, Rounds, Stopwatch, median_us, ratio
from device_benchmarks.planner.timing import Timing
from device_benchmarks.planner.tuning import predictions
from device_benchmarks.planner.workshop import Workshop
from device_benchmarks.protocol import Protocol
from device_benchmarks.subjects import as_data
from toolchain.artifact import Artifact
from toolchain.errors import MeasurementError, PocketGnnError, RecipeError
from toolchain.frontend import lower
from toolchain.graph_file import write_atomically
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.model_source import GraphParts
from toolchain.models import GAT, GCN, GIN, SAGE, NodeGCN
from toolchain.pipeline import bounds_of
from toolchain.recipe import Export, Precision

NODES = (16, 39, 128, 620)
WORDS = 256  # features of the node classifier, wide as those of citation graphs are
SWEEP = Protocol("sweep", samples=240, seconds=0.6, warmup_samples=3, warmup_seconds=0.1, rounds=24)
EVERY = "any"  # all runtimes as one choice
CLOSE = 1.10
MODELS: dict[str, tuple[int, Callable[[int], torch.nn.Module]]] = {
    "gcn": (4, lambda features: GCN(features, 2, hidden=64, layers=3)),
    "gin": (4, lambda features: GIN(features, 2, hidden=64, layers=5)),
    "sage": (4, lambda features: SAGE(features, 2, hidden=64, layers=3)),
    "gat": (4, lambda features: GAT(features, 2, hidden=64, layers=2)),
    "node-gcn": (WORDS, lambda features: NodeGCN(features, 7, hidden=16)),
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What the planner chose for one model, size and runtime, before the sweep."""

    nodes: int
    runtime: str
    default: Plan
    chosen: Plan
    considered: tuple[Plan, ...]
    measured: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the sweep says of a choice.

    Attributes:
        over_best, over_default: time of the choice over that of another plan; 1 where it is that plan.
    """

    model: str
    choice: Choice
    best: Plan
    chosen_us: float
    best_us: float
    over_best: float
    over_default: float

    def to_json(self) -> dict[str, Any]:
        choice = self.choice
        return {
            "model": self.model, "nodes": choice.nodes, "runtime": choice.runtime, "chosen": choice.chosen.name,
            "default": choice.default.name, "best": self.best.name, "chosen_us": self.chosen_us, "best_us": self.best_us,
            "over_best": self.over_best, "over_default": self.over_default, "plans": len(choice.considered),
            "measured": choice.measured, "seconds": choice.seconds,
        }  # fmt: skip


def choose(graph: Graph, artifacts: Mapping[Plan, Artifact], watch: Stopwatch, position: int, runtime: str) -> Choice:
    """Let the planner choose among the plans of a runtime for one graph, by measuring as it sees fit."""
    inputs = watch.graphs[position]
    considered = [plan for plan in artifacts if runtime in (plan.format, EVERY)]
    attempts = predictions(considered, graph, size_buckets([inputs]))
    seen: set[Plan] = set()

    def measure(batch: Sequence[Plan], is_final: bool) -> dict[Plan, Timing]:
        seen.update(batch)
        names = {plan.name: plan for plan in batch}
        chosen = {name: artifacts[plan] for name, plan in names.items()}
        rounds, _ = watch.measure(chosen, LONG if is_final else SHORT, [position])
        return {names[name]: Timing.of(taken, [1.0]) for name, taken in rounds.items()}

    start = time.monotonic()
    predicted = {plan: attempt.predicted_us for plan, attempt in attempts.items()}
    found = search(considered, considered[0], predicted, measure)
    assert found.chosen is not None
    return Choice(
        inputs.num_nodes, runtime, considered[0], found.chosen, tuple(considered), len(seen), time.monotonic() - start
    )


def verdicts(model: str, choices: Sequence[Choice], swept: Mapping[int, Mapping[Plan, Rounds]]) -> list[Verdict]:
    """Hold each choice against the sweep: samples by number of nodes and plan."""
    found = []
    for choice in choices:
        rounds = swept[choice.nodes]
        medians = {plan: median_us(rounds[plan]) for plan in choice.considered if plan in rounds}
        best = min(medians, key=medians.__getitem__)
        over = {plan: ratio(rounds[choice.chosen], rounds[plan]) for plan in (best, choice.default)}
        found.append(
            Verdict(model, choice, best, medians[choice.chosen], medians[best], over[best], over[choice.default])
        )
    return found


def study(
    name: str, nodes: Sequence[int], runtimes: Sequence[str], precisions: Sequence[str], say: Callable[[str], None]
) -> tuple[list[Verdict], dict[str, Any]]:
    """Export every plan of a model, let the planner choose, sweep.

    Returns:
        The verdicts, and every sample of the sweep with the plans that could not be measured.
    """
    features, make = MODELS[name]
    module, graphs = make(features).eval(), [with_features(protein_like(count), features) for count in nodes]
    data = [as_data(inputs) for inputs in graphs]
    graph = lower(module, data[0], name=name.replace("-", "_"))
    bounds = bounds_of(Export(), graphs)
    with tempfile.TemporaryDirectory(prefix="pocketgnn-study-") as folder, Stopwatch(graphs, progress=say) as watch:
        parts = GraphParts(data, data, data)
        workshop = Workshop(graph, parts, bounds, Limits(), ParityCheck(module, data), Path(folder), progress=say)
        artifacts, refused = _artifacts(workshop, plans(graph, runtimes, precisions, bounds))
        say(f"{len(artifacts)} plans, {len(refused)} refused")
        choices = []
        for position, inputs in enumerate(graphs):
            for runtime in (*runtimes, *([EVERY] if len(runtimes) > 1 else [])):
                say(f"choosing: {inputs.num_nodes} nodes, {runtime}")
                choices.append(choose(graph, artifacts, watch, position, runtime))
        rounds, failed = watch.measure({plan.name: artifact for plan, artifact in artifacts.items()}, SWEEP)
        if failed:
            raise MeasurementError(f"{name}: {'; '.join(failed.values())}")
    swept = {
        inputs.num_nodes: {plan: rounds[plan.name][position] for plan in artifacts}
        for position, inputs in enumerate(graphs)
    }
    samples = {
        "model": name, "refused": refused,
        "us": {str(size): {plan.name: [np.round(r, 2).tolist() for r in taken] for plan, taken in found.items()}
               for size, found in swept.items()},
    }  # fmt: skip
    return verdicts(name, choices, swept), samples


def with_features(inputs: GraphInputs, features: int) -> GraphInputs:
    """The same edges under random features of another width."""
    rng = np.random.default_rng(features)
    return GraphInputs(rng.normal(size=(inputs.num_nodes, features)), inputs.edge_index)


def _artifacts(workshop: Workshop, wanted: Sequence[Plan]) -> tuple[dict[Plan, Artifact], dict[str, str]]:
    made: dict[Plan, Artifact] = {}
    refused: dict[str, str] = {}
    for plan in wanted:
        try:
            product = workshop.product(plan)
        except PocketGnnError as error:
            refused[plan.name] = str(error)
            continue
        if product.refusal:
            refused[plan.name] = product.refusal
        else:
            made[plan] = product.artifact
    return made, refused


def table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """One row for each verdict, as JSON has it."""
    made = Table(title="microseconds of one inference", box=None)
    columns = (
        "model",
        "nodes",
        "runtime",
        "plans",
        "measured",
        "seconds",
        "chosen",
        "us",
        "best",
        "us",
        "/ best",
        "/ default",
    )
    for column in columns:
        is_text = column in ("model", "runtime", "chosen", "best")
        made.add_column(column, justify="left" if is_text else "right", no_wrap=True)
    for row in rows:
        made.add_row(
            *(str(row[name]) for name in ("model", "nodes", "runtime", "plans", "measured")), f"{row['seconds']:.0f}",
            row["chosen"], f"{row['chosen_us']:.1f}", "the same" if row["best"] == row["chosen"] else row["best"],
            f"{row['best_us']:.1f}", f"{row['over_best']:.3f}", f"{row['over_default']:.3f}",
        )  # fmt: skip
    return made


def summary(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the figure asks for, by runtime."""
    lines = []
    for runtime in dict.fromkeys(row["runtime"] for row in rows):
        own = [row for row in rows if row["runtime"] == runtime]
        over_best, over_default = ([row[name] for row in own] for name in ("over_best", "over_default"))
        close, slower = sum(over <= CLOSE for over in over_best), sum(over > 1 for over in over_default)
        measured, considered = (sum(row[name] for row in own) for name in ("measured", "plans"))
        lines.append(
            f"{runtime}: {close} of {len(own)} within 10 % of the best, worst {max(over_best):.3f}; slower than the default "
            f"{slower}, worst {max(over_default):.3f}, mean {np.mean(over_default):.3f}; {measured} of {considered} plans measured"
        )
    return lines


def csv_of(record: Mapping[str, Any]) -> str:
    """The verdicts, one a line, numbers to four digits, below the options and the machine they are from."""
    rows = record["verdicts"]
    text = io.StringIO()
    facts = {"command": "python -m device_benchmarks.planner_study", **record["options"], **record["environment"]}
    text.writelines(f"# {name}: {json.dumps(value)}\n" for name, value in facts.items())
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {name: f"{value:.4g}" if isinstance(value, float) else value for name, value in row.items()} for row in rows
    )
    return text.getvalue()


def _finished(path: Path, options: Mapping[str, Any], resume: bool) -> dict[str, Any]:
    """The record of an earlier run to go on after, or a new one.

    Raises:
        RecipeError: the record is one of other options.
    """
    if not (resume and path.is_file()):
        return {"environment": environment(), "options": dict(options), "verdicts": [], "samples": []}
    record = json.loads(path.read_text(encoding="utf-8"))
    if record["options"] != options:
        raise RecipeError(f"{path}: was made with {record['options']}, not {dict(options)}. Choose another --output.")
    return record


def _say(console: Console, name: str, line: str) -> None:
    console.print(f"{name}: {line}", markup=False)


@click.command(help=__doc__)
@click.option("--model", "names", type=click.Choice(list(MODELS)), multiple=True, default=tuple(MODELS))
@click.option("--nodes", type=int, multiple=True, default=NODES, show_default=True)
@click.option("--to", "runtimes", type=click.Choice(FORMATS), multiple=True, default=FORMATS, show_default=True)
@click.option("--precision", "precisions", type=click.Choice(get_args(Precision)), multiple=True, default=("float32",))
@click.option("--output", type=click.Path(path_type=Path), default=Path("out/bench"), show_default=True)
@click.option("--resume", is_flag=True, help="Go on after the models that an earlier run has finished.")
def main(
    names: tuple[str, ...], nodes: tuple[int, ...], runtimes: tuple[str, ...], precisions: tuple[str, ...], output: Path,
    resume: bool,
) -> None:  # fmt: skip
    torch.set_num_threads(1)
    console = Console(stderr=True)
    path = output / "planner_study.json"
    options = {"nodes": list(nodes), "runtimes": list(runtimes), "precisions": list(precisions)}
    record = _finished(path, options, resume)
    done = {samples["model"] for samples in record["samples"]}
    for name in (name for name in names if name not in done):
        torch.manual_seed(0)
        found, samples = study(name, nodes, runtimes, precisions, partial(_say, console, name))
        record["verdicts"] += [verdict.to_json() for verdict in found]
        record["samples"].append(samples)
        write_atomically(path, json.dumps(record).encode())
    write_atomically(output / "planner_study.csv", csv_of(record).encode())
    Console(width=200).print(table(record["verdicts"]))
    for line in summary(record["verdicts"]):
        print(line)


if __name__ == "__main__":
    main()
