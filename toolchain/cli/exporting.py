"""export: a model or .pgnn file in, an artifact folder per format out."""

from __future__ import annotations

from collections.abc import Callable
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
@click.option("--max-nodes", type=click.IntRange(1), help="Largest graph of files that are built for one (c, executorch, coreml); "
              "by default twice the largest of get_graphs().")  # fmt: skip
@click.option("--max-edges", type=click.IntRange(1), help="The same for edges, self-loops included.")
@click.option("--max-degree", type=click.IntRange(1), help="The same for the in-edges of a node, self-loops included.")
@click.option("--max-graphs", type=click.IntRange(1), help="The same for the graphs of a batch; by default 1.")
@click.option(
    "--fixed-graph",
    is_flag=True,
    help="Store the edges of the first of get_graphs() in the artifact; only x is given later.",
)
@options.settings("Option of the exporter, such as lowering=dense.")
@options.output_folder("out")
@options.graphs
@options.checkpoint
@options.name
@options.seed
@options.overwrite
@options.common
def export(
    console: Console, model: str, formats: tuple[str, ...], max_nodes: int | None, max_edges: int | None,
    max_degree: int | None, max_graphs: int | None, fixed_graph: bool, settings: tuple[str, ...], output: Path,
    graphs: str | None, checkpoint: Path | None, name: str, seed: int, overwrite: bool,
) -> None:  # fmt: skip
    """Write an artifact folder NAME-FORMAT-PRECISION for every format: the model file and its manifest.

    Features of nodes that the graphs hold as sparse tensors (x of Data) stay sparse where the format and the model can read them
    so; --set sparse_features=true (of 0 and 1) or =values states it for dense ones.

    \b
    pocketgnn export model.py --to onnx --to torchscript -o out
    pocketgnn export int8.pgnn --to executorch --graphs model.py -o out
    """
    opened = subject(model, graphs=graphs, checkpoint=checkpoint, seed=seed)
    bounds = Export(max_nodes=max_nodes, max_edges=max_edges, max_degree=max_degree, max_graphs=max_graphs)
    if fixed_graph and opened.source is None:
        raise click.UsageError("--fixed-graph stores the first of get_graphs(): pass --graphs MODEL.")
    with console.progress() as progress:
        saved = opened.graph(name, progress)
        artifacts = []
        for format in formats:
            progress(f"exporting {format}")
            artifacts.append(
                write(
                    opened,
                    saved.graph,
                    format,
                    output,
                    name,
                    bounds,
                    options.read_settings(settings),
                    seed,
                    overwrite,
                    progress,
                    fixed_graph,
                )
            )
    data = [
        {"path": str(a.path), "format": a.format, "precision": a.precision, "bytes": a.model_bytes} for a in artifacts
    ]
    console.result({"artifacts": data}, *[f"{a.path}  {a.model_bytes:,} B" for a in artifacts])


def write(
    opened: Subject, graph: Any, format: str, output: Path, name: str, bounds: Export, settings: dict[str, Any],
    seed: int, overwrite: bool, progress: Callable[[str], None], fixed_graph: bool = False,
) -> Any:  # fmt: skip
    """Export one format under its usual folder name."""
    from toolchain.export_bounds import bounds_for
    from toolchain.exporters import PLANS_MEMORY, precision_of
    from toolchain.exporters import export as exported
    from toolchain.exporters.emission import Bounds
    from toolchain.inputs import GraphInputs
    from toolchain.pipeline import export_for

    if format in PLANS_MEMORY:
        if opened.source is not None:
            settings = {"bounds": bounds_for(bounds, opened.parts), **settings}
        elif bounds.max_nodes and bounds.max_edges:
            degree = bounds.max_degree or (bounds.max_edges if format == "c" else Bounds().degree)
            largest = Bounds(bounds.max_nodes, bounds.max_edges, bounds.max_graphs or 1, degree)
            settings = {"bounds": largest, **settings}
        else:
            raise click.UsageError(
                f"{format} plans memory for a largest graph: --graphs, or --max-nodes and --max-edges."
            )
    if fixed_graph:
        settings = {"fixed_graph": GraphInputs.from_pyg(opened.parts.train[0]), **settings}
    precision = settings.get("precision") or precision_of(graph)  # Core ML's option says how the file computes
    path = output / f"{name}-{format}-{precision}"
    if opened.source is None:
        return exported(graph, format, path, overwrite=overwrite, seed=seed, **settings)
    return export_for(opened.parts, graph, format, path, progress, overwrite=overwrite, seed=seed, **settings)
