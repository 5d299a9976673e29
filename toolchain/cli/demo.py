"""demo: the whole flow on handwritten digits, ending with one table and one page."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from toolchain.cli import options
from toolchain.cli.checking import command_line
from toolchain.cli.console import Console, Progress


@dataclass(frozen=True, slots=True)
class Subject:
    """One model of the demo: a class of toolchain.models, and how it is trained."""

    name: str
    model: str
    arguments: dict[str, Any]
    epochs: int
    lr: float = 0.01


SUBJECTS = (
    Subject("gcn", "GCN", {"layers": 3, "hidden": 64}, epochs=20),
    Subject("gin", "GIN", {"layers": 3, "hidden": 64}, epochs=15),
)
STEPS: list[Any] = [
    {"prune": {"amount": 0.2}},
    {"fine_tune": {"epochs": 3, "lr": 0.001}},
    {"quantize": {"precisions": ["float32", "dynamic-int8", "static-int8"], "min_agreement": 0.95}},
    {"export": {"formats": ["torchscript", "onnx", "executorch", "litert", "c"]}},
    {"verify": {"graphs": 180}},
    "bench",
]


@click.command()
@options.output_folder("out/demo")
@options.seed
@options.overwrite
@options.common
def demo(console: Console, output: Path, seed: int, overwrite: bool) -> None:
    """Train a GCN and a GIN on handwritten digits, prune, quantize, export, verify and measure them: about three minutes.

    Each of scikit-learn's digits is the graph of its ink pixels; no network is used. Ends with one table and report.html.
    """
    from device_benchmarks import terminal
    from device_benchmarks.report import Report, refuse_existing
    from toolchain.datasets import digits, split

    refuse_existing(output, overwrite)
    begin = time.monotonic()
    output.mkdir(parents=True, exist_ok=True)
    parts = split(digits(), seed=seed, test=0.2)
    with console.progress() as progress:
        found = [_take_through(subject, parts, output, seed, overwrite, progress) for subject in SUBJECTS]
        report = Report(
            "pocketgnn on handwritten digits",
            tuple(bench for checks, _ in found for bench in checks.benchmarks),
            tuple(parity for checks, _ in found for parity in checks.parity),
            {subject.name: lines for subject, (_, lines) in zip(SUBJECTS, found, strict=True)},
            command_line(), seed,
        )  # fmt: skip
        page = report.write(output, overwrite=overwrite)
    seconds = time.monotonic() - begin
    closing = f"{page}  ({seconds:.0f} s in all)"
    data = {**report.to_json(), "seconds": seconds, "page": str(page)}
    console.result(data, terminal.table(report.rows), *terminal.failures(report.rows), closing)


def _take_through(
    subject: Subject, parts: Any, output: Path, seed: int, overwrite: bool, progress: Progress
) -> tuple[Any, list[str]]:
    """Train one model and take it through the steps; what was measured, and what each step did."""
    import torch

    from device_benchmarks.checks import Checks
    from device_benchmarks.protocol import DEMO
    from toolchain.model_source import ModelSource
    from toolchain.models import train
    from toolchain.pipeline import build
    from toolchain.recipe import Recipe

    def tell(line: str) -> None:
        progress(f"{subject.name}: {line}")

    arguments = {"features": parts.features, "classes": parts.classes, **subject.arguments}
    weights = output / f"{subject.name}.pt"
    torch.manual_seed(seed)
    model = ModelSource(f"toolchain.models:{subject.model}", arguments).model()
    tell(f"training on {len(parts.train)} graphs")
    trained = train(model, parts.train, parts.validation, epochs=subject.epochs, lr=subject.lr, seed=seed)
    torch.save(model.state_dict(), weights)
    source = ModelSource(f"toolchain.models:{subject.model}", arguments, weights)
    checks = Checks(source, model, parts, subject.name, output / "rivals", DEMO, tell)
    recipe = Recipe.parse({"version": 1, "name": subject.name, "seed": seed, "steps": STEPS})
    result = build(model, parts, recipe, output, overwrite=overwrite, check=checks, progress=tell)
    lines = [f"train {subject.epochs} epochs: accuracy {trained.validation_accuracy:.2%} on the validation graphs"]
    return checks, lines + [str(report) for report in result.reports]
