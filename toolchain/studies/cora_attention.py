"""What integer attention costs on Cora: GAT and GATv2 trained, then quantized with float and with integer attention.

    pocketgnn study cora-attention --data-root data

Everything is measured with the reference interpreter: `float` and `accuracy` on the test nodes, the rest on all of them.
`agreement` is the share of nodes that keep the class that the float model gives them, `mean_error` and `max_error` the error of
the logits, `same` the share on which integer and float attention decide alike.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import GATConv, GATv2Conv

from toolchain.compression import StaticInt8, quantize
from toolchain.compression.evaluation import agreement, as_inputs, predict
from toolchain.compression.integer_forms import EDGE_ARITHMETICS, EdgeArithmetic
from toolchain.compression.integer_plan import MODES, Mode
from toolchain.datasets import planetoid
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.models import train
from toolchain.studies.study import Found, Key, Scope, Study

LAYERS = {"GAT": GATConv, "GATv2": GATv2Conv}


class NodeAttention(nn.Module):
    """Two attention layers of eight heads, 8x8 joined and then the classes averaged, with ELU and dropout 0.6 between."""

    def __init__(self, layer: type[nn.Module], features: int, classes: int) -> None:
        super().__init__()
        self.conv1 = layer(features, 8, heads=8, dropout=0.6)
        self.conv2 = layer(64, classes, heads=8, concat=False, dropout=0.6)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = functional.dropout(x, 0.6, self.training)
        h = functional.dropout(functional.elu(self.conv1(h, edge_index)), 0.6, self.training)
        return self.conv2(h, edge_index)  # [N, classes]


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common.

    Attributes:
        epochs: of the float training.
    """

    epochs: int = 100


def wanted(scope: Scope, settings: Settings) -> Iterable[Key]:
    """Every width of values with both arithmetics of attention."""
    return itertools.product(scope.models, range(scope.seeds), MODES, EDGE_ARITHMETICS)


def measure(keys: Sequence[Key], scope: Scope, settings: Settings) -> Iterator[Found]:
    """Rows of one model and seed share the float model."""
    assert scope.data_root is not None, "Study.scope refuses a missing folder"
    data = planetoid(scope.data_root, "Cora")
    classes, inputs = int(data.y.max()) + 1, as_inputs([data])
    labels, is_test = data.y.numpy(), data.test_mask.numpy()
    for (name, seed), group in itertools.groupby(keys, key=lambda key: key[:2]):
        torch.manual_seed(seed)
        model = NodeAttention(LAYERS[name], data.x.shape[1], classes)
        train(model, [data], [data], epochs=settings.epochs, seed=seed, lr=0.005, weight_decay=5e-4)
        graph = lower(model, data, name=name.lower())
        expected = predict(graph, inputs)
        for mode, modes in itertools.groupby(group, key=lambda key: key[2]):
            found = {kind: predict(_quantized(graph, data, mode, kind, seed), inputs) for kind in EDGE_ARITHMETICS}
            for *_, kind in modes:
                before, after = ((a.argmax(axis=1) == labels)[is_test].mean() for a in (expected, found[kind]))
                error = np.abs(expected - found[kind])
                yield {
                    "float": float(before), "accuracy": float(after), "agreement": agreement(expected, found[kind]),
                    "mean_error": float(error.mean()), "max_error": float(error.max()),
                    "same": agreement(found["float"], found[kind]),
                }  # fmt: skip


def _quantized(graph: Graph, data: object, mode: Mode, kind: EdgeArithmetic, seed: int) -> Graph:
    return quantize(graph, StaticInt8([data], mode, min_agreement=0, edge_arithmetic=kind, seed=seed))


STUDY = Study(
    "cora-attention", keys=("model", "seed", "mode", "attention"),
    values=("float", "accuracy", "agreement", "mean_error", "max_error", "same"), settings=Settings, wanted=wanted,
    measure=measure, shown=("float", "accuracy", "agreement", "same"), paired=(("accuracy", "float"),),
    models=tuple(LAYERS), seeds=2, data_sets=("Cora",),
)  # fmt: skip
