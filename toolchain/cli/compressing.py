"""prune, quantize: a model or .pgnn file in, a .pgnn file out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from toolchain.cli import options
from toolchain.cli.console import Console
from toolchain.cli.subjects import subject
from toolchain.model_source import GraphParts
from toolchain.recipe import Quantize


@click.command()
@click.argument("model")
@click.option(
    "--amount", type=options.Percentage(), default=0.2, show_default=True, help="Share of the weights to zero."
)
@click.option("--scope", type=click.Choice(["layer", "global"]), default="layer", show_default=True)
@click.option("--fine-tune", "epochs", type=click.IntRange(0), default=0, show_default=True, help="Epochs afterwards.")
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Learning rate of --fine-tune.")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@options.output_file("pruned.pgnn")
@options.graphs
@options.checkpoint
@options.name
@options.seed
@options.overwrite
@options.common
def prune(
    console: Console, model: str, amount: float, scope: Any, epochs: int, lr: float, batch_size: int, output: Path,
    graphs: str | None, checkpoint: Path | None, name: str, seed: int, overwrite: bool,
) -> None:  # fmt: skip
    """Set the smallest weights of every convolution to zero; they stay zero, whatever follows.

    \b
    pocketgnn prune model.py --amount 20% --fine-tune 20 -o pruned.pgnn
    """
    from toolchain.compression import L1Unstructured, StepReport, fine_tune
    from toolchain.compression import prune as pruned
    from toolchain.datasets import loader
    from toolchain.graph_file import save_graph

    opened, reports = subject(model, graphs=graphs, checkpoint=checkpoint, seed=seed), list[StepReport]()
    with console.progress() as progress:
        saved = opened.graph(name, progress)
        validation = opened.parts.validation if opened.source is not None else None
        progress("pruning")
        graph = pruned(saved.graph, L1Unstructured(amount, scope), validation=validation, log=reports.append)
        steps = (*saved.steps, "compression") if saved.steps[-1] != "compression" else saved.steps
        if epochs:
            progress(f"fine-tuning {epochs} epochs")
            batches = loader(opened.parts.train, batch_size, seed)
            graph = fine_tune(
                graph, batches, epochs=epochs, lr=lr, seed=seed, validation=validation, log=reports.append
            )
        save_graph(graph, steps, output, overwrite=overwrite)
    console.result({"file": str(output), "steps": [asdict(report) for report in reports]}, str(output))


@click.command()
@click.argument("model")
@click.option(
    "--to", "precision", type=click.Choice(["static-int8", "dynamic-int8"]), default="static-int8", show_default=True
)
@click.option("--mode", type=click.Choice(["auto", "int8", "sums-int16", "all-int16"]), default="auto", show_default=True,
              help="Width of hidden values; auto takes the first that agrees.")  # fmt: skip
@click.option("--calibration", type=click.Choice(["percentile", "minmax"]), default="percentile", show_default=True)
@click.option("--percentile", type=click.FloatRange(50, 100), default=99.9, show_default=True)
@click.option(
    "--calibration-graphs", type=click.IntRange(1), default=400, show_default=True, help="Training graphs used."
)
@click.option("--min-agreement", type=options.Percentage(), default=0.98, show_default=True,
              help="With the float model on held-out training graphs; less is refused.")  # fmt: skip
@click.option(
    "--qat-epochs", type=click.IntRange(0), default=0, show_default=True, help="Train in the integers that ship."
)
@click.option("--qat-lr", type=float, default=1e-4, show_default=True)
@options.output_file("int8.pgnn")
@options.graphs
@options.checkpoint
@options.name
@options.seed
@options.overwrite
@options.common
def quantize(
    console: Console, model: str, precision: str, mode: Any, calibration: Any, percentile: float, calibration_graphs: int,
    min_agreement: float, qat_epochs: int, qat_lr: float, output: Path, graphs: str | None, checkpoint: Path | None,
    name: str, seed: int, overwrite: bool,
) -> None:  # fmt: skip
    """Turn weights, and with static-int8 values too, into 8-bit integers.

    \b
    pocketgnn quantize pruned.pgnn --graphs model.py -o int8.pgnn
    pocketgnn quantize model.py --to dynamic-int8 -o dynamic.pgnn
    pocketgnn quantize pruned.pgnn --graphs model.py --qat-epochs 10 -o qat.pgnn
    """
    from toolchain.compression import StepReport
    from toolchain.compression import quantize as quantized
    from toolchain.graph_file import save_graph
    from toolchain.pipeline import quantization

    step = Quantize(
        mode=mode, calibration=calibration, percentile=percentile, calibration_graphs=calibration_graphs,
        min_agreement=min_agreement, qat_epochs=qat_epochs, qat_lr=qat_lr,
    )  # fmt: skip
    opened, reports = subject(model, graphs=graphs, checkpoint=checkpoint, seed=seed), list[StepReport]()
    with console.progress() as progress:
        saved = opened.graph(name, progress)
        validation = opened.parts.validation if opened.source is not None else None
        parts = opened.parts if precision == "static-int8" else GraphParts((), (), ())
        method = quantization(precision, step, parts, seed)
        progress(f"quantizing to {precision}")
        graph = quantized(saved.graph, method, validation=validation, log=reports.append)
        save_graph(graph, (*saved.steps, "quantization"), output, overwrite=overwrite)
    console.result({"file": str(output), "steps": [asdict(report) for report in reports]}, str(output))
