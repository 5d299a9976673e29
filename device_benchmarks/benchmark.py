"""benchmark: candidates in, measurements out. Each candidate runs in a process of its own, and they take turns."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from device_benchmarks.environment import environment, load_average
from device_benchmarks.graph_file import write_graph
from device_benchmarks.measurement import Measurement, Quantity, Scope
from device_benchmarks.measuring_child import MeasuringChild
from device_benchmarks.protocol import DEFAULT, Protocol, Window
from toolchain.artifact import Artifact
from toolchain.errors import MeasurementError
from toolchain.inputs import GraphInputs
from toolchain.model_source import ModelSource

EAGER = "PyG eager"
ONNX_EXPORT = "torch.onnx"  # how the format of such a rival starts; the name of the exporter follows
NO_PROC = "this system has no /proc/self/smaps_rollup"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to measure.

    Attributes:
        name: unique in a benchmark.
        subject: what the measuring process opens, as JSON (see subjects.py).
        model, format, precision: columns of the report.
        model_bytes: what the model takes on a device: its file, or its constants where the file is C; None where there is none.
        is_rival: not ours: what a user has without this project.
        failure: why it could not even be made, such as the error of a rival's export: reported instead of measured.
    """

    name: str
    subject: Mapping[str, Any]
    model: str
    format: str
    precision: str
    model_bytes: int | None = None
    is_rival: bool = False
    failure: str = ""

    @classmethod
    def of_artifact(cls, artifact: Artifact, model: str | None = None) -> Candidate:
        """An exported artifact in its own runtime."""
        model = model or str(artifact.provenance.get("name", "model"))
        name = Path(artifact.path).name
        subject = {"kind": "artifact", "path": str(Path(artifact.path).resolve())}
        return cls(name, subject, model, artifact.format, artifact.precision, artifact.model_bytes)

    @classmethod
    def of_eager(cls, source: ModelSource, model: str = "model") -> Candidate:
        """The PyG model itself."""
        return cls(
            f"{model} {EAGER}",
            {"kind": "eager", "source": source.to_json()},
            model,
            EAGER,
            "float32",
            is_rival=True,
        )


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What one run measured.

    Attributes:
        failures: why a candidate has no measurements, by its name.
        environment: machine, libraries and load average before and after.
    """

    candidates: tuple[Candidate, ...]
    measurements: tuple[Measurement, ...]
    failures: Mapping[str, str]
    protocol: Protocol
    graph: Mapping[str, int]
    threads: int
    environment: Mapping[str, Any]
    started_at: str

    def find(self, artifact: str, quantity: Quantity, scope: Scope | None = None) -> Measurement | None:
        """The measurement of one candidate, or None."""
        for m in self.measurements:
            if (
                m.artifact == artifact
                and m.quantity is quantity
                and (scope is None or m.conditions.get("scope") == scope.value)
            ):
                return m
        return None


def benchmark(
    candidates: Sequence[Candidate],
    graph: GraphInputs,
    *,
    protocol: Protocol = DEFAULT,
    threads: int = 1,
    scopes: Sequence[Scope] = (Scope.MODEL, Scope.WITH_GRAPH),
    progress: Callable[[str], None] = lambda line: None,
) -> Benchmark:
    """Measure every candidate on one graph.

    Their processes import together, are opened one after the other, which is when memory is read, and then take turns.

    Args:
        threads: threads that each runtime may use.
        progress: called with a line of text before each step.

    Raises:
        MeasurementError: no candidate could be measured, or two have the same name.
    """
    names = [candidate.name for candidate in candidates]
    if len(set(names)) != len(names):
        raise MeasurementError(
            f"two candidates share a name: {sorted(n for n in set(names) if names.count(n) > 1)}. Name each model."
        )
    failed = {candidate.name: candidate.failure for candidate in candidates if candidate.failure}
    started, before = datetime.now(UTC).isoformat(timespec="seconds"), environment()
    with tempfile.TemporaryDirectory(prefix="pocketgnn-bench-") as scratch, ExitStack() as stack:
        write_graph(graph, graph_path := Path(scratch) / "graph.npz")
        runs = [
            _Run(candidate, stack.enter_context(MeasuringChild(candidate.name, Path(scratch) / str(number), threads)))
            for number, candidate in enumerate(candidates)
            if not candidate.failure
        ]

        def attempt(run: _Run, step: Callable[[], None]) -> None:
            """Do a step of a run that has not failed before; a failure is this candidate's alone."""
            try:
                if run.candidate.name not in failed:
                    step()
            except MeasurementError as error:
                failed[run.candidate.name] = str(error)

        for run in runs:
            run.start(graph_path, threads)
        progress(f"starting {len(runs)} measuring processes")
        for run in runs:
            attempt(run, run.child_is_ready)
        for run in runs:
            progress(f"opening {run.candidate.name}")
            attempt(run, partial(run.open, protocol))
        for turn in range(protocol.rounds):
            progress(f"measuring, round {turn + 1} of {protocol.rounds}")
            for run in runs:
                attempt(run, partial(run.windows, scopes, protocol))
        if all(run.candidate.name in failed for run in runs):
            reasons = " ".join(f"{name}: {reason}" for name, reason in failed.items())
            raise MeasurementError(f"nothing could be measured. {reasons}")
        conditions = {
            "threads": threads,
            "nodes": graph.num_nodes,
            "edges": graph.num_edges,
            "graphs": graph.num_graphs,
            "protocol": protocol.name,
        }
        measurements = [m for run in runs if run.candidate.name not in failed for m in run.measurements(conditions)]
    return Benchmark(
        tuple(candidates), tuple(measurements), failed, protocol,
        {"nodes": graph.num_nodes, "edges": graph.num_edges, "graphs": graph.num_graphs}, threads,
        {**before, "load_average_after": load_average()}, started,
    )  # fmt: skip


