"""What int8 costs on PROTEINS: GCN 3x64 and GIN 5x64 trained, then quantized in each way, in paired folds.

    pocketgnn study proteins-int8 --data-root data

Accuracies are those of the test part of a fold. `float` is that of the float model, `accuracy` that of the quantized model in
the integer interpreter, and `simulated` that of the torch module that trains through the integers, where the method has one;
`simulation_error` is the largest difference between the outputs of these two. `agreement` is the share of test graphs that
keep their class, `max_error` and `mean_error` the error of the logits against the float model. Rows of pruned models compare
with the float model before pruning.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from toolchain.compression import DynamicInt8, L1Unstructured, StaticInt8, fine_tune, prune, quantize
from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.evaluation import agreement, as_inputs, batches, evaluate, predict
from toolchain.compression.static_int8 import Selection, select
from toolchain.compression.training import Schedule, train_module
from toolchain.datasets import Split, fold
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.studies.proteins_models import DEFAULT_MODELS, MODELS, dense, proteins
from toolchain.studies.study import Found, Key, Scope, Study
from toolchain.torch_module import TorchGraph

METHODS = (
    "dynamic int8", "static int8", "QAT int8", "pruned 20 %", "pruned, static int8", "static w4", "QAT w4",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        epochs: of the float training.
        qat_epochs: of QAT, and of fine-tuning after pruning.
    """

    epochs: int = 40
    qat_epochs: int = 5


@dataclass(frozen=True, slots=True)
class Quantized:
    """A quantized Graph, the module that simulates it where there is one, and how wide its values are."""

    graph: Graph
    simulation: CodeDomainModule | None = None
    mode: str = ""


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every method in every fold."""
    return itertools.product(scope.models, range(scope.seeds), range(scope.folds), METHODS)


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one model, seed and fold share the float model."""
    graphs = proteins(scope.data_root)
    for (model, seed, number), group in itertools.groupby(keys, key=lambda key: key[:3]):
        parts = fold(graphs, number)
        graph = dense(model, parts, settings.epochs, seed)
        for *_, method in group:
            yield measured(graph, quantized(graph, method, parts, settings, seed), parts)


def quantized(graph: Graph, method: str, parts: Split, settings: Settings, seed: int) -> Quantized:
    """The Graph that one of METHODS makes of a float Graph."""
    if method == "dynamic int8":
        return Quantized(quantize(graph, DynamicInt8()))
    if method.startswith("pruned"):
        pruned = prune(graph, L1Unstructured(0.2))
        graph = fine_tune(pruned, list(parts.train), epochs=settings.qat_epochs, seed=seed)
        if method == "pruned 20 %":
            return Quantized(graph)
    if method.endswith("w4"):
        static = StaticInt8(parts.train, weight_bits=4, min_agreement=0, mode="sums-int16", seed=seed)
    else:
        static = StaticInt8(parts.train, min_agreement=0.98, seed=seed)
    selection = select(graph, static, accept_best=True)
    if not method.startswith("QAT"):
        return Quantized(selection.graph, _simulation(selection), selection.plan.mode)
    module = _simulation(selection)
    lr = 1e-3 if method.endswith("w4") else 1e-4
    train_module(module, list(parts.train), Schedule(settings.qat_epochs, lr, seed=seed))
    return Quantized(module.to_integer_graph(), module, selection.plan.mode)


def measured(graph: Graph, made: Quantized, parts: Split) -> Found:
    """The values of one row."""
    test = as_inputs(parts.test)
    labels = np.array([int(data.y) for data in parts.test])
    expected, found = predict(graph, test), predict(made.graph, test)
    error = np.abs(expected - found)
    values: dict[str, float | int | str] = {
        "float": evaluate(graph, parts.test), "accuracy": evaluate(made.graph, parts.test), "simulated": "",
        "simulation_error": "", "agreement": agreement(expected, found), "max_error": float(error.max()),
        "mean_error": float(error.mean()), "bytes": made.graph.weight_bytes, "mode": made.mode,
    }  # fmt: skip
    if made.simulation is not None:
        simulated = simulate(made.simulation, test)
        values["simulated"] = float((simulated.argmax(axis=1) == labels).mean())
        values["simulation_error"] = float(np.abs(simulated - found).max())
    return values


def simulate(module: CodeDomainModule, graphs: Sequence[GraphInputs]) -> np.ndarray:
    """First output of the module that trains through the integers, [rows, channels]."""
    with torch.no_grad():
        parts = [module(TorchGraph.of(batch.prepare(module.graph.topologies)))[0].numpy() for batch in batches(graphs)]
    return np.concatenate(parts)


def _simulation(selection: Selection) -> CodeDomainModule:
    return CodeDomainModule(selection.source, selection.plan).eval()


STUDY = Study(
    "proteins-int8", keys=("model", "seed", "fold", "method"),
    values=("float", "accuracy", "simulated", "simulation_error", "agreement", "max_error", "mean_error", "bytes", "mode"),
    settings=Settings, wanted=wanted, measure=measure, shown=("float", "accuracy", "simulated", "agreement", "bytes"),
    paired=(("accuracy", "float"),), models=tuple(MODELS), default_models=DEFAULT_MODELS, seeds=1, folds=10,
    data_sets=("PROTEINS",),
)  # fmt: skip
