"""A written report back into memory: report.json and samples.npz in, Report out."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from device_benchmarks.benchmark import Benchmark, Candidate
from device_benchmarks.measurement import Measurement, Quantity
from device_benchmarks.parity import ParityReport, StageParity
from device_benchmarks.protocol import Protocol
from device_benchmarks.report import SCHEMA_VERSION, Report
from toolchain.errors import ArtifactError


def read_report(folder: Path) -> Report:
    """The report in a folder.

    Raises:
        ArtifactError: the folder holds no readable report of this version.
    """
    path = folder / "report.json"
    if not path.is_file():
        raise ArtifactError(f"{folder}: no report.json in it. Pass a folder that bench, run or demo wrote.")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema"] != SCHEMA_VERSION:
            raise ArtifactError(
                f"{path}: schema {data['schema']!r}, this version reads {SCHEMA_VERSION}. Measure again."
            )
        with np.load(folder / "samples.npz", allow_pickle=False) as samples:
            benchmarks = tuple(_benchmark(entry, samples) for entry in data["benchmarks"])
        parity = tuple(_parity(entry) for entry in data["parity"])
        return Report(data["title"], benchmarks, parity, data["steps"], data["command"], data["seed"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{folder}: not a readable report ({type(error).__name__}: {error}). Measure again."
        ) from error


def _benchmark(data: Mapping[str, Any], samples: Mapping[str, np.ndarray]) -> Benchmark:
    candidates = tuple(Candidate(subject={}, **entry) for entry in data["candidates"])
    measurements = tuple(
        Measurement(
            m["artifact"], m["target"], Quantity(m["quantity"]), m["unit"], samples[m["samples_key"]], m["conditions"],
            m["unavailable"] or "",
        )
        for m in data["measurements"]
    )  # fmt: skip
    return Benchmark(
        candidates, measurements, data["failures"], Protocol(**data["protocol"]), data["graph"], data["threads"],
        data["environment"], data["started_at"],
    )  # fmt: skip


def _parity(data: Mapping[str, Any]) -> ParityReport:
    return ParityReport(data["artifact"], data["graphs"], tuple(_stage(stage) for stage in data["stages"]))


def _stage(data: Mapping[str, Any]) -> StageParity:
    stage = {name: value for name, value in data.items() if name != "worst_graph"}
    for name in ("max_abs", "max_relative"):
        stage[name] = float("nan") if stage[name] is None else stage[name]
    errors = [float("nan") if error is None else error for error in data["errors"]]
    return StageParity(**{**stage, "errors": np.array(errors), "agrees": np.array(data["agrees"])})
