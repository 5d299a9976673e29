"""Results: benchmarks and parity reports as the rows of one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from device_benchmarks.benchmark import EAGER, ONNX_EXPORT, Benchmark, Candidate
from device_benchmarks.measurement import Measurement, Quantity, Scope
from device_benchmarks.parity import DEPLOYMENT, ParityReport


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate. None: not measured, or not available here.

    Attributes:
        size_bytes: of the model file; of the constants where the file is C.
        memory_bytes: weights and working set by private dirty pages: what loading and running added to the process.
        run_us, run_p90_us, run_p99_us: latency of the model on prepared arrays; with_graph_us from x and edge_index on.
        samples: inferences behind run_us.
        against_eager, against_onnx: how many times faster than PyG eager and than the faster default ONNX export, for
            the model alone; the *_with_graph ones with graph preparation on both sides.
        agreement, max_abs: with the PyG model; agreement_with_float: with the float Graph after pruning and
            fine-tuning, which is what quantization and the runtime leave of it.
        failure: why there is nothing.
    """

    name: str
    model: str
    format: str
    precision: str
    is_rival: bool
    size_bytes: float | None = None
    accuracy: float | None = None
    agreement: float | None = None
    max_abs: float | None = None
    load_us: float | None = None
    first_us: float | None = None
    memory_bytes: float | None = None
    peak_rss_bytes: float | None = None
    run_us: float | None = None
    run_p90_us: float | None = None
    run_p99_us: float | None = None
    with_graph_us: float | None = None
    samples: int | None = None
    against_eager: float | None = None
    against_onnx: float | None = None
    against_eager_with_graph: float | None = None
    against_onnx_with_graph: float | None = None
    agreement_with_float: float | None = None
    failure: str = ""


def rows_of(benchmarks: Sequence[Benchmark], parity: Sequence[ParityReport]) -> list[Row]:
    """One row per candidate and failure, in the order measured; artifacts without a benchmark follow."""
    by_name = {report.artifact: report for report in parity}
    rows = [_row(candidate, bench, by_name) for bench in benchmarks for candidate in bench.candidates]
    known = {row.name for row in rows}
    for report in parity:
        if report.artifact not in known:
            rows.append(_with_parity(Row(report.artifact, report.artifact, "", "", False), report))
    return rows


def _row(candidate: Candidate, bench: Benchmark, parity: dict[str, ParityReport]) -> Row:
    name = candidate.name
    row = Row(name, candidate.model, candidate.format, candidate.precision, candidate.is_rival)
    if name in bench.failures:
        return replace(row, failure=bench.failures[name])
    run = bench.find(name, Quantity.LATENCY, Scope.MODEL)
    with_graph = bench.find(name, Quantity.LATENCY, Scope.WITH_GRAPH)
    memory = [_median(bench.find(name, q)) for q in (Quantity.WEIGHTS_PRIVATE, Quantity.WORKING_SET_PRIVATE)]
    row = replace(
        row,
        size_bytes=_median(bench.find(name, Quantity.FILE_SIZE)),
        load_us=_median(bench.find(name, Quantity.LOAD)),
        first_us=_median(bench.find(name, Quantity.FIRST_INFERENCE)),
        memory_bytes=None if None in memory else sum(m for m in memory if m is not None),
        peak_rss_bytes=_median(bench.find(name, Quantity.PEAK_RSS)),
        run_us=_median(run),
        run_p90_us=run.percentile(90) if run else None,
        run_p99_us=run.percentile(99) if run else None,
        with_graph_us=_median(with_graph),
        samples=int(run.samples.size) if run else None,
        against_eager=_ratio(bench, candidate, Scope.MODEL, EAGER),
        against_onnx=_ratio(bench, candidate, Scope.MODEL, ONNX_EXPORT),
        against_eager_with_graph=_ratio(bench, candidate, Scope.WITH_GRAPH, EAGER),
        against_onnx_with_graph=_ratio(bench, candidate, Scope.WITH_GRAPH, ONNX_EXPORT),
    )
    if name in parity:
        return _with_parity(row, parity[name])
    if candidate.format == EAGER:  # the reference agrees with itself
        for report in parity.values():
            if report.artifact in {c.name for c in bench.candidates if c.model == candidate.model}:
                return replace(row, accuracy=report.total.accuracy_before, agreement=1.0, max_abs=0.0)
    return row


def _with_parity(row: Row, report: ParityReport) -> Row:
    total, deployment = report.total, report.stage(DEPLOYMENT)
    return replace(
        row,
        accuracy=total.accuracy_after,
        agreement=total.agreement,
        max_abs=total.max_abs,
        agreement_with_float=deployment.agreement if deployment is not None else None,
    )


def _median(measurement: Measurement | None) -> float | None:
    return measurement.median if measurement is not None and measurement.is_available else None


def _ratio(bench: Benchmark, candidate: Candidate, scope: Scope, rival_format: str) -> float | None:
    """Latency of the fastest rival of that format and the same model, over the candidate's own."""
    own = _median(bench.find(candidate.name, Quantity.LATENCY, scope))
    rivals = [
        median
        for other in bench.candidates
        if other.is_rival and other.model == candidate.model and other.format.startswith(rival_format)
        if (median := _median(bench.find(other.name, Quantity.LATENCY, scope))) is not None
    ]
    return min(rivals) / own if own and rivals else None
