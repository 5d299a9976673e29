"""verify, bench: artifacts in, parity and measurements out."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from toolchain.cli import options
from toolchain.cli.console import Console, Progress
from toolchain.cli.emulating import COMPILERS, ENGINES, bench_targets
from toolchain.cli.exporting import to_formats, write
from toolchain.cli.on_device import (
    bench_devices,
    cores_option,
    device_names,
    device_option,
    recipe_option,
    ssh_config_option,
    verify_devices,
)
from toolchain.cli.subjects import subject
from toolchain.recipe import Export

TARGETS_HELP = (
    "ARTIFACTS are folders that export wrote; a model or .pgnn file is exported first, in the formats of --to."
)

artifacts_argument = click.argument("artifacts", nargs=-1, required=True)
model_option = click.option(
    "--model", "model_file", metavar="MODEL", help="The PyG model and its graphs; not needed where an argument is one."
)


@click.command(epilog=TARGETS_HELP)
@artifacts_argument
@model_option
@to_formats
@click.option("--graph", "graph_files", multiple=True, metavar="PGNN", type=click.Path(path_type=Path),
              help="A Graph on the way to the artifact, in order; tells quantization and backend error apart.")  # fmt: skip
@click.option("--min-agreement", type=options.Percentage(), help="Gate: share of equal classes, 0.98 or 98%.")
@click.option("--max-accuracy-drop", type=options.Percentage(), help="Gate: accuracy lost against the PyG model.")
@click.option("--max-abs", type=float, help="Gate: largest difference of an output.")
@click.option("--part", type=click.Choice(["train", "validation", "test"]), default="test", show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=1, show_default=True, help="Graphs fed side by side.")
@device_option
@ssh_config_option
@recipe_option
@options.threads
@options.checkpoint
@options.name
@options.seed
@options.common
def verify(
    console: Console, artifacts: tuple[str, ...], model_file: str | None, formats: tuple[str, ...],
    graph_files: tuple[Path, ...], min_agreement: float | None, max_accuracy_drop: float | None, max_abs: float | None,
    part: str, batch_size: int, devices: tuple[str, ...], ssh_config: Path | None, recipe_file: Path | None, threads: int,
    checkpoint: Path | None, name: str, seed: int,
) -> None:  # fmt: skip
    """Compare artifacts with the PyG model, each through its own runtime, on the test graphs.

    Lowering, quantization and backend error are told apart where --graph gives the Graphs on the way. A gate that is not
    met ends with status 3.

    With -d, artifacts run on devices and every output is compared with the host's: the same bits of C, 1e-5 of the largest
    value of other formats.

    \b
    pocketgnn verify out/model-onnx-float32 --model model.py --max-abs 1e-4
    pocketgnn verify out/model-onnx-static-int8 --model model.py --graph int8.pgnn --min-agreement 98%
    pocketgnn verify out/model-c-static-int8 -d ssh:pi4 --model model.py
    """
    if devices:
        if graph_files or batch_size != 1 or (min_agreement, max_accuracy_drop, max_abs) != (None, None, None):
            raise click.UsageError(
                "--graph, --batch-size and gates compare with the PyG model; -d compares a device with the host."
            )
        names = device_names(ssh_config, recipe_file)
        verify_devices(console, artifacts, model_file, devices, part, seed, names)
        return
    from device_benchmarks.parity import Gates, ParityCheck
    from toolchain.errors import GateFailed
    from toolchain.graph_file import load_graph

    gates = Gates(min_agreement, max_accuracy_drop, max_abs)
    with (
        console.progress() as progress,
        _opened(artifacts, model_file, formats, checkpoint, name, seed, progress) as found,
    ):
        reference, folders = found
        saved = [load_graph(file) for file in graph_files]
        history = [("lowering", reference.graph(name, progress).graph), *((s.steps[-1], s.graph) for s in saved)]
        check = ParityCheck(reference.model, list(getattr(reference.parts, part)), batch_size, progress=progress)
        reports = [check.report(folder, _history_of(folder, history), threads=threads) for folder in folders]
    failed = [f"{report.artifact}: {line}" for report in reports for line in report.failures(gates)]
    console.result({"parity": [r.to_json() for r in reports], "failed": failed}, _parity_table(reports))
    if failed:
        raise GateFailed(f"{'; '.join(failed)}.")


@click.command(epilog=TARGETS_HELP)
@artifacts_argument
@model_option
@to_formats
@click.option("--quick", is_flag=True, help="64 samples and 2 s instead of 1024 and 10 s, per artifact and scope.")
@click.option("--rivals/--no-rivals", default=True, show_default=True, help="Also PyG eager and torch.onnx.export.")
@click.option("--graph-index", type=click.IntRange(0), help="Test graph to run; by default the one of median size.")
@click.option("--target", "targets", multiple=True, metavar="TARGET",
              help="An emulated microcontroller for C artifacts: cortex-m4, ..., or a .toml file. Repeatable.")  # fmt: skip
@click.option("--engine", type=click.Choice(ENGINES), default="auto", show_default=True, help="Emulator of --target.")
@click.option(
    "--compiler", type=click.Choice(COMPILERS), default="auto", show_default=True, help="Of --target's firmware."
)
@device_option
@cores_option
@ssh_config_option
@recipe_option
@options.output_folder("out/bench")
@options.threads
@options.checkpoint
@options.name
@options.seed
@options.overwrite
@options.common
def bench(
    console: Console, artifacts: tuple[str, ...], model_file: str | None, formats: tuple[str, ...], quick: bool, rivals: bool,
    graph_index: int | None, targets: tuple[str, ...], engine: str, compiler: str, devices: tuple[str, ...], cores: str,
    ssh_config: Path | None, recipe_file: Path | None, output: Path, threads: int, checkpoint: Path | None, name: str, seed: int,
    overwrite: bool,
) -> None:  # fmt: skip
    """Measure artifacts: size, load time, memory, latency; beside them what you have today.

    Each runs in a process of its own and they take turns. Writes report.html, report.json, results.csv and samples.npz.

    With --target, C artifacts are built into firmware and executed by an emulator on the test graphs: every output is compared
    with the host's, flash, RAM and instructions are counted, and a difference or an image that does not fit is an error.

    With -d, artifacts are timed on devices, of which nothing is left there; one JSON file for each, which compare reads.

    \b
    pocketgnn bench out/model-onnx-float32 out/model-onnx-static-int8 --model model.py
    pocketgnn bench model.py --to onnx --to torchscript --quick
    pocketgnn bench out/model-c-static-int8 --target cortex-m4 --model model.py
    pocketgnn bench out/model-c-static-int8 -d ssh:pi4 -d adb --model model.py
    """
    emulators = [device.removeprefix("emulator:") for device in devices if device.startswith("emulator:")]
    if emulators and len(emulators) < len(devices):
        raise click.UsageError("-d emulator:TARGET counts instructions and other devices measure time; run them apart.")
    if devices and not emulators:
        names = device_names(ssh_config, recipe_file)
        bench_devices(
            console, artifacts, model_file, devices, quick, graph_index, cores, output, seed, overwrite, names
        )
        return
    targets = (*targets, *emulators)
    if targets:
        bench_targets(console, artifacts, model_file, targets, engine, compiler, graph_index, seed)
        return
    if engine != "auto" or compiler != "auto":
        raise click.UsageError("--engine and --compiler belong to --target.")
    from device_benchmarks import checks, terminal
    from device_benchmarks.benchmark import Candidate, benchmark
    from device_benchmarks.protocol import DEFAULT, QUICK
    from device_benchmarks.report import Report, refuse_existing
    from toolchain.artifact import Artifact
    from toolchain.inputs import GraphInputs

    refuse_existing(output, overwrite)
    with (
        console.progress() as progress,
        tempfile.TemporaryDirectory(prefix="pocketgnn-rivals-") as scratch,
        _opened(artifacts, model_file, formats, checkpoint, name, seed, progress) as (reference, folders),
    ):
        graphs = reference.parts.test
        if graph_index is not None and graph_index >= len(graphs):
            raise click.UsageError(f"--graph-index {graph_index}: there are {len(graphs)} test graphs.")
        data = checks.median_graph(graphs) if graph_index is None else graphs[graph_index]
        candidates = [Candidate.of_artifact(Artifact.load(folder), name) for folder in folders]
        if rivals:
            progress("exporting the rivals")
            candidates = [*checks.rivals(reference.source, reference.model, data, Path(scratch), name), *candidates]
        protocol = QUICK if quick else DEFAULT
        found = benchmark(candidates, GraphInputs.from_pyg(data), protocol=protocol, threads=threads, progress=progress)
    report = Report(f"{name}: benchmark", (found,), command=command_line(), seed=seed)
    page = report.write(output, overwrite=overwrite)
    failures = terminal.failures(report.rows)
    console.result(report.to_json(), terminal.table(report.rows), *failures, str(page))


def command_line() -> str:
    """The command as typed, for the report."""
    return " ".join(["pocketgnn", *sys.argv[1:]])


@contextmanager
def _opened(
    arguments: Sequence[str], model_file: str | None, formats: Sequence[str], checkpoint: Path | None, name: str, seed: int,
    progress: Progress,
) -> Iterator[tuple[Any, list[Path]]]:  # fmt: skip
    """The reference model and the artifact folders, those of models and .pgnn files in a folder that goes away."""
    from toolchain.errors import RecipeError

    files = [a for a in arguments if not Path(a).is_dir()]
    models = [a for a in files if not a.endswith(".pgnn")]
    missing = [a for a in models if a.endswith(("/", "\\")) or (not a.endswith(".py") and "/" in a)]
    if missing:
        raise RecipeError(f"{missing[0]}: no such folder. Pass what export wrote, or a model file.")
    target = model_file or (models[0] if models else None)
    if target is None:
        raise click.UsageError(
            "the PyG model is missing; pass --model MODEL, the file with get_model() and get_graphs()."
        )
    reference = subject(target, checkpoint=checkpoint, seed=seed)
    folders = [Path(a) for a in arguments if Path(a).is_dir()]
    with tempfile.TemporaryDirectory(prefix="pocketgnn-artifacts-") as scratch:
        for number, file in enumerate(files):
            opened = (
                reference
                if file == target
                else subject(file, graphs=target if file.endswith(".pgnn") else None, seed=seed)
            )
            graph = opened.graph(name, progress).graph
            for format in formats:
                progress(f"exporting {format}")
                place = Path(scratch) / str(number)
                folders.append(write(opened, graph, format, place, name, Export(), {}, seed, False, progress).path)
        yield reference, folders


def _history_of(folder: Path, history: Sequence[tuple[str, Any]]) -> Sequence[tuple[str, Any]]:
    """The Graphs up to the one that the artifact was exported from; none where that is not among them.

    Raises:
        RecipeError: Graph files were given, and the artifact was exported from none of them.
    """
    from toolchain.artifact import Artifact
    from toolchain.errors import RecipeError
    from toolchain.exporters.exporting import graph_sha256
    from toolchain.passes import deployable
    from toolchain.passes.propagate_ordering import with_features_transformed_first

    provenance = Artifact.load(folder).provenance
    exported, is_sparse = provenance.get("graph_sha256"), bool(provenance.get("sparse_features"))
    for position, (_, graph) in enumerate(history):
        ready = deployable(with_features_transformed_first(graph) if is_sparse else graph)
        if graph_sha256(ready) == exported:
            return history[: position + 1]
    if len(history) > 1:
        raise RecipeError(
            f"{folder}: was exported from none of the Graphs given. Pass the .pgnn file it was exported from."
        )
    return ()


def _parity_table(reports: Sequence[Any]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from device_benchmarks.units import format_error, format_share

    table = Table(box=SIMPLE_HEAD)
    for number, column in enumerate(
        ("artifact", "step", "largest error", "relative", "agreement", "accuracy", "worst graph")
    ):
        table.add_column(column, justify="left" if number < 2 else "right", no_wrap=True)
    for report in reports:
        for position, stage in enumerate(report.stages):
            table.add_row(
                report.artifact if position == 0 else "", stage.stage, format_error(stage.max_abs),
                format_error(stage.max_relative), format_share(stage.agreement),
                f"{format_share(stage.accuracy_before)} → {format_share(stage.accuracy_after)}", str(stage.worst),
            )  # fmt: skip
        table.add_section()
    return table
