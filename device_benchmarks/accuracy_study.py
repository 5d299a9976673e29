"""What export and quantization cost on real data: every format and precision against the PyG model, through its runtime.

    python -m device_benchmarks.accuracy_study --data-root DATA --output out/accuracy

trains GCN 3x64 and GIN 5x64 on PROTEINS and GCN-16 on Cora, exports each as every format and precision, and runs the whole
test part (Cora: all nodes of the public test split) one graph at a time. The table goes to stdout; accuracy.json keeps the
error and agreement of every single graph.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import click
import torch
from rich.console import Console
from rich.table import Table

from device_benchmarks.parity import BACKEND, ParityCheck, ParityReport
from toolchain.artifact import Artifact
from toolchain.compression import quantize
from toolchain.datasets import planetoid, split, tu
from toolchain.errors import PocketGnnError
from toolchain.export_bounds import bounds_for
from toolchain.exporters import PLANS_MEMORY, export
from toolchain.frontend import lower
from toolchain.ir import Graph
from toolchain.model_source import GraphParts
from toolchain.models import GCN, GIN, NodeGCN, train
from toolchain.pipeline import History
from toolchain.recipe import Export, Format, Precision, Quantize
from toolchain.step_methods import quantization

FORMATS: tuple[str, ...] = get_args(Format)
PRECISIONS: tuple[str, ...] = get_args(Precision)


@dataclass(frozen=True, slots=True)
class Subject:
    """One trained model of the study."""

    name: str
    load: Callable[[Path, int], GraphParts]  # data root, seed
    make: Callable[[int, int], Any]  # features, classes
    epochs: int
    weight_decay: float = 0.0


def _proteins(root: Path, seed: int) -> GraphParts:
    parts = split(tu(root, "PROTEINS"), seed=seed)
    return GraphParts(parts.train, parts.validation, parts.test)


def _reddit(root: Path, seed: int) -> GraphParts:
    parts = split(tu(root, "REDDIT-BINARY"), seed=seed)
    return GraphParts(parts.train, parts.validation, parts.test)


def _cora(root: Path, seed: int) -> GraphParts:
    data = planetoid(root, "Cora")
    return GraphParts([data], [data], [data])


SUBJECTS = (
    Subject(
        "proteins-gcn", _proteins, lambda features, classes: GCN(features, classes, hidden=64, layers=3), epochs=40
    ),
    Subject("proteins-gin", _proteins, lambda features, classes: GIN(features, classes, 64, 5, pool="mean"), epochs=40),
    Subject("reddit-gin", _reddit, lambda features, classes: GIN(features, classes, 64, 5, pool="mean"), epochs=20),
    Subject("cora-gcn", _cora, lambda features, classes: NodeGCN(features, classes, hidden=16), 100, weight_decay=5e-4),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One artifact: its bytes, and how far it is from the PyG model."""

    subject: str
    seed: int
    artifact: Artifact
    parity: ParityReport

    def to_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject, "seed": self.seed, "format": self.artifact.format, "precision": self.artifact.precision,
            "bytes": self.artifact.model_bytes, "parity": self.parity.to_json(),
        }  # fmt: skip


def study(
    subject: Subject, root: Path, output: Path, seed: int, formats: Sequence[str], say: Callable[[str], None]
) -> tuple[list[Finding], list[str]]:
    """Train one model, export it every way, compare each artifact on the test part.

    Returns:
        The findings, and one line for every artifact that could not be made or run, with its cause.
    """
    parts = subject.load(root, seed)
    classes = 1 + max(int(graph.y.max()) for graph in parts.train)
    say(f"{subject.name}, seed {seed}: training")
    torch.manual_seed(seed)
    model = subject.make(int(parts.train[0].x.shape[1]), classes)
    train(model, parts.train, parts.validation, epochs=subject.epochs, seed=seed, weight_decay=subject.weight_decay)
    check = ParityCheck(model, parts.test)
    graph = lower(model, parts.train[0], name=subject.name.replace("-", "_"))
    findings, failures = [], []
    for precision in PRECISIONS:
        try:
            history = _variant(graph, precision, parts, seed)
        except PocketGnnError as error:
            failures.append(f"{subject.name}, seed {seed}, {precision}: {error}")
            continue
        for format in formats:
            name = f"{subject.name}-{seed}-{format}-{precision}"
            say(name)
            options: dict[str, Any] = {"bounds": bounds_for(Export(), parts)} if format in PLANS_MEMORY else {}
            try:
                artifact = export(history[-1][1], format, output / name, overwrite=True, seed=seed, **options)
                findings.append(Finding(subject.name, seed, artifact, check.report(artifact, history)))
            except PocketGnnError as error:
                failures.append(f"{name}: {type(error).__name__}: {error}")
    return findings, failures


