"""prune, share, quantize: a model or .pgnn file in, a .pgnn file out."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from toolchain.cli import options
from toolchain.cli.console import Console
from toolchain.cli.subjects import Subject, subject
from toolchain.errors import RecipeError
from toolchain.model_source import GraphParts
from toolchain.prune_steps import METHODS, PruneStep
from toolchain.recipe import FineTune, Quantize, ShareWeights, Step, read_step

if TYPE_CHECKING:
    from toolchain.ir import Graph

SEARCH_OPTIONS = ("search", "budget", "widths", "penalty", "trials", "storage", "workers", "channels")
LIMITS = {"max_size": "size_bytes", "max_memory": "memory_bytes", "max_latency": "latency_us"}


@click.command()
@click.argument("model")
@click.option("--method", type=click.Choice(list(METHODS)), default="l1", show_default=True,
              help="l1: smallest weights; blocks: smallest 1x4 blocks; snip, ecs: by gradient; bogp: a relational mask "
              "searched on the validation graphs; channels: whole channels, so that the model becomes smaller.")  # fmt: skip
@click.option(
    "--amount",
    type=options.Percentage(),
    help="Share of weights, blocks or channels to prune.  "
    "[default: 20% with l1, 90% with snip and ecs, 50% with blocks and bogp]",
)
@click.option("--density", type=options.Percentage(), help="Instead of --amount: the share that stays.")
@click.option("--scope", type=click.Choice(["layer", "global"]), help="The share of each layer, or of all together.")
@click.option("--target", "targets", multiple=True, metavar="PREFIX",
              help="Prune only layers whose path or weight name starts so. Repeatable.")  # fmt: skip
@click.option("--include-head", is_flag=True, default=None, help="Prune the head as well; channels never do.")
@click.option("--rounds", type=click.IntRange(1), help="l1, blocks, snip: prune in so many rounds ...")
@click.option("--epochs", type=click.IntRange(0),
              help="... with so many epochs between two; ecs: before; bogp: of each trial.")  # fmt: skip
@click.option("--block", type=click.IntRange(2), help="blocks: inputs per block.  [default: 4]")
@click.option("--batches", type=click.IntRange(1), help="snip, ecs: batches of the gradient.  [default: 1]")
@click.option("--at-initialization", is_flag=True, default=None, help="snip: sensitivities of newly drawn weights.")
@click.option("--nodes", type=click.IntRange(2), help="bogp: nodes of the relational graph.")
@click.option("--trials", type=click.IntRange(1), help="bogp: masks to try.  [default: 30]")
@click.option("--channels", type=click.IntRange(1), help="channels: a number of each group instead of a share.")
@click.option("--importance", type=click.Choice(["l1", "l2", "batch_norm", "random"]), help="channels: which go first.")
@click.option("--heads", type=click.Choice(["channels", "heads"]),
              help="channels: what attention layers lose, channels of every head or whole heads.")  # fmt: skip
@click.option(
    "--fine-tune", "epochs_after", type=click.IntRange(0), default=0, show_default=True, help="Epochs afterwards."
)
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Learning rate of --fine-tune and --epochs.")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@options.output_file("pruned.pgnn")
@options.graphs
@options.checkpoint
@options.name
@options.seed
@options.overwrite
@options.common
def prune(
    console: Console, model: str, epochs_after: int, lr: float, batch_size: int, output: Path, graphs: str | None,
    checkpoint: Path | None, name: str, seed: int, overwrite: bool, **given: Any,
) -> None:  # fmt: skip
    """Prune weights, or whole channels; what is pruned stays so, whatever follows.

    \b
    pocketgnn prune model.py --amount 20% --fine-tune 20 -o pruned.pgnn
    pocketgnn prune model.py --amount 80% --scope global --rounds 5 --epochs 4 --fine-tune 20
    pocketgnn prune model.py --method channels --amount 50% --fine-tune 20
    """
    step = _prune_step(given, lr, batch_size)
    from toolchain.compression import prune as pruned
    from toolchain.graph_file import check_target
    from toolchain.pruning_methods import pruning

    check_target(output, overwrite)
    opened = subject(model, graphs=graphs, checkpoint=checkpoint, seed=seed)
    method = pruning(step, lambda: opened.parts, seed)
    training = FineTune(epochs=epochs_after, lr=lr, batch_size=batch_size) if epochs_after else None
    _compress(console, opened, name, seed, partial(pruned, method=method), method.name, training, output, overwrite)


@click.command()
@click.argument("model")
@click.option("--clusters", type=click.IntRange(2), default=16, show_default=True, help="Values per codebook.")
@click.option("--scope", type=click.Choice(["layer", "module", "global"]), default="layer", show_default=True,
              help="A codebook for each weight matrix, each convolution, or one for all.")  # fmt: skip
@click.option("--init", type=click.Choice(["linear", "k-means++", "density"]), default="linear", show_default=True,
              help="Where k-means starts.")  # fmt: skip
@click.option("--target", "targets", multiple=True, metavar="PREFIX",
              help="Share only layers whose path or weight name starts so. Repeatable.")  # fmt: skip
@click.option(
    "--include-head/--no-head", default=True, show_default=True, help="Share the weights of the head as well."
)
@click.option(
    "--fine-tune", "epochs_after", type=click.IntRange(0), default=0, show_default=True, help="Epochs afterwards."
)
@click.option("--lr", type=float, default=1e-3, show_default=True, help="Learning rate of --fine-tune.")
@click.option("--batch-size", type=click.IntRange(1), default=64, show_default=True)
@options.output_file("shared.pgnn")
@options.graphs
@options.checkpoint
@options.name
@options.seed
@options.overwrite
@options.common
def share(
    console: Console, model: str, clusters: int, scope: Any, init: Any, targets: tuple[str, ...], include_head: bool,
    epochs_after: int, lr: float, batch_size: int, output: Path, graphs: str | None, checkpoint: Path | None, name: str,
    seed: int, overwrite: bool,
) -> None:  # fmt: skip
    """Let weights share a few values, found by k-means; --fine-tune trains the values.

    \b
    pocketgnn share model.py --clusters 16 --fine-tune 20 -o shared.pgnn
    pocketgnn quantize shared.pgnn --graphs model.py -o int8.pgnn
    """
    step = ShareWeights(
        clusters=clusters, scope=scope, init=init, targets=list(targets) or None, include_head=include_head
    )  # fmt: skip
    from toolchain.compression import share as shared
    from toolchain.graph_file import check_target
    from toolchain.step_methods import sharing

    check_target(output, overwrite)
    opened = subject(model, graphs=graphs, checkpoint=checkpoint, seed=seed)
    method = sharing(step, seed)
    training = FineTune(epochs=epochs_after, lr=lr, batch_size=batch_size) if epochs_after else None
    _compress(console, opened, name, seed, partial(shared, method=method), method.name, training, output, overwrite)


def _compress(
    console: Console, opened: Subject, name: str, seed: int, step: Callable[..., Graph], title: str,
    training: FineTune | None, output: Path, overwrite: bool,
) -> None:  # fmt: skip
    """Take one step on a float Graph, fine-tune it where asked, and write it.

    Args:
        step: takes the Graph, `validation` and `log`.
    """
    from toolchain.compression import StepReport, fine_tune
    from toolchain.datasets import loader
    from toolchain.graph_file import save_graph

    reports = list[StepReport]()
    with console.progress() as progress:
        saved = opened.graph(name, progress)
        validation = opened.parts.validation if opened.source is not None else None
        progress(title)
        graph = step(saved.graph, validation=validation, log=reports.append)
        steps = (*saved.steps, "compression") if saved.steps[-1] != "compression" else saved.steps
        if training is not None:
            progress(f"fine-tuning {training.epochs} epochs")
            batches = loader(opened.parts.train, training.batch_size, seed)
            graph = fine_tune(
                graph, batches, epochs=training.epochs, lr=training.lr, seed=seed, validation=validation,
                log=reports.append,
            )  # fmt: skip
        save_graph(graph, steps, output, overwrite=overwrite)
    console.result({"file": str(output), "steps": [asdict(report) for report in reports]}, str(output))


def _prune_step(given: dict[str, Any], lr: float, batch_size: int) -> PruneStep:
    """The options that were given, checked as a prune step of a recipe is."""
    schema = METHODS[given["method"]]
    training = {"lr": lr, "batch_size": batch_size}
    stated = {
        key: list(value) if key == "targets" else value for key, value in given.items() if value not in (None, ())
    }
    stated |= {key: value for key, value in training.items() if key in schema.model_fields}
    step = _checked("prune", stated)
    assert isinstance(step, PruneStep)
    return step


def _checked(name: str, options: dict[str, Any]) -> Step:
    """Options of the command line, checked as a step of a recipe is.

    Raises:
        RecipeError: they do not fit the step, or contradict each other.
    """
    try:
        return read_step(name, options, name)
    except ValueError as error:
        raise RecipeError(f"{error}.") from error


@click.command()
@click.argument("model")
@click.option(
    "--to",
    "precision",
    type=click.Choice(["static-int8", "dynamic-int8", "float16"]),
    default="static-int8",
    show_default=True,
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
@click.option("--weight-bits", type=click.Choice(["8", "4", "2"]), default="8", show_default=True,
              help="Of static-int8; below 8 a model usually needs --qat-epochs.")  # fmt: skip
@click.option("--edge-arithmetic", type=click.Choice(["float", "integer"]), default="float", show_default=True,
              help="Of attention and edge values; integer for targets without FPU.")  # fmt: skip
@click.option(
    "--qat-epochs", type=click.IntRange(0), default=0, show_default=True, help="Train in the integers that ship."
)
@click.option("--qat-lr", type=float, default=1e-4, show_default=True)
@click.option("--estimator", type=click.Choice(["fixed", "observed", "learned"]),
              help="Where scales come from in training: calibration, what it sees, or gradients.  [default: fixed]")  # fmt: skip
@click.option("--observer", type=click.Choice(["momentum", "minmax", "percentile"]), help="Of --estimator observed.")
@click.option("--bits", multiple=True, metavar="PATTERN=BITS",
              help="Width of values and weights by name, such as '*=4' and then 'conv2.*=8'. Repeatable.")  # fmt: skip
@click.option("--degree-quant", type=click.FloatRange(0, 1), metavar="P",
              help="Protect nodes from rounding in that training, by degree, with probabilities up to P.")  # fmt: skip
@click.option("--a2q", type=click.Choice(["degree", "nearest"]),
              help="Where only linear layers read a value, give groups of nodes their own steps and widths: by in-degree, or for "
                   "each row those that reach nearest to its largest number.")  # fmt: skip
@click.option("--groups", type=click.IntRange(1), help="Of --a2q: how many.  [default: 8]")
@click.option("--mean-bits", type=click.FloatRange(1, 8),
              help="Of --a2q: learn the widths, pressed towards this mean.  [default: all stay at 4]")  # fmt: skip
@click.option("--dropout", multiple=True, metavar="PATTERN=P",
              help="Probability of a value's codes to become zero in that training, such as 'x=0.5'. Repeatable.")  # fmt: skip
@click.option("--distill", type=click.FloatRange(0, min_open=True), metavar="WEIGHT",
              help="Let the float model's probabilities be targets as well.")  # fmt: skip
@click.option("--keep-best", is_flag=True, default=None, help="Keep the epoch with the best validation accuracy.")
@click.option("--search", type=click.Choice(["sensitivity", "relaxed", "optuna"]),
              help="Choose the bits of every value and weight before: one at a time, MixQ's mixture, or Bayesian.")  # fmt: skip
@click.option(
    "--budget",
    type=options.Percentage(),
    help="Of --search: share of the float model's bit operations.  [default: 25%]",
)
@click.option("--widths", metavar="BITS,...", help="Candidates of --search.  [default: 2,4,8]")
@click.option("--penalty", type=click.FloatRange(0), help="Of --search relaxed, instead of a budget.  [default: 1]")
@click.option("--trials", type=click.IntRange(1), help="Of --search optuna.  [default: 30]")
@click.option(
    "--storage", type=click.Path(dir_okay=False), help="Of --search optuna: a file of trials; a search over it goes on."
)
@click.option("--workers", type=click.IntRange(1), help="Of --search optuna: processes that share the storage.")
@click.option("--channels", metavar="SHARE,...",
              help="Of --search optuna: shares of the channels that it may remove, such as 0,25%,50%.")  # fmt: skip
@click.option(
    "--max-size", type=click.IntRange(1), metavar="BYTES", help="Of --search optuna: of the C model's constants."
)
@click.option("--max-memory", type=click.IntRange(1), metavar="BYTES",
              help="Of --search optuna: of the C model's working memory for twice the largest graph.")  # fmt: skip
@click.option("--max-latency", type=click.FloatRange(0, min_open=True), metavar="US",
              help="Of --search optuna: microseconds of the C model for a validation graph, on this machine.")  # fmt: skip
@options.output_file("int8.pgnn")
@options.graphs
@options.checkpoint
@options.name
@options.seed
@options.overwrite
@options.common
def quantize(
    console: Console, model: str, precision: str, mode: Any, calibration: Any, percentile: float, calibration_graphs: int,
    min_agreement: float, weight_bits: str, edge_arithmetic: Any, qat_epochs: int, qat_lr: float, output: Path, graphs: str | None,
    checkpoint: Path | None, name: str, seed: int, overwrite: bool, **training: Any,
) -> None:  # fmt: skip
    """Turn weights, and with static-int8 values too, into integers of 8 bits or fewer; with float16, weights into halves.

    \b
    pocketgnn quantize pruned.pgnn --graphs model.py -o int8.pgnn
    pocketgnn quantize model.py --to dynamic-int8 -o dynamic.pgnn
    pocketgnn quantize pruned.pgnn --graphs model.py --qat-epochs 10 -o qat.pgnn
    pocketgnn quantize model.py --qat-epochs 30 --qat-lr 0.01 --estimator learned --bits '*=4' --distill 10
    pocketgnn quantize model.py --qat-epochs 100 --qat-lr 0.01 --a2q degree --mean-bits 2 --bits '*weight=4'
    pocketgnn quantize model.py --qat-epochs 30 --qat-lr 0.01 --search sensitivity --budget 10% --distill 10
    pocketgnn quantize model.py --qat-epochs 30 --search optuna --max-size 20000 --max-memory 8000 --channels 0,25%,50%
    """
    from toolchain.compression import StepReport
    from toolchain.compression import quantize as quantized
    from toolchain.graph_file import check_target, save_graph
    from toolchain.step_methods import quantization

    given = {
        "precisions": [precision], "mode": mode, "calibration": calibration, "percentile": percentile,
        "calibration_graphs": calibration_graphs, "min_agreement": min_agreement, "weight_bits": int(weight_bits),
        "edge_arithmetic": edge_arithmetic, **_training(qat_epochs, qat_lr, training),
    }  # fmt: skip
    step = _checked("quantize", given)
    assert isinstance(step, Quantize)
    check_target(output, overwrite)
    opened, reports = subject(model, graphs=graphs, checkpoint=checkpoint, seed=seed), list[StepReport]()
    with console.progress() as progress:
        saved = opened.graph(name, progress)
        validation = opened.parts.validation if opened.source is not None else None
        parts = opened.parts if precision == "static-int8" else GraphParts((), (), ())
        method = quantization(precision, step, parts, seed, None, _latency(parts))
        progress(f"quantizing to {precision}")
        graph = quantized(saved.graph, method, validation=validation, log=reports.append)
        save_graph(graph, (*saved.steps, "quantization"), output, overwrite=overwrite)
    console.result({"file": str(output), "steps": [asdict(report) for report in reports]}, str(output))


def _latency(parts: GraphParts) -> Any:
    """Measures candidates on a validation graph, where there is one."""
    from device_benchmarks.host_latency import HostLatency
    from toolchain.inputs import GraphInputs

    return HostLatency(GraphInputs.from_pyg(parts.validation[0])) if parts.validation else None


def _training(epochs: int, lr: float, given: dict[str, Any]) -> dict[str, Any]:
    """The training that the options state, as a recipe has it: in short where that says all."""
    stated = {name: value for name, value in given.items() if value not in (None, ())}
    if not stated:
        return {"qat_epochs": epochs, "qat_lr": lr}
    if not epochs:
        raise RecipeError(f"--{next(iter(stated)).replace('_', '-')}: is of training. Give --qat-epochs.")
    if "bits" in stated:
        stated["bits"] = dict(_width(text) for text in stated["bits"])
    if "dropout" in stated:
        stated["dropout"] = dict(_chance(text) for text in stated["dropout"])
    if "degree_quant" in stated:
        stated["degree_quant"] = {"change": stated["degree_quant"]}
    rows = {name: stated.pop(name) for name in ("a2q", "groups", "mean_bits") if name in stated}
    if rows and "a2q" not in rows:
        raise RecipeError(
            f"--{next(iter(rows)).replace('_', '-')}: is of --a2q. Choose groups: --a2q degree or nearest."
        )
    if rows:
        stated["a2q"] = {"choice": rows.pop("a2q"), **rows}
    if "distill" in stated:
        stated["distill"] = {"weight": stated["distill"]}
    search = {name: stated.pop(name) for name in SEARCH_OPTIONS if name in stated}
    limits = {name: stated.pop(option) for option, name in LIMITS.items() if option in stated}
    search |= {"limits": limits} if limits else {}
    if search and "search" not in search:
        raise RecipeError(f"--{next(iter(search))}: is of --search. Name one: --search sensitivity, relaxed or optuna.")
    if search:
        search["method"] = search.pop("search")
        search |= {"widths": _widths(search["widths"])} if "widths" in search else {}
        search |= {"channels": _shares(search["channels"])} if "channels" in search else {}
        stated["search"] = search
    return {"qat": {"epochs": epochs, "lr": lr, **stated}}


def _shares(text: str) -> list[float]:
    return [options.Percentage().convert(part, None, None) for part in text.split(",")]


def _widths(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise RecipeError(f"--widths {text!r}: expected numbers of bits, such as 2,4,8.")
    return [int(part) for part in parts]


def _chance(text: str) -> tuple[str, float]:
    pattern, _, chance = text.rpartition("=")
    try:
        p = float(chance)
    except ValueError:
        p = math.nan
    if not pattern or math.isnan(p):
        raise RecipeError(f"--dropout {text!r}: expected PATTERN=P, such as 'x=0.5'.")
    return pattern, p


def _width(text: str) -> tuple[str, int]:
    pattern, _, bits = text.rpartition("=")
    if not pattern or not bits.isdecimal():
        raise RecipeError(f"--bits {text!r}: expected PATTERN=BITS, such as 'conv1.*=4'.")
    return pattern, int(bits)
