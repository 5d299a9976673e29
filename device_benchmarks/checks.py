"""Checks: the verify and bench steps of a recipe, and the rivals that every benchmark measures beside our files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from device_benchmarks.benchmark import ONNX_EXPORT, Benchmark, Candidate, benchmark
from device_benchmarks.parity import Gates, ParityCheck, ParityReport
from device_benchmarks.protocol import DEFAULT, QUICK, Protocol
from device_benchmarks.rivals import EXPORTERS, RivalFailure, export_rival
from toolchain.artifact import Artifact
from toolchain.errors import GateFailed
from toolchain.inputs import GraphInputs
from toolchain.model_source import GraphParts, ModelSource
from toolchain.pipeline import BuildResult
from toolchain.recipe import Bench, Verify


@dataclass(slots=True)
class Checks:
    """Does the steps that run artifacts; pass it to `toolchain.build(check=...)`.

    Attributes:
        source: how a measuring process makes the PyG model.
        model: the same model in this process.
        folder: where the rivals' files go.
        protocol: instead of the one that a bench step names.
        parity, benchmarks: what the steps found; result: what they were done on.
    """

    source: ModelSource
    model: Any
    parts: GraphParts
    name: str
    folder: Path
    protocol: Protocol | None = None
    progress: Callable[[str], None] = lambda line: None
    parity: list[ParityReport] = field(default_factory=list)
    benchmarks: list[Benchmark] = field(default_factory=list)
    result: BuildResult = field(default_factory=BuildResult)

    def __call__(self, step: Verify | Bench, result: BuildResult) -> None:
        """Do one step.

        Raises:
            GateFailed: after all artifacts are compared, with every gate of every artifact that is not met.
        """
        self.result = result
        if isinstance(step, Verify):
            self.verify(step, result)
        else:
            self.bench(step, [built.artifact for built in result.artifacts])

    def verify(self, step: Verify, result: BuildResult) -> None:
        """Compare every artifact with the model and record the summary in its manifest."""
        data = list(self.parts.test)[: step.graphs]
        check = ParityCheck(self.model, data, batch_size=step.batch_size, progress=self.progress)
        gates, failed = Gates(step.min_agreement, step.max_accuracy_drop, step.max_abs), []
        for built in result.artifacts:
            report = check.report(built.artifact, built.history)
            built.artifact = record_parity(built.artifact, report)
            self.parity.append(report)
            failed += [f"{report.artifact}: {line}" for line in report.failures(gates)]
        if failed:
            raise GateFailed(f"{len(failed)} gates are not met: {'; '.join(failed)}.")

    def bench(self, step: Bench, artifacts: Sequence[Artifact]) -> None:
        """Measure artifacts and rivals on the test graph of median size."""
        data = median_graph(self.parts.test)
        candidates = [Candidate.of_artifact(artifact, self.name) for artifact in artifacts]
        if step.rivals:
            self.progress("exporting the rivals")
            candidates = [*rivals(self.source, self.model, data, self.folder, self.name), *candidates]
        protocol = self.protocol or (QUICK if step.quick else DEFAULT)
        graph = GraphInputs.from_pyg(data)
        self.benchmarks.append(
            benchmark(candidates, graph, protocol=protocol, threads=step.threads, progress=self.progress)
        )


def rivals(source: ModelSource, model: Any, example: Any, folder: Path, name: str = "model") -> list[Candidate]:
    """PyG eager and the files of both torch.onnx exporters; an export that fails is a candidate with its error."""
    folder.mkdir(parents=True, exist_ok=True)
    candidates = [Candidate.of_eager(source, name)]
    for exporter in EXPORTERS:
        path = folder / f"{name}-torch-onnx-export-{exporter}.onnx"
        made = export_rival(model, example, exporter=exporter, path=path)
        title, format = f"{name} {ONNX_EXPORT} {exporter}", f"{ONNX_EXPORT} {exporter}"
        if isinstance(made, RivalFailure):
            error = f"the export failed: {' '.join(made.error.split())[:600]}"
            candidates.append(Candidate(title, {}, name, format, "float32", is_rival=True, failure=error))
        else:
            spec = {"kind": "onnx_rival", "file": {**asdict(made), "path": str(path.resolve())}}
            candidates.append(Candidate(title, spec, name, format, "float32", path.stat().st_size, is_rival=True))
    return candidates


def record_parity(artifact: Artifact, report: ParityReport) -> Artifact:
    """The same artifact with the summary of its parity check in the manifest."""
    contents = {name: (artifact.path / name).read_bytes() for name in artifact.files}
    return Artifact.save(replace(artifact, parity=report.summary()), contents, overwrite=True)


def median_graph(graphs: Sequence[Any]) -> Any:
    """The graph whose number of nodes is the median (the lower one of two); of equal ones the first."""
    sizes = [int(graph.x.shape[0]) for graph in graphs]
    return graphs[sizes.index(int(np.sort(sizes)[(len(sizes) - 1) // 2]))]
