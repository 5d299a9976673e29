"""What integer attention costs on Cora: GAT and GATv2 trained, then quantized with float and with integer attention.

    python -m toolchain.studies.cora_attention --data-root data

Everything is measured with the reference interpreter, on all nodes. `agree` is the share of nodes that keep the class that
the float model gives them, `mean` and `max` the error of the logits; `same` the share on which integer and float attention
decide alike.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.nn import GATConv, GATv2Conv

from toolchain.compression import StaticInt8, quantize
from toolchain.compression.evaluation import agreement, as_inputs, predict
from toolchain.compression.integer_forms import EDGE_ARITHMETICS, EdgeArithmetic
from toolchain.compression.integer_graph import MODES, Mode
from toolchain.datasets import planetoid
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.models import train

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
class Row:
    """One quantized model beside the float model that it was made from."""

    model: str
    seed: int
    mode: Mode
    attention: EdgeArithmetic
    float_accuracy: float
    accuracy: float
    agreement: float
    mean_error: float
    max_error: float
    same: float


def study(data_root: str, *, seeds: int, epochs: int, models: Sequence[str]) -> list[Row]:
    """Train, quantize and measure: one row per model, seed, mode and arithmetic of attention."""
    data = planetoid(data_root, "Cora")
    classes, inputs = int(data.y.max()) + 1, as_inputs([data])
    labels, is_test = data.y.numpy(), data.test_mask.numpy()
    rows = []
    for name in models:
        for seed in range(seeds):
            torch.manual_seed(seed)
            model = NodeAttention(LAYERS[name], data.x.shape[1], classes)
            train(model, [data], [data], epochs=epochs, seed=seed, lr=0.005, weight_decay=5e-4)
            graph = lower(model, data, name=name.lower())
            expected = predict(graph, inputs)
            for mode in MODES:
                found = {kind: predict(_quantized(graph, data, mode, kind, seed), inputs) for kind in EDGE_ARITHMETICS}
                for kind, logits in found.items():
                    before, after = ((a.argmax(axis=1) == labels)[is_test].mean() for a in (expected, logits))
                    error = np.abs(expected - logits)
                    rows.append(
                        Row(
                            name, seed, mode, kind, float(before), float(after), agreement(expected, logits),
                            float(error.mean()), float(error.max()), agreement(found["float"], logits),
                        )
                    )  # fmt: skip
                    print(_line(rows[-1]), flush=True)
    return rows


def _quantized(graph: Graph, data: object, mode: Mode, kind: EdgeArithmetic, seed: int) -> Graph:
    return quantize(graph, StaticInt8([data], mode, min_agreement=0, edge_arithmetic=kind, seed=seed))


def _line(row: Row) -> str:
    return (
        f"{row.model:5} seed {row.seed} {row.mode:10} {row.attention:7} attention  accuracy {row.float_accuracy:6.1%} -> "
        f"{row.accuracy:6.1%}  agree {row.agreement:7.2%}  mean {row.mean_error:.4f}  max {row.max_error:.3f}  same {row.same:7.2%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder with Cora/raw, or where PyG may download it")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--models", nargs="+", choices=list(LAYERS), default=list(LAYERS))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)  # the sums of training then come out the same on every machine with these libraries
    study(arguments.data_root, seeds=arguments.seeds, epochs=arguments.epochs, models=arguments.models)


if __name__ == "__main__":
    main()
