"""Weights from codebooks of 5, 16 and 32 values on PROTEINS, against int8 in the same folds.

    pocketgnn study proteins-sharing --data-root data

GCN 3x64 and GIN 5x64 are trained, every weight matrix gets its values from a codebook found by k-means, and the values are
fine-tuned, in stratified folds; a seed draws the weights and the shuffles. On the test part of the fold, `dense` is the accuracy
of the trained model and `int8` that of the same model in static int8; `longer` is int8 after as much fine-tuning without sharing;
`shared` is the accuracy before fine-tuning, `tuned` after it, and `test` that of the fine-tuned model in static int8, all
through the interpreter. The bytes are those of the constants of the C file: `bytes_float` and `bytes` of the fine-tuned model in
float and in int8, `bytes_int8` of the int8 model without sharing.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from toolchain.compression import KMeans, StaticInt8, evaluate, fine_tune, share
from toolchain.compression.static_int8 import select
from toolchain.datasets import Split, fold
from toolchain.exporters.c.emitter import emit
from toolchain.exporters.emission import Bounds
from toolchain.ir import Graph
from toolchain.passes import deployable
from toolchain.studies.proteins_models import DEFAULT_MODELS, MODELS, dense, proteins
from toolchain.studies.study import Found, Key, Scope, Study

CLUSTERS = (5, 16, 32)


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the dense model.
        epochs: of fine-tuning the values, and of the model without sharing that is trained longer.
    """

    train_epochs: int = 40
    epochs: int = 20


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every number of clusters, fold after fold."""
    keys = itertools.product(range(scope.seeds), range(scope.folds), scope.models, CLUSTERS)
    return [(model, seed, number, clusters) for seed, number, model, clusters in keys]


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one model, seed and fold share the dense model."""
    graphs = proteins(scope.data_root)
    for (model, seed, number), group in itertools.groupby(keys, key=lambda key: key[:3]):
        parts = fold(graphs, number)
        graph = dense(model, parts, settings.train_epochs, seed)
        plain = _int8(graph, parts, seed)
        common = {
            "dense": evaluate(graph, parts.test), "int8": evaluate(plain, parts.test),
            "longer": evaluate(_int8(_tuned(graph, parts, settings, seed), parts, seed), parts.test),
            "bytes_int8": constant_bytes(plain),
        }  # fmt: skip
        for _, _, _, clusters in group:
            yield {**common, **measured(graph, clusters, parts, settings, seed)}


def measured(graph: Graph, clusters: int, parts: Split, settings: Settings, seed: int) -> Found:
    """The values of one row that depend on the clusters."""
    start = time.perf_counter()
    shared = share(graph, KMeans(clusters))
    tuned = _tuned(shared, parts, settings, seed)
    integer = _int8(tuned, parts, seed)
    return {
        "shared": evaluate(shared, parts.test), "tuned": evaluate(tuned, parts.test),
        "test": evaluate(integer, parts.test), "bytes_float": constant_bytes(tuned), "bytes": constant_bytes(integer),
        "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip


def constant_bytes(graph: Graph) -> int:
    """Of the arrays in the C file of a model."""
    bytes_: int = emit(deployable(graph), Bounds(64, 512, 1)).facts["constant_bytes"]
    return bytes_


def _tuned(graph: Graph, parts: Split, settings: Settings, seed: int) -> Graph:
    return fine_tune(graph, list(parts.train), epochs=settings.epochs, lr=1e-3, seed=seed)


def _int8(graph: Graph, parts: Split, seed: int) -> Graph:
    return select(graph, StaticInt8(parts.train, min_agreement=0.98, seed=seed), accept_best=True).graph


STUDY = Study(
    "proteins-sharing", keys=("model", "seed", "fold", "clusters"),
    values=("dense", "int8", "longer", "shared", "tuned", "test", "bytes_int8", "bytes_float", "bytes", "seconds"),
    settings=Settings, wanted=wanted, measure=measure, shown=("dense", "int8", "shared", "tuned", "test", "bytes"),
    paired=(("test", "int8"), ("test", "longer")), models=tuple(MODELS), default_models=DEFAULT_MODELS, seeds=1, folds=10,
    data_sets=("PROTEINS",),
)  # fmt: skip
