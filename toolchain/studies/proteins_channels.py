"""Half of the hidden channels removed on PROTEINS: what it costs, and that the smaller model equals the zeroed one.

    pocketgnn study proteins-channels --data-root data

GCN 3x64 and GIN 5x64 are trained, half of every group of channels is removed, and the rest is fine-tuned, in ten stratified
folds; a seed draws the weights and the shuffles. With `--set split=random` there is one part for each seed instead, which also
draws 80 / 10 / 10 % of the graphs. `dense` and `test` are accuracies on the test part, `removed` that before fine-tuning.
`difference` is the largest difference between the outputs of the smaller Graph and of the zeroed one over all test graphs, in
the float32 interpreter; `difference64` the same with sums taken in float64, which leaves out that BLAS may add fewer terms in
another order. What the smaller model takes on a device: device_benchmarks.channels_study.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from toolchain.compression import StructuredChannels, evaluate, fine_tune
from toolchain.compression.channel_groups import channel_groups
from toolchain.compression.evaluation import as_inputs, predict
from toolchain.compression.pruning.channel_removal import removed, zeroed
from toolchain.compression.pruning.channels import IMPORTANCES, choose
from toolchain.datasets import Split, fold, split
from toolchain.errors import RecipeError
from toolchain.ir import Graph
from toolchain.studies.proteins_models import DEFAULT_MODELS, MODELS, dense, proteins
from toolchain.studies.study import Found, Key, Scope, Study


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the dense model.
        epochs: of fine-tuning.
        amount: share of the channels of every group that is removed.
        split: "folds", or "random" for parts that the seed draws.
    """

    train_epochs: int = 40
    epochs: int = 20
    amount: float = 0.5
    split: str = "folds"

    def __post_init__(self) -> None:
        if self.split not in ("folds", "random"):
            raise RecipeError(f"split: {self.split!r}, expected folds or random.")


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every importance that a model has; the default one first."""
    folds = scope.folds if settings.split == "folds" else 1
    keys = itertools.product(IMPORTANCES, scope.models, range(scope.seeds), range(folds))
    return [(model, seed, number, importance) for importance, model, seed, number in keys if _fits(model, importance)]


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one model, seed and fold share the dense model."""
    graphs = proteins(scope.data_root)
    trained: dict[Key, Graph] = {}
    for model, seed, number, importance in keys:
        parts = fold(graphs, number) if settings.split == "folds" else split(graphs, seed=seed)
        base = model, seed, number
        if base not in trained:
            trained[base] = dense(model, parts, settings.train_epochs, seed)
        method = StructuredChannels(settings.amount, importance=importance, seed=seed)
        yield measured(trained[base], method, parts, settings, seed)


def measured(graph: Graph, method: StructuredChannels, parts: Split, settings: Settings, seed: int) -> Found:
    """The values of one row."""
    start = time.perf_counter()
    channels = channel_groups(graph, method.heads)
    dropped = choose(graph, channels, method)
    small, same_size = removed(graph, channels, dropped), zeroed(graph, channels, dropped)
    tuned = fine_tune(small, list(parts.train), epochs=settings.epochs, lr=1e-3, seed=seed)
    return {
        "dense": evaluate(graph, parts.test), "removed": evaluate(small, parts.test), "test": evaluate(tuned, parts.test),
        "difference": _difference(small, same_size, parts),
        "difference64": _difference(_in_float64(small), _in_float64(same_size), parts),
        "bytes_before": graph.weight_bytes, "bytes_after": small.weight_bytes,
        "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip


def _fits(model: str, importance: str) -> bool:
    """Whether a model has BatchNorms to take importance from."""
    return importance != "batch_norm" or model.startswith("GIN")


def _difference(first: Graph, second: Graph, parts: Split) -> float:
    test = as_inputs(parts.test)
    return float(np.abs(predict(first, test) - predict(second, test)).max())


def _in_float64(graph: Graph) -> Graph:
    return replace(graph, constants={name: array.astype(np.float64) for name, array in graph.constants.items()})


STUDY = Study(
    "proteins-channels", keys=("model", "seed", "fold", "importance"),
    values=("dense", "removed", "test", "difference", "difference64", "bytes_before", "bytes_after", "seconds"),
    settings=Settings, wanted=wanted, measure=measure, shown=("dense", "removed", "test", "difference64"),
    paired=(("test", "dense"),), models=tuple(MODELS), default_models=DEFAULT_MODELS, seeds=1, folds=10,
    data_sets=("PROTEINS",),
)  # fmt: skip
