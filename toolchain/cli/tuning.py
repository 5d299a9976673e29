"""tune: a model in, the recipe that is fastest or smallest on a target out, with the table of all that was tried."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from toolchain.cli import options
from toolchain.cli.checking import command_line
from toolchain.cli.console import Console, Progress
from toolchain.cli.on_device import device_names, device_option, recipe_option, ssh_config_option
from toolchain.graph_file import SUFFIX
from toolchain.recipe import Export, Format, Precision

if TYPE_CHECKING:
    from device_benchmarks.planner import Limits, Tuning
    from device_benchmarks.planner.meter import Meter

PARITY_GRAPHS = 200  # sample graphs on which outputs are compared with those of the PyG model
ROWS_SHOWN = 20


@click.command()
@click.argument("model")
@click.option("--graphs", "graphs_file", metavar="MODEL",
              help="File with get_graphs(): the graphs that the model will meet; by default the test graphs of MODEL.")  # fmt: skip
@device_option
@ssh_config_option
@recipe_option
@click.option("--for", "goal", type=click.Choice(["latency", "size"]), default="latency", show_default=True,
              help="The mean time of an inference over the sample graphs, or the bytes of the model.")  # fmt: skip
@click.option("--to", "formats", type=click.Choice(get_args(Format)), multiple=True,
              help="Only these formats; the default to be beaten is the first. Repeatable.")  # fmt: skip
@click.option("--precision", "precisions", type=click.Choice(get_args(Precision)), multiple=True, default=("float32",),
              show_default=True, help="Repeatable.")  # fmt: skip
@click.option("--max-difference", type=click.FloatRange(0), help="From the PyG model's outputs, over the largest of them. Where "
              "nothing is stated float32 is held to 1e-4.")  # fmt: skip
@click.option("--min-agreement", type=options.Percentage(), help="Share of equal classes. Where nothing is stated int8 is held to "
              "98%.")  # fmt: skip
@click.option("--buckets", type=click.IntRange(1), default=3, show_default=True,
              help="Sizes that the sample graphs are sorted into; one graph of each is measured.")  # fmt: skip
@click.option("--max-nodes", type=click.IntRange(1), help="Largest graph of files that plan memory ahead (c, executorch); by "
              "default twice the largest of all graphs.")  # fmt: skip
@click.option("--max-edges", type=click.IntRange(1), help="The same for edges, self-loops included.")
@click.option("--max-degree", type=click.IntRange(1), help="The same for the in-edges of a node, self-loops included.")
@click.option("--stock-operators", is_flag=True, help="Leave out lowering=spmm, an operator that is compiled where the file is "
              "loaded: for files that are to run in apps of their own.")  # fmt: skip
@click.option("--most", type=click.IntRange(1), help="Plans to measure, beside the first of each format and precision.")
@options.output_file("recipe.yaml")
@click.option("--resume", is_flag=True, help="Go on with the measurements of an interrupted run.")
@options.checkpoint
@options.name
@options.seed
@options.overwrite
@options.common
def tune(
    console: Console, model: str, graphs_file: str | None, devices: tuple[str, ...], ssh_config: Path | None,
    recipe_file: Path | None, goal: str, formats: tuple[str, ...], precisions: tuple[str, ...], max_difference: float | None,
    min_agreement: float | None, buckets: int, max_nodes: int | None, max_edges: int | None, max_degree: int | None,
    stock_operators: bool, most: int | None, output: Path, resume: bool, checkpoint: Path | None, name: str, seed: int,
    overwrite: bool,
) -> None:  # fmt: skip
    """Find the format, lowering, order and precision that are best for a model on a target, and write them as a recipe.

    A cost model predicts every plan; only those that may be the best are exported, compared with the PyG model and measured, on
    this machine or on the device of -d. The recipe differs from the default only where that is surely faster. Beside it,
    OUTPUT.tuning.json has every plan that was tried or predicted.

    Times are those of prepared graphs, one at a time, on one thread. Where the target lacks something that a plan needs, as a
    compiler for lowering=spmm, the table says so.

    \b
    pocketgnn tune model.py -o recipe.yaml && pocketgnn run recipe.yaml
    pocketgnn tune model.py -d ssh:pi4 --precision float32 --precision static-int8 --min-agreement 99%
    pocketgnn tune model.py --for size --to onnx --to litert --precision dynamic-int8
    """
    from device_benchmarks.parity import ParityCheck
    from device_benchmarks.planner import Goal, Limits
    from device_benchmarks.planner import tune as tuned
    from device_benchmarks.planner.plan import SPMM, plans
    from device_benchmarks.planner.search import MOST
    from device_benchmarks.planner.size_buckets import size_buckets
    from device_benchmarks.planner.tuning import check_bounds
    from device_benchmarks.planner.tuning_record import TuningRecord
    from device_benchmarks.planner.workshop import Workshop
    from toolchain.errors import ArtifactError, InvalidInput, RecipeError
    from toolchain.finished_steps import origin_of
    from toolchain.frontend import lower
    from toolchain.graph_file import write_atomically
    from toolchain.inputs import GraphInputs
    from toolchain.model_source import GraphParts, ModelSource, parts_of
    from toolchain.pipeline import bounds_of

    if model.endswith(SUFFIX):
        raise RecipeError(
            f"{model}: a recipe starts from a model file, not from a {SUFFIX} file. Pass the file with get_model()."
        )
    if resume and overwrite:
        raise click.UsageError("--resume keeps what is there and --overwrite replaces it; give one of them.")
    if len(devices) > 1:
        raise click.UsageError(f"-d {' -d '.join(devices)}: a recipe is for one target. Tune for each on its own.")
    if output.exists() and not (overwrite or resume):
        raise ArtifactError(f"{output}: already exists. Choose another name with -o, or pass --overwrite.")
    limits = Limits(max_difference, min_agreement)
    with console.progress() as progress, ExitStack() as stack:
        progress("lowering the model")
        source = ModelSource(model, checkpoint=checkpoint)
        module, parts = source.model(), parts_of(source.graphs(), seed)
        sample = list(parts.test if graphs_file is None else _sample(graphs_file))
        if not sample:
            raise InvalidInput(
                f"{graphs_file}: get_graphs() returned no graph, expected the graphs that the model will meet."
            )
        graph = lower(module, parts.train[0], name=name)
        sampled = [GraphInputs.from_pyg(data) for data in sample]
        known = [GraphInputs.from_pyg(data) for part in (parts.train, parts.validation, parts.test) for data in part]
        bounds = bounds_of(Export(max_nodes=max_nodes, max_edges=max_edges, max_degree=max_degree), [*sampled, *known])
        check_bounds([*sampled, *known], graph, bounds)
        found = size_buckets(sampled, buckets)
        meter = _meter(stack, devices, ssh_config, recipe_file, [bucket.graph for bucket in found], progress)
        candidates = plans(
            graph, formats or meter.formats, list(dict.fromkeys(precisions)), bounds, [bucket.up_to for bucket in found]
        )
        candidates = [plan for plan in candidates if not (stock_operators and plan.lowering == SPMM)]
        origin = {
            **origin_of(graph, GraphParts(parts.train, [*parts.validation, *sample], ()), seed), "target": meter.description,
            "options": f"{goal} {limits} {bounds} {buckets} {most} {[plan.name for plan in candidates]}",
        }  # fmt: skip
        record = TuningRecord.open(
            output.with_name(f"{output.name}.partial.json"), origin, resume=resume, overwrite=overwrite
        )
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pocketgnn-tune-")))
        check = ParityCheck(module, sample[:PARITY_GRAPHS])
        workshop = Workshop(graph, parts, bounds, limits, check, folder, seed, progress)
        result = tuned(
            candidates, workshop, meter, found, record, goal=Goal(goal), most=most or MOST, progress=progress
        )
    text = recipe_text(result, source, output, name, seed, limits)
    write_atomically(output, text.encode())
    data = {**result.to_json(), "recipe": str(output), "command": command_line()}
    write_atomically(output.with_name(f"{output.name}.tuning.json"), (json.dumps(data, indent=1) + "\n").encode())
    record.path.unlink(missing_ok=True)
    console.result(data, _table(result), _summary(result), str(output))


def recipe_text(result: Tuning, source: Any, output: Path, name: str, seed: int, limits: Limits) -> str:
    """The recipe of the chosen plan, which `pocketgnn run` takes."""
    import yaml

    from device_benchmarks.planner.workshop import quantize_options
    from toolchain.exporters import PLANS_MEMORY
    from toolchain.recipe import Recipe

    plan, bounds = result.chosen.plan, result.bounds
    place, colon, function = source.target.partition(":")
    if Path(place).is_file():
        place = os.path.relpath(place, output.parent)
    recipe: dict[str, Any] = {"version": 1, "model": place + colon + function}
    if source.checkpoint is not None:
        recipe["checkpoint"] = os.path.relpath(source.checkpoint, output.parent)
    recipe |= {"name": name, "seed": seed, **({"order": plan.order.value} if plan.order else {})}
    export: dict[str, Any] = {"formats": [plan.format]}
    if plan.format in PLANS_MEMORY:
        export |= {"max_nodes": bounds.nodes, "max_edges": bounds.edges, "max_degree": bounds.degree}
    if plan.options:
        export["options"] = {plan.format: plan.options}
    agreement = limits.agreement_of(plan.precision)
    recipe["steps"] = [
        *([] if plan.precision == "float32" else [{"quantize": quantize_options(plan.precision, limits)}]),
        {"export": export},
        {"verify": {} if agreement is None else {"min_agreement": agreement}},
    ]
    Recipe.parse(recipe)
    return f"# {command_line()}\n# {_summary(result)}\n{yaml.safe_dump(recipe, sort_keys=False)}"


def _sample(file: str) -> Sequence[Any]:
    """The graphs that a file names: all of a list, the test part of a split."""
    from toolchain.model_source import ModelSource, parts_of

    graphs = ModelSource(file).graphs()
    return graphs if isinstance(graphs, list | tuple) else parts_of(graphs).test


def _meter(
    stack: ExitStack, devices: Sequence[str], ssh_config: Path | None, recipe_file: Path | None, graphs: Sequence[Any],
    progress: Progress,
) -> Meter:  # fmt: skip
    """What measures: the device that was named, or this machine.

    Raises:
        DeviceError: the device cannot be reached.
    """
    from device_benchmarks.planner.meter import LOCAL, DeviceMeter, HostMeter
    from device_benchmarks.planner.stopwatch import Stopwatch

    device = next(iter(devices), LOCAL)
    if device == LOCAL:
        return HostMeter(stack.enter_context(Stopwatch(graphs, progress=progress)))
    return DeviceMeter(device_names(ssh_config, recipe_file), device, graphs, progress)


def _summary(result: Tuning) -> str:
    from device_benchmarks.units import format_us

    chosen, default = result.chosen, result.default
    time, before = chosen.mean_us(result.buckets), default.mean_us(result.buckets)
    words = f"{chosen.plan.name}: {format_us(time or 0)} on {result.target}, {chosen.bytes or 0:,} B"
    if chosen.plan == default.plan:
        return f"{words}; it is the default."
    return words + (f"; the default, {default.plan.name}, takes {format_us(before)}." if before else ".")


def _table(result: Tuning) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from device_benchmarks.units import format_error, format_share

    table = Table(box=SIMPLE_HEAD, title=f"microseconds on {result.target}")
    sizes = [f"{bucket.graph.num_nodes} nodes ({bucket.share:.0%})" for bucket in result.buckets]
    for number, column in enumerate(("plan", "predicted", "measured", *sizes, "bytes", "difference", "agreement", "")):
        table.add_column(column, justify="left" if number in (0, 6 + len(sizes)) else "right", no_wrap=number == 0)
    shown = [a for number, a in enumerate(result.attempts) if a.us or a.refusal or number < ROWS_SHOWN]
    for attempt in shown:
        mean = attempt.mean_us(result.buckets)
        known = attempt.difference is not None
        table.add_row(
            attempt.plan.name, f"{attempt.predicted_us:.1f}", "" if mean is None else f"{mean:.1f}",
            *([f"{us:.1f}" for us in attempt.us] or [""] * len(sizes)), "" if attempt.bytes is None else f"{attempt.bytes:,}",
            format_error(attempt.difference or 0.0) if known else "", format_share(attempt.agreement) if known else "",
            _mark(attempt, result),
        )  # fmt: skip
    if len(shown) < len(result.attempts):
        table.caption = f"and {len(result.attempts) - len(shown)} plans that are predicted to be slower"
    return table


def _mark(attempt: Any, result: Tuning) -> str:
    marks = [word for word, one in (("chosen", result.chosen), ("default", result.default)) if attempt.plan == one.plan]
    return attempt.refusal or ", ".join(marks)
