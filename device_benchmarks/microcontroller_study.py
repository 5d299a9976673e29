"""GNNs on microcontrollers that are emulated: flash, RAM and instruction counts, and outputs equal to the host's bit for bit.

    python -m device_benchmarks.microcontroller_study --data-root DATA --output out/mcu

trains GCN 3x64 and GIN 5x64 on PROTEINS, quantizes them with 8 and 4 bits, exports C for a graph of 39 nodes and 148 edges and
runs the images on every target. With --full the whole PROTEINS test split runs on a Cortex-M4, one image for its largest graph,
and the accuracy is compared with the host's. With --cora a GCN-16 runs on all 2,708 nodes of Cora, edges and words in flash.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch_geometric.data import Data
from torch_geometric.nn import GCN as PygGCN

import runtimes
from device_benchmarks.emulated_benchmark import EmulatedBenchmark, emulated_benchmark
from device_benchmarks.firmware import CompilerName
from device_benchmarks.target import load_target, target_names
from toolchain.artifact import Artifact
from toolchain.compression import StaticInt8, quantize
from toolchain.compression.evaluation import agreement, as_inputs, predict
from toolchain.datasets import Split, planetoid, split, tu
from toolchain.errors import PocketGnnError
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.models import GCN, GIN, train

NODES, EDGES = 39, 148  # an average PROTEINS graph
MODELS = {
    "gcn": lambda features, classes: GCN(features, classes, hidden=64, layers=3),
    "gin": lambda features, classes: GIN(features, classes, 64, 5, pool="mean"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One image that was run, and what else is known of its outputs."""

    model: str
    result: EmulatedBenchmark
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        return {"model": self.model, "note": self.note, **self.result.to_json()}


def trained(name: str, parts: Split, seed: int) -> torch.nn.Module:
    """A reference model, trained for 40 epochs."""
    torch.manual_seed(seed)
    model = MODELS[name](parts.features, parts.classes)
    train(model, parts.train, parts.validation, epochs=40, seed=seed)
    return model


def average_graph(graphs: Sequence[Data]) -> GraphInputs:
    """The real graph nearest to the average size."""
    return GraphInputs.from_pyg(
        min(graphs, key=lambda g: (abs(g.num_nodes - NODES), abs(g.num_edges - EDGES)))  # type: ignore[arg-type]  # num_nodes is set
    )


def exported(graph: Graph, graphs: Sequence[GraphInputs], path: Path, **options: Any) -> Artifact:
    """A C artifact whose bounds are those of some graphs."""
    return export(graph, "c", path, overwrite=True, bounds=bounds_of(graph, graphs), **options)


def bounds_of(graph: Graph, graphs: Sequence[GraphInputs]) -> Bounds:
    """The smallest bounds that some graphs fit, one at a time."""
    topologies = [t for g in graphs for t in g.prepare(graph.topologies).topologies]
    return Bounds(
        max(g.num_nodes for g in graphs), max(t.num_edges for t in topologies), 1,
        max(int(t.in_degree.max()) for t in topologies),
    )  # fmt: skip


def on_all_targets(
    parts: Split, output: Path, targets: Sequence[str], compiler: CompilerName | None, seed: int, full: bool, say: Any
) -> tuple[list[Row], list[str]]:
    """Each model and bit width on each target, and the whole test split on a Cortex-M4."""
    rows, failures = [], []
    average = average_graph([*parts.train, *parts.validation, *parts.test])
    test = as_inputs(parts.test)
    labels = np.array([int(g.y) for g in parts.test])
    for name in MODELS:
        say(f"{name}: training")
        graph = lower(trained(name, parts, seed), parts.train[0], name=name)
        reference = predict(graph, test)
        for bits in (8, 4):
            quantized = quantize(graph, StaticInt8(parts.train, weight_bits=bits, min_agreement=0.5, seed=seed))
            artifact = exported(quantized, [average], output / f"{name}-w{bits}")
            for target in targets:
                say(f"{name}, {bits} bits, {target}")
                try:
                    rows.append(
                        Row(
                            f"{name} w{bits}",
                            emulated_benchmark(artifact, load_target(target), [average], compiler=compiler),
                        )
                    )
                except PocketGnnError as error:
                    failures.append(f"{name} w{bits} on {target}: {error}")
            if full and bits == 8:
                say(f"{name}: {len(test)} test graphs on a Cortex-M4")
                large = exported(quantized, test, output / f"{name}-w{bits}-test")
                result = emulated_benchmark(large, load_target("cortex-m4"), test, compiler=compiler)
                runtime = runtimes.load(large)
                host = np.concatenate([runtime.run(inputs)[0] for inputs in test])
                accuracy, before = ((scores.argmax(1) == labels).mean() for scores in (host, reference))
                note = (
                    f"{result.compared - len(result.differences)} of {result.compared} test graphs equal to the host's; "
                    f"accuracy {accuracy:.2%} (float {before:.2%}), agreement {agreement(reference, host):.2%}"
                )
                rows.append(Row(f"{name} w8, test split", result, note))
    return rows, failures


