"""What int8 costs on PROTEINS: GCN 3x64 and GIN 5x64 trained, then quantized in each way, on a test split never used before.

    python -m toolchain.studies.proteins_int8 --data-root data

Everything is measured with the reference interpreter. `agree` is the share of test graphs that keep their class, `max` and
`mean` the error of the logits, `KiB` what the constants take.
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from toolchain.compression import QAT, DynamicInt8, L1Unstructured, StaticInt8, fine_tune, prune, quantize
from toolchain.compression.evaluation import agreement, as_inputs, evaluate, predict
from toolchain.compression.static_int8 import select
from toolchain.compression.step_report import sparsity
from toolchain.datasets import Split, split, tu
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.models import GCN, GIN, accuracy, train

MODELS = {
    "GCN 3x64 mean": lambda features, classes: GCN(features, classes, hidden=64, layers=3, pool="mean"),
    "GIN 5x64 mean": lambda features, classes: GIN(features, classes, hidden=64, layers=5, pool="mean"),
    "GIN 5x64 sum": lambda features, classes: GIN(features, classes, hidden=64, layers=5, pool="sum"),
}


@dataclass(frozen=True, slots=True)
class Row:
    """One quantized model beside the float model that it was made from, on the test split."""

    model: str
    method: str
    seed: int
    float_accuracy: float
    accuracy: float
    agreement: float
    max_error: float
    mean_error: float
    kibibytes: float
    note: str = ""


def study(data_root: str, *, seeds: int, epochs: int, qat_epochs: int, models: Sequence[str]) -> list[Row]:
    """Train, quantize and measure; one row per model, method and seed. The seed also draws the 80/10/10 split."""
    graphs = tu(data_root, "PROTEINS")
    rows = []
    for model in models:
        for seed in range(seeds):
            made = _rows(model, split(graphs, seed=seed), seed, epochs, qat_epochs)
            print("\n".join(map(_line, made)), flush=True)
            rows += made
    return rows


def _rows(name: str, parts: Split, seed: int, epochs: int, qat_epochs: int) -> list[Row]:
    torch.manual_seed(seed)
    model = MODELS[name](parts.features, parts.classes)
    train(model, parts.train, parts.validation, epochs=epochs, seed=seed, lr=0.005)
    graph = lower(model, parts.train[0], name=name.split()[0].lower())
    if abs(evaluate(graph, parts.test) - accuracy(model, parts.test)) > 1 / len(parts.test):
        raise AssertionError(f"{name}: the lowered graph decides unlike the PyG model")
    train_graphs = list(parts.train)
    static = StaticInt8(parts.train, min_agreement=0.98, seed=seed)
    chosen = select(graph, static, accept_best=True)
    pruned = fine_tune(prune(graph, L1Unstructured(0.2)), train_graphs, epochs=qat_epochs, seed=seed)
    pruned_int8 = select(pruned, static, accept_best=True)
    low_bit = StaticInt8(parts.train, weight_bits=4, min_agreement=0, mode="sums-int16", seed=seed)
    qat = QAT(train_graphs, qat_epochs, static, seed=seed)
    low_bit_qat = QAT(train_graphs, qat_epochs, low_bit, lr=1e-3, seed=seed)
    return [
        _row(name, "dynamic int8", seed, graph, quantize(graph, DynamicInt8()), parts),
        _row(name, "static int8", seed, graph, chosen.graph, parts, chosen.plan.mode),
        _row(name, "QAT int8", seed, graph, quantize(graph, qat), parts),
        _row(name, "pruned 20 %", seed, graph, pruned, parts, f"{sparsity(pruned):.1%} zeros"),
        _row(name, "pruned, static int8", seed, pruned, pruned_int8.graph, parts, pruned_int8.plan.mode),
        _row(name, "static w4", seed, graph, quantize(graph, low_bit), parts, "sums-int16"),
        _row(name, "QAT w4", seed, graph, quantize(graph, low_bit_qat), parts),
    ]


def _row(model: str, method: str, seed: int, graph: Graph, candidate: Graph, parts: Split, note: str = "") -> Row:
    test = as_inputs(parts.test)
    expected, found = predict(graph, test), predict(candidate, test)
    error = np.abs(expected - found)
    return Row(
        model, method, seed, evaluate(graph, parts.test), evaluate(candidate, parts.test), agreement(expected, found),
        float(error.max()), float(error.mean()), candidate.weight_bytes / 1024, note,
    )  # fmt: skip


def _line(row: Row) -> str:
    return (
        f"{row.model:14} {row.method:20} seed {row.seed}  accuracy {row.float_accuracy:6.1%} -> {row.accuracy:6.1%}  "
        f"agree {row.agreement:6.1%}  max {row.max_error:7.3f}  mean {row.mean_error:7.4f}  {row.kibibytes:6.1f} KiB  {row.note}"
    )


def summary(rows: Sequence[Row]) -> str:
    """Means over the seeds, and the worst agreement."""
    lines = [f"{'model':14} {'method':20} {'accuracy':>17} {'agree':>8} {'worst':>8} {'mean error':>11} {'KiB':>7}"]
    for model, method in dict.fromkeys((row.model, row.method) for row in rows):
        group = [row for row in rows if (row.model, row.method) == (model, method)]
        before, after, agree, error, size = (
            float(np.mean([getattr(row, name) for row in group]))
            for name in ("float_accuracy", "accuracy", "agreement", "mean_error", "kibibytes")
        )
        worst = min(row.agreement for row in group)
        lines.append(
            f"{model:14} {method:20} {before:7.1%} -> {after:6.1%} {agree:8.1%} {worst:8.1%} {error:11.4f} {size:7.1f}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder with PROTEINS/raw, or where PyG may download it")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40, help="of the float training")
    parser.add_argument("--qat-epochs", type=int, default=5, help="of QAT and of fine-tuning after pruning")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS)[:2])
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    torch.set_num_threads(1)  # the sums of training then come out the same on every machine with these libraries
    rows = study(
        arguments.data_root, seeds=arguments.seeds, epochs=arguments.epochs, qat_epochs=arguments.qat_epochs,
        models=arguments.models,
    )  # fmt: skip
    print(f"\nMeans over {arguments.seeds} seeds, test splits of 111 graphs:\n{summary(rows)}")


if __name__ == "__main__":
    main()
