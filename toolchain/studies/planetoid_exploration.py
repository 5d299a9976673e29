"""What each width does: random bit assignments of a GCN on Planetoid graphs, and the main effect of every slot.

    pocketgnn study planetoid-exploration --data-root data

Assignments of 2, 4 or 8 bits to the seven values and weights of a GCN with two layers and 128 hidden channels are drawn at
random, all different, and trained on from one float model. A row is one slot at one width: the mean over all assignments that
have it of the accuracy on the validation and the test nodes, by the integer model. `effect` is the mean test accuracy against
that of all assignments. With 3^7 = 2,187 `trials` every assignment is tried.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch_geometric.data import Data

from toolchain.compression import evaluate
from toolchain.compression.bit_search import Assignment, SearchSpace, Trial, assignments, explore, main_effects
from toolchain.compression.qat import quantization_aware
from toolchain.ir import Graph
from toolchain.studies.planetoid_models import DATA_SETS, float_model, load
from toolchain.studies.planetoid_search import MODEL, WIDTHS, static, training
from toolchain.studies.study import Found, Key, Scope, Study

SLOTS = (
    "x", "conv1.lin.linear", "conv1.lin.weight", "conv1.propagate", "conv2.lin.linear", "conv2.lin.weight", "conv2.propagate",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the float model.
        epochs: of each assignment.
        trials: assignments.
        distilled: 1: the float model is a teacher; 0: labels only.
    """

    train_epochs: int = 100
    epochs: int = 25
    trials: int = 150
    distilled: int = 0


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every slot at every width."""
    return itertools.product(scope.models, range(scope.seeds), SLOTS, WIDTHS)


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one data set and seed share all trials."""
    for (name, seed), group in itertools.groupby(keys, key=lambda key: key[:2]):
        data = load(scope.data_root, name, MODEL)
        graph = float_model(MODEL, data, settings.train_epochs, seed)
        validation, test = tried(graph, data, settings, seed)
        effects = {(e.slot, e.bits): e for e in main_effects(test)}
        seen = {(e.slot, e.bits): e.accuracy for e in main_effects(validation)}
        mean = float(np.mean([trial.accuracy for trial in test]))
        for _, _, slot, bits in group:
            effect = effects[slot, bits]
            yield {
                "validation": seen[slot, bits], "test": effect.accuracy, "effect": effect.accuracy - mean,
                "trials": effect.trials,
            }  # fmt: skip


def tried(graph: Graph, data: Data, settings: Settings, seed: int) -> tuple[list[Trial], list[Trial]]:
    """All trials, with their accuracies on the validation nodes and on the test nodes."""
    space = SearchSpace.of(graph, static(data), WIDTHS, [data])
    tests: list[float] = []

    def accuracy(assignment: Assignment) -> float:
        method = training(graph, space, data, assignment, settings.epochs, seed, is_distilled=bool(settings.distilled))
        made = quantization_aware(graph, method)
        tests.append(evaluate(made, [data], mask="test_mask"))
        return evaluate(made, [data])

    chosen = assignments(space.candidates, count=settings.trials, seed=seed)
    validation = list(explore(chosen, accuracy, space.cost))
    test = [Trial(trial.assignment, found, trial.cost) for trial, found in zip(validation, tests, strict=True)]
    return validation, test


STUDY = Study(
    "planetoid-exploration", keys=("data", "seed", "slot", "bits"), values=("validation", "test", "effect", "trials"),
    settings=Settings, wanted=wanted, measure=measure, shown=("validation", "test", "effect"), models=DATA_SETS,
    default_models=("Cora",), seeds=1, data_sets=DATA_SETS,
)  # fmt: skip
