"""export: a model or .pgnn file in, an artifact folder per format out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from toolchain.cli import options
from toolchain.cli.console import Console
from toolchain.cli.subjects import Subject, subject
from toolchain.recipe import Export

to_formats = click.option(
    "--to", "formats", type=click.Choice(options.FORMATS), multiple=True, default=("onnx",), show_default=True,
    help="May be given several times.",
)  # fmt: skip


@click.command()
@click.argument("model")
@to_formats
@click.option("--max-nodes", type=click.IntRange(1), help="Largest graph of files that plan memory ahead (executorch); by "
              "default twice the largest of get_graphs().")  # fmt: skip
@click.option("--max-edges", type=click.IntRange(1), help="The same for edges, self-loops included.")
@click.option("--max-graphs", type=click.IntRange(1), help="The same for the graphs of a batch; by default 1.")
@click.option(
    "--set", "settings", metavar="KEY=VALUE", multiple=True, help="Option of the exporter, such as lowering=dense."
)
@options.output_folder("out")
@options.graphs
@options.checkpoint
@options.name
@options.seed
@options.overwrite
@options.common
def export(
    console: Console, model: str, formats: tuple[str, ...], max_nodes: int | None, max_edges: int | None,
    max_graphs: int | None, settings: tuple[str, ...], output: Path, graphs: str | None, checkpoint: Path | None, name: str,
    seed: int, overwrite: bool,
) -> None:  # fmt: skip
    """Write an artifact folder NAME-FORMAT-PRECISION for every format: the model file and its manifest.

    \b
    pocketgnn export model.py --to onnx --to torchscript -o out
    pocketgnn export int8.pgnn --to executorch --graphs model.py -o out
    """
    opened = subject(model, graphs=graphs, checkpoint=checkpoint, seed=seed)
    bounds = Export(max_nodes=max_nodes, max_edges=max_edges, max_graphs=max_graphs)
    with console.progress() as progress:
        saved = opened.graph(name, progress)
        artifacts = []
        for format in formats:
            progress(f"exporting {format}")
            artifacts.append(
                write(opened, saved.graph, format, output, name, bounds, _settings(settings), seed, overwrite)
            )
    data = [
        {"path": str(a.path), "format": a.format, "precision": a.precision, "bytes": a.model_bytes} for a in artifacts
    ]
    console.result({"artifacts": data}, *[f"{a.path}  {a.model_bytes:,} B" for a in artifacts])


def write(
    opened: Subject, graph: Any, format: str, output: Path, name: str, bounds: Export, settings: dict[str, Any],
    seed: int, overwrite: bool,
) -> Any:  # fmt: skip
    """Export one format under its usual folder name."""
    from toolchain.exporters import export as exported
    from toolchain.exporters import precision_of
    from toolchain.exporters.emission import Bounds
    from toolchain.pipeline import bounds_for

    if format == "executorch":
        if opened.source is not None:
            settings = {"bounds": bounds_for(bounds, opened.parts), **settings}
        elif bounds.max_nodes and bounds.max_edges:
            settings = {"bounds": Bounds(bounds.max_nodes, bounds.max_edges, bounds.max_graphs or 1), **settings}
        else:
            raise click.UsageError(
                "executorch plans memory for a largest graph: --graphs, or --max-nodes and --max-edges."
            )
    path = output / f"{name}-{format}-{precision_of(graph)}"
    return exported(graph, format, path, overwrite=overwrite, seed=seed, **settings)


def _settings(pairs: tuple[str, ...]) -> dict[str, Any]:
    """key=value with true, false and numbers read as such."""
    import yaml

    settings: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.isidentifier():
            raise click.UsageError(f"--set {pair}: expected KEY=VALUE, such as lowering=dense.")
        settings[key] = yaml.safe_load(value)
    return settings
