"""Traffic of the next hour from that of the last one, on 207 sensors that never move: float, static int8 and QAT int8.

    pocketgnn study metr-la --data-root data

One week of METR-LA, split in time: 70 % for training, 10 % for validation, 20 % for tests. Every row is measured on the test part,
integer models in the integer interpreter. `mae15` to `rmse60` are mean absolute and root mean square errors in miles per hour, 15,
30 and 60 minutes ahead, over the measurements that are there. "last speed" says that nothing changes: what a model has to beat.
`agreement` is the share of test nodes whose three speeds stay within 2 % of their range of the float model's, `mean_error` the mean
difference from them. `codes_differing` counts outputs of training's own forward pass that are not those of the integer
model.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.evaluation import agreement, as_inputs, predict
from toolchain.compression.qat import QAT, trained
from toolchain.compression.static_int8 import StaticInt8, select
from toolchain.datasets import Split
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.studies.proteins_int8 import simulate
from toolchain.studies.study import Found, Key, Scope, Study
from toolchain.studies.temporal_models import horizon_errors, masked_mae, traffic_model
from toolchain.temporal_datasets import HORIZONS, STEP_MINUTES, Windows, metr_la, windows

METHODS = ("last speed", "float", "static int8", "QAT int8")
CALIBRATION_WINDOWS = 100
ERRORS = tuple(f"{kind}{minutes}" for minutes in HORIZONS for kind in ("mae", "rmse"))


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the float model.
        epochs: of training through the integers.
        lr: of the latter.
        stride: steps of five minutes between two windows.
    """

    train_epochs: int = 30
    epochs: int = 5
    lr: float = 1e-4
    stride: int = 3


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every method for every seed."""
    return itertools.product(range(scope.seeds), METHODS)


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one seed share the float model."""
    assert scope.data_root is not None, "Study.scope refuses a missing folder"
    data = windows(metr_la(scope.data_root), stride=settings.stride)
    for seed, group in itertools.groupby(keys, key=lambda key: key[0]):
        model = traffic_model(data, settings.train_epochs, seed)
        graph = lower(model, data.parts.train[0], name="traffic")
        for _, method in group:
            start = time.perf_counter()
            yield {**row(graph, data, method, settings, seed), "seconds": round(time.perf_counter() - start, 1)}


def row(graph: Graph, data: Windows, method: str, settings: Settings, seed: int) -> Found:
    """The values of one method but the time that it took."""
    test = data.parts.test
    same: Found = {"bytes": graph.weight_bytes, "mode": "", "agreement": 1.0, "mean_error": 0.0, "codes_differing": 0}
    if method == "last speed":
        assert data.parts.train[0].x.shape[1] * STEP_MINUTES == HORIZONS[-1], "the last column of x is the present"
        now = np.concatenate([graph.x.numpy()[:, -1:] for graph in test]) * data.deviation + data.mean
        return {**horizon_errors(np.repeat(now, len(HORIZONS), axis=1), test), **same, "bytes": 0}
    inputs = as_inputs(test)
    expected = predict(graph, inputs)
    if method == "float":
        return {**horizon_errors(expected, test), **same}
    module = static(graph, data.parts, seed) if method == "static int8" else qat(graph, data.parts, settings, seed)
    made = module.to_integer_graph()
    found = predict(made, inputs)
    return {
        **horizon_errors(found, test), "bytes": made.weight_bytes, "mode": module.plan.mode,
        "agreement": agreement(expected, found, are_numbers=True), "mean_error": float(np.abs(expected - found).mean()),
        "codes_differing": int(np.count_nonzero(simulate(module, inputs) != found)),
    }  # fmt: skip


def calibration(parts: Split, seed: int) -> StaticInt8:
    """Ranges from windows all over the training part."""
    step = max(len(parts.train) // CALIBRATION_WINDOWS, 1)
    return StaticInt8(parts.train[::step], min_agreement=0.98, seed=seed)


def static(graph: Graph, parts: Split, seed: int) -> CodeDomainModule:
    """The cheapest integer form of a graph that keeps 98 % of its rows, or the best one."""
    selection = select(graph, calibration(parts, seed), accept_best=True)
    return CodeDomainModule(selection.source, selection.plan).eval()


def qat(graph: Graph, parts: Split, settings: Settings, seed: int) -> CodeDomainModule:
    """The same form trained on, with the errors of the integers in the loss."""
    method = QAT(
        list(parts.train), settings.epochs, calibration(parts, seed), lr=settings.lr, loss=masked_mae, seed=seed,
        batch_size=32, validation=list(parts.validation), criterion="loss",
    )  # fmt: skip
    return trained(graph, method).module


STUDY = Study(
    "metr-la", keys=("seed", "method"),
    values=(*ERRORS, "agreement", "mean_error", "codes_differing", "bytes", "mode", "seconds"),
    settings=Settings, wanted=wanted, measure=measure, shown=(*ERRORS, "agreement", "codes_differing", "bytes"), seeds=3,
    data_sets=("METR-LA-1week",),
)  # fmt: skip