def _variant(graph: Graph, precision: str, parts: GraphParts, seed: int) -> History:
    lowered = ("lowering", graph)
    if precision == "float32":
        return (lowered,)
    method = quantization(precision, Quantize(precisions=[precision]), parts, seed)  # type: ignore[list-item]  # one of PRECISIONS
    return (lowered, ("quantization", quantize(graph, method)))


def table(findings: Sequence[Finding]) -> Table:
    """One row per artifact; accuracy of PyG beside that of the artifact, and the error of each step."""
    made = Table(title="The test part through each artifact's own runtime")
    for column in ("model", "seed", "format", "precision", "bytes", "of float32", "accuracy PyG", "accuracy", "agreement",
                   "lowering", "quantization", "backend", "total rel."):  # fmt: skip
        made.add_column(column, justify="left" if column in ("model", "format", "precision") else "right")
    full = {
        (f.subject, f.seed, f.artifact.format): f.artifact.model_bytes
        for f in findings
        if f.artifact.precision == "float32"
    }
    for f in findings:
        total, steps = f.parity.total, {s.stage: s for s in f.parity.steps}
        share = f.artifact.model_bytes / full[f.subject, f.seed, f.artifact.format]
        errors = [
            f"{steps[name].max_abs:.1e}" if name in steps else "–" for name in ("lowering", "quantization", BACKEND)
        ]
        made.add_row(
            f.subject, str(f.seed), f.artifact.format, f.artifact.precision, f"{f.artifact.model_bytes:,}", f"{share:.1%}",
            _share(total.accuracy_before), _share(total.accuracy_after), _share(total.agreement), *errors,
            f"{total.max_relative:.1e}",
        )  # fmt: skip
    return made


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.2%}"


@click.command(help=__doc__)
@click.option(
    "--data-root",
    type=click.Path(path_type=Path),
    required=True,
    help="Where PyG keeps PROTEINS, REDDIT-BINARY and Cora; downloaded if missing.",
)
@click.option("--output", type=click.Path(path_type=Path), default=Path("out/accuracy"), show_default=True)
@click.option("--seed", "seeds", type=int, multiple=True, default=(0, 1, 2), show_default=True, help="Repeatable.")
@click.option(
    "--model", "names", multiple=True, type=click.Choice([s.name for s in SUBJECTS]), help="Only these. Repeatable."
)
@click.option("--to", "formats", multiple=True, type=click.Choice(FORMATS), help="Only these formats. Repeatable.")
def main(
    data_root: Path, output: Path, seeds: tuple[int, ...], names: tuple[str, ...], formats: tuple[str, ...]
) -> None:
    torch.set_num_threads(1)  # the same weights on every machine, and no fight over the cores
    progress = Console(stderr=True)
    findings: list[Finding] = []
    failures: list[str] = []
    for subject in SUBJECTS:
        for seed in seeds if not names or subject.name in names else ():
            found, failed = study(
                subject, data_root, output, seed, formats or FORMATS, lambda line: progress.print(line)
            )
            findings += found
            failures += failed
    output.mkdir(parents=True, exist_ok=True)
    (output / "accuracy.json").write_text(
        json.dumps({"findings": [f.to_json() for f in findings], "failures": failures}, indent=1)
    )
    Console(width=180).print(table(findings))
    for line in failures:
        print(line)


if __name__ == "__main__":
    main()
