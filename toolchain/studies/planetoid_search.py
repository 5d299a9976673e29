"""Bits of a GCN on Planetoid graphs, found automatically within a budget of bit operations.

    pocketgnn study planetoid-search --data-root data

A GCN of two layers and 128 hidden channels is trained in float. `sensitivity` narrows one value or weight at a time, adds up
the losses and trains the best assignments within the budget in full; `rule` is what one would do by hand: the result at 8
bits, the input of the last aggregation at 4 or more, the rest of the second layer at 8, and the budget spent on the first
Linear; `relaxed` is MixQ's softmax mixture at the penalty whose result comes nearest below the budget. Everything is chosen
on the validation nodes, by their loss: widths that differ by a point of accuracy or less are beyond what 500 nodes can tell.
`loss` is "labels" or "distilled", as in `planetoid`: what sensitivity trains is trained in that way; the other two do not
depend on it. `bit_operations` is in MixQ's accounting, `share` of the float model's. The seed draws the weights of the float
model; it starts at 100, apart from those of `planetoid`.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from torch_geometric.data import Data

from toolchain.compression import QAT, Distillation, StaticInt8, evaluate
from toolchain.compression.bit_search import (
    Assignment,
    MixQ,
    SearchSpace,
    SensitivitySearch,
    best_assignments,
    relaxed_search,
    sensitivity_search,
)
from toolchain.compression.qat import quantization_aware
from toolchain.errors import RecipeError
from toolchain.ir import Graph
from toolchain.studies.planetoid_models import DATA_SETS, LR, WEIGHT_DECAY, dropout, float_model, load
from toolchain.studies.row_file import Row, RowFile
from toolchain.studies.study import Found, Key, Scope, Study

WIDTHS = (2, 4, 8)
FLOAT_GIGA = {"Cora": 16.134, "CiteSeer": 50.708, "PubMed": 41.862}  # of the float model, 32 bits everywhere
BUDGETS = {"Cora": (1.1,), "CiteSeer": (50.708 / 12,), "PubMed": (41.862 / 12,)}  # 10^9 bit operations
METHODS = ("sensitivity", "rule", "relaxed")
LOSSES = ("labels", "distilled")
PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)
FIRST_SEED = 100
MODEL = "GCN 128"


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the float model.
        probe_epochs: of a training with one slot narrowed.
        epochs: of a finalist.
        finalists: assignments that are trained in full.
        search_seeds: trainings of each probe and finalist, whose mean counts.
        methods: those that are run, joined by "+".
    """

    train_epochs: int = 100
    probe_epochs: int = 25
    epochs: int = 50
    finalists: int = 5
    search_seeds: int = 1
    methods: str = "+".join(METHODS)


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every method at every budget of every data set."""
    for name, seed in itertools.product(scope.models, range(scope.seeds)):
        for budget, method, loss in itertools.product(BUDGETS[name], settings.methods.split("+"), LOSSES):
            yield name, seed, method, loss, round(budget, 3)


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one data set and seed share the float model."""
    for (name, seed), group in itertools.groupby(keys, key=lambda key: key[:2]):
        data = load(scope.data_root, name, MODEL)
        graph = float_model(MODEL, data, settings.train_epochs, FIRST_SEED + seed)
        space = SearchSpace.of(graph, static(data), WIDTHS, [data])
        alike: dict[tuple[str, float], Assignment] = {}  # of the methods that do not depend on the loss
        for _, _, method, loss, budget in group:
            start, is_distilled = time.perf_counter(), loss == "distilled"
            assignment = alike.get((method, budget)) or chosen(
                graph, space, data, method, budget * 1e9, settings, seed, is_distilled=is_distilled
            )
            if method != "sensitivity":
                alike[method, budget] = assignment
            qat = training(graph, space, data, assignment, settings.epochs, seed, is_distilled=is_distilled)
            made = quantization_aware(graph, qat)
            cost = space.cost(assignment)
            yield {
                "bits": text_of(assignment), "bit_operations": round(cost / 1e9, 4),
                "share": cost / 1e9 / FLOAT_GIGA[name], "validation": evaluate(made, [data]),
                "seconds": round(time.perf_counter() - start, 1),
            }  # fmt: skip


