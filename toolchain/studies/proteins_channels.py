"""Half of the hidden channels removed on PROTEINS: what it costs, and that the smaller model equals the zeroed one.

    python -m toolchain.studies.proteins_channels --data-root data --seeds 5

GCN 3x64 and GIN 5x64 are trained, half of every group of channels is removed, and the rest is fine-tuned. A seed draws the
80 / 10 / 10 split, the weights and the shuffles; `dense` and `test` of a row are accuracies on the same test split.
`removed` is the accuracy before fine-tuning. `difference` is the largest difference between the outputs of the smaller Graph
and of the zeroed one over all test graphs, in the float32 interpreter; `difference64` the same with sums taken in float64,
which leaves out that BLAS may add fewer terms in another order.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from toolchain.compression import StructuredChannels, evaluate, fine_tune
from toolchain.compression.channel_groups import channel_groups
from toolchain.compression.evaluation import as_inputs, predict
from toolchain.compression.pruning.channel_removal import removed, zeroed
from toolchain.compression.pruning.channels import IMPORTANCES, choose
from toolchain.datasets import Split, split, tu
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.models import GCN, GIN, train
from toolchain.studies.row_file import RowFile

MODELS = {
    "GCN 3x64 mean": lambda features, classes: GCN(features, classes, hidden=64, layers=3, pool="mean"),
    "GIN 5x64 mean": lambda features, classes: GIN(features, classes, hidden=64, layers=5, pool="mean"),
}
KEYS = ("model", "seed", "importance")
VALUES = ("dense", "removed", "test", "difference", "difference64", "bytes_before", "bytes_after", "seconds")


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common."""

    train_epochs: int = 40
    epochs: int = 20
    amount: float = 0.5

    def __str__(self) -> str:
        return f"train_epochs={self.train_epochs} epochs={self.epochs} amount={self.amount}"


def study(
    rows: RowFile, settings: Settings, data_root: str, *, seeds: Sequence[int], models: Sequence[str],
    progress: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Fill in the rows that are missing."""
    graphs = tu(data_root, "PROTEINS")
    wanted = [(model, seed, i) for model in models for seed in seeds for i in IMPORTANCES if _fits(model, i)]
    missing = [key for key in wanted if not rows.has(**dict(zip(KEYS, key, strict=True)))]
    progress(f"{len(wanted) - len(missing)} of {len(wanted)} rows are there")
    base: tuple[str, int] | None = None
    for number, (model, seed, importance) in enumerate(missing, 1):
        if base != (model, seed):
            base, parts = (model, seed), split(graphs, seed=seed)
            graph = dense(model, parts, settings.train_epochs, seed)
        method = StructuredChannels(settings.amount, importance=importance, seed=seed)
        found = measured(graph, method, parts, settings, seed)
        rows.add(model=model, seed=seed, importance=importance, **found)
        accuracy = f"{found['dense']:.1%} -> {found['removed']:.1%} -> {found['test']:.1%}"
        progress(f"[{number}/{len(missing)}] {model} seed {seed} {importance:10} {accuracy} {found['seconds']} s")


def _fits(model: str, importance: str) -> bool:
    """A GCN has no BatchNorm to take importance from."""
    return importance != "batch_norm" or model.startswith("GIN")


def dense(name: str, parts: Split, epochs: int, seed: int) -> Graph:
    """A trained model; the weights of the best validation epoch are kept."""
    torch.manual_seed(seed)
    model = MODELS[name](parts.features, parts.classes)
    train(model, parts.train, parts.validation, epochs=epochs, seed=seed, lr=0.005)
    return lower(model, parts.train[0], name=name.split()[0].lower())


def measured(
    graph: Graph, method: StructuredChannels, parts: Split, settings: Settings, seed: int
) -> dict[str, float | int]:
    """The values of one row."""
    start = time.perf_counter()
    channels = channel_groups(graph, method.heads)
    dropped = choose(graph, channels, method)
    small, same_size = removed(graph, channels, dropped), zeroed(graph, channels, dropped)
    tuned = fine_tune(small, list(parts.train), epochs=settings.epochs, lr=1e-3, seed=seed)
    return {
        "dense": evaluate(graph, parts.test), "removed": evaluate(small, parts.test), "test": evaluate(tuned, parts.test),
        "difference": _difference(small, same_size, parts),
        "difference64": _difference(_in_float64(small), _in_float64(same_size), parts),
        "bytes_before": graph.weight_bytes, "bytes_after": small.weight_bytes,
        "seconds": round(time.perf_counter() - start, 1),
    }  # fmt: skip


def _difference(first: Graph, second: Graph, parts: Split) -> float:
    test = as_inputs(parts.test)
    return float(np.abs(predict(first, test) - predict(second, test)).max())


def _in_float64(graph: Graph) -> Graph:
    return replace(graph, constants={name: array.astype(np.float64) for name, array in graph.constants.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root", required=True, help="folder with PROTEINS/raw, or where PyG may download it")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--train-epochs", type=int, default=40, help="of the dense model")
    parser.add_argument("--epochs", type=int, default=20, help="of fine-tuning")
    parser.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "proteins_channels.csv")
    arguments = parser.parse_args()
    logging.getLogger("pocketgnn").setLevel(logging.ERROR)
    torch.set_num_threads(1)  # the sums of training then come out the same on every machine with these libraries
    given = list(sys.argv[1:])
    if "--data-root" in given:  # where the data lie says nothing about how the rows were made
        given[given.index("--data-root") + 1] = "data"
    command = " ".join(["python -m toolchain.studies.proteins_channels", *given])
    settings = Settings(arguments.train_epochs, arguments.epochs)
    rows = RowFile(arguments.output, KEYS, VALUES, command, str(settings))
    study(rows, settings, arguments.data_root, seeds=range(arguments.seeds), models=arguments.models)
    print("\n".join(rows.summary("seed", "dense", "removed", "test")))
    for column in ("difference", "difference64"):
        print(f"largest {column}: {max(float(row[column]) for row in rows.rows):g}")


if __name__ == "__main__":
    main()
