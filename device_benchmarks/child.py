"""The measuring process, `python -m device_benchmarks.child`: one subject, JSON lines in and out, samples in files.

    {"command": "import", "subject": {...}, "graph": "graph.npz", "threads": 1, "folder": "..."}
    {"command": "open", "warmup": {...}}
    {"command": "window", "scope": "session_run", "window": {...}, "warmup": {...}}
    {"command": "graph", "graph": "other.npz"}
    {"command": "close"}

Every answer is one line: {"ok": {...}} or {"error": "...", "type": "..."}. Nothing is pickled on either side.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from device_benchmarks.graph_file import read_graph
from device_benchmarks.measurement import Scope
from device_benchmarks.process_memory import MemorySnapshot, memory_now, peak_rss_bytes
from device_benchmarks.protocol import Window, time_window
from device_benchmarks.subjects import Subject, subject
from toolchain.errors import MeasurementError
from toolchain.inputs import GraphInputs


@dataclass(slots=True)
class MeasuringProcess:
    """The state between commands."""

    subject: Subject
    graph: GraphInputs
    folder: Path
    prepared: Any = None
    files: int = field(default=0)

    def open(self, warmup: Window) -> dict[str, Any]:
        """Load, run once, warm up; times in nanoseconds and memory in bytes of each step."""
        gc.collect()
        gc.freeze()  # what the libraries made is not looked at again, so that a collection takes no time from now on
        before = memory_now()
        start = time.perf_counter_ns()
        self.subject.open()
        load_ns = time.perf_counter_ns() - start
        gc.collect()
        loaded = memory_now()
        self.prepared = self.subject.prepare(self.graph)
        start = time.perf_counter_ns()
        self.subject.run(self.prepared)
        first_ns = time.perf_counter_ns() - start
        warm_up = time_window(lambda: self.subject.run(self.prepared), warmup)
        gc.collect()
        warm = memory_now()
        return {
            "load_ns": load_ns, "first_ns": first_ns, "warmup": self._store(warm_up),
            "weights": _grown(before, loaded), "working_set": _grown(loaded, warm),
        }  # fmt: skip

    def change_graph(self, graph: GraphInputs) -> dict[str, Any]:
        """Let the windows from now on run on another graph."""
        self.graph, self.prepared = graph, self.subject.prepare(graph)
        return {}

    def window(self, scope: Scope, window: Window, warmup: Window) -> dict[str, Any]:
        """A short warm-up (the other candidates have used the caches meanwhile), then the samples of one window."""
        inference: Callable[[], Any]
        if scope is Scope.MODEL:
            inference = lambda: self.subject.run(self.prepared)  # noqa: E731  # a named function would hide that these two differ in one call
        else:
            inference = lambda: self.subject.run(self.subject.prepare(self.graph))  # noqa: E731
        gc.collect()
        warm_up = time_window(inference, warmup)
        start = time.perf_counter()
        samples = time_window(inference, window)
        seconds = time.perf_counter() - start
        stored = {"warmup": self._store(warm_up), "samples": self._store(samples)}
        return {**stored, "seconds": seconds, "peak_rss": peak_rss_bytes()}

    def _store(self, samples: np.ndarray) -> str:
        path = self.folder / f"{self.files}.npy"
        self.files += 1
        np.save(path, samples, allow_pickle=False)
        return str(path)


def _grown(before: MemorySnapshot, after: MemorySnapshot) -> dict[str, int | None]:
    def difference(a: int | None, b: int | None) -> int | None:
        return None if a is None or b is None else b - a

    return {
        "pss": difference(before.pss_bytes, after.pss_bytes),
        "private_dirty": difference(before.private_dirty_bytes, after.private_dirty_bytes),
    }


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer commands until "close" or the end of the stream."""
    process: MeasuringProcess | None = None
    for line in requests:
        message = json.loads(line)
        if message["command"] == "close":
            return
        try:
            process, answer = _answer(process, message)
            reply: dict[str, Any] = {"ok": answer}
        except Exception as error:  # whatever a runtime or the user's model raises is the parent's to report
            reply = {"error": str(error) or repr(error), "type": type(error).__name__}
        answers.write(json.dumps(reply) + "\n")
        answers.flush()


def _answer(
    process: MeasuringProcess | None, message: Mapping[str, Any]
) -> tuple[MeasuringProcess | None, dict[str, Any]]:
    if message["command"] == "import":
        made = MeasuringProcess(
            subject(message["subject"], message["threads"]), read_graph(message["graph"]), Path(message["folder"])
        )
        made.subject.import_libraries()
        return made, {}
    if message["command"] == "open" and process is not None:
        return process, process.open(Window(**message["warmup"]))
    if message["command"] == "graph" and process is not None:
        return process, process.change_graph(read_graph(message["graph"]))
    if message["command"] == "window" and process is not None:
        return process, process.window(
            Scope(message["scope"]), Window(**message["window"]), Window(**message["warmup"])
        )
    raise MeasurementError(f"command {message['command']!r} is unknown or comes too early")


def main() -> None:
    """Serve on stdin and stdout. Whatever a library prints goes to stderr, so that it cannot break the protocol."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
