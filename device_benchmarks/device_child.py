"""What runs on a device for formats with a Python runtime: `python -m device_benchmarks.device_child`, in the folder of a run.

Reads request.json, artifact/ and graphs/*.npz, writes results.npz: outputs, refusals, windows and memory. Needs numpy, the
library of the format, and of this project what `core_wheel` holds.
"""

from __future__ import annotations

import json
import os
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

import runtimes
from device_benchmarks.device_answers import MOST_KEPT
from device_benchmarks.graph_file import read_graph
from device_benchmarks.measurement import Scope
from device_benchmarks.process_memory import memory_now, peak_rss_bytes
from device_benchmarks.protocol import Window, time_window
from runtimes import Runtime
from toolchain.errors import InvalidInput
from toolchain.inputs import GraphInputs

REQUEST, RESULTS = "request.json", "results.npz"


def main() -> None:
    """Serve the one request of this folder."""
    request = json.loads(Path(REQUEST).read_text(encoding="utf-8"))
    if request["core_mask"]:
        os.sched_setaffinity(0, {core for core in range(64) if request["core_mask"] >> core & 1})
    begin = time.perf_counter_ns()
    runtime = runtimes.load("artifact", threads=1)
    load_ns = time.perf_counter_ns() - begin
    arrays: dict[str, np.ndarray] = {}
    computed: list[dict[str, Any]] = []
    found: dict[str, Any] = {
        "computed": computed,
        "windows": [],
        "memory": {},
        "load_ns": load_ns,
        "runtime": {"name": runtime.name, "version": _version(runtime.name), "threads": 1},
    }
    for position in range(request["graphs"]):
        graph = read_graph(Path("graphs") / f"{position}.npz")
        computed.append(_compute(runtime, graph, position, arrays))
        if position == request["timed"]:
            found["memory"] = _memory()
            if not computed[-1]["refusal"]:
                found["windows"] = _time(runtime, graph, request["protocol"], arrays)
    found["memory"] = found["memory"] or _memory()
    found["clock_ns"] = round(time.get_clock_info("perf_counter").resolution * 1e9)
    arrays["json"] = np.frombuffer(json.dumps(found).encode(), np.uint8)
    with open(RESULTS, "wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # names are strings that are no option of it


def _compute(runtime: Runtime, graph: GraphInputs, position: int, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    start = time.perf_counter_ns()
    try:
        feeds = runtime.prepare(graph)
        prepared = time.perf_counter_ns()
        outputs = runtime.run_feeds(feeds)
    except InvalidInput as error:
        return {"refusal": str(error), "prepare_ns": 0, "run_ns": 0, "outputs": 0}
    ended = time.perf_counter_ns()
    for number, output in enumerate(outputs):
        arrays[f"output-{position}-{number}"] = output
    return {"refusal": "", "prepare_ns": prepared - start, "run_ns": ended - prepared, "outputs": len(outputs)}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:  # a build of the device's own
        return None


def _memory() -> dict[str, int | None]:
    return {"peak_rss_bytes": peak_rss_bytes(), "pss_bytes": memory_now().pss_bytes}


def _time(
    runtime: Runtime, graph: GraphInputs, protocol: dict[str, Any], arrays: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    feeds = runtime.prepare(graph)
    ways = {
        Scope.MODEL: lambda: runtime.run_feeds(feeds),
        Scope.WITH_GRAPH: lambda: runtime.run_feeds(runtime.prepare(graph)),
    }
    windows: list[dict[str, Any]] = []
    for round_ in range(protocol["rounds"]):
        for scope, inference in ways.items():
            warm = time_window(
                inference, Window(protocol["warmup_samples"], protocol["warmup_seconds"] / protocol["rounds"])
            )
            begin = time.perf_counter_ns()
            samples = time_window(
                inference,
                Window(-(-protocol["samples"] // protocol["rounds"]), protocol["seconds"] / protocol["rounds"]),
            )
            elapsed = time.perf_counter_ns() - begin
            stride = -(-samples.size // MOST_KEPT)
            arrays[f"window-{len(windows)}"] = samples[::stride]
            windows.append(
                {
                    "scope": scope.value, "round": round_, "stride": stride, "warm": int(warm.size),
                    "inferences": int(samples.size), "elapsed_ns": elapsed,
                }
            )  # fmt: skip
    return windows


if __name__ == "__main__":
    main()
