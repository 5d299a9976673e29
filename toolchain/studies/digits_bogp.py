"""BoGP against global and uniform magnitude pruning, in one and five iterations, on scikit-learn's digits.

    python -m toolchain.studies.digits_bogp --seeds 5

A model is trained, pruned to each sparsity by each method, and trained again. An iteration is one pruning and one training of
--epochs epochs, so that five iterations train five times as long; the column `epochs` says how long after the first training.
BoGP chooses its mask on the validation part, by the accuracy without training ("bogp") or after one epoch ("bogp trained",
where the epochs of its trials are not counted); the test part is read once, for the table. All weights are pruned, the head
included. The column `sparsity` is the share asked for, `zeros` the share found.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from toolchain.compression import BoGP, Iterative, L1Unstructured, evaluate, prune
from toolchain.compression.pruning import PruningMethod
from toolchain.compression.step_report import sparsity
from toolchain.datasets import Split
from toolchain.studies.digits_models import MODELS, subject, trained
from toolchain.studies.row_file import RowFile

SPARSITIES = (0.15, 0.3, 0.45, 0.6, 0.75, 0.9)
METHODS = ("bogp", "bogp trained", "global 1", "global 5", "uniform 1", "uniform 5")
KEYS = ("model", "seed", "sparsity", "method")
VALUES = ("dense_test", "validation", "test", "zeros", "epochs", "seconds")
LR = 3e-3


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common."""

    train_epochs: int = 40
    epochs: int = 12
    nodes: int = 32
    database: int = 200
    trials: int = 30
    limit: int | None = None

    def __str__(self) -> str:
        text = f"train_epochs={self.train_epochs} epochs={self.epochs} nodes={self.nodes} database={self.database} "
        return text + f"trials={self.trials} limit={self.limit}"


def study(
    rows: RowFile, settings: Settings, *, seeds: Sequence[int], models: Sequence[str] = MODELS,
    sparsities: Sequence[float] = SPARSITIES, methods: Sequence[str] = METHODS, progress: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Fill in the rows that are missing."""
    wanted = [(m, seed, s, method) for m in models for seed in seeds for s in sparsities for method in methods]
    missing = [key for key in wanted if not rows.has(**dict(zip(KEYS, key, strict=True)))]
    progress(f"{len(wanted) - len(missing)} of {len(wanted)} rows are there")
    base: tuple[str, int] | None = None
    for number, (model, seed, amount, name) in enumerate(missing, 1):
        if base != (model, seed):
            base, begun = (model, seed), subject(model, seed, settings.limit)
            dense = trained(begun.graph, begun.parts, settings.train_epochs, seed)
            dense_test = evaluate(dense, begun.parts.test)
        start = time.perf_counter()
        pruned = prune(dense, method_of(name, amount, begun.parts, settings, seed))
        tuned = trained(pruned, begun.parts, settings.epochs, seed, LR)
        rounds = 5 if name.endswith(" 5") else 1
        found = {
            "dense_test": dense_test, "validation": evaluate(tuned, begun.parts.validation),
            "test": evaluate(tuned, begun.parts.test), "zeros": sparsity(tuned), "epochs": rounds * settings.epochs,
            "seconds": round(time.perf_counter() - start, 1),
        }  # fmt: skip
        rows.add(model=model, seed=seed, sparsity=amount, method=name, **found)
        accuracy = f"{found['test']:.1%} (dense {dense_test:.1%})"
        progress(
            f"[{number}/{len(missing)}] {model} seed {seed} {amount:.0%} {name:12} {accuracy} {found['seconds']} s"
        )


def method_of(name: str, amount: float, parts: Split, settings: Settings, seed: int) -> PruningMethod:
    """One of METHODS. Between its iterations a method trains as long as after the last."""
    if name.startswith("bogp"):
        judged: dict[str, Any] = {"loader": list(parts.train), "epochs": 1, "lr": LR} if name == "bogp trained" else {}
        return BoGP(
            parts.validation, amount, nodes=settings.nodes, database=settings.database, trials=settings.trials,
            include_head=True, seed=seed, **judged,
        )  # fmt: skip
    kind, rounds = name.split()
    once = L1Unstructured(amount, "global" if kind == "global" else "layer", include_head=True)
    if rounds == "1":
        return once
    return Iterative(once, list(parts.train), int(rounds), settings.epochs, lr=LR, seed=seed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train-epochs", type=int, default=40, help="of the dense model")
    parser.add_argument("--epochs", type=int, default=12, help="after every pruning")
    parser.add_argument("--nodes", type=int, default=32, help="of BoGP's relational graph")
    parser.add_argument("--trials", type=int, default=30, help="masks that BoGP tries")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "digits_bogp.csv")
    arguments = parser.parse_args()
    logging.getLogger("pocketgnn").setLevel(logging.ERROR)
    torch.set_num_threads(1)  # the sums of training then come out the same on every machine with these libraries
    settings = Settings(arguments.train_epochs, arguments.epochs, arguments.nodes, trials=arguments.trials)
    command = " ".join(["python -m toolchain.studies.digits_bogp", *sys.argv[1:]])
    rows = RowFile(arguments.output, KEYS, VALUES, command, str(settings))
    study(rows, settings, seeds=range(arguments.seeds), models=arguments.models)
    print("\n".join(rows.summary("seed", "test", "zeros")))


if __name__ == "__main__":
    main()
