"""What half of the channels cost as C: latency on this machine, memory, and instructions on a microcontroller.

    python -m device_benchmarks.channels_study [--nodes 126] [--target cortex-m4] [--clock cpu] [--data-root DATA]

prints for GCN 3x64 and GIN 5x64, in float32 and in static int8, what falls by which factor when half of every group of channels
is removed: the operations that are counted (the factor to expect of a time), the median latency of the shared library on this
machine, the bytes of the arena and of the constants, and with --target the instructions and the RAM, stack included, of an
emulated microcontroller. `zeroed` is the largest difference between the outputs of the smaller model and of the full one whose
channels are set to zero, both as C. Models take turns as in `lowering_study`; weights and, without --data-root, graphs are random.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import runtimes
from device_benchmarks.emulated_benchmark import emulated_benchmark
from device_benchmarks.lowering_study import CLOCKS, MODELS, Contender, measure, protein_like, protein_near
from device_benchmarks.subjects import as_data
from device_benchmarks.target import load_target, target_names
from toolchain.artifact import Artifact
from toolchain.compression import StaticInt8, StructuredChannels, quantize
from toolchain.compression.channel_groups import channel_groups
from toolchain.compression.pruning.channel_removal import removed, zeroed
from toolchain.compression.pruning.channels import choose
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.ir.operation_counts import GraphSizes, operation_counts
from toolchain.passes import deployable

CALIBRATION_GRAPHS = 40
COLUMNS = ("operations", "native us", "arena B", "constants B", "instructions", "RAM B")


@dataclass(frozen=True, slots=True)
class Figures:
    """What one model takes, by the names of COLUMNS; without an emulator the last two are missing."""

    values: dict[str, float]
    output: np.ndarray


def halved(graph: Graph) -> tuple[Graph, Graph]:
    """The graph with half of every group of channels removed, and the one of full size with the same channels zeroed."""
    method = StructuredChannels(0.5)
    channels = channel_groups(graph, method.heads)
    dropped = choose(graph, channels, method)
    return removed(graph, channels, dropped), zeroed(graph, channels, dropped)


def exported(graph: Graph, inputs: GraphInputs, path: Path) -> Artifact:
    """A C artifact for graphs as large as this one."""
    (topology, *_) = inputs.prepare(graph.topologies).topologies
    bounds = Bounds(inputs.num_nodes, topology.num_edges, 1, int(topology.in_degree.max()))
    return export(graph, "c", path, bounds=bounds)


def figures(
    graphs: dict[str, Graph], inputs: GraphInputs, folder: Path, seconds: float, clock: str, target: str | None
) -> dict[str, Figures]:
    """Export, run in turns, and count."""
    artifacts = {name: exported(graph, inputs, folder / name) for name, graph in graphs.items()}
    opened = {name: runtimes.load(artifact) for name, artifact in artifacts.items()}
    feeds = {name: runtime.prepare(inputs) for name, runtime in opened.items()}
    turns = [
        Contender(name, lambda run=runtime.run_feeds, fed=feeds[name]: run(fed))  # type: ignore[misc]  # bound in turn
        for name, runtime in opened.items()
    ]
    measure(turns, seconds, CLOCKS[clock])
    found = {}
    for turn in turns:
        graph, facts = deployable(graphs[turn.name]), artifacts[turn.name].provenance
        counts = operation_counts(graph, GraphSizes.mean_of(graph.topologies, [inputs]))
        values = {
            "operations": counts.operations, "native us": turn.median_us, "arena B": facts["arena_bytes"],
            "constants B": facts["constant_bytes"],
        }  # fmt: skip
        if target is not None:
            emulated = emulated_benchmark(artifacts[turn.name], load_target(target), [inputs])
            values |= {"instructions": emulated.instructions, "RAM B": emulated.ram_bytes}
        found[turn.name] = Figures(values, opened[turn.name].run_feeds(feeds[turn.name])[0].copy())
    return found


@click.command(help=__doc__)
@click.option("--nodes", default=126, show_default=True, help="Of the graph.")
@click.option("--seconds", default=2.0, show_default=True, help="For each model.")
@click.option("--clock", type=click.Choice(sorted(CLOCKS)), default="wall", show_default=True)
@click.option("--target", type=click.Choice(target_names()), help="Also count instructions and RAM on this one.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Where PyG keeps PROTEINS; a random graph without.")
def main(nodes: int, seconds: float, clock: str, target: str | None, data_root: Path | None) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    inputs = protein_like(nodes) if data_root is None else protein_near(data_root, nodes)
    table = Table("model", "precision", *(COLUMNS if target else COLUMNS[:-2]), "zeroed", box=None)
    for name, make in MODELS.items():
        graph = lower(make().eval(), as_data(protein_like(39)), name=name)
        small, same_size = halved(graph)
        static = StaticInt8([protein_like(20 + i, seed=i) for i in range(CALIBRATION_GRAPHS)], min_agreement=0)
        for precision in ("float32", "static int8"):
            graphs = {"full": graph, "half": small, "zeroed": same_size}
            if precision != "float32":
                graphs = {key: quantize(g, static) for key, g in graphs.items() if key != "zeroed"}
            with tempfile.TemporaryDirectory() as folder:
                found = figures(graphs, inputs, Path(folder), seconds, clock, target)
            full, half = found["full"].values, found["half"].values
            cells = [f"{full[c]:,.0f} / {half[c]:,.0f} = {full[c] / half[c]:.2f}" for c in full]
            error = f"{np.abs(found['half'].output - found['zeroed'].output).max():g}" if "zeroed" in found else "–"
            table.add_row(name, precision, *cells, error)
    Console(width=200).print(f"{inputs.num_nodes} nodes, {inputs.num_edges} edges; full / half = factor; {clock} time")
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
