"""Fixed widths below 8 bits on Planetoid graphs, trained with learned scales, with and without a teacher.

    pocketgnn study planetoid-low-bits --data-root data

A GCN of two layers and 128 hidden channels is trained in float on the public split, then through its integers from the float
weights; the epoch with the best accuracy on the validation nodes is kept. `float` and `accuracy` are on the test nodes, of the
float model and of the integer graph in the interpreter; `simulated` is that of the module that trains, and `differing` counts
the outputs, of all nodes and classes, in which the two are not the same number.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch_geometric.data import Data

from toolchain.compression import QAT, Distillation, Fixed, Learned, StaticInt8, evaluate
from toolchain.compression.evaluation import accuracy, as_inputs, predict
from toolchain.compression.qat import trained_module
from toolchain.compression.quantizers import Quantizer
from toolchain.ir import Graph
from toolchain.studies.planetoid_models import DATA_SETS, LR, WEIGHT_DECAY, float_model, load
from toolchain.studies.study import Found, Key, Scope, Study
from toolchain.torch_structure import TorchGraph

SLOTS = (
    "x", "conv1.lin.linear", "conv1.lin.weight", "conv1.propagate", "conv2.lin.linear", "conv2.lin.weight", "conv2.propagate",
)  # fmt: skip
CONFIGURATIONS = {
    "all 8": (8, 8, 8, 8, 8, 8, 8),
    "all 4": (4, 4, 4, 4, 4, 4, 4),
    "4 2 2, then 8 8 2 8": (4, 2, 2, 8, 8, 2, 8),
    "all 2, result 8": (2, 2, 2, 2, 2, 2, 8),
    "2 2 1, then 8 8 8 8": (2, 2, 1, 8, 8, 8, 8),
}
LOSSES = ("labels", "labels and teacher")


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the float model.
        epochs: of the training through the integers.
    """

    train_epochs: int = 100
    epochs: int = 60


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every configuration with every loss."""
    return itertools.product(scope.models, range(scope.seeds), CONFIGURATIONS, LOSSES)


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one data set and seed share the float model."""
    for (name, seed), group in itertools.groupby(keys, key=lambda key: key[:2]):
        data = load(scope.data_root, name)
        graph = float_model("GCN 128", data, settings.train_epochs, seed)
        for _, _, configuration, loss in group:
            method = training(graph, data, CONFIGURATIONS[configuration], settings.epochs, seed, loss)
            yield {"float": evaluate(graph, [data], mask="test_mask"), **measured(graph, method, data)}


def training(graph: Graph, data: Data, bits: Sequence[int], epochs: int, seed: int, loss: str) -> QAT:
    """How a configuration is trained."""
    static = StaticInt8([data], mode="int8", equalization=None, min_agreement=0)
    quantizers: dict[str, Quantizer] = {slot: Learned(width) for slot, width in zip(SLOTS, bits, strict=True)}
    quantizers["x"] = Fixed(bits[0], start="mse")  # so that its codes stay, and are kept as a sparse matrix
    return QAT(
        [data], epochs, static, lr=LR, weight_decay=WEIGHT_DECAY, seed=seed, validation=[data], quantizers=quantizers,
        distillation=Distillation(graph) if loss == "labels and teacher" else None,
    )  # fmt: skip


def measured(graph: Graph, method: QAT, data: Data) -> Found:
    """Accuracies of the integer graph and of the module that trains through it."""
    module, inputs = trained_module(graph, method), as_inputs([data])
    found = predict(module.to_integer_graph(), inputs)
    with torch.no_grad():
        simulated = module(TorchGraph.of(inputs[0].prepare(module.graph.topologies)))[0].numpy()
    return {
        "accuracy": accuracy([data], lambda: found, mask="test_mask"),
        "simulated": accuracy([data], lambda: simulated, mask="test_mask"),
        "differing": int((simulated != found).sum()),
    }


STUDY = Study(
    "planetoid-low-bits", keys=("data", "seed", "configuration", "loss"),
    values=("float", "accuracy", "simulated", "differing"), settings=Settings, wanted=wanted, measure=measure,
    shown=("float", "accuracy", "simulated", "differing"), paired=(("accuracy", "float"),), models=DATA_SETS,
    default_models=("Cora",), seeds=3, data_sets=DATA_SETS,
)  # fmt: skip
