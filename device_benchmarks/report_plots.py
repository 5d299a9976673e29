"""The figures of a report as inline SVG: latency distributions, size and latency against accuracy, correctness."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from device_benchmarks.benchmark import Benchmark
from device_benchmarks.measurement import Quantity, Scope
from device_benchmarks.parity import ParityReport
from device_benchmarks.results import Row
from toolchain.errors import require

# One colour per format, told apart without colour vision as well (Okabe and Ito 2008); rivals are grey.
COLOURS = {"onnx": "#0072B2", "executorch": "#D55E00", "torchscript": "#009E73", "litert": "#56B4E9", "c": "#CC79A7"}
RIVAL = "#9aa0a6"
MARKERS = {"float32": "o", "dynamic-int8": "^", "static-int8": "s"}
INK, GRID = "#30363d", "#e6e8eb"


def latency_figure(bench: Benchmark) -> str:
    """Every candidate's latency distribution on a logarithmic axis: the bar spans p10 to p90, the dot is the median."""
    entries = [
        (candidate, measurement)
        for candidate in bench.candidates
        if (measurement := bench.find(candidate.name, Quantity.LATENCY, Scope.MODEL)) is not None
    ]
    entries.sort(key=lambda entry: entry[1].median)
    figure, axes = _figure(8.6, 0.8 + 0.34 * len(entries))
    for row, (candidate, measurement) in enumerate(entries):
        colour = RIVAL if candidate.is_rival else COLOURS.get(candidate.format, INK)
        low, high, p99 = (measurement.percentile(p) for p in (10, 90, 99))
        axes.plot([measurement.percentile(1), p99], [row, row], color=colour, linewidth=1.2, solid_capstyle="butt")
        axes.plot([low, high], [row, row], color=colour, linewidth=7, alpha=0.35, solid_capstyle="butt")
        axes.plot([measurement.median], [row], "o", color=colour, markersize=6, markeredgecolor="white")
        axes.annotate(
            f"p50 {measurement.median:,.1f}",
            (p99, row),
            xytext=(6, -3),
            textcoords="offset points",
            fontsize=8,
            color=INK,
        )
    axes.set_yticks(range(len(entries)), [candidate.name for candidate, _ in entries])
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.set_xscale("log")
    axes.set_xlabel("latency of one inference, µs (bar: p10 to p90, line: p1 to p99, dot: median)")
    axes.grid(axis="x", color=GRID, which="both", linewidth=0.6)
    _finish_ticks(axes)
    return _svg(figure, f"latency {[c.name for c, _ in entries]}")


def trade_figure(rows: Sequence[Row]) -> str:
    """Accuracy against file size and against latency; the line joins what nothing else beats in both."""
    plt = _pyplot()
    figure, panels = plt.subplots(1, 2, figsize=(8.6, 3.3), sharey=True)
    shown = [row for row in rows if row.accuracy is not None]
    for axes, attribute, label, factor in (
        (panels[0], "size_bytes", "model size, kB", 1e3),
        (panels[1], "run_us", "p50 latency, µs", 1.0),
    ):
        points = []
        for row in shown:
            value = getattr(row, attribute)
            if value is None or row.accuracy is None:
                continue
            colour = RIVAL if row.is_rival else COLOURS.get(row.format, INK)
            axes.plot(value / factor, 100 * row.accuracy, MARKERS.get(row.precision, "D"), color=colour, markersize=8,
                      markeredgecolor="white", zorder=3)  # fmt: skip
            points.append((value / factor, 100 * row.accuracy))
        front = _front(points)
        axes.step(
            [x for x, _ in front], [y for _, y in front], where="post", color=INK, linewidth=1, linestyle=":", zorder=2
        )
        axes.set_xlabel(label)
        axes.set_xscale("log")
        axes.grid(color=GRID, which="major", linewidth=0.6)
        _finish_ticks(axes)
    panels[0].set_ylabel("accuracy, %")
    figure.tight_layout(w_pad=2)
    return _svg(figure, f"trade {[row.name for row in shown]}")


def correctness_figures(reports: Sequence[ParityReport], limit: int = 400) -> list[str]:
    """Grids of artifacts by graphs, red where the class is not the PyG model's; one grid per model and number of graphs."""
    groups: dict[tuple[str, int], list[ParityReport]] = {}
    for report in reports:
        if report.total.agrees.size:
            groups.setdefault((report.artifact.split("-")[0], report.graphs), []).append(report)
    return [_correctness(group, min(graphs, limit)) for (_, graphs), group in groups.items()]


def _correctness(shown: Sequence[ParityReport], graphs: int) -> str:
    order = np.argsort(np.mean([report.total.agrees[:graphs] for report in shown], axis=0), kind="stable")
    wrong = np.array([1 - report.total.agrees[:graphs][order] for report in shown])  # [artifacts, graphs]
    figure, axes = _figure(8.6, 0.75 + 0.26 * len(shown))
    axes.imshow(
        wrong, aspect="auto", interpolation="nearest", cmap=_pale_to_red(), vmin=0, vmax=1,
        extent=(0, graphs, len(shown), 0),
    )  # fmt: skip
    axes.set_yticks(np.arange(len(shown)) + 0.5, [report.artifact for report in shown])
    axes.set_xlabel(f"{graphs} test graphs, those that most artifacts decide differently first")
    for row in range(1, len(shown)):
        axes.axhline(row, color="white", linewidth=2)
    _finish_ticks(axes)
    return _svg(figure, f"correctness {[report.artifact for report in shown]}")


def _front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both: smaller x and larger y, by rising x."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def _pale_to_red() -> Any:
    colors = require("matplotlib.colors", "cli")
    return colors.LinearSegmentedColormap.from_list("disagreement", ["#e8f1ec", "#b3261e"])


def _pyplot() -> Any:
    matplotlib = require("matplotlib", "cli")
    matplotlib.use("agg")
    pyplot = require("matplotlib.pyplot", "cli")
    pyplot.rcParams.update({
        "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 9, "axes.edgecolor": GRID,
        "axes.labelcolor": INK,
        "xtick.color": INK, "ytick.color": INK, "axes.spines.top": False, "axes.spines.right": False,
        "axes.linewidth": 0.8,
    })  # fmt: skip
    return pyplot


def _figure(width: float, height: float) -> tuple[Any, Any]:
    return _pyplot().subplots(figsize=(width, height), layout="constrained")


def _finish_ticks(axes: Any) -> None:
    """Plain numbers on logarithmic axes, no tick marks."""
    ticker = require("matplotlib.ticker", "cli")
    axes.tick_params(length=0, which="both")
    if axes.get_xscale() == "log":
        axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
        low, high = axes.get_xlim()
        if high / low < 100:  # less than two decades: label some of the minor ticks too
            axes.xaxis.set_minor_locator(ticker.LogLocator(subs=(2, 3, 5)))
            axes.xaxis.set_minor_formatter(ticker.FuncFormatter(lambda value, _: f"{value:,.10g}"))
        else:
            axes.xaxis.set_minor_formatter(ticker.NullFormatter())


def _svg(figure: Any, salt: str) -> str:
    """The <svg> element alone. The salt makes its ids those of this figure and the same in every run."""
    plt = _pyplot()
    plt.rcParams["svg.hashsalt"] = salt
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return re.sub(
        r'(<svg[^>]*?) width="[^"]*"', r"\1", re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1), count=1
    )
