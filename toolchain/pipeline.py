"""build: model, graphs and recipe in, artifacts out. The whole flow on one page."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from toolchain.artifact import Artifact
from toolchain.artifact_limits import Read
from toolchain.compression import (
    StepReport,
    TensorBoard,
    fine_tune,
    prune,
    quantize,
    share,
)
from toolchain.compression.training import Watch
from toolchain.datasets import loader
from toolchain.errors import ExportError, RecipeError, require
from toolchain.export_bounds import bounds_for, bounds_of
from toolchain.exporters import PLANS_MEMORY, export
from toolchain.exporters.exporting import check_options
from toolchain.exporters.sparse_input import Features
from toolchain.finished_steps import RECORD, FinishedSteps, Log, origin_of, results_of
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs, is_sparse
from toolchain.ir import Graph
from toolchain.ir.ops import Order
from toolchain.model_source import GraphParts, parts_of
from toolchain.passes.propagate_ordering import with_order
from toolchain.pruning_methods import pruning
from toolchain.recipe import Bench, Export, FineTune, PruneStep, Quantize, Recipe, ShareWeights, Verify, step_name
from toolchain.rehearsal import rehearse
from toolchain.step_methods import quantization, sharing

__all__ = ["BuildResult", "Built", "Recipe", "bounds_for", "bounds_of", "build"]

logger = logging.getLogger("pocketgnn")
History = tuple[tuple[str, Graph], ...]  # the step that made it, and the Graph


@dataclass(slots=True)
class Built:
    """An artifact and the Graphs on the way to it: after "lowering", "compression", "quantization", as far as made."""

    artifact: Artifact
    history: History


@dataclass(slots=True)
class BuildResult:
    """What a recipe made.

    Attributes:
        history: the Graphs up to the float Graph that every variant starts from.
        variants: for each precision the Graphs from the lowering on.
        reports: size, sparsity and accuracy before and after each step.
    """

    history: History = ()
    variants: dict[str, History] = field(default_factory=dict)
    artifacts: list[Built] = field(default_factory=list)
    reports: list[StepReport] = field(default_factory=list)

    @property
    def graph(self) -> Graph:
        """The float Graph after the last step on it."""
        return self.history[-1][1]


def build(
    model: Any,
    graphs: Any,
    recipe: Recipe,
    output: str | Path = "out",
    *,
    overwrite: bool = False,
    resume: bool = False,
    check: Callable[[Verify | Bench, BuildResult], None] | None = None,
    tensorboard: str | Path | None = None,
    latency: Read | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> BuildResult:
    """Take a trained PyG model through the steps of a recipe.

    Args:
        model: torch module in eval mode.
        graphs: labelled PyG graphs, as `parts_of` takes them: training graphs train and calibrate, validation graphs
            give the accuracy of each step.
        output: folder that gets one artifact folder per variant and format, `<name>-<format>-<precision>`, and in
            `<name>-steps` the Graph after each step.
        resume: take the steps that an earlier run has finished from there; artifacts are written again.
        check: does the verify and bench steps. They run artifacts, which this package does not: `pocketgnn run` does.
        tensorboard: folder for event files of every fine-tuning and QAT, one folder for each in it.
        latency: µs of an inference of an artifact, for a search that has a limit of it; picklable where several processes search.
        progress: called with a line of text before each step.

    Raises:
        RecipeError: the recipe has verify or bench steps and there is no `check`; or a step does not fit the model, which is
            found out before any training (`rehearse`).
        ExportError: an unknown option of an exporter.
        MissingDependency: `tensorboard` is given and not installed.
        ArtifactError: artifacts or finished steps are there already, or with `resume` the steps are those of another run.
    """
    parts = parts_of(graphs, recipe.seed)
    if check is None and any(isinstance(step, Verify | Bench) for step in recipe.steps):
        raise RecipeError(
            "recipe: verify and bench run artifacts, build() only makes them. Use `pocketgnn run recipe.yaml`."
        )
    if tensorboard is not None:
        require("tensorboard", "tensorboard")
    for step in recipe.steps:
        if isinstance(step, Export):
            for format, options in step.options.items():
                check_options(format, options)
    result = BuildResult()
    progress("lowering the model")
    lowered = lower(model, parts.train[0], name=recipe.name)
    result.history = (("lowering", lowered if recipe.order is None else with_order(lowered, Order(recipe.order))),)
    rehearse(recipe, result.graph, parts, latency)
    output, origin = Path(output), origin_of(result.graph, parts, recipe.seed)
    results, folder = results_of(recipe, origin), output / f"{recipe.name}-steps"
    if resume or overwrite or not (folder / RECORD).exists():  # else what refuses next also tells of --resume
        for path in _artifact_paths(recipe, output).values():
            Artifact.check_target(path, overwrite or resume)
    finished = FinishedSteps.open(folder, origin, results.values(), resume=resume, overwrite=overwrite)

    def made(number: int, precision: str, stage: str, make: Callable[[Watch | None, Log], Graph]) -> Graph:
        """The Graph of a step, made now or before."""
        key = results[number, precision]
        words = step_name(recipe.steps[number]).replace("_", "-"), precision, "(finished before)" * finished.has(key)
        progress(" ".join(word for word in words if word))
        watch = None if tensorboard is None else TensorBoard(Path(tensorboard) / key.name)
        stages = dict.fromkeys([*(name for name, _ in result.history), stage])
        return finished.graph(key, partial(make, watch), list(stages), result.reports.append)

    for number, step in enumerate(recipe.steps):
        match step:
            case PruneStep() | FineTune() | ShareWeights():
                make = partial(_compressed, step, result.graph, parts, recipe.seed)
                result.history = (result.history[0], ("compression", made(number, "", "compression", make)))
            case Quantize():
                result.variants = dict.fromkeys(step.precisions, result.history)
                for precision in step.precisions:
                    if precision != "float32":
                        make = partial(_variant, precision, step, result.graph, parts, recipe.seed, latency)
                        stage = ("quantization", made(number, precision, "quantization", make))
                        result.variants[precision] = (*result.history, stage)
            case Export():
                progress("export")
                result.variants = result.variants or {"float32": result.history}
                result.artifacts = _exported(step, result, parts, recipe, output, overwrite or resume)
            case Verify() | Bench():
                assert check is not None
                progress(step_name(step))
                check(step, result)
    return result


def _artifact_paths(recipe: Recipe, output: Path) -> dict[tuple[str, str], Path]:
    """The folder of every artifact, by precision and format."""
    quantized = [precision for step in recipe.steps if isinstance(step, Quantize) for precision in step.precisions]
    formats = [format for step in recipe.steps if isinstance(step, Export) for format in step.formats]
    return {(p, f): output / f"{recipe.name}-{f}-{p}" for p in quantized or ["float32"] for f in formats}


def _compressed(
    step: PruneStep | FineTune | ShareWeights, graph: Graph, parts: GraphParts, seed: int, watch: Watch | None, log: Log
) -> Graph:
    if isinstance(step, PruneStep):
        return prune(graph, pruning(step, lambda: parts, seed), validation=parts.validation, log=log)
    if isinstance(step, ShareWeights):
        return share(graph, sharing(step, seed), validation=parts.validation, log=log)
    batches = loader(parts.train, step.batch_size, seed)
    return fine_tune(
        graph, batches, epochs=step.epochs, lr=step.lr, weight_decay=step.weight_decay, seed=seed, watch=watch,
        validation=parts.validation, log=log,
    )  # fmt: skip


def _variant(
    precision: str, step: Quantize, graph: Graph, parts: GraphParts, seed: int, latency: Read | None, watch: Watch | None, log: Log,
) -> Graph:  # fmt: skip
    return quantize(
        graph, quantization(precision, step, parts, seed, watch, latency), validation=parts.validation, log=log
    )


def _exported(
    step: Export, result: BuildResult, parts: GraphParts, recipe: Recipe, output: Path, overwrite: bool
) -> list[Built]:
    built, paths = [], _artifact_paths(recipe, output)
    for precision, history in result.variants.items():
        for format in step.formats:
            options = dict(step.options.get(format, {}))
            if format in PLANS_MEMORY:
                options.setdefault("bounds", bounds_for(step, parts))
            path = paths[precision, format]
            artifact = export_for(
                parts, history[-1][1], format, path, logger.info, overwrite=overwrite, seed=recipe.seed, **options
            )
            logger.info("%s: %s B", path, f"{artifact.model_bytes:,}")
            built.append(Built(artifact, history))
    return built


def export_for(
    parts: GraphParts, graph: Graph, format: str, path: Path, log: Callable[[str], None], **options: Any
) -> Artifact:
    """As `export`, with `sparse_features` where the user's x is a sparse tensor and format and model can read it so.

    Args:
        log: told why features stay dense where they could not.
    """
    graphs = (*parts.train, *parts.validation, *parts.test)
    if "sparse_features" in options or not all(is_sparse(getattr(data, "x", None)) for data in graphs):
        return export(graph, format, path, **options)
    is_binary = all(GraphInputs.from_pyg(data).sparse_x.is_binary for data in graphs)
    features = Features.BINARY if is_binary else Features.VALUES
    try:
        return export(graph, format, path, sparse_features=features.value, **options)
    except ExportError as error:
        log(f"{path.name}: features stay dense ({error})")
        return export(graph, format, path, **options)
