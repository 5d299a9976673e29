"""Which convolutions of PyTorch Geometric lower, and run in which format with which error: the support table, by running it.

    python -m device_benchmarks.layer_support                      # every layer through every format, in float32
    python -m device_benchmarks.layer_support --layer GENConv      # one of them
    python -m device_benchmarks.layer_support --write LAYERS.md    # and the table of the documentation

Each layer of `layer_zoo` gets random weights, is lowered with one graph and run on three others: with isolated nodes, with a
single node and edge, and with 150 nodes. The error is the largest difference from PyTorch Geometric, relative to the largest
output or 1. A class counts as supported in a format where its plain configuration is within 1e-4 on all of them.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

import runtimes
from device_benchmarks.layer_zoo import (
    CASES,
    LayerCase,
    conv_classes,
    example,
    graphs,
    homogeneous_classes,
    restricted,
    why_not_counted,
)
from toolchain.compression import DynamicInt8, Float16, StaticInt8, quantize
from toolchain.errors import PocketGnnError
from toolchain.exporters import PLANS_MEMORY, export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower, run_model
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.passes import deployable
from toolchain.recipe import Precision

FORMATS = ("onnx", "litert", "executorch", "c")
TOLERANCE = 1e-4
BOUNDS = Bounds(nodes=160, edges=800, graphs=1, degree=64)
WANTED = {"onnx": 0.85, "litert": 0.75, "executorch": 0.75, "c": 0.75}  # shares of the homogeneous classes


@dataclass(frozen=True, slots=True)
class Support:
    """One layer in one format: its largest error, or why there is none."""

    layer: str
    variant: str
    format: str
    error: float | None
    cause: str

    @property
    def key(self) -> tuple[str, str, str]:
        return self.layer, self.variant, self.format

    @property
    def is_supported(self) -> bool:
        return self.error is not None and self.error <= TOLERANCE


def check(case: LayerCase, formats: Sequence[str], precision: Precision = "float32") -> list[Support]:
    """Lower one layer and run it in each format.

    A quantized file is compared with the quantized Graph, since what quantization costs is not the format's doing.
    """

    def found(format: str, error: float | None = None, cause: str = "") -> Support:
        return Support(case.layer, case.variant, format, error, cause)

    try:
        model = case.model()
    except ImportError as error:
        return [found(format, cause=f"PyTorch Geometric cannot build it here: {error}") for format in formats]
    inputs = {name: GraphInputs.from_pyg(restricted(graph, case.fields)) for name, graph in graphs().items()}
    try:
        graph = _graph(model, case, precision)
        expected = {name: _expected(model, case, graph, inputs[name], name) for name in inputs}
    except PocketGnnError as error:
        return [found(format, cause=str(error)) for format in formats]
    rows = []
    for format in formats:
        try:
            rows.append(found(format, _largest_error(graph, format, inputs, expected)))
        except PocketGnnError as error:
            rows.append(found(format, cause=str(error)))
    return rows


def _graph(model: torch.nn.Module, case: LayerCase, precision: Precision) -> Graph:
    graph = lower(model, restricted(example(), case.fields), name="layer")
    if precision == "float16":
        return quantize(graph, Float16())
    if precision == "dynamic-int8":
        return quantize(graph, DynamicInt8())
    if precision == "static-int8":
        calibration = [GraphInputs.from_pyg(restricted(g, case.fields)) for g in (*graphs().values(), example())]
        return quantize(graph, StaticInt8(calibration, min_agreement=0.01))
    return deployable(graph)


def _expected(
    model: torch.nn.Module, case: LayerCase, graph: Graph, inputs: GraphInputs, name: str
) -> tuple[np.ndarray, ...]:
    if graph.has_halves or any(value.type.dtype.is_integer for value in graph.values):
        return interpret(graph, inputs)
    return run_model(model, restricted(graphs()[name], case.fields))


def _largest_error(
    graph: Graph, format: str, inputs: dict[str, GraphInputs], expected: dict[str, tuple[np.ndarray, ...]]
) -> float:
    options: dict[str, Any] = {"bounds": BOUNDS} if format in PLANS_MEMORY else {}
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        runtime = runtimes.load(export(graph, format, Path(folder) / "layer", **options))
        for name, given in inputs.items():
            for ours, theirs in zip(runtime.run(given), expected[name], strict=True):
                difference = float(np.abs(ours - theirs.reshape(ours.shape)).max(initial=0))
                worst = max(worst, difference / max(1.0, float(np.abs(theirs).max(initial=0))))
    return worst


def shares(rows: Sequence[Support], formats: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Format → how many of the homogeneous classes are supported, and how many there are."""
    classes = homogeneous_classes()
    good = {(row.layer, row.format) for row in rows if not row.variant and row.is_supported}
    return {format: (sum((name, format) in good for name in classes), len(classes)) for format in formats}


# --- showing ----------------------------------------------------------------------------------------------------------


