"""Which aggregation lowering is fastest at which graph size, in onnxruntime and LiteRT, beside PyG and torch.onnx.export's files.

    python -m device_benchmarks.lowering_study [--nodes 39 --nodes 128 ...] [--threads 1] [--clock cpu] [--model gcn]
                                               [--int8] [--data-root DATA] [--output out/bench]

prints one row for each model, thread count and size: the median microseconds of every candidate, feeding from Python
included, how many times faster "auto" is than the faster rival, and LiteRT's "scatter" than PyG eager. --int8 adds LiteRT with
dynamic and static int8, the latter calibrated on the measured graphs. The candidates take turns in rounds of a few runs, so that
a busy moment of the machine meets all of them; on a machine that other programs use, `--clock cpu` counts the time of this
process alone, which one thread makes a latency. Graphs are those of PROTEINS that come nearest to the sizes asked for where
--data-root is given; otherwise random, sparse and local, as proteins are: 3.7 edges a node, no edge longer than 5. Weights are
random; every output is first compared with the reference. --output keeps every sample, in lowering_study.json.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import runtimes
from device_benchmarks.environment import environment
from device_benchmarks.rivals import EXPORTERS, RivalFailure, RivalFile, export_rival
from device_benchmarks.subjects import as_data
from runtimes.onnxruntime import open_session
from toolchain.artifact import Artifact
from toolchain.compression import DynamicInt8, StaticInt8, quantize
from toolchain.datasets import tu
from toolchain.errors import MeasurementError
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.exporters.onnx import emit
from toolchain.feeds import build_feeds
from toolchain.frontend import lower
from toolchain.frontend.arguments import call_arguments
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.models import GCN, GIN
from toolchain.passes import deployable

NODES = (16, 39, 64, 96, 128, 192, 310, 620)
EDGES_PER_NODE = 3.74
REACH = 5
FEATURES = 4
LOWERINGS = ("dense", "scatter", "auto")
EAGER = "PyG eager"
NATIVE = ("c", "c int8")  # built for this machine
LITERT = ("litert dense", "litert scatter")
LITERT_INT8 = ("litert dynamic int8", "litert static int8")
RUNS_PER_TURN = 10
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
MODELS: dict[str, Callable[[], torch.nn.Module]] = {
    "gcn": lambda: GCN(FEATURES, 2, hidden=64, layers=3),
    "gin": lambda: GIN(FEATURES, 2, hidden=64, layers=5),
}


@dataclass(slots=True)
class Contender:
    """One file on one graph: how to run it, and how long every run took."""

    name: str
    run: Callable[[], Sequence[Any]]
    seconds: list[float] = field(default_factory=list)

    @property
    def median_us(self) -> float:
        return float(np.median(self.seconds) * 1e6)


def protein_like(nodes: int, seed: int = 0) -> GraphInputs:
    """A connected path with random chords of at most `REACH`, every edge in both directions."""
    rng = np.random.default_rng(seed)
    pairs = {(i, i + 1) for i in range(nodes - 1)}
    wanted = min(int(EDGES_PER_NODE * nodes / 2), sum(min(REACH, nodes - 1 - i) for i in range(nodes)))
    while len(pairs) < wanted:
        start, length = int(rng.integers(nodes)), int(rng.integers(2, REACH + 1))
        if start + length < nodes:
            pairs.add((start, start + length))
    ends = np.array(sorted(pairs)).reshape(-1, 2).T
    return GraphInputs(rng.normal(size=(nodes, FEATURES)), np.concatenate([ends, ends[::-1]], axis=1))


def protein_near(root: Path, nodes: int) -> GraphInputs:
    """The PROTEINS graph whose number of nodes is nearest; of equals the one of median degree."""
    graphs = tu(root, "PROTEINS")
    distance = min(abs(g.num_nodes - nodes) for g in graphs)
    nearest = sorted((g for g in graphs if abs(g.num_nodes - nodes) == distance), key=lambda g: g.num_edges)
    return GraphInputs.from_pyg(nearest[len(nearest) // 2])


def contenders(
    model: torch.nn.Module,
    graph: Graph,
    rivals: Mapping[str, RivalFile | RivalFailure],
    litert: Mapping[str, tuple[Graph, Artifact]],
    inputs: GraphInputs,
    threads: int,
) -> list[Contender]:
    """PyG, every lowering and every rival that exported, each checked once against the reference."""
    torch.set_num_threads(threads)
    made = [eager(model, inputs)]
    for lowering in LOWERINGS:
        emission = emit(graph, lowering=lowering)
        feeds = build_feeds(emission.inputs, inputs.prepare(graph.topologies))
        made.append(_contender(lowering, open_session(emission.model, threads), feeds))
    for exporter, rival in rivals.items():
        if isinstance(rival, RivalFile):
            made.append(_contender(exporter, rival.session(threads), rival.feeds(inputs)))
    for contender in made:
        checked(contender, graph, inputs)
    for name, (meant, artifact) in litert.items():
        runtime = runtimes.load(artifact, threads=threads)
        contender = Contender(name, partial(runtime.run_feeds, runtime.prepare(inputs)))
        made.append(checked(contender, meant, inputs, 0.05 if name in LITERT_INT8 else 1e-4))
    return made


def checked(contender: Contender, graph: Graph, inputs: GraphInputs, tolerance: float = 1e-4) -> Contender:
    """The contender, whose output is what the graph means.

    Raises:
        MeasurementError: it is not.
    """
    expected = interpret(graph, inputs)[0]
    error = np.abs(np.asarray(contender.run()[0]) - expected).max() / np.abs(expected).max()
    if not error <= tolerance:
        raise MeasurementError(f"{contender.name}: its output is off by {error:.1e}; a wrong file is not measured.")
    return contender


def litert_files(
    graph: Graph, graphs: Sequence[GraphInputs], folder: Path, int8: bool
) -> dict[str, tuple[Graph, Artifact]]:
    """Artifacts for LiteRT by the name of their column, each with the Graph that it holds."""
    made = {}
    for name in LITERT:
        made[name] = graph, export(graph, "litert", folder / name, lowering=name.removeprefix("litert "))
    if not int8:
        return made
    static = quantize(graph, StaticInt8(list(graphs), "int8", min_agreement=0.0))
    for name, quantized in zip(LITERT_INT8, (quantize(graph, DynamicInt8()), static), strict=True):
        made[name] = quantized, export(quantized, "litert", folder / name)
    return made


def eager(model: torch.nn.Module, inputs: GraphInputs) -> Contender:
    """PyG itself."""
    arguments = call_arguments(model, as_data(inputs))

    def run() -> tuple[torch.Tensor]:
        with torch.inference_mode():
            return (model(**arguments),)

    return Contender(EAGER, run)


def _contender(name: str, session: Any, feeds: Mapping[str, np.ndarray]) -> Contender:
    outputs = [output.name for output in session.get_outputs()]
    return Contender(name, lambda: session.run(outputs, feeds))


def c_contenders(graphs: Mapping[str, Graph], inputs: GraphInputs, folder: Path) -> list[Contender]:
    """The C of each graph, checked against what the graph means."""
    made = []
    for name, graph in graphs.items():
        topologies = inputs.prepare(graph.topologies).topologies
        degree = max(int(t.in_degree.max()) for t in topologies)
        bounds = Bounds(inputs.num_nodes, max(t.num_edges for t in topologies), 1, degree)
        runtime = runtimes.load(
            export(graph, "c", folder / f"{name} {inputs.num_nodes}", overwrite=True, bounds=bounds)
        )
        contender = Contender(name, partial(runtime.run_feeds, runtime.prepare(inputs)))
        made.append(checked(contender, graph, inputs))
    return made


def measure(contenders: list[Contender], seconds: float, clock: Callable[[], float]) -> None:
    """Let the contenders take turns for about this long each; the first run of a turn only warms the caches."""
    stop = time.perf_counter() + seconds * len(contenders)
    while time.perf_counter() < stop:
        for contender in contenders:
            contender.run()
            for _ in range(RUNS_PER_TURN):
                start = clock()
                contender.run()
                contender.seconds.append(clock() - start)


@click.command()
@click.option("--nodes", type=int, multiple=True, default=NODES, show_default=True)
@click.option("--threads", type=int, multiple=True, default=(1, 2), show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="For each candidate at each size.")
@click.option("--clock", type=click.Choice(sorted(CLOCKS)), default="wall", show_default=True)
@click.option("--int8/--no-int8", default=False, show_default=True, help="LiteRT's integer files too.")
@click.option("--native", is_flag=True, help="C too, in float and with 8 bits, built for this machine.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Where PyG keeps PROTEINS; random graphs without.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for lowering_study.json with every sample.")
@click.option("--model", "names", type=click.Choice(sorted(MODELS)), multiple=True, default=tuple(MODELS))
def main(
    nodes: tuple[int, ...],
    threads: tuple[int, ...],
    seconds: float,
    clock: str,
    names: tuple[str, ...],
    int8: bool,
    native: bool,
    data_root: Path | None,
    output: Path | None,
) -> None:
    """Measure the aggregation lowerings of the ONNX and LiteRT exporters."""
    torch.manual_seed(0)
    graphs = {n: protein_like(n) if data_root is None else protein_near(data_root, n) for n in nodes}
    samples: list[dict[str, Any]] = []
    candidates = (EAGER, *EXPORTERS, *LOWERINGS, *LITERT, *(LITERT_INT8 if int8 else ()), *(NATIVE if native else ()))
    columns = ("model", "threads", "nodes", "edges", *candidates, "auto / rival", "litert / eager")
    table = Table(*columns, title=f"median microseconds, {clock} time", box=None)
    for name in names:
        model = MODELS[name]().eval()
        example = as_data(protein_like(39))
        graph = deployable(lower(model, example, name=name))
        with tempfile.TemporaryDirectory() as folder:
            rivals = {e: export_rival(model, example, exporter=e, path=Path(folder) / f"{e}.onnx") for e in EXPORTERS}
            litert = litert_files(graph, list(graphs.values()), Path(folder), int8)
            native_graphs: dict[str, Graph] = {}
            if native:
                calibration = [as_data(inputs) for inputs in graphs.values()]
                quantized = quantize(lower(model, example, name=name), StaticInt8(calibration, min_agreement=0.0))
                native_graphs = dict(zip(NATIVE, (graph, quantized), strict=True))
            for count in threads:
                for inputs in graphs.values():
                    entered = contenders(model, graph, rivals, litert, inputs, count)
                    entered += c_contenders(native_graphs, inputs, Path(folder))
                    measure(entered, seconds, CLOCKS[clock])
                    sizes = {"nodes": inputs.num_nodes, "edges": inputs.num_edges}
                    table.add_row(name, str(count), *map(str, sizes.values()), *_cells(entered, candidates))
                    microseconds = {c.name: [round(s * 1e6, 2) for s in c.seconds] for c in entered}
                    samples.append({"model": name, "threads": count, **sizes, "clock": clock, "us": microseconds})
        for rival in rivals.values():
            if isinstance(rival, RivalFailure):
                print(f"{name}: torch.onnx.export ({rival.exporter}) failed: {rival.error}")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        record = {"environment": environment(), "samples": samples}
        (output / "lowering_study.json").write_text(json.dumps(record))
    Console(width=180).print(table)


def _cells(entered: list[Contender], candidates: Sequence[str]) -> list[str]:
    medians = {contender.name: contender.median_us for contender in entered}
    rival = min((medians[e] for e in EXPORTERS if e in medians), default=float("nan"))
    cells = [f"{medians[name]:.0f}" if name in medians else "-" for name in candidates]
    return [*cells, f"{rival / medians['auto']:.1f}x", f"{medians[EAGER] / medians['litert scatter']:.1f}x"]


if __name__ == "__main__":
    main()
