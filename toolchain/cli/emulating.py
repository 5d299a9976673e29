"""bench --target: C artifacts on microcontrollers that are not there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolchain.cli.console import Console, Progress

if TYPE_CHECKING:
    from device_benchmarks.emulated_benchmark import EmulatedBenchmark

ENGINES = ("auto", "unicorn", "qemu")
COMPILERS = ("auto", "zig", "gcc")
MOST_FUNCTIONS = 8


def bench_targets(
    console: Console, artifacts: Sequence[str], model_file: str | None, targets: Sequence[str], engine: str, compiler: str,
    graph_index: int | None, seed: int,
) -> None:  # fmt: skip
    """Run artifacts on targets, print what was found, and fail where an output differs or an image does not fit.

    Raises:
        MeasurementError: an output differs, after everything was printed; DoesNotFit and others where nothing could be run.
    """
    from device_benchmarks.emulated_benchmark import emulated_benchmark
    from device_benchmarks.target import load_target
    from toolchain.artifact import Artifact
    from toolchain.errors import MeasurementError, PocketGnnError

    found: list[EmulatedBenchmark] = []
    failures: dict[str, PocketGnnError] = {}
    loaded_targets = [load_target(name) for name in targets]
    loaded = [Artifact.load(_folder(argument)) for argument in artifacts]
    with console.progress() as progress:
        for artifact in loaded:
            graphs, counted, note = _graphs(artifact, model_file, graph_index, seed, progress)
            for target in loaded_targets:
                try:
                    result = emulated_benchmark(
                        artifact, target, graphs, counted=counted, engine=None if engine == "auto" else engine,  # type: ignore[arg-type]  # click checked the choice
                        compiler=None if compiler == "auto" else compiler, progress=progress,  # type: ignore[arg-type]  # likewise
                    )  # fmt: skip
                except PocketGnnError as error:
                    failures[f"{artifact.path.name} on {target.name}"] = error
                else:
                    found.append(result)
    texts = [_text(result, note) for result in found]
    words = {name: f"{error}" for name, error in failures.items()}
    data = {"targets": [result.to_json() for result in found], "failures": words, "graphs": note}
    if not failures or found:
        console.result(data, *texts, *(f"{name}: {line}" for name, line in words.items() if found))
    if failures:
        raise next(iter(failures.values()))
    differing = [result for result in found if result.differences]
    if differing:
        first = differing[0]
        position, line = next(iter(first.differences.items()))
        raise MeasurementError(
            f"{first.artifact.path.name} on {first.image.target.name}: {len(first.differences)} of {first.compared} graphs are not "
            f"as on the host; graph {position}: {line}."
        )


def _folder(argument: str) -> Path:
    if not Path(argument).is_dir():
        raise click.UsageError(
            f"{argument}: is no folder. With --target, ARTIFACTS are folders that export --to c wrote."
        )
    return Path(argument)


def _graphs(
    artifact: Any, model_file: str | None, graph_index: int | None, seed: int, progress: Progress
) -> tuple[list[Any], int, str]:
    """The graphs to run, the position of the one to count, and where they are from."""
    from device_benchmarks.made_up_graph import made_up_graph
    from toolchain.inputs import GraphInputs

    if model_file is None:
        return (
            [made_up_graph(artifact, seed)],
            0,
            "a made-up graph of the largest size; pass --model MODEL for real ones",
        )
    from device_benchmarks.checks import median_graph
    from toolchain.model_source import ModelSource, parts_of

    progress("loading graphs")
    data = list(parts_of(ModelSource(model_file).graphs(), seed).test)
    if graph_index is not None and graph_index >= len(data):
        raise click.UsageError(f"--graph-index {graph_index}: there are {len(data)} test graphs.")
    median = median_graph(data)
    counted = graph_index if graph_index is not None else next(i for i, graph in enumerate(data) if graph is median)
    graphs = [GraphInputs.from_pyg(graph) for graph in data]
    if artifact.provenance.get("sparse_features"):
        graphs, counted = [graphs[counted]], 0
    return graphs, counted, f"test graphs of {model_file}, number {counted} counted"


def _text(result: EmulatedBenchmark, note: str) -> str:
    """A result for people."""
    target, elf = result.image.target, result.image.elf
    counts = (result.prepare + result.run).by_function
    equal = result.compared - len(result.differences)
    lines = [
        f"{result.artifact.path.name} on {target.name} ({target.cpu} in {result.engine}, built by {result.image.compiler})",
        f"  flash         {elf.flash_bytes:>11,} B of {target.flash_bytes:,} B: code {elf.code_bytes:,} B, "
        f"constants {elf.flash_bytes - elf.code_bytes:,} B",
        f"  RAM           {result.ram_bytes:>11,} B of {target.ram_bytes:,} B: data {elf.ram_bytes:,} B, "
        f"stack {result.stack_bytes:,} B at most",
        f"  outputs       {equal:>11,} of {result.compared:,} graphs equal to the host's, bit for bit"
        + (f" ({result.refused} refused by both)" if result.refused else ""),
        f"  instructions  {result.instructions:>11,} per inference: prepare {result.prepare.total:,}, run {result.run.total:,} "
        f"({result.nodes} nodes, {result.edges} edges)",
        f"  time          {result.estimated_us / 1e3:>11,.3g} ms ({result.estimate_note}; not measured)",
        *(
            f"    {count:>13,}  {count / result.instructions:6.1%}  {name}"
            for name, count in list(counts.items())[:MOST_FUNCTIONS]
        ),
        "  largest constants: " + ", ".join(f"{s.name} {s.size:,} B" for s in elf.largest_constants()),
        f"  graphs: {note}",
    ]
    return "\n".join(lines) + "\n"
