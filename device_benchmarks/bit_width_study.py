"""How fast message passing runs at each bit width, in the integer kernels of the C backend: int32 sums, nothing simulated.

    python -m device_benchmarks.bit_width_study [--nodes 39 --nodes 620] [--data-root DATA] [--target cortex-m4]

prints, for GCN 3x64 and GIN 5x64 with random weights, the median microseconds of a run on this machine with values of 8 and
16 bits and weights of 8, 4 and 2, beside float32, and with --target the instructions of an emulated microcontroller. Variants
take turns in rounds of a few runs. A low width saves memory; whether it saves time is what this table is for. --output keeps
every sample, in bit_width_study.json of that folder.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import runtimes
from device_benchmarks.emulated_benchmark import emulated_benchmark
from device_benchmarks.environment import environment
from device_benchmarks.lowering_study import CLOCKS, MODELS, Contender, measure, protein_like, protein_near
from device_benchmarks.subjects import as_data
from device_benchmarks.target import load_target
from toolchain.artifact import Artifact
from toolchain.compression import StaticInt8, quantize
from toolchain.errors import DoesNotFit, MeasurementError
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret

CALIBRATION = 40  # random graphs
VARIANTS: dict[str, dict[str, Any] | None] = {
    "float32": None,
    "values 16, weights 8": {"mode": "all-int16"},
    "sums 16, values 8, weights 8": {"mode": "sums-int16"},
    "values 8, weights 8": {"mode": "int8"},
    "values 8, weights 4": {"mode": "int8", "weight_bits": 4},
    "values 8, weights 2": {"mode": "int8", "weight_bits": 2},
}


def variants(graph: Graph, inputs: GraphInputs, folder: Path) -> dict[str, Artifact]:
    """C artifacts of one model at every width, sized for one graph."""
    calibration = [protein_like(int(nodes), seed) for seed, nodes in enumerate(np.linspace(10, 100, CALIBRATION))]
    made: dict[str, Artifact] = {}
    for name, options in VARIANTS.items():
        method = None if options is None else StaticInt8([*calibration, inputs], min_agreement=0, **options)
        variant = graph if method is None else quantize(graph, method)
        topologies = inputs.prepare(variant.topologies).topologies
        edges = max(topology.num_edges for topology in topologies)
        degree = max(int(topology.in_degree.max()) for topology in topologies)
        bounds = Bounds(inputs.num_nodes, edges, 1, degree)
        made[name] = export(variant, "c", folder / str(len(made)), bounds=bounds)
        if options is not None:
            _check(runtimes.load(made[name].path).run(inputs)[0], interpret(variant, inputs)[0], name)
    return made


def _check(found: np.ndarray, expected: np.ndarray, name: str) -> None:
    if not np.array_equal(found, expected):
        raise MeasurementError(f"{name}: its output is not the interpreter's; a wrong model is not measured.")


@click.command()
@click.option("--nodes", type=int, multiple=True, default=(39, 620), show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="For each variant at each size.")
@click.option("--clock", type=click.Choice(sorted(CLOCKS)), default="wall", show_default=True)
@click.option("--data-root", type=click.Path(path_type=Path), help="Where PyG keeps PROTEINS; random graphs without.")
@click.option("--target", help="Also the instructions on this emulated target, such as cortex-m4.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for bit_width_study.json with every sample.")
def main(
    nodes: tuple[int, ...], seconds: float, clock: str, data_root: Path | None, target: str | None, output: Path | None
) -> None:
    """Measure the C kernels at every width."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    samples: list[dict[str, Any]] = []
    columns = ["model", "nodes", "edges", "variant", "constants", "median µs", "against float32"]
    table = Table(*columns, *([f"instructions, {target}"] if target else []), box=None, title=f"{clock} time")
    for name, make in MODELS.items():
        graph = lower(make().eval(), as_data(protein_like(39)), name=name)
        for count in nodes:
            inputs = protein_like(count) if data_root is None else protein_near(data_root, count)
            with tempfile.TemporaryDirectory() as folder:
                made = variants(graph, inputs, Path(folder))
                entered = [_contender(variant, artifact, inputs) for variant, artifact in made.items()]
                measure(entered, seconds, CLOCKS[clock])
                for contender in entered:
                    artifact = made[contender.name]
                    cells = [f"{artifact.model_bytes:,} B", f"{contender.median_us:.1f}"]
                    cells.append(f"{entered[0].median_us / contender.median_us:.2f}x")
                    record: dict[str, Any] = {
                        "model": name, "nodes": inputs.num_nodes, "edges": inputs.num_edges, "variant": contender.name,
                        "constant_bytes": artifact.model_bytes, "clock": clock,
                        "us": [round(s * 1e6, 2) for s in contender.seconds],
                    }  # fmt: skip
                    if target:
                        record["instructions"] = _instructions(artifact, target, inputs)
                        cells.append(f"{record['instructions']:,}" if record["instructions"] else "does not fit")
                    samples.append(record)
                    table.add_row(name, str(inputs.num_nodes), str(inputs.num_edges), contender.name, *cells)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "bit_width_study.json").write_text(json.dumps({"environment": environment(), "samples": samples}))
    Console(width=150).print(table)


def _contender(name: str, artifact: Artifact, inputs: GraphInputs) -> Contender:
    runtime = runtimes.load(artifact.path)
    feeds = runtime.prepare(inputs)
    return Contender(name, lambda: runtime.run_feeds(feeds))


def _instructions(artifact: Artifact, target: str, inputs: GraphInputs) -> int | None:
    """Of one inference; None where the image or its memory does not fit the target."""
    try:
        return emulated_benchmark(artifact, load_target(target), [inputs]).instructions
    except DoesNotFit:
        return None


if __name__ == "__main__":
    main()
