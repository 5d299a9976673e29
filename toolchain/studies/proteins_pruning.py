"""Unstructured L1 pruning with fine-tuning on PROTEINS, against the float model in the same folds.

    pocketgnn study proteins-pruning --data-root data

GCN 3x64 and GIN 5x64 are trained, the smallest weights of every layer but the head are pruned, and the rest is fine-tuned with
the mask in force, in ten stratified folds; a seed draws the weights and the shuffles. On the test part of the fold, `dense` is
the accuracy of the trained model, `longer` that of the same model trained for as many more epochs without pruning, `pruned`
that before and `test` that after fine-tuning, `int8` that of the fine-tuned model in static int8 through the integer
interpreter. `bops_sparse` are the bit operations of an average test graph without products of zeros.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from toolchain.compression import L1Unstructured, StaticInt8, evaluate, fine_tune, prune
from toolchain.compression.static_int8 import select
from toolchain.compression.step_report import Footprint
from toolchain.datasets import Split, fold
from toolchain.ir import Graph
from toolchain.studies.proteins_models import DEFAULT_MODELS, MODELS, dense, proteins
from toolchain.studies.study import Found, Key, Scope, Study

AMOUNTS = (0.2,)


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the dense model.
        epochs: of fine-tuning, and of the model that is trained longer.
    """

    train_epochs: int = 40
    epochs: int = 20


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every amount in every fold."""
    return itertools.product(scope.models, range(scope.seeds), range(scope.folds), AMOUNTS)


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one model, seed and fold share the dense model."""
    graphs = proteins(scope.data_root)
    for (model, seed, number), group in itertools.groupby(keys, key=lambda key: key[:3]):
        parts = fold(graphs, number)
        graph = dense(model, parts, settings.train_epochs, seed)
        longer = evaluate(_tuned(graph, parts, settings, seed), parts.test)
        for _, _, _, amount in group:
            yield {**measured(graph, amount, parts, settings, seed), "longer": longer}


def measured(graph: Graph, amount: float, parts: Split, settings: Settings, seed: int) -> Found:
    """The values of one row."""
    start = time.perf_counter()
    pruned = prune(graph, L1Unstructured(amount))
    tuned = _tuned(pruned, parts, settings, seed)
    integer = select(tuned, StaticInt8(parts.train, min_agreement=0.98, seed=seed), accept_best=True).graph
    before, middle, after, int8 = (Footprint.of(g, parts.test) for g in (graph, pruned, tuned, integer))
    assert after.operations is not None and int8.operations is not None
    return {
        "dense": before.accuracy, "pruned": middle.accuracy, "test": after.accuracy, "int8": int8.accuracy,
        "zeros": after.sparsity, "bytes": after.bytes, "bytes_int8": int8.bytes,
        "bops_sparse": after.operations.bops_sparse, "bops_sparse_int8": int8.operations.bops_sparse,
        "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip


def _tuned(graph: Graph, parts: Split, settings: Settings, seed: int) -> Graph:
    return fine_tune(graph, list(parts.train), epochs=settings.epochs, lr=1e-3, seed=seed)


STUDY = Study(
    "proteins-pruning", keys=("model", "seed", "fold", "amount"),
    values=("dense", "longer", "pruned", "test", "int8", "zeros", "bytes", "bytes_int8", "bops_sparse",
            "bops_sparse_int8", "seconds"),
    settings=Settings, wanted=wanted, measure=measure, shown=("dense", "longer", "pruned", "test", "int8", "zeros"),
    paired=(("test", "dense"), ("int8", "test")), models=tuple(MODELS), default_models=DEFAULT_MODELS, seeds=1, folds=10,
    data_sets=("PROTEINS",),
)  # fmt: skip
