"""run: a recipe in, artifacts and a report out."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from toolchain.cli import options
from toolchain.cli.checking import command_line
from toolchain.cli.console import Console


@click.command()
@click.argument("recipe_file", metavar="RECIPE", type=click.Path(path_type=Path))
@click.option("--model", "model_file", metavar="MODEL", help="Instead of the recipe's own model.")
@click.option("--seed", type=options.Seed(), help="Instead of the recipe's own seed.")
@options.output_folder("out")
@options.checkpoint
@click.option("--resume", is_flag=True, help="Go on after the last step that an interrupted run has finished.")
@click.option(
    "--tensorboard", type=click.Path(path_type=Path), help="Folder for TensorBoard's event files of training."
)
@options.overwrite
@options.common
def run(
    console: Console, recipe_file: Path, model_file: str | None, seed: int | None, output: Path, checkpoint: Path | None,
    resume: bool, tensorboard: Path | None, overwrite: bool,
) -> None:  # fmt: skip
    """Do all steps of a recipe: prune, fine_tune, share, quantize, export, verify, bench.

    The Graph after each step stays in OUTPUT/NAME-steps. With --resume the steps that are finished there are not done again, as
    long as the recipe up to them, the model and its graphs are the same; a step that was changed, and all after it, are.

    \b
    version: 1
    model: model.py
    steps:
      - prune: {amount: 0.2}
      - fine_tune: {epochs: 20}
      - quantize: {precisions: [float32, static-int8]}
      - export: {formats: [onnx, executorch]}
      - verify: {min_agreement: 0.98}
      - bench: {quick: true}
    """
    from device_benchmarks import terminal
    from device_benchmarks.checks import Checks
    from device_benchmarks.host_latency import HostLatency
    from device_benchmarks.report import Report, refuse_existing
    from toolchain.errors import GateFailed, RecipeError
    from toolchain.inputs import GraphInputs
    from toolchain.model_source import ModelSource, parts_of
    from toolchain.pipeline import build
    from toolchain.recipe import Recipe

    recipe = Recipe.load(recipe_file)
    if seed is not None:
        recipe = recipe.model_copy(update={"seed": seed})
    target, beside = model_file or recipe.model, recipe_file.parent
    if target is None:
        raise RecipeError(f"{recipe_file}: names no model. Add model: model.py to it, or pass --model.")
    if model_file is None and (beside / target.split(":")[0]).is_file():
        target = str(beside / target)
    if checkpoint is None and recipe.checkpoint is not None:
        checkpoint = beside / recipe.checkpoint
    source = ModelSource(target, recipe.arguments, checkpoint)
    if resume and overwrite:
        raise click.UsageError("--resume keeps what is there and --overwrite replaces it; give one of them.")
    refuse_existing(output, overwrite or resume)
    with console.progress() as progress:
        model, parts = source.model(), parts_of(source.graphs(), recipe.seed)
        checks = Checks(source, model, parts, recipe.name, output / "rivals", progress=progress)
        gate: GateFailed | None = None
        try:
            result = build(
                model,
                parts,
                recipe,
                output,
                overwrite=overwrite,
                resume=resume,
                check=checks,
                tensorboard=tensorboard,
                latency=HostLatency(GraphInputs.from_pyg(parts.validation[0])) if parts.validation else None,
                progress=progress,
            )
        except KeyboardInterrupt:
            kept = output / f"{recipe.name}-steps"
            if kept.is_dir() and console.verbosity >= 0:
                click.echo(f"{kept} has the finished steps; --resume goes on after them.", err=True)
            raise
        except GateFailed as error:  # the report is written all the same: it shows what failed
            gate, result = error, checks.result
        steps = {recipe.name: [str(line) for line in result.reports]}
        title = f"{recipe.name}: {recipe_file.name}"
        found = tuple(checks.benchmarks), tuple(checks.parity)
        report = Report(title, *found, steps, command_line(), recipe.seed)
        page = report.write(output, overwrite=overwrite or resume)
    artifacts = [str(built.artifact.path) for built in result.artifacts]
    data = {"artifacts": artifacts, "recipe": recipe.model_dump(), **report.to_json()}
    data["steps"] = [asdict(line) for line in result.reports]
    shown = [terminal.table(report.rows), *terminal.failures(report.rows)] if report.rows else artifacts
    console.result(data, *shown, str(page))
    if gate is not None:
        raise gate
