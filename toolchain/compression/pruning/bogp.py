"""BoGP: Bayesian optimization of the graph properties of a relational mask."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolchain.compression.evaluation import evaluate
from toolchain.compression.pruning.masks import Masks, masked
from toolchain.compression.pruning.methods import MaskMethod, check_share
from toolchain.compression.pruning.relational import (
    check_nodes,
    graph_properties,
    random_relational_graph,
    weight_mask,
)
from toolchain.compression.pruning.selection import is_head, selected_weights
from toolchain.compression.training import Loss, Schedule, fine_tune
from toolchain.errors import RecipeError, require
from toolchain.ir import Graph
from toolchain.ir.ops import Const, Linear
from toolchain.seeds import check_seed

logger = logging.getLogger("pocketgnn")


@dataclass(frozen=True, slots=True, eq=False)
class BoGP(MaskMethod):
    """Search the relational graph whose mask leaves the model the most accurate on validation graphs.

    A database of random relational graphs is described by five graph properties. A Gaussian process proposes properties;
    the graph of the database that is nearest to them (by cosine of the scaled properties) makes the mask that is tried.

    Attributes:
        validation: graphs with labels that the mask is chosen on. Never the test graphs.
        amount: share of zeros, in (0, 1). Several shares make it a trade-off: (1 - alpha) * accuracy + alpha * sparsity.
        alpha: weight of sparsity in the trade-off.
        nodes: N of the relational graph; None: the smallest output width among the pruned weights that are no heads.
        database: relational graphs per share.
        trials: masks that are proposed; what is proposed again is not run again.
        initial: of these, how many at random before the Gaussian process starts.
        loader: training graphs, where each trial is fine-tuned for `epochs` epochs before it is evaluated.
        lr, weight_decay, loss, batch_size: of that fine-tuning, as for `fine_tune`.
        targets, include_head: as for L1Unstructured.
    """

    validation: Iterable[Any]
    amount: float | tuple[float, ...] = 0.5
    alpha: float = 0.1
    nodes: int | None = None
    database: int = 200
    trials: int = 30
    initial: int = 10
    loader: Iterable[Any] | None = None
    epochs: int = 0
    targets: tuple[str, ...] | None = None
    include_head: bool = False
    lr: float = 1e-3
    weight_decay: float = 0.0
    loss: Loss | None = None
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not self.amounts:
            raise RecipeError("amount: none given, expected a share such as 0.5, or several to choose from.")
        for amount in self.amounts:
            check_share("amount", amount)
        if self.nodes is not None:
            check_nodes(self.nodes)
        for place, least in (("database", 1), ("trials", 1), ("initial", 1)):
            if getattr(self, place) < least:
                raise RecipeError(f"{place}: {getattr(self, place)}, expected at least {least}.")
        if not 0 <= self.alpha <= 1:
            raise RecipeError(f"alpha: {self.alpha}, expected a share in [0, 1].")
        if (self.loader is None) != (self.epochs == 0):
            raise RecipeError(
                f"epochs: {self.epochs} {'without' if self.loader is None else 'with'} a loader; give both to fine-tune "
                "each trial, or neither."
            )
        self.schedule  # refuses a malformed one  # noqa: B018

    @property
    def amounts(self) -> tuple[float, ...]:
        return tuple(self.amount) if isinstance(self.amount, tuple | list) else (self.amount,)

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.epochs, self.lr, self.weight_decay, self.loss, self.seed, self.batch_size)

    @property
    def name(self) -> str:
        return f"BoGP {'|'.join(f'{amount:.0%}' for amount in self.amounts)}, {self.trials} trials"

    def masks(self, graph: Graph) -> Masks:
        names = selected_weights(graph, self.targets, self.include_head)
        best = max(search(graph, self), key=lambda trial: trial.objective)
        logger.info("BoGP: %s", best)
        return _masks(graph, names, best.adjacency)


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One relational mask that was tried.

    Attributes:
        adjacency: [N, N] bool.
        properties: [5], in the order of `relational.PROPERTIES`.
        amount: the share of zeros that it was drawn for.
        accuracy: on the validation graphs.
    """

    adjacency: np.ndarray
    properties: np.ndarray
    amount: float
    accuracy: float
    objective: float

    def __str__(self) -> str:
        nodes = len(self.adjacency)
        return f"{nodes} nodes, {self.amount:.0%} zeros, validation accuracy {self.accuracy:.2%}"


