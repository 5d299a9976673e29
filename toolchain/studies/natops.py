"""Gestures on a skeleton of eight joints: float, static int8 and QAT int8.

    pocketgnn study natops --data-root data

NATOPS' own training and test parts, 180 gestures of six classes each; a tenth of the training part, drawn by the seed, is for
validation. `accuracy` is on the test part, integer models in the integer interpreter; `agreement` the share of test gestures that
keep their class of the float model; `codes_differing` counts outputs of training's own forward pass that are not those of the
integer model.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch_geometric.data import Data

from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.evaluation import accuracy, agreement, as_inputs, evaluate, predict
from toolchain.compression.qat import QAT, trained
from toolchain.compression.static_int8 import StaticInt8, select
from toolchain.datasets import Split, split
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.studies.proteins_int8 import simulate
from toolchain.studies.study import Found, Key, Scope, Study
from toolchain.studies.temporal_models import gesture_model
from toolchain.temporal_datasets import natops

METHODS = ("float", "static int8", "QAT int8")


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the float model.
        epochs: of training through the integers.
        lr: of the latter.
    """

    train_epochs: int = 60
    epochs: int = 10
    lr: float = 1e-4


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every method for every seed."""
    return itertools.product(range(scope.seeds), METHODS)


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one seed share the float model."""
    assert scope.data_root is not None, "Study.scope refuses a missing folder"
    training, test = natops(scope.data_root)
    for seed, group in itertools.groupby(keys, key=lambda key: key[0]):
        parts = parts_of(training, test, seed)
        model = gesture_model(parts.train, parts.validation, settings.train_epochs, seed)
        graph = lower(model, parts.train[0], name="gestures")
        for _, method in group:
            start = time.perf_counter()
            yield {**row(graph, parts, method, settings, seed), "seconds": round(time.perf_counter() - start, 1)}


def parts_of(training: Sequence[Data], test: Sequence[Data], seed: int) -> Split:
    """The parts of one seed: every tenth training gesture is for validation."""
    drawn = split(training, seed=seed, validation=0.1, test=0.0)
    return Split(drawn.train, drawn.validation, tuple(test))


def row(graph: Graph, parts: Split, method: str, settings: Settings, seed: int) -> Found:
    """The values of one method but the time that it took."""
    if method == "float":
        same = {"agreement": 1.0, "mean_error": 0.0, "codes_differing": 0, "bytes": graph.weight_bytes, "mode": ""}
        return {"accuracy": evaluate(graph, parts.test), **same}
    static = StaticInt8(parts.train, min_agreement=0.98, seed=seed)
    if method == "static int8":
        selection = select(graph, static, accept_best=True)
        module = CodeDomainModule(selection.source, selection.plan).eval()
    else:
        training = QAT(
            list(parts.train), settings.epochs, static, lr=settings.lr, seed=seed, batch_size=32,
            validation=list(parts.validation), criterion="loss",
        )  # fmt: skip
        module = trained(graph, training).module
    made, inputs = module.to_integer_graph(), as_inputs(parts.test)
    expected, found = predict(graph, inputs), predict(made, inputs)
    return {
        "accuracy": accuracy(parts.test, lambda: found), "agreement": agreement(expected, found),
        "mean_error": float(np.abs(expected - found).mean()),
        "codes_differing": int(np.count_nonzero(simulate(module, inputs) != found)), "bytes": made.weight_bytes,
        "mode": module.plan.mode,
    }  # fmt: skip


STUDY = Study(
    "natops", keys=("seed", "method"),
    values=("accuracy", "agreement", "mean_error", "codes_differing", "bytes", "mode", "seconds"),
    settings=Settings, wanted=wanted, measure=measure, shown=("accuracy", "agreement", "codes_differing", "bytes"),
    seeds=5, data_sets=("NATOPS",),
)  # fmt: skip
