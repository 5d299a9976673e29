"""A graph that never changes, stored in the file: sensors on highways (METR-LA) and a skeleton (NATOPS) in every runtime.

    python -m device_benchmarks.fixed_graph_study --data-root DATA [--clock cpu] [--output out/bench]

trains the float models of the studies metr-la and natops, exports them with the graph inside and with the graph as an input, in
float32, with float16 weights and in static int8, and prints one row for each format and precision: bytes of both files, the
largest difference from PyG over test graphs through the file's own runtime, relative to the largest output, and median
microseconds of both. Files take turns, one thread, feeding from Python included; preparing the graph, which the file with the graph
inside never needs, is left out. Every output is first compared with the reference.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
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
from device_benchmarks.lowering_study import CLOCKS, Contender, checked, eager, measure
from device_benchmarks.parity import ParityCheck
from toolchain.compression import Float16, StaticInt8, quantize
from toolchain.datasets import Split
from toolchain.exporters import export
from toolchain.exporters.fixed_feeds import FixedFeeds
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.passes import deployable
from toolchain.studies.natops import parts_of
from toolchain.studies.temporal_models import gesture_model, traffic_model
from toolchain.temporal_datasets import metr_la, natops, windows

FORMATS = ("onnx", "litert", "torchscript", "executorch", "c")
TEST_GRAPHS = 30  # in the comparison with PyG
INT8_TOLERANCE = 3e-2  # of a float runtime's codes from the interpreter's, as in the tests


@dataclass(frozen=True, slots=True)
class Subject:
    """A trained model and its data."""

    name: str
    model: torch.nn.Module
    parts: Split


def subjects(root: Path, epochs: int | None) -> Iterator[Subject]:
    """The models of seed 0 of both studies, trained as there unless told how long."""
    traffic = windows(metr_la(root), stride=3)
    yield Subject("METR-LA", traffic_model(traffic, epochs or 30, 0), traffic.parts)
    gestures = parts_of(*natops(root), 0)
    yield Subject("NATOPS", gesture_model(gestures.train, gestures.validation, epochs or 60, 0), gestures)


@dataclass(frozen=True, slots=True)
class Pair:
    """One format and precision: the file with the graph inside, and the one that is given it."""

    format: str
    precision: str
    bytes_inside: int
    bytes_given: int
    error: float
    inside: Contender
    given: Contender


def pairs(subject: Subject, folder: Path) -> list[Pair]:
    """Both files of every format and precision, each checked once."""
    graph = deployable(lower(subject.model, subject.parts.train[0], name=subject.name.lower().replace("-", "_")))
    calibration = subject.parts.train[:: max(len(subject.parts.train) // 100, 1)]
    graphs = {
        "float32": graph, "float16": quantize(graph, Float16()),
        "static-int8": quantize(graph, StaticInt8(calibration, mode="sums-int16", min_agreement=0)),
    }  # fmt: skip
    test = list(subject.parts.test[:: max(len(subject.parts.test) // TEST_GRAPHS, 1)][:TEST_GRAPHS])
    check = ParityCheck(subject.model, test)
    made = []
    for precision, variant in graphs.items():
        for format in FORMATS:
            made.append(_pair(variant, format, folder / f"{subject.name}-{format}-{precision}", test[0], check))
    return made


def _pair(graph: Graph, format: str, folder: Path, data: Any, check: ParityCheck) -> Pair:
    inputs = GraphInputs.from_pyg(data)
    known = FixedFeeds.of(graph, inputs)
    assert known is not None, "the graph is given"
    bounds: dict[str, Any] = {"bounds": known.bounds} if format in ("executorch", "c") else {}
    inside = export(graph, format, folder / "inside", fixed_graph=inputs, **(bounds if format == "c" else {}))
    given = export(graph, format, folder / "given", **bounds)
    tolerance = INT8_TOLERANCE if inside.precision == "static-int8" else 1e-4
    entered = []
    for artifact, takes in ((inside, inputs.x), (given, inputs)):
        runtime = runtimes.load(artifact)
        contender = Contender(format, partial(runtime.run_feeds, runtime.prepare(takes)))
        entered.append(checked(contender, graph, inputs, tolerance))
    error = check.report(inside).total.max_relative
    return Pair(format, inside.precision, inside.model_bytes, given.model_bytes, error, *entered)


def table(subject: Subject, found: list[Pair], reference: Contender) -> Table:
    """One row for each format and precision."""
    data = subject.parts.test[0]
    title = f"{subject.name}: {data.num_nodes} nodes, {data.num_edges} edges; PyG {reference.median_us:.0f} µs"
    made = Table(title=title)
    for column in (
        "format",
        "precision",
        "bytes, graph inside",
        "graph given",
        "error",
        "µs, graph inside",
        "graph given",
    ):
        made.add_column(column, justify="left" if column in ("format", "precision") else "right")
    for pair in found:
        medians = (f"{contender.median_us:.0f}" for contender in (pair.inside, pair.given))
        sizes = (f"{size:,}" for size in (pair.bytes_inside, pair.bytes_given))
        made.add_row(pair.format, pair.precision, *sizes, f"{pair.error:.1e}", *medians)
    return made


@click.command(help=__doc__)
@click.option("--data-root", type=click.Path(path_type=Path), required=True, help="Folder of METR-LA-1week and NATOPS.")
@click.option("--epochs", type=click.IntRange(1), help="Of training, instead of those of the studies.")
@click.option("--seconds", default=1.0, show_default=True, help="For each file.")
@click.option("--clock", type=click.Choice(sorted(CLOCKS)), default="wall", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Folder for fixed_graph_study.json with every sample.")
def main(data_root: Path, epochs: int | None, seconds: float, clock: str, output: Path | None) -> None:
    torch.set_num_threads(1)
    kept: list[dict[str, Any]] = []
    for subject in subjects(data_root, epochs):
        with tempfile.TemporaryDirectory(prefix="pocketgnn-fixed-") as folder:
            found = pairs(subject, Path(folder))
            reference = eager(subject.model, GraphInputs.from_pyg(subject.parts.test[0]))
            measure([reference, *(c for pair in found for c in (pair.inside, pair.given))], seconds, CLOCKS[clock])
        Console(width=140).print(table(subject, found, reference))
        kept += [_to_json(subject, pair) for pair in found]
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        content = {"environment": environment(), "clock": clock, "files": kept}
        (output / "fixed_graph_study.json").write_text(json.dumps(content, indent=1, default=str))


def _to_json(subject: Subject, pair: Pair) -> dict[str, Any]:
    return {
        "data": subject.name, "format": pair.format, "precision": pair.precision, "bytes_inside": pair.bytes_inside,
        "bytes_given": pair.bytes_given, "error": pair.error, "us_inside": _microseconds(pair.inside),
        "us_given": _microseconds(pair.given),
    }  # fmt: skip


def _microseconds(contender: Contender) -> list[float]:
    samples: list[float] = np.round(np.array(contender.seconds) * 1e6, 2).tolist()
    return samples


if __name__ == "__main__":
    main()