def chosen(
    graph: Graph, space: SearchSpace, data: Data, method: str, budget: float, settings: Settings, seed: int, *, is_distilled: bool,
) -> Assignment:  # fmt: skip
    """The assignment that a method takes."""
    if method == "sensitivity":
        qat = training(graph, space, data, {}, settings.epochs, seed, is_distilled=is_distilled)
        qat = replace(qat, criterion="loss")  # finer than accuracy, whose steps are those of single nodes
        search = SensitivitySearch(
            qat, [data], budget, settings.probe_epochs, settings.finalists, settings.search_seeds
        )
        return sensitivity_search(graph, space, search).assignment
    if method == "rule":
        return by_rule(space, budget)
    found = [
        relaxed_search(space, MixQ([data], settings.epochs, penalty, lr=LR, weight_decay=WEIGHT_DECAY, seed=seed))
        for penalty in PENALTIES
    ]
    within = [assignment for assignment in found if space.cost(assignment) <= budget]
    return max(within or [min(found, key=space.cost)], key=space.cost)


def by_rule(space: SearchSpace, budget: float) -> Assignment:
    """Result 8 bits, last Linear's result 4 or more, the rest of the second layer 8; the first layer gets what is left."""
    last = space.slots.values[-1].name
    least = {name: 2 if name == "x" or name.startswith("conv1.lin") else 8 for name in space.candidates}
    least["conv2.lin.linear"] = 4
    losses = {
        name: {bits: 0.0 if bits == 8 else 1 / bits for bits in widths if bits >= least[name]}
        for name, widths in space.candidates.items()
    }
    assert least[last] == 8, "the last value is the result"
    return best_assignments(losses, space.costs, budget)[0]


def static(data: Data) -> StaticInt8:
    """Ranges over the one graph; attention runs in integers as well."""
    return StaticInt8([data], mode="int8", equalization=None, min_agreement=0, edge_arithmetic="integer")


def training(
    graph: Graph, space: SearchSpace, data: Data, assignment: Assignment, epochs: int, seed: int, *, is_distilled: bool,
    model: str = MODEL,
) -> QAT:  # fmt: skip
    """How an assignment is trained.

    With the teacher's probabilities, the epoch of the lowest validation loss is kept. Labels alone, 20 for each class, make a model
    sure of itself and teach it little that the float model does not know: a fifth of the learning rate, and the epoch of the
    highest accuracy.
    """
    quantizers = space.quantizers(assignment)
    return QAT(
        [data], epochs, static(data), lr=LR if is_distilled else LR / 5, weight_decay=WEIGHT_DECAY, seed=seed,
        validation=[data], criterion="loss" if is_distilled else "accuracy", quantizers=quantizers,
        distillation=Distillation(graph) if is_distilled else None, dropout=dropout(model),
    )  # fmt: skip


def text_of(assignment: Assignment) -> str:
    """An assignment in one cell: "x:2 conv1.lin.linear:4 ..."."""
    return " ".join(f"{name}:{bits}" for name, bits in assignment.items())


def found_assignment(path: Path, data: str, method: str, loss: str) -> Assignment:
    """What a run of this study found for seed 0.

    Raises:
        RecipeError: the file has no such row.
    """
    (row,) = _found(path, data, loss, (method,))
    return _bits(row)


def best_found(path: Path, data: str) -> Assignment:
    """What the search found whose model, trained from labels, was the most accurate on the validation nodes; of equals the first.

    Raises:
        RecipeError: the file lacks a row of a search.
    """
    return _bits(max(_found(path, data, "labels", METHODS), key=lambda row: float(row["validation"])))


def _found(path: Path, data: str, loss: str, methods: Sequence[str]) -> list[Row]:
    """The rows of seed 0, one for each method."""
    settings = (
        "" if not path.exists() else path.read_text(encoding="utf-8").splitlines()[1].removeprefix("# settings: ")
    )
    rows = RowFile(path, STUDY.keys, STUDY.values, "", settings).rows if path.exists() else []
    found = {row["method"]: row for row in rows if (row["data"], row["seed"], row["loss"]) == (data, "0", loss)}
    for method in methods:
        if method not in found:
            raise RecipeError(
                f"{path}: has no bits for {data}, {loss}, by {method}. Run `pocketgnn study planetoid-search` first."
            )
    return [found[method] for method in methods]


def _bits(row: Row) -> Assignment:
    return {name: int(bits) for name, bits in (cell.rsplit(":", 1) for cell in row["bits"].split())}


STUDY = Study(
    "planetoid-search", keys=("data", "seed", "method", "loss", "budget"),
    values=("bits", "bit_operations", "share", "validation", "seconds"), settings=Settings, wanted=wanted, measure=measure,
    shown=("bit_operations", "share", "validation"), models=DATA_SETS, default_models=("Cora",), seeds=1,
    data_sets=DATA_SETS,
)  # fmt: skip
