"""Quantization-aware training below 8 bits on Planetoid graphs, with and without distillation.

    python -m toolchain.studies.cora_low_bits --data-root data

A GCN of two layers and 128 hidden channels is trained in float on the public split, then trained on as integers with learned
scales, its layers at the widths of each configuration. Accuracy is that of the integer graph, in the reference interpreter, on
the test nodes, at the epoch with the best accuracy on the validation nodes.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch_geometric.data import Data
from torch_geometric.nn import GCNConv

from toolchain.compression import QAT, Distillation, Learned, StaticInt8, evaluate, quantize
from toolchain.datasets import planetoid
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.models import train

SLOTS = (
    "x", "conv1.lin.linear", "conv1.lin.weight", "conv1.propagate", "conv2.lin.linear", "conv2.lin.weight", "conv2.propagate",
)  # fmt: skip
CONFIGURATIONS = {
    "all 8": (8, 8, 8, 8, 8, 8, 8),
    "all 4": (4, 4, 4, 4, 4, 4, 4),
    "4-2-2": (4, 2, 2, 8, 8, 2, 8),
    "all 2, out 8": (2, 2, 2, 2, 2, 2, 8),
    "2-2-1": (2, 2, 1, 8, 8, 8, 8),
}


class WideGCN(nn.Module):
    """Two GCN layers without biases, 128 hidden channels, dropout before each."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.conv1 = GCNConv(features, 128, bias=False)
        self.conv2 = GCNConv(128, classes, bias=False)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        h = self.conv1(functional.dropout(x, 0.5, self.training), edge_index).relu()
        return self.conv2(functional.dropout(h, 0.5, self.training), edge_index)  # [N, classes]


@dataclass(frozen=True, slots=True)
class Row:
    """One quantized model beside the float model that it was made from. Accuracies in percent."""

    data: str
    seed: int
    configuration: str
    distilled: bool
    float_accuracy: float
    accuracy: float
    seconds: float


def study(
    data_root: str, name: str, *, seeds: int, epochs: int, configurations: Sequence[str], distilled: Sequence[bool]
) -> list[Row]:
    """Train, quantize and measure: one row per seed, configuration and loss."""
    data, rows = planetoid(data_root, name), []
    for seed in range(seeds):
        graph = float_model(data, seed)
        before = evaluate(graph, [data], mask="test_mask")
        for chosen in configurations:
            for is_distilled in distilled:
                start = time.perf_counter()
                made = trained(graph, data, CONFIGURATIONS[chosen], epochs=epochs, seed=seed, distilled=is_distilled)
                after, seconds = evaluate(made, [data], mask="test_mask"), time.perf_counter() - start
                rows.append(Row(name, seed, chosen, is_distilled, 100 * before, 100 * after, seconds))
                print(_line(rows[-1]), flush=True)
    return rows


def float_model(data: Data, seed: int) -> Graph:
    """The float graph after 100 epochs, with the weights of the best one."""
    torch.manual_seed(seed)
    model = WideGCN(data.x.shape[1], int(data.y.max()) + 1)
    train(model, [data], [data], epochs=100, seed=seed, lr=0.01, weight_decay=2e-4)
    return lower(model, data, name="gcn")


def trained(graph: Graph, data: Data, bits: Sequence[int], *, epochs: int, seed: int, distilled: bool) -> Graph:
    """The integer graph after quantization-aware training."""
    static = StaticInt8([data], mode="int8", equalization=None, min_agreement=0, seed=seed)
    method = QAT(
        [data], epochs, static, lr=0.01, weight_decay=2e-4, seed=seed, validation=[data],
        quantizers={slot: Learned(width) for slot, width in zip(SLOTS, bits, strict=True)},
        distillation=Distillation(graph) if distilled else None,
    )  # fmt: skip
    return quantize(graph, method)


def _line(row: Row) -> str:
    kind = "distilled" if row.distilled else "labels only"
    return (
        f"{row.data:8} seed {row.seed} {row.configuration:14} {kind:11} accuracy {row.float_accuracy:.1f} -> "
        f"{row.accuracy:.1f} %  {row.seconds:.0f} s"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder with Cora/raw, or where PyG may download it")
    parser.add_argument("--data", choices=("Cora", "CiteSeer", "PubMed"), default="Cora")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--configurations", nargs="+", choices=list(CONFIGURATIONS), default=list(CONFIGURATIONS))
    parser.add_argument("--distilled", nargs="+", choices=("yes", "no"), default=("no", "yes"))
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)  # the sums of training then come out the same on every machine with these libraries
    study(
        arguments.data_root, arguments.data, seeds=arguments.seeds, epochs=arguments.epochs,
        configurations=arguments.configurations, distilled=[choice == "yes" for choice in arguments.distilled],
    )  # fmt: skip


if __name__ == "__main__":
    main()