@dataclass(slots=True)
class _Run:
    """One candidate while it is measured."""

    candidate: Candidate
    child: MeasuringChild
    opened: dict[str, Any] = field(default_factory=dict)
    warm_up: list[np.ndarray] = field(default_factory=list)
    samples: dict[Scope, list[np.ndarray]] = field(default_factory=dict)
    seconds: dict[Scope, float] = field(default_factory=dict)
    peak_rss: int | None = None

    def start(self, graph: Path, threads: int) -> None:
        """Let the process import its libraries; several do so at the same time."""
        subject, folder = dict(self.candidate.subject), str(self.child.folder)
        self.child.tell(
            {"command": "import", "subject": subject, "graph": str(graph), "threads": threads, "folder": folder}
        )

    def child_is_ready(self) -> None:
        self.child.answer(0.0)

    def open(self, protocol: Protocol) -> None:
        message = {"command": "open", "warmup": asdict(protocol.warmup)}
        self.opened = self.child.ask(message, protocol.warmup_seconds)
        self.warm_up.append(_load(self.opened["warmup"]))

    def windows(self, scopes: Sequence[Scope], protocol: Protocol) -> None:
        """One window per scope, each after a short warm-up."""
        sizes = {"window": asdict(protocol.window), "warmup": asdict(Window(protocol.warmup_samples, 0.0))}
        for scope in scopes:
            answer = self.child.ask({"command": "window", "scope": scope.value, **sizes}, protocol.window.seconds)
            self.warm_up.append(_load(answer["warmup"]))
            self.samples.setdefault(scope, []).append(_load(answer["samples"]))
            self.seconds[scope] = self.seconds.get(scope, 0.0) + answer["seconds"]
            self.peak_rss = answer["peak_rss"]

    def measurements(self, conditions: Mapping[str, Any]) -> list[Measurement]:
        def made(quantity: Quantity, unit: str, samples: Any, extra: Mapping[str, Any] | None = None) -> Measurement:
            return Measurement(self.candidate.name, "host", quantity, unit, samples, {**conditions, **(extra or {})})

        def memory(quantity: Quantity, value: int | None) -> Measurement:
            if value is not None:
                return made(quantity, "B", [value])
            return Measurement(self.candidate.name, "host", quantity, "B", np.array([]), conditions, NO_PROC)

        first = [
            made(Quantity.LOAD, "us", [self.opened["load_ns"] / 1e3]),
            made(Quantity.FIRST_INFERENCE, "us", [self.opened["first_ns"] / 1e3]),
            made(Quantity.WARM_UP, "us", np.concatenate(self.warm_up) / 1e3),
            memory(Quantity.WEIGHTS_MEMORY, self.opened["weights"]["pss"]),
            memory(Quantity.WORKING_SET, self.opened["working_set"]["pss"]),
            memory(Quantity.WEIGHTS_PRIVATE, self.opened["weights"]["private_dirty"]),
            memory(Quantity.WORKING_SET_PRIVATE, self.opened["working_set"]["private_dirty"]),
            memory(Quantity.PEAK_RSS, self.peak_rss),
        ]
        if self.candidate.model_bytes is not None:
            first.insert(0, made(Quantity.FILE_SIZE, "B", [self.candidate.model_bytes]))
        latencies = [
            made(
                Quantity.LATENCY,
                "us",
                np.concatenate(windows) / 1e3,
                {"scope": scope.value, "window_sizes": [len(w) for w in windows], "seconds": self.seconds[scope]},
            )
            for scope, windows in self.samples.items()
        ]
        return first + latencies


def _load(path: str) -> np.ndarray:
    return np.load(path, allow_pickle=False)
