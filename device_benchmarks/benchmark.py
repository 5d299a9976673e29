"""benchmark: candidates in, measurements out. Each candidate runs in a process of its own, and they take turns."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from device_benchmarks.environment import environment, load_average
from device_benchmarks.graph_file import write_graph
from device_benchmarks.measurement import Measurement, Quantity, Scope
from device_benchmarks.protocol import DEFAULT, Protocol, Window
from toolchain.artifact import Artifact
from toolchain.errors import MeasurementError
from toolchain.inputs import GraphInputs
from toolchain.model_source import ModelSource

EAGER = "PyG eager"
ONNX_EXPORT = "torch.onnx.export"  # how the format of such a rival starts; the name of the exporter follows
NO_PROC = "this system has no /proc/self/smaps_rollup"
SECONDS_BEYOND_WINDOW = 300.0  # to import, load and warm up; a process that needs longer counts as hung


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something to measure.

    Attributes:
        name: unique in a benchmark.
        subject: what the measuring process opens, as JSON (see subjects.py).
        model, format, precision: columns of the report.
        file: its model file, or None where there is none.
        is_rival: not ours: what a user has without this project.
        failure: why it could not even be made, such as the error of a rival's export: reported instead of measured.
    """

    name: str
    subject: Mapping[str, Any]
    model: str
    format: str
    precision: str
    file: Path | None = None
    is_rival: bool = False
    failure: str = ""

    @classmethod
    def of_artifact(cls, artifact: Artifact, model: str | None = None) -> Candidate:
        """An exported artifact in its own runtime."""
        model = model or str(artifact.provenance.get("name", "model"))
        name = Path(artifact.path).name
        subject = {"kind": "artifact", "path": str(Path(artifact.path).resolve())}
        return cls(name, subject, model, artifact.format, artifact.precision, artifact.model_path)

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

    All are opened first, one after the other, which is when memory is read; then they take turns for `protocol.rounds`.

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
    failed, runs = {candidate.name: candidate.failure for candidate in candidates if candidate.failure}, []
    started, before = datetime.now(UTC).isoformat(timespec="seconds"), environment()
    with tempfile.TemporaryDirectory(prefix="pocketgnn-bench-") as scratch, ExitStack() as stack:
        write_graph(graph, graph_path := Path(scratch) / "graph.npz")
        for number, candidate in enumerate(c for c in candidates if not c.failure):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            progress(f"opening {candidate.name}")
            run = _Run(candidate, stack.enter_context(MeasuringChild(candidate.name, folder, threads)))
            try:
                run.open(graph_path, folder, threads, protocol)
            except MeasurementError as error:
                failed[candidate.name] = str(error)
                run.child.close()
            else:
                runs.append(run)
        for turn in range(protocol.rounds):
            for run in [run for run in runs if run.candidate.name not in failed]:
                progress(f"round {turn + 1} of {protocol.rounds}: {run.candidate.name}")
                try:
                    for scope in scopes:
                        run.window(scope, protocol)
                except MeasurementError as error:
                    failed[run.candidate.name] = str(error)
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

    def open(self, graph: Path, folder: Path, threads: int, protocol: Protocol) -> None:
        self.opened = self.child.ask(
            {"command": "open", "subject": dict(self.candidate.subject), "graph": str(graph), "threads": threads,
             "warmup": asdict(protocol.warmup), "folder": str(folder)}, protocol.warmup_seconds,
        )  # fmt: skip
        self.warm_up.append(_load(self.opened["warmup"]))

    def window(self, scope: Scope, protocol: Protocol) -> None:
        answer = self.child.ask(
            {"command": "window", "scope": scope.value, "window": asdict(protocol.window),
             "warmup": asdict(Window(protocol.warmup_samples, 0.0))}, protocol.window.seconds,
        )  # fmt: skip
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
        if self.candidate.file is not None:
            first.insert(0, made(Quantity.FILE_SIZE, "B", [self.candidate.file.stat().st_size]))
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


class MeasuringChild:
    """A `device_benchmarks.child` process. Leaving the context ends it, whatever happened."""

    def __init__(self, name: str, folder: Path, threads: int) -> None:
        self.name = name
        self._log = open(folder / "stderr.txt", "w+", encoding="utf-8", errors="replace")  # noqa: SIM115  # closed in __exit__
        count = str(threads)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "device_benchmarks.child"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True, encoding="utf-8",
            # Read by OpenMP, MKL and OpenBLAS when they load, before any call could set the number of threads.
            env={**os.environ, "OMP_NUM_THREADS": count, "MKL_NUM_THREADS": count, "OPENBLAS_NUM_THREADS": count},
        )  # fmt: skip

    def ask(self, message: Mapping[str, Any], expected_seconds: float) -> dict[str, Any]:
        """Send a command and wait for its answer.

        Raises:
            MeasurementError: the process reports an error, dies, hangs, or answers nonsense.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        watchdog = threading.Timer(expected_seconds * 10 + SECONDS_BEYOND_WINDOW, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:  # the pipe broke: the process has died
            line = ""
        finally:
            watchdog.cancel()
        if not line:
            raise MeasurementError(
                f"{self.name}: the measuring process ended with status {self._process.wait()}. {self._last_words()}"
            )
        try:
            answer = json.loads(line)
        except ValueError as error:
            raise MeasurementError(
                f"{self.name}: the measuring process answered {line[:80]!r}, expected JSON."
            ) from error
        if "error" in answer:
            raise MeasurementError(f"{self.name}: {answer['type']}: {answer['error']}")
        return answer["ok"]

    def close(self) -> None:
        """End the process: first by asking, then by force."""
        if self._process.poll() is None:
            try:
                self._process.communicate('{"command": "close"}\n', timeout=5)
            except (subprocess.TimeoutExpired, OSError):
                self._process.kill()
                self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None and not stream.closed:
                stream.close()

    def __enter__(self) -> MeasuringChild:
        return self

    def __exit__(self, *exception: object) -> None:
        if exception[0] is not None:
            self._process.kill()
        self.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        return " ".join(self._log.read()[-400:].split())


def _load(path: str) -> np.ndarray:
    return np.load(path, allow_pickle=False)