def _terminal_table(rows: Sequence[Support], formats: Sequence[str]) -> Table:
    table = Table("layer", *formats, "cause")
    for (layer, variant), group in _by_case(rows).items():
        shown = [f"{row.error:.0e}" if row.error is not None else "-" for row in group]
        causes = list(dict.fromkeys(row.cause for row in group if row.cause))
        table.add_row(f"{layer} ({variant})" if variant else layer, *shown, " | ".join(causes))
    return table


def _read(path: Path) -> list[Support]:
    """The rows that an earlier run wrote."""
    try:
        return [Support(**row) for row in json.loads(path.read_text())]
    except (ValueError, TypeError) as error:
        raise click.UsageError(f"{path}: not written by --json of this command ({error}).") from error


def _by_case(rows: Sequence[Support]) -> dict[tuple[str, str], list[Support]]:
    grouped: dict[tuple[str, str], list[Support]] = {}
    for row in rows:
        grouped.setdefault((row.layer, row.variant), []).append(row)
    return grouped


def markdown_row(group: Sequence[Support]) -> str:
    """One line of the table: yes for what is within the tolerance; the cause of what is not."""
    first = group[0]
    name = f"`{first.layer}`" + (f", {first.variant}" if first.variant else "")
    cells = ["yes" if row.is_supported else "no" for row in group]
    causes = dict.fromkeys(_short(row.cause) or f"error {row.error:.0e}" for row in group if not row.is_supported)
    return f"| {name} | {' | '.join(cells)} | {' '.join(causes)} |"


def _short(cause: str) -> str:
    """A cause without the places in the file that builds the layers, and without lists of what is supported."""
    text = cause.split("cannot lower ", 1)[-1].split("; supported functions:", 1)[0].split(" (called at ", 1)[0]
    return text.replace("|", "\\|").replace("\n", " ")


def markdown(rows: Sequence[Support], formats: Sequence[str]) -> str:
    """The support table as a file of the documentation."""
    count = shares(rows, formats)
    summary = ", ".join(f"{format} {good} of {total} ({good / total:.0%})" for format, (good, total) in count.items())
    others = [f"- `{name}`: {reason}." for name in conv_classes() if (reason := why_not_counted(name)) is not None]
    lines = [
        "# Convolutions of PyTorch Geometric", "",
        "Made by `python -m device_benchmarks.layer_support --write LAYERS.md`: each layer with random weights, on a graph with "
        "isolated nodes, one of a single node and edge, and one of 150 nodes; yes: float32 within 1e-4 of PyTorch Geometric in "
        "the format's own runtime.", "",
        f"Homogeneous classes: {summary}.", "",
        f"| layer | {' | '.join(formats)} | otherwise |", f"|---|{'---|' * len(formats)}---|",
        *(markdown_row(group) for group in _by_case(rows).values()), "",
        "Not counted:", "", *others, "",
    ]  # fmt: skip
    return "\n".join(lines)


@click.command()
@click.option("--layer", "layers", multiple=True, help="A class name; may be given several times. All by default.")
@click.option("--format", "formats", multiple=True, type=click.Choice(FORMATS), help="All by default.")
@click.option("--precision", type=click.Choice(get_args(Precision)), default="float32", show_default=True)
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Write the table as markdown.")
@click.option(
    "--with",
    "earlier",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Rows of an earlier run (its --json) that this run does not measure again; the last file counts.",
)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write every row as JSON.")
def main(
    layers: tuple[str, ...],
    formats: tuple[str, ...],
    precision: Precision,
    write: Path | None,
    earlier: tuple[Path, ...],
    json_path: Path | None,
) -> None:
    """Print which convolutions run in which format. Exit status 3: fewer than wanted do."""
    unknown = set(layers) - {case.layer for case in CASES}
    if unknown:
        raise click.UsageError(f"no layer is called {', '.join(sorted(unknown))}.")
    chosen = [case for case in CASES if not layers or case.layer in layers]
    known = {row.key: row for path in earlier for row in _read(path)}
    wanted, progress = formats or FORMATS, Console(stderr=True)
    rows: list[Support] = []
    for number, case in enumerate(chosen, 1):
        missing = [format for format in wanted if (case.layer, case.variant, format) not in known]
        if missing:
            progress.print(f"[{number}/{len(chosen)}] {case.name}", highlight=False)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch.export and of PyG, about what they will change
                known |= {row.key: row for row in check(case, missing, precision)}
        rows += [known[case.layer, case.variant, format] for format in wanted]
    console = Console()
    console.print(_terminal_table(rows, wanted))
    if json_path is not None:
        json_path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n")
    if layers:
        return
    if write is not None:
        write.write_text(markdown(rows, wanted))
    count = shares(rows, wanted)
    for format, (good, total) in count.items():
        console.print(
            f"{format}: {good} of {total} homogeneous classes, {good / total:.1%} (wanted {WANTED[format]:.0%})"
        )
    if any(good < WANTED[format] * total for format, (good, total) in count.items()):
        raise SystemExit(3)


if __name__ == "__main__":
    main()
