"""ECS against SNIP at densities of 20, 10 and 5 % on scikit-learn's digits, in float and in static int8.

    pocketgnn study digits-sensitivity --seeds 5

Every row trains newly drawn weights for `epochs` epochs in all: SNIP masks them before the first, ECS after the first. Both
keep the stated density of all weights, the head included (for ECS the union of both criteria has it). `test` is the float
Graph's accuracy, `int8` that of the static int8 Graph through the integer reference.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from toolchain.compression import ECS, SNIP, StaticInt8, evaluate, prune
from toolchain.compression.static_int8 import select
from toolchain.compression.step_report import sparsity
from toolchain.ir import Graph
from toolchain.studies.digits_models import MODELS, Subject, subject, trained
from toolchain.studies.study import Found, Key, Scope, Study

DENSITIES = (0.2, 0.1, 0.05)
METHODS = ("snip", "ecs")
LR = 3e-3


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        epochs: of training in all.
        limit: only the first so many images.
    """

    epochs: int = 40
    limit: int | None = None


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """The dense model, and both methods at every density."""
    ways = [(1.0, "dense"), *itertools.product(DENSITIES, METHODS)]
    return [(model, seed, *way) for model, seed, way in itertools.product(scope.models, range(scope.seeds), ways)]


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one model and seed share data and initial weights."""
    for model, seed, density, method in keys:
        start = time.perf_counter()
        begun = subject(model, seed, settings.limit)
        graph = sparse_trained(begun, method, density, settings, seed)
        quantized = select(graph, StaticInt8(begun.parts.train, min_agreement=0.98, seed=seed), accept_best=True)
        seconds = round(time.perf_counter() - start, 1)
        yield {
            "validation": evaluate(graph, begun.parts.validation), "test": evaluate(graph, begun.parts.test),
            "int8": evaluate(quantized.graph, begun.parts.test), "int8_mode": quantized.plan.mode,
            "zeros": sparsity(graph), "seconds": seconds,
        }  # fmt: skip


def sparse_trained(begun: Subject, method: str, density: float, settings: Settings, seed: int) -> Graph:
    """Newly drawn weights, masked by one of METHODS or "dense", and trained."""
    train = list(begun.parts.train)
    if method == "snip":
        masked = prune(begun.graph, SNIP(train, 1 - density, include_head=True, seed=seed))
        return trained(masked, begun.parts, settings.epochs, seed, LR)
    if method == "ecs":
        masked = prune(begun.graph, ECS(train, 1 - density, include_head=True, lr=LR, seed=seed))
        return trained(masked, begun.parts, settings.epochs - 1, seed, LR)
    return trained(begun.graph, begun.parts, settings.epochs, seed, LR)


STUDY = Study(
    "digits-sensitivity", keys=("model", "seed", "density", "method"),
    values=("validation", "test", "int8", "int8_mode", "zeros", "seconds"), settings=Settings, wanted=wanted,
    measure=measure, shown=("test", "int8", "zeros"), paired=(("int8", "test"),), models=MODELS, seeds=5,
)  # fmt: skip
