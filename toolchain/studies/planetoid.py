"""Low bits on Cora, CiteSeer and PubMed, public split: accuracy of the integer model beside float, with and without distillation.

    pocketgnn study planetoid --data-root data --set found=out/studies/planetoid_search.csv

A GCN of two layers and 128 hidden channels (others by --model) is trained in float, then trained on as integers with learned
scales. `loss` is "labels" or "distilled": then all nodes also learn from the float model's probabilities. The float row with
distillation is a float model trained on in the same way, the fair reference for the others. Training on drops inputs and hidden
values as the float model's own training does. `bit_operations` are 10^9 in MixQ's accounting, `bops` 10^9 in the product
accounting, both for the dense features that the literature counts.

`simulated` is the accuracy of training's own forward pass, `integer` that of the integer model in the reference interpreter,
on the test nodes, at an epoch chosen on the validation nodes: the most accurate one from labels, the one of the lowest loss with a
teacher. `codes_differing` counts outputs of the two that are not equal. Bits of "sensitivity", "rule" and "relaxed" were found by
`planetoid-search`, on validation nodes, by training in the way of the row; "best search" has in both rows the bits of that search
whose model, trained from labels, was best on the validation nodes.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch_geometric.data import Data

from toolchain.compression import evaluate
from toolchain.compression.bit_search import Assignment, SearchSpace
from toolchain.compression.distillation import Distillation
from toolchain.compression.evaluation import accuracy, as_inputs, predict
from toolchain.compression.qat import QAT, trained_module
from toolchain.compression.training import fine_tune
from toolchain.ir import Graph
from toolchain.ir.operation_counts import GraphSizes, operation_counts
from toolchain.studies.planetoid_models import DATA_SETS, LR, MODELS, WEIGHT_DECAY, float_model, load
from toolchain.studies.planetoid_search import (
    LOSSES,
    METHODS,
    MODEL,
    WIDTHS,
    best_found,
    found_assignment,
    static,
    text_of,
    training,
)
from toolchain.studies.study import Found, Key, Scope, Study
from toolchain.torch_structure import TorchGraph

UNIFORM = {"8 bits": 8, "4 bits": 4, "2 bits": 2}
BEST = "best search"
RESULT_8 = "4 bits, result 8"
CONFIGURATIONS = ("float", *UNIFORM, *METHODS, BEST)
NARROW = ("float", "8 bits", "4 bits", RESULT_8)
FIXED = {  # of Cora: bits of the slots of a GCN in the order of execution, values before weights
    "all 2, result 8": (2, 2, 2, 2, 8, 2, 2),
    "x 4, first 2, then 8": (4, 2, 8, 8, 8, 2, 2),
    "1-bit first weight": (2, 2, 8, 8, 8, 1, 8),
}


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the float model.
        epochs: of training on.
        data: the data sets, joined by "+".
        found: the csv of `planetoid-search`; empty: the one that is kept with the studies.
    """

    train_epochs: int = 100
    epochs: int = 60
    data: str = "+".join(DATA_SETS)
    found: str = ""

    @property
    def path(self) -> Path:
        return Path(self.found) if self.found else Path(__file__).parent / "results" / "planetoid_search.csv"


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Searched bits for the wide GCN, which they were searched for, and fixed ones on Cora; 8 and 4 bits for every model.

    The others also have the row of 4 bits whose result has 8: what a search gives the wide GCN.
    """
    for name, model, seed in itertools.product(settings.data.split("+"), scope.models, range(scope.seeds)):
        configurations: tuple[str, ...] = NARROW
        if model == MODEL:
            configurations = (*CONFIGURATIONS, *FIXED) if name == "Cora" else CONFIGURATIONS
        yield from ((name, model, seed, *rest) for rest in itertools.product(configurations, LOSSES))


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one data set, model and seed share the float model."""
    for (name, model, seed), group in itertools.groupby(keys, key=lambda key: key[:3]):
        data = load(scope.data_root, name, model)
        graph = float_model(model, data, settings.train_epochs, seed)
        space = SearchSpace.of(graph, static(data), WIDTHS, [data])
        trained: dict[tuple[str, str], Found] = {}  # by bits and loss: methods that chose the same share a training
        for *_, configuration, loss in group:
            start = time.perf_counter()
            if configuration == "float":
                values = float_row(graph, data, settings.epochs, seed, is_distilled=loss == "distilled")
                yield {**values, "seconds": round(time.perf_counter() - start, 1)}
                continue
            assignment = bits_of(space, name, configuration, loss, settings.path)
            chosen = text_of(assignment), loss
            if chosen not in trained:
                method = training(
                    graph,
                    space,
                    data,
                    assignment,
                    settings.epochs,
                    seed,
                    is_distilled=loss == "distilled",
                    model=model,
                )
                values = integer_row(graph, method, space, assignment, data)
                trained[chosen] = {**values, "seconds": round(time.perf_counter() - start, 1)}
            yield trained[chosen]


