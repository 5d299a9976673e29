"""Circular skip links at few bits: ten classes of graphs that no model tells apart by its neighbours' features alone.

    pocketgnn study csl

A graph has 41 nodes on a ring, and links to the nodes `skip` steps on; its skip is its class, and its nodes are numbered at random
(Murphy et al. 2019, arXiv:1903.02541). 15 graphs of each of the ten classes, in five stratified folds. Every node has four
neighbours, so the features are positions, as in benchmarks of these graphs: the eigenvectors of the Laplacian's 20 smallest
eigenvalues but the first. GIN of four layers, 64 channels, mean pool, trained in float, then trained on as integers with learned
scales, all values and weights at 8, 4, 2 or 1 bits, or at 1, 2 and 4 bits as MixQ's relaxed search gives them out ("relaxed").

Accuracies are those of the test part, at the epoch with the lowest validation loss. `simulated` is that of training's own forward
pass, `integer` that of the integer model in the reference interpreter; `codes_differing` counts outputs of the two that are not
equal. `bits` is the mean over values and weights.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch_geometric.data import Data

from toolchain.compression import QAT, Learned, StaticInt8
from toolchain.compression.bit_search import MixQ, SearchSpace, relaxed_search
from toolchain.compression.evaluation import evaluate
from toolchain.compression.qat import trained
from toolchain.compression.quantizers import Quantizer
from toolchain.datasets import Split, fold
from toolchain.ir import Graph
from toolchain.studies.study import Found, Key, Scope, Study
from toolchain.studies.tu import integer_row
from toolchain.studies.tu_models import FloatModel, float_model

NODES, SKIPS, COPIES, POSITIONS, FOLDS = 41, (2, 3, 4, 5, 6, 9, 11, 12, 13, 16), 15, 20, 5
UNIFORM = {"8 bits": 8, "4 bits": 4, "2 bits": 2, "1 bit": 1}
METHODS = ("float", *UNIFORM, "relaxed")
WIDTHS, PENALTY, LR, BATCH = (1, 2, 4), 0.1, 0.002, 30


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the float model.
        epochs: of training on as integers.
        search_epochs: of the relaxed search.
    """

    train_epochs: int = 100
    epochs: int = 40
    search_epochs: int = 30


def circular_skip_links(seed: int = 0) -> list[Data]:
    """The 150 graphs, class after class."""
    rng = np.random.default_rng(seed)
    pairs = itertools.product(range(len(SKIPS)), range(COPIES))
    return [_graph(SKIPS[label], label, rng.permutation(NODES)) for label, _ in pairs]


def _graph(skip: int, label: int, numbers: np.ndarray) -> Data:
    nodes = np.arange(NODES)
    ends = [(numbers[nodes], numbers[(nodes + step) % NODES]) for step in (1, -1, skip, -skip)]
    edges = np.concatenate([np.stack(pair) for pair in ends], axis=1)  # [2, E]
    laplacian = 4 * np.eye(NODES)
    laplacian[edges[0], edges[1]] = -1
    _, vectors = np.linalg.eigh(laplacian)
    # Eigenvectors have length 1; features should be of the order of 1.
    x = (vectors[:, 1 : POSITIONS + 1] * NODES**0.5).astype(np.float32)
    return Data(x=torch.from_numpy(x), edge_index=torch.from_numpy(edges), y=torch.tensor([label]))


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every method in every fold."""
    return itertools.product(range(scope.seeds), range(scope.folds), METHODS)


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one seed and fold share the float model."""
    graphs = circular_skip_links()
    for (seed, number), rows in itertools.groupby(keys, key=lambda key: key[:2]):
        parts = fold(graphs, number, folds=FOLDS)
        model = float_model(parts, settings.train_epochs, seed, BATCH, layers=4)
        for *_, method in rows:
            start = time.perf_counter()
            yield {**row(model, method, parts, settings, seed), "seconds": round(time.perf_counter() - start, 1)}


def row(model: FloatModel, method: str, parts: Split, settings: Settings, seed: int) -> Found:
    """The values of one of METHODS."""
    if method == "float":
        test = evaluate(model.graph, parts.test)
        return {"bits": 32, "validation": model.validation, "simulated": test, "integer": test, "codes_differing": 0}
    static = StaticInt8(parts.train, mode="int8", equalization=None, min_agreement=0, seed=seed)
    training = QAT(
        list(parts.train), settings.epochs, static, lr=LR, seed=seed, batch_size=BATCH,
        quantizers=quantizers(model.graph, method, parts, static, settings, seed), validation=list(parts.validation),
        criterion="loss",
    )  # fmt: skip
    found = integer_row(trained(model.graph, training).module, parts)
    return {name: found[name] for name in ("bits", "validation", "simulated", "integer", "codes_differing")}


def quantizers(
    graph: Graph, method: str, parts: Split, static: StaticInt8, settings: Settings, seed: int
) -> Mapping[str, Quantizer]:
    """One of UNIFORM, or the widths of the search."""
    if method in UNIFORM:
        return {"*": Learned(UNIFORM[method])}
    space = SearchSpace.of(graph, static, WIDTHS, parts.validation)
    search = MixQ(list(parts.train), settings.search_epochs, PENALTY, lr=LR, seed=seed, batch_size=BATCH)
    return space.quantizers(relaxed_search(space, search))


STUDY = Study(
    "csl", keys=("seed", "fold", "method"),
    values=("bits", "validation", "simulated", "integer", "codes_differing", "seconds"), settings=Settings, wanted=wanted,
    measure=measure, shown=("bits", "validation", "simulated", "integer", "codes_differing"), seeds=1, folds=FOLDS,
)  # fmt: skip
