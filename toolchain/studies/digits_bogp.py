"""BoGP against global and uniform magnitude pruning, in one and five iterations, on scikit-learn's digits.

    pocketgnn study digits-bogp --seeds 5

A model is trained, pruned to each sparsity by each method, and trained again. An iteration is one pruning and one training of
`epochs` epochs, so that five iterations train five times as long; the column `epochs` says how long after the first training.
BoGP chooses its mask on the validation part, by the accuracy without training ("bogp") or after one epoch ("bogp trained",
where the epochs of its trials are not counted); the test part is read once, for the table. All weights are pruned, the head
included. The column `sparsity` is the share asked for, `zeros` the share found.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from toolchain.compression import BoGP, Iterative, L1Unstructured, evaluate, prune
from toolchain.compression.pruning import PruningMethod
from toolchain.compression.step_report import sparsity
from toolchain.datasets import Split
from toolchain.studies.digits_models import MODELS, subject, trained
from toolchain.studies.study import Found, Key, Scope, Study

SPARSITIES = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
METHODS = ("bogp", "bogp trained", "global 1", "global 5", "uniform 1", "uniform 5")
LR = 3e-3


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the dense model.
        epochs: after every pruning.
        nodes, database, trials: of BoGP.
        limit: only the first so many images.
    """

    train_epochs: int = 40
    epochs: int = 12
    nodes: int = 32
    database: int = 200
    trials: int = 30
    limit: int | None = None


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every method at every sparsity."""
    return itertools.product(scope.models, range(scope.seeds), SPARSITIES, METHODS)


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one model and seed share the dense model."""
    for (model, seed), group in itertools.groupby(keys, key=lambda key: key[:2]):
        begun = subject(model, seed, settings.limit)
        dense = trained(begun.graph, begun.parts, settings.train_epochs, seed)
        dense_test = evaluate(dense, begun.parts.test)
        for _, _, amount, name in group:
            start = time.perf_counter()
            pruned = prune(dense, method_of(name, amount, begun.parts, settings, seed))
            tuned = trained(pruned, begun.parts, settings.epochs, seed, LR)
            rounds = 5 if name.endswith(" 5") else 1
            yield {
                "dense_test": dense_test, "validation": evaluate(tuned, begun.parts.validation),
                "test": evaluate(tuned, begun.parts.test), "zeros": sparsity(tuned),
                "epochs": rounds * settings.epochs, "seconds": round(time.perf_counter() - start, 1),
            }  # fmt: skip


def method_of(name: str, amount: float, parts: Split, settings: Settings, seed: int) -> PruningMethod:
    """One of METHODS. Between its iterations a method trains as long as after the last."""
    if name.startswith("bogp"):
        judged: dict[str, Any] = {"loader": list(parts.train), "epochs": 1, "lr": LR} if name == "bogp trained" else {}
        return BoGP(
            parts.validation, amount, nodes=settings.nodes, database=settings.database, trials=settings.trials,
            include_head=True, seed=seed, **judged,
        )  # fmt: skip
    kind, rounds = name.split()
    once = L1Unstructured(amount, "global" if kind == "global" else "layer", include_head=True)
    if rounds == "1":
        return once
    return Iterative(once, list(parts.train), int(rounds), settings.epochs, lr=LR, seed=seed)


STUDY = Study(
    "digits-bogp", keys=("model", "seed", "sparsity", "method"),
    values=("dense_test", "validation", "test", "zeros", "epochs", "seconds"), settings=Settings, wanted=wanted,
    measure=measure, shown=("test", "zeros"), paired=(("test", "dense_test"),), models=MODELS,
)  # fmt: skip