def bits_of(space: SearchSpace, data: str, configuration: str, loss: str, path: Path) -> Assignment:
    """What a configuration gives every slot."""
    if configuration in UNIFORM:
        return dict.fromkeys(space.candidates, UNIFORM[configuration])
    if configuration == RESULT_8:
        return {**dict.fromkeys(space.candidates, 4), space.slots.values[-1].name: 8}
    if configuration in FIXED:
        return dict(zip(space.candidates, FIXED[configuration], strict=True))
    if configuration == BEST:
        return best_found(path, data)
    return found_assignment(path, data, configuration, loss)


def float_row(graph: Graph, data: Data, epochs: int, seed: int, *, is_distilled: bool) -> Found:
    """The float model, or one that was trained on with its probabilities as targets."""
    if is_distilled:
        graph = fine_tune(
            graph, [data], epochs=epochs, lr=LR, weight_decay=WEIGHT_DECAY, seed=seed, distillation=Distillation(graph),
            keep_best=[data], criterion="loss",
        )  # fmt: skip
    counts = operation_counts(graph, GraphSizes.mean_of(graph.topologies, as_inputs([data])))
    test = evaluate(graph, [data], mask="test_mask")
    return {
        "bit_operations": counts.bit_operations / 1e9, "bops": counts.bops / 1e9, "validation": evaluate(graph, [data]),
        "simulated": test, "integer": test, "codes_differing": 0,
    }  # fmt: skip


def integer_row(graph: Graph, method: QAT, space: SearchSpace, assignment: Assignment, data: Data) -> Found:
    """A model trained on as integers, measured in training's own arithmetic and as the integer graph."""
    module, inputs = trained_module(graph, method), as_inputs([data])
    made = module.to_integer_graph()
    found = predict(made, inputs)
    with torch.no_grad():
        simulated = module(TorchGraph.of(inputs[0].prepare(module.graph.topologies)))[0].numpy()
    counts = operation_counts(space.integer(assignment), space.sizes)
    return {
        "bit_operations": counts.bit_operations / 1e9, "bops": counts.bops / 1e9, "validation": evaluate(made, [data]),
        "simulated": accuracy([data], lambda: simulated, mask="test_mask"),
        "integer": accuracy([data], lambda: found, mask="test_mask"),
        "codes_differing": int(np.count_nonzero(simulated != found)),
    }  # fmt: skip


SHOWN = ("bit_operations", "bops", "validation", "simulated", "integer", "codes_differing")
STUDY = Study(
    "planetoid", keys=("data", "model", "seed", "configuration", "loss"), values=(*SHOWN, "seconds"),
    settings=Settings, wanted=wanted, measure=measure, shown=SHOWN, models=tuple(MODELS), default_models=("GCN 128",), seeds=10,
    data_sets=DATA_SETS,
)  # fmt: skip
