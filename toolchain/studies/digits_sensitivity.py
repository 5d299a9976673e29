"""ECS against SNIP at densities of 20, 10 and 5 % on scikit-learn's digits, in float and in static int8.

    python -m toolchain.studies.digits_sensitivity --seeds 5

Every row trains newly drawn weights for --epochs epochs in all: SNIP masks them before the first, ECS after the first. Both
keep the stated density of all weights, the head included (for ECS the union of both criteria has it). `test` is the float
Graph's accuracy, `int8` that of the static int8 Graph through the integer reference.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from toolchain.compression import ECS, SNIP, StaticInt8, evaluate, prune
from toolchain.compression.static_int8 import select
from toolchain.compression.step_report import sparsity
from toolchain.ir import Graph
from toolchain.studies.digits_models import MODELS, Subject, subject, trained
from toolchain.studies.row_file import RowFile

DENSITIES = (0.2, 0.1, 0.05)
METHODS = ("snip", "ecs")
KEYS = ("model", "seed", "density", "method")
VALUES = ("validation", "test", "int8", "int8_mode", "zeros", "seconds")
LR = 3e-3


@dataclass(frozen=True, slots=True)
class Settings:
    """What every row of a run has in common."""

    epochs: int = 40
    limit: int | None = None

    def __str__(self) -> str:
        return f"epochs={self.epochs} limit={self.limit}"


def study(
    rows: RowFile, settings: Settings, *, seeds: Sequence[int], models: Sequence[str] = MODELS,
    densities: Sequence[float] = DENSITIES, progress: Callable[[str], None] = print,
) -> None:  # fmt: skip
    """Fill in the rows that are missing."""
    sparse = [(density, method) for density in densities for method in METHODS]
    wanted = [(m, seed, d, method) for m in models for seed in seeds for d, method in ((1.0, "dense"), *sparse)]
    missing = [key for key in wanted if not rows.has(**dict(zip(KEYS, key, strict=True)))]
    progress(f"{len(wanted) - len(missing)} of {len(wanted)} rows are there")
    for number, (model, seed, density, method) in enumerate(missing, 1):
        start = time.perf_counter()
        begun = subject(model, seed, settings.limit)
        graph = sparse_trained(begun, method, density, settings, seed)
        quantized = select(graph, StaticInt8(begun.parts.train, min_agreement=0.98, seed=seed), accept_best=True)
        parts, seconds = begun.parts, round(time.perf_counter() - start, 1)
        found = {"validation": evaluate(graph, parts.validation), "test": evaluate(graph, parts.test)}
        found |= {"int8": evaluate(quantized.graph, parts.test), "zeros": sparsity(graph)}
        rows.add(
            model=model, seed=seed, density=density, method=method, **found, int8_mode=quantized.plan.mode,
            seconds=seconds,
        )  # fmt: skip
        accuracy = f"{found['test']:.1%}, int8 {found['int8']:.1%} ({quantized.plan.mode})"
        progress(f"[{number}/{len(missing)}] {model} seed {seed} {density:.0%} {method:5} {accuracy} {seconds} s")


def sparse_trained(begun: Subject, method: str, density: float, settings: Settings, seed: int) -> Graph:
    """Newly drawn weights, masked by one of METHODS or "dense", and trained."""
    train = list(begun.parts.train)
    if method == "snip":
        masked = prune(begun.graph, SNIP(train, 1 - density, include_head=True, seed=seed))
        return trained(masked, begun.parts, settings.epochs, seed, LR)
    if method == "ecs":
        masked = prune(begun.graph, ECS(train, 1 - density, include_head=True, lr=LR, seed=seed))
        return trained(masked, begun.parts, settings.epochs - 1, seed, LR)
    return trained(begun.graph, begun.parts, settings.epochs, seed, LR)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=40, help="of training in all")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "digits_sensitivity.csv")
    arguments = parser.parse_args()
    logging.getLogger("pocketgnn").setLevel(logging.ERROR)
    torch.set_num_threads(1)  # the sums of training then come out the same on every machine with these libraries
    settings = Settings(arguments.epochs)
    command = " ".join(["python -m toolchain.studies.digits_sensitivity", *sys.argv[1:]])
    rows = RowFile(arguments.output, KEYS, VALUES, command, str(settings))
    study(rows, settings, seeds=range(arguments.seeds), models=arguments.models)
    print("\n".join(rows.summary("seed", "test", "int8", "zeros")))


if __name__ == "__main__":
    main()