def cora(root: Path, output: Path, compiler: CompilerName | None, seed: int, say: Any) -> Row:
    """A GCN-16 on all of Cora: the graph and its words are constants of the image, logits leave it row by row."""
    say("cora: training")
    data = planetoid(root, "Cora", normalize=False)
    torch.manual_seed(seed)
    model = PygGCN(data.x.shape[1], 16, 2, int(data.y.max()) + 1, dropout=0.5)  # logits, no softmax
    train(model, [data], [data], epochs=100, weight_decay=5e-4, seed=seed)
    graph = lower(model, data, name="cora")
    inputs = GraphInputs.from_pyg(data)
    quantized = quantize(graph, StaticInt8([data], mode="int8", min_agreement=0.9, seed=seed))
    artifact = exported(quantized, [inputs], output / "cora", fixed_graph=inputs, sparse_features=True)
    say("cora: running")
    result = emulated_benchmark(artifact, load_target("cortex-m4"), [inputs], compiler=compiler)
    logits, reference = runtimes.load(artifact).run(inputs.x)[0], predict(graph, [inputs])
    labels, mask = data.y.numpy(), data.test_mask.numpy()
    accuracy, float_accuracy = ((scores.argmax(1) == labels)[mask].mean() for scores in (logits, reference))
    return Row(
        "cora gcn-16", result,
        f"accuracy {accuracy:.2%} (float {float_accuracy:.2%}), agreement {agreement(reference, logits):.2%}",
    )  # fmt: skip


def table(rows: Sequence[Row]) -> Table:
    """One row per image."""
    made = Table(title="Instruction counts of an emulator; nothing here is a time")
    for column in (
        "model",
        "target",
        "emulator",
        "nodes",
        "edges",
        "flash B",
        "code B",
        "RAM B",
        "stack B",
        "instructions",
        "equal",
    ):
        made.add_column(column, justify="left" if column in ("model", "target", "emulator") else "right")
    for row in rows:
        r = row.result
        made.add_row(
            row.model, r.image.target.name, r.engine, str(r.nodes), str(r.edges), f"{r.image.elf.flash_bytes:,}",
            f"{r.image.elf.code_bytes:,}", f"{r.ram_bytes:,}", f"{r.stack_bytes:,}", f"{r.instructions:,}",
            f"{r.compared - len(r.differences)}/{r.compared}",
        )  # fmt: skip
    return made


@click.command(help=__doc__)
@click.option("--data-root", type=click.Path(path_type=Path), required=True, help="Where PyG keeps PROTEINS and Cora.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("out/mcu"), show_default=True)
@click.option("--target", "targets", multiple=True, type=click.Choice(target_names()), help="Only these. Repeatable.")
@click.option("--compiler", type=click.Choice(("zig", "gcc")), help="By default gcc where it is installed.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--full", is_flag=True, help="Also the whole PROTEINS test split on a Cortex-M4.")
@click.option("--cora", "with_cora", is_flag=True, help="Also GCN-16 on all of Cora on a Cortex-M4.")
def main(
    data_root: Path, output: Path, targets: tuple[str, ...], compiler: CompilerName | None, seed: int, full: bool,
    with_cora: bool,
) -> None:  # fmt: skip
    torch.set_num_threads(1)
    progress = Console(stderr=True)
    parts = split(tu(data_root, "PROTEINS"), seed=seed)
    rows, failures = on_all_targets(parts, output, targets or target_names(), compiler, seed, full, progress.print)
    if with_cora:
        rows.append(cora(data_root, output, compiler, seed, progress.print))
    output.mkdir(parents=True, exist_ok=True)
    (output / "microcontrollers.json").write_text(
        json.dumps({"rows": [row.to_json() for row in rows], "failures": failures}, indent=1)
    )
    Console(width=160).print(table(rows))
    for row in rows:
        if row.note:
            print(f"{row.model}: {row.note}")
    for line in failures:
        print(line)


if __name__ == "__main__":
    main()