def search(graph: Graph, method: BoGP) -> list[Trial]:
    """Run the search; the trials in the order in which they were first proposed."""
    names = selected_weights(graph, method.targets, method.include_head)
    rng = np.random.default_rng(method.seed)
    nodes = method.nodes if method.nodes is not None else _default_nodes(graph, names)
    check_nodes(nodes, max(max(graph.constants[name].shape) for name in names))
    drawn = [(a, random_relational_graph(nodes, a, rng)) for a in method.amounts for _ in range(method.database)]
    properties = np.stack([graph_properties(adjacency) for _, adjacency in drawn])
    validation = list(method.validation)
    tried: dict[int, Trial] = {}

    def objective(index: int) -> float:
        if index not in tried:
            amount, adjacency = drawn[index]
            accuracy = evaluate(_candidate(graph, names, adjacency, method), validation)
            value = accuracy if len(method.amounts) == 1 else (1 - method.alpha) * accuracy + method.alpha * amount
            tried[index] = Trial(adjacency, properties[index], amount, accuracy, value)
            logger.debug("BoGP trial %d: %s", len(tried), tried[index])
        return tried[index].objective

    _propose(properties, objective, method)
    return list(tried.values())


def _propose(properties: np.ndarray, objective: Any, method: BoGP) -> None:
    """Let a Gaussian process propose properties, and try the graph nearest to each proposal."""
    low, high = properties.min(axis=0), properties.max(axis=0)
    varied = [int(i) for i in np.flatnonzero(high > low)]
    if not varied:  # a database of one, or of equals
        objective(0)
        return
    scaled = (properties - low)[:, varied] / (high - low)[varied]
    optuna = require("optuna", "search")
    box = {str(i): optuna.distributions.FloatDistribution(low[i], high[i]) for i in varied}
    with _quiet("optuna"):
        sampler = optuna.samplers.GPSampler(seed=method.seed, n_startup_trials=method.initial)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        for _ in range(method.trials):
            trial = study.ask(box)
            wanted = np.array([(trial.params[str(i)] - low[i]) / (high[i] - low[i]) for i in varied])
            study.tell(trial, objective(_nearest(scaled, wanted)))


def _nearest(rows: np.ndarray, wanted: np.ndarray) -> int:
    """The row with the largest cosine to a vector; a row of zeros has cosine 0."""
    lengths = np.linalg.norm(rows, axis=1) * max(float(np.linalg.norm(wanted)), 1e-12)
    return int(np.argmax(rows @ wanted / np.maximum(lengths, 1e-12)))


def _candidate(graph: Graph, names: list[str], adjacency: np.ndarray, method: BoGP) -> Graph:
    candidate = masked(graph, _masks(graph, names, adjacency))
    if method.loader is None:
        return candidate
    options = method.schedule
    return fine_tune(
        candidate, method.loader, epochs=options.epochs, lr=options.lr, weight_decay=options.weight_decay,
        loss=options.loss, seed=options.seed, batch_size=options.batch_size,
    )  # fmt: skip


def _masks(graph: Graph, names: list[str], adjacency: np.ndarray) -> dict[str, np.ndarray]:
    return {name: weight_mask(adjacency, graph.constants[name].shape) for name in names}


def _default_nodes(graph: Graph, names: list[str]) -> int:
    heads = {
        op.name
        for value in graph.values
        if isinstance(value.op, Linear) and is_head(graph, value)
        and isinstance(op := graph.values[value.inputs[1]].op, Const)
    }  # fmt: skip
    return min(graph.constants[name].shape[0] for name in [n for n in names if n not in heads] or names)


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Errors only from a library's log, for a while."""
    library = logging.getLogger(name)
    level = library.level
    library.setLevel(logging.ERROR)
    try:
        yield
    finally:
        library.setLevel(level)
