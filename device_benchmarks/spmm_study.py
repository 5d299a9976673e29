"""The sparse product as one operator beside the lowerings that need nothing but the runtime, in onnxruntime and ExecuTorch.

    python -m device_benchmarks.spmm_study [--nodes 39 --nodes 620 ...] [--model gcn] [--clock cpu] [--output out/bench]

prints one row for each model, runtime and size: the median microseconds of every lowering on one thread, feeding from Python
included, and how many times faster lowering='spmm' is than the fastest other one. Files take turns in rounds; ExecuTorch's are
bounded at the graph. Graphs and weights are random; every output is first compared with the reference. --output keeps every
sample, in spmm_study.json.
"""

from __future__ import annotations

import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

import runtimes
from device_benchmarks.environment import environment
from device_benchmarks.lowering_study import CLOCKS, MODELS, Contender, checked, measure, protein_like
from device_benchmarks.subjects import as_data
from toolchain.exporters import PLANS_MEMORY, export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.passes import deployable

NODES = (16, 39, 128, 620)
SPMM = "spmm"
LOWERINGS = {"onnx": ("auto", "dense", "scatter", SPMM), "executorch": ("neighbours", "dense", "scatter", SPMM)}


def contenders(graph: Graph, format: str, inputs: GraphInputs, folder: Path) -> list[Contender]:
    """The files of one format, each checked against what the graph means."""
    prepared = inputs.prepare(graph.topologies).topologies
    degree = max(int(topology.in_degree.max()) for topology in prepared)
    bounds = Bounds(inputs.num_nodes, max(topology.num_edges for topology in prepared), 1, degree)
    planned: dict[str, Any] = {"bounds": bounds} if format in PLANS_MEMORY else {}
    made = []
    for lowering in LOWERINGS[format]:
        artifact = export(graph, format, folder / f"{format}-{lowering}", lowering=lowering, **planned)
        runtime = runtimes.load(artifact)
        made.append(Contender(lowering, partial(runtime.run_feeds, runtime.prepare(inputs))))
    return [checked(contender, graph, inputs) for contender in made]


@click.command(help=__doc__)
@click.option("--nodes", type=int, multiple=True, default=NODES, show_default=True)
@click.option("--seconds", default=1.0, show_default=True, help="For each file of a row.")
@click.option("--clock", type=click.Choice(sorted(CLOCKS)), default="wall", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Folder for spmm_study.json with every sample.")
@click.option("--model", "names", type=click.Choice(sorted(MODELS)), multiple=True, default=tuple(MODELS))
@click.option("--to", "formats", type=click.Choice(list(LOWERINGS)), multiple=True, default=tuple(LOWERINGS))
def main(
    nodes: tuple[int, ...], seconds: float, clock: str, output: Path | None, names: tuple[str, ...],
    formats: tuple[str, ...],
) -> None:  # fmt: skip
    torch.manual_seed(0)
    torch.set_num_threads(1)
    table = Table("model", "runtime", "nodes", "by lowering", title=f"median microseconds, {clock} time", box=None)
    samples: list[dict[str, Any]] = []
    for name in names:
        graph = deployable(lower(MODELS[name]().eval(), as_data(protein_like(39)), name=name))
        for format in formats:
            for count in nodes:
                with tempfile.TemporaryDirectory(prefix="pocketgnn-study-") as folder:
                    entered = contenders(graph, format, protein_like(count), Path(folder))
                    measure(entered, seconds, CLOCKS[clock])
                medians = {contender.name: contender.median_us for contender in entered}
                others = min(median for lowering, median in medians.items() if lowering != SPMM)
                cells = "  ".join(f"{lowering} {median:.1f}" for lowering, median in medians.items())
                table.add_row(name, format, str(count), f"{cells}  = {others / medians[SPMM]:.2f}x")
                us = {c.name: [round(s * 1e6, 2) for s in c.seconds] for c in entered}
                samples.append({"model": name, "format": format, "nodes": count, "clock": clock, "us": us})
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "spmm_study.json").write_text(json.dumps({"environment": environment(), "samples": samples}))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
