"""Report: measurements and parity as report.html (self-contained), report.json, results.csv and samples.npz."""

from __future__ import annotations

import csv
import io
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from device_benchmarks import report_plots, units
from device_benchmarks.benchmark import Benchmark
from device_benchmarks.measurement import Quantity
from device_benchmarks.parity import BACKEND, DEPLOYMENT, TOTAL, ParityReport
from device_benchmarks.results import Row, rows_of
from toolchain.errors import ArtifactError, require
from toolchain.output_path import check_parent

SCHEMA_VERSION = 1
FILES = ("report.html", "report.json", "results.csv", "samples.npz")
STAGES = ("lowering", "compression", "quantization", BACKEND, DEPLOYMENT, TOTAL)
START_COLUMNS = (
    ("load", "us"), ("first_inference", "us"), ("latency", "us"), ("latency@99", "us"), ("weights_private", "B"),
    ("working_set_private", "B"), ("weights_memory", "B"), ("working_set", "B"), ("peak_rss", "B"),
)  # fmt: skip
TEMPLATE = Path(__file__).with_name("report.html.jinja")


@dataclass(frozen=True, slots=True)
class Report:
    """What a run found.

    Attributes:
        steps: what each compression step did, one line each, under the name of its model.
        command: the command line that made it.
    """

    title: str
    benchmarks: tuple[Benchmark, ...] = ()
    parity: tuple[ParityReport, ...] = ()
    steps: Mapping[str, Sequence[str]] = field(default_factory=dict)
    command: str = ""
    seed: int | None = None

    @classmethod
    def load(cls, folder: str | Path) -> Report:
        """Read report.json and samples.npz back.

        Raises:
            ArtifactError: the folder holds no readable report of this version.
        """
        from device_benchmarks.report_reading import read_report

        return read_report(Path(folder))

    @classmethod
    def joined(cls, reports: Sequence[Report], title: str) -> Report:
        """All benchmarks, parity reports and steps of several reports."""
        steps: dict[str, list[str]] = {}
        for report in reports:
            for model, lines in report.steps.items():
                steps.setdefault(model, []).extend(lines)
        benchmarks = tuple(bench for report in reports for bench in report.benchmarks)
        parity = tuple(item for report in reports for item in report.parity)
        return cls(title, benchmarks, parity, steps, "; ".join(r.command for r in reports if r.command))

    @property
    def rows(self) -> list[Row]:
        return rows_of(self.benchmarks, self.parity)

    def to_json(self) -> dict[str, Any]:
        """Everything but the raw samples, which are in samples.npz under the keys named here."""
        return {
            "tool": "pocketgnn", "schema": SCHEMA_VERSION, "title": self.title, "command": self.command,
            "seed": self.seed,
            "rows": [asdict(row) for row in self.rows],
            "benchmarks": [_benchmark_json(number, bench) for number, bench in enumerate(self.benchmarks)],
            "parity": [report.to_json() for report in self.parity],
            "steps": {model: list(lines) for model, lines in self.steps.items()},
        }  # fmt: skip

    def write(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write the four files; each appears complete or not at all. Returns the path of report.html.

        Raises:
            ArtifactError: one of them exists and `overwrite` is off.
        """
        folder = Path(folder)
        refuse_existing(folder, overwrite)
        contents = {
            "report.html": self.html().encode(),
            "report.json": (json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode(),
            "results.csv": self.csv().encode(),
            "samples.npz": self._samples(),
        }
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".report.", dir=folder) as staging:
            for name, content in contents.items():
                (Path(staging) / name).write_bytes(content)
            for name in contents:
                os.replace(Path(staging) / name, folder / name)
        return folder / "report.html"

    def csv(self) -> str:
        """One line per row, a column per field of Row; empty where there is no value."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [f.name for f in fields(Row)], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: "" if v is None else v for k, v in asdict(row).items()} for row in self.rows)
        return text.getvalue()

    def html(self) -> str:
        """One page without any reference to another file or host."""
        jinja, markup = require("jinja2", "cli"), require("markupsafe", "cli").Markup
        environment = jinja.Environment(
            autoescape=True, undefined=jinja.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        environment.filters |= {
            "bytes": units.format_bytes, "us": units.format_us, "share": units.format_share,
            "ratio": units.format_ratio, "error": units.format_error,
        }  # fmt: skip
        rows = self.rows
        figures = {  # matplotlib escapes the names in its text, so its SVG is the one markup that goes in as it is
            "latency": [markup(report_plots.latency_figure(bench)) for bench in self.benchmarks],
            "trade": {
                model: markup(report_plots.trade_figure(group))
                for model, group in _by_model(rows).items()
                if sum(row.accuracy is not None for row in group) > 1
            },
            "correctness": [markup(svg) for svg in report_plots.correctness_figures(self.parity)],
        }
        template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
        return template.render(
            report=self,
            models=_by_model(rows),
            figures=figures,
            colours=report_plots.COLOURS,
            stages=STAGES,
            start_columns=START_COLUMNS,
            median=_median_of,
        )

    def _samples(self) -> bytes:
        buffer = io.BytesIO()
        arrays = {key: m.samples for key, m in _keyed(self.benchmarks)}
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()


def refuse_existing(folder: str | Path, overwrite: bool) -> None:
    """Refuse a folder with a report in it: before a run of minutes rather than after it.

    Raises:
        ArtifactError: a file of a report exists and `overwrite` is off, or nothing can be written to the folder.
    """
    for name in FILES:
        if (Path(folder) / name).exists() and not overwrite:
            raise ArtifactError(f"{Path(folder) / name}: already exists. Choose another folder, or pass --overwrite.")
        check_parent(Path(folder) / name)


def _keyed(benchmarks: Sequence[Benchmark]) -> list[tuple[str, Any]]:
    return [
        (f"b{b}_m{i}", measurement)
        for b, bench in enumerate(benchmarks)
        for i, measurement in enumerate(bench.measurements)
    ]


def _benchmark_json(number: int, bench: Benchmark) -> dict[str, Any]:
    keys = [key for key, _ in _keyed((bench,))]
    latencies = [m for m in bench.measurements if m.quantity.value == "latency"]
    return {
        "started_at": bench.started_at, "protocol": bench.protocol.to_json(), "graph": dict(bench.graph),
        "threads": bench.threads,
        "environment": dict(bench.environment), "failures": dict(bench.failures),
        "candidates": [
            {name: getattr(candidate, name) for name in ("name", "model", "format", "precision", "is_rival", "failure")}
            for candidate in bench.candidates
        ],
        "validity": {
            "min_samples_met": all(m.samples.size >= bench.protocol.samples for m in latencies),
            "min_duration_met": all(m.conditions["seconds"] >= bench.protocol.seconds for m in latencies),
        },
        "measurements": [
            {**m.to_json(), "samples_key": key.replace("b0_", f"b{number}_")}
            for key, m in zip(keys, bench.measurements, strict=True)
        ],
    }  # fmt: skip


def _median_of(bench: Benchmark, name: str, column: str) -> float | None:
    """The p50 of a column of the start and memory table; None where the target does not tell."""
    quantity, _, percentile = column.partition("@")
    measurement = bench.find(name, Quantity(quantity))
    if measurement is None or not measurement.is_available:
        return None
    return measurement.percentile(float(percentile or 50))


def _by_model(rows: Sequence[Row]) -> dict[str, list[Row]]:
    models: dict[str, list[Row]] = {}
    for row in rows:
        models.setdefault(row.model, []).append(row)
    return models
