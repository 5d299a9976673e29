"""A2Q on citation graphs, public split: steps and widths of groups of nodes against one step and width for all of them.

    pocketgnn study planetoid-a2q --data-root data

A GCN of two layers (16 hidden channels; 128 by --model) is trained in float, then trained on as integers. What varies is how the
two values that only linear layers read are stored, the features and the sums of the first layer: with "one step" for all
nodes, with steps of eight groups of in-degrees ("degree"), or with eight pairs of step and width of which every row takes
the one that reaches nearest ("nearest"). Widths of "4 bits" stay; those of groups at "2 bits" start at 4, learn, and are
pressed towards a mean of 2 by a penalty, so that `bits` says where they end. "local" lets steps and widths follow the
rounding error of their own rows. Weights have 4 bits, messages and results 8. The float row is a float model trained on as
long.

`bits` is the mean width of an element of the two values over the graph and `memory_kib` their size. `integer` is the accuracy of
the integer model in the reference interpreter on the test nodes, at the epoch that is best on the validation nodes;
`codes_differing` counts its outputs that are not those of training's forward pass. `test_max` is the largest accuracy on the
test nodes after any epoch, as A2Q's paper reports it: it chooses the epoch by the test nodes, so it is no estimate of
anything, and stands here for comparison with the paper only.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch_geometric.data import Data

from toolchain.compression import A2Q, QAT, Learned, evaluate
from toolchain.compression.evaluation import accuracy, as_inputs, predict
from toolchain.compression.qat import trained_module
from toolchain.compression.training import Schedule, train_module
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, Value, interpret
from toolchain.ir.operation_counts import bits_of
from toolchain.ir.ops import Linear, RowScale
from toolchain.ir.reference_rows import group_bits
from toolchain.studies.planetoid_models import DATA_SETS, LR, WEIGHT_DECAY, dropout, float_model, load
from toolchain.studies.planetoid_search import static
from toolchain.studies.study import Found, Key, Scope, Study
from toolchain.torch_module import GraphModule
from toolchain.torch_structure import TorchGraph

ROWS = {
    "one step, 4 bits": A2Q(4, groups=1),
    "one step, 2 bits": A2Q(2, groups=1),
    "degree, 4 bits": A2Q(4),
    "degree, 2 bits": A2Q(4, mean_bits=2),
    "degree, 2 bits, local": A2Q(4, mean_bits=2, local=True),
    "nearest, 2 bits": A2Q(4, "nearest", mean_bits=2),
}
CONFIGURATIONS = ("float", *ROWS)


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        train_epochs: of the float model.
        epochs: of training on.
        data: the data sets, joined by "+".
    """

    train_epochs: int = 100
    epochs: int = 60
    data: str = "Cora"


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every configuration of every model."""
    yield from itertools.product(settings.data.split("+"), scope.models, range(scope.seeds), CONFIGURATIONS)


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one data set, model and seed share the float model."""
    for (name, model, seed), group in itertools.groupby(keys, key=lambda key: key[:3]):
        data = load(scope.data_root, name, model)
        graph = float_model(model, data, settings.train_epochs, seed)
        for *_, configuration in group:
            start = time.perf_counter()
            if configuration == "float":
                found = float_row(graph, data, settings.epochs, seed)
            else:
                found = integer_row(graph, data, configuration, settings.epochs, seed, model=model)
            yield {**found, "seconds": round(time.perf_counter() - start, 1)}


def float_row(graph: Graph, data: Data, epochs: int, seed: int) -> Found:
    """The float model after training on, and what its two values would take."""
    module, inputs = GraphModule(graph), as_inputs([data])[0]
    validation, test, kept = [evaluate(graph, [data])], [evaluate(graph, [data], mask="test_mask")], [graph]

    def keep(epoch: int) -> None:
        kept.append(module.to_graph())
        validation.append(evaluate(kept[-1], [data]))
        test.append(evaluate(kept[-1], [data], mask="test_mask"))

    train_module(module, [data], Schedule(epochs, LR, WEIGHT_DECAY, seed=seed), after_epoch=keep)
    best = int(np.argmax(validation))
    return {
        **stored(graph, inputs), "validation": validation[best], "integer": test[best], "test_max": max(test),
        "codes_differing": 0,
    }  # fmt: skip


def integer_row(graph: Graph, data: Data, configuration: str, epochs: int, seed: int, *, model: str) -> Found:
    """The model after training on as integers."""
    rows = ROWS[configuration]
    method = QAT(
        [data], epochs, static(data), lr=LR, weight_decay=WEIGHT_DECAY, seed=seed, validation=[data], dropout=dropout(model),
        quantizers={"*": Learned(8), "x": rows, "conv1.propagate": rows, "*weight": Learned(4)},
    )  # fmt: skip
    batches: list[TorchGraph] = []
    test: list[float] = []

    def outputs(module: torch.nn.Module) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(module(batches[0])[0].numpy())

    def look(epoch: int, module: torch.nn.Module) -> None:
        if not batches:
            batches.append(TorchGraph.of(as_inputs([data])[0].prepare(graph.topologies)))
        test.append(accuracy([data], lambda: outputs(module), mask="test_mask"))

    module = trained_module(graph, method, look)
    made, inputs = module.to_integer_graph(), as_inputs([data])
    found = predict(made, inputs)
    return {
        **stored(made, inputs[0]), "validation": evaluate(made, [data]),
        "integer": accuracy([data], lambda: found, mask="test_mask"), "test_max": max(test),
        "codes_differing": int(np.count_nonzero(outputs(module) != found)),
    }  # fmt: skip


def stored(graph: Graph, inputs: GraphInputs) -> Found:
    """Mean width and size of the values that Linears read, over one graph."""
    bits = elements = 0.0
    arrays: dict[int, np.ndarray] = {}

    def watch(value: Value, array: np.ndarray) -> None:
        arrays[value.id] = array

    interpret(graph, inputs, watch)
    for number in {v.inputs[0] for v in graph.values if isinstance(v.op, Linear)}:
        value = graph.values[number]
        size = arrays[number].size
        width: float = bits_of(value.type)
        if isinstance(value.op, RowScale):
            width = float(np.array(group_bits(value))[arrays[value.inputs[1]][:, 0].astype(int)].mean())
        bits, elements = bits + width * size, elements + size
    return {"bits": bits / elements, "memory_kib": bits / 8192}


SHOWN = ("bits", "memory_kib", "validation", "integer", "test_max", "codes_differing")
STUDY = Study(
    "planetoid-a2q", keys=("data", "model", "seed", "configuration"), values=(*SHOWN, "seconds"), settings=Settings, wanted=wanted,
    measure=measure, shown=SHOWN, models=("GCN 16", "GCN 128"), default_models=("GCN 16",), seeds=3, data_sets=DATA_SETS,
)  # fmt: skip
