"""Node features by their entries instead of whole rows: what the first layer then costs, on citation graphs.

    python -m device_benchmarks.sparse_feature_study --data-root DATA [--data Cora] [--hidden 16 --hidden 64] [--clock cpu]
                                                     [--output out/bench]

prints one row for each data set and width of a GCN of two layers: multiply-adds of its first product with all features and with
those other than 0, and for each runtime the median microseconds of the file that takes whole rows, of the one that takes
entries, and their ratio, beside PyG eager; "onnx spmm" adds rows with the operator that is compiled where the file is loaded.
Cora's and CiteSeer's features are 0 or 1, PubMed's are numbers. Files take turns, one thread, feeding from Python included and
preparing the graph not; weights are random, and every output is first compared with the reference. --output keeps every sample,
in sparse_feature_study.json of that folder.
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
from device_benchmarks.lowering_study import CLOCKS, EAGER, Contender, checked, eager, measure
from device_benchmarks.subjects import as_data
from toolchain.datasets import planetoid
from toolchain.exporters import export
from toolchain.exporters.sparse_input import Features
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.ir.operation_counts import GraphSizes, short, value_counts
from toolchain.models import NodeGCN
from toolchain.passes import deployable
from toolchain.passes.propagate_ordering import with_features_transformed_first

# What is measured with whole rows and with entries: a format, and the lowering to ask it for.
FILES = {"onnx": ("onnx", ""), "onnx spmm": ("onnx", "spmm"), "litert": ("litert", ""), "torchscript": ("torchscript", ""),
         "c": ("c", "")}  # fmt: skip
CLASSES = 7


def first_product(graph: Graph, inputs: GraphInputs) -> tuple[float, float]:
    """Multiply-adds of the Linear that reads x: of whole rows, and of their entries."""
    sizes = GraphSizes.mean_of(graph.topologies, [inputs])
    linear = next(v for v in graph.values if v.inputs and graph.values[v.inputs[0]].is_features)
    counts = value_counts(graph, linear, sizes)
    return counts.macs, counts.macs_sparse


def contenders(model: torch.nn.Module, graph: Graph, inputs: GraphInputs, folder: Path) -> list[Contender]:
    """PyG, and each file with whole rows and with entries where it can read them. Each was checked."""
    form = Features.BINARY if inputs.sparse_x.is_binary else Features.VALUES
    made = [eager(model, inputs)]
    for file, (format, lowering) in FILES.items():
        options: dict[str, Any] = {"lowering": lowering} if lowering else {}
        options |= {"fixed_graph": inputs} if format == "c" else {}
        for name, features in ((f"{file} rows", Features.DENSE), (f"{file} entries", form)):
            if format == "c" and features is Features.VALUES:
                continue  # it reads features of 0 and 1 only
            artifact = export(graph, format, folder / name, sparse_features=features.value, **options)
            runtime = runtimes.load(artifact)
            made.append(Contender(name, partial(runtime.run_feeds, runtime.prepare(inputs))))
    return [checked(contender, graph, inputs) for contender in made]


@click.command()
@click.option("--data-root", type=click.Path(path_type=Path), required=True, help="Where PyG keeps the data sets.")
@click.option("--data", "names", multiple=True, default=("Cora", "CiteSeer", "PubMed"), show_default=True)
@click.option("--hidden", "widths", type=int, multiple=True, default=(16, 64), show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="For each file of a row.")
@click.option("--clock", type=click.Choice(sorted(CLOCKS)), default="wall", show_default=True)
@click.option(
    "--output", type=click.Path(path_type=Path), help="Folder for sparse_feature_study.json with every sample."
)
def main(
    data_root: Path, names: tuple[str, ...], widths: tuple[int, ...], seconds: float, clock: str, output: Path | None
) -> None:
    """Measure files that take whole rows of features beside files that take their entries."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    columns = ("graph", "hidden", "multiply-adds", "of entries", "", EAGER, *FILES)
    table = Table(*columns, title=f"median microseconds, {clock} time: whole rows / entries = times faster", box=None)
    samples: list[dict[str, Any]] = []
    for name in names:
        inputs = GraphInputs.from_pyg(planetoid(data_root, name, normalize=False))
        for hidden in widths:
            model = NodeGCN(inputs.x.shape[1], CLASSES, hidden).eval()
            graph = deployable(with_features_transformed_first(lower(model, as_data(inputs), name=name)))
            with tempfile.TemporaryDirectory() as folder:
                entered = contenders(model, graph, inputs, Path(folder))
                measure(entered, seconds, CLOCKS[clock])
            macs, of_entries = first_product(graph, inputs)
            medians = {contender.name: contender.median_us for contender in entered}
            table.add_row(
                name, str(hidden), short(macs), short(of_entries), f"{macs / of_entries:.0f}x", f"{medians[EAGER]:.0f}",
                *(_cell(medians, file) for file in FILES),
            )  # fmt: skip
            us = {c.name: [round(s * 1e6, 2) for s in c.seconds] for c in entered}
            counts = {"macs": macs, "macs_of_entries": of_entries}
            samples.append({"data": name, "hidden": hidden, "clock": clock, **counts, "us": us})
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        record = {"environment": environment(), "samples": samples}
        (output / "sparse_feature_study.json").write_text(json.dumps(record))
    Console(width=180).print(table)


def _cell(medians: dict[str, float], file: str) -> str:
    rows, entries = medians[f"{file} rows"], medians.get(f"{file} entries")
    return f"{rows:.0f}" if entries is None else f"{rows:.0f} / {entries:.0f} = {rows / entries:.1f}x"


if __name__ == "__main__":
    main()
