"""Reports: the table, the four files, and nothing half-written."""

from __future__ import annotations

import csv
import html.parser
import json
from pathlib import Path

import numpy as np
import pytest

from device_benchmarks import terminal, units
from device_benchmarks.benchmark import Benchmark, Candidate
from device_benchmarks.measurement import Measurement, Quantity, Scope
from device_benchmarks.parity import TOTAL, ParityReport, StageParity
from device_benchmarks.protocol import QUICK
from device_benchmarks.report import FILES, Report
from device_benchmarks.report_plots import _front
from toolchain.errors import ArtifactError

HOSTILE = 'gcn"><script>alert(1)</script>'


def latency(name: str, scope: Scope, values: list[float]) -> Measurement:
    conditions = {"scope": scope.value, "seconds": 2.5, "window_sizes": [len(values)]}
    return Measurement(name, "host", Quantity.LATENCY, "us", np.array(values), conditions)


def made_benchmark(model: str = "gcn") -> Benchmark:
    candidates = (
        Candidate(f"{model} PyG eager", {}, model, "PyG eager", "float32", is_rival=True),
        Candidate(f"{model} torch.onnx dynamo", {}, model, "torch.onnx dynamo", "float32", is_rival=True),
        Candidate(
            f"{model} torch.onnx legacy", {}, model, "torch.onnx legacy", "float32", is_rival=True, failure="it said no"
        ),
        Candidate(f"{model}-onnx-float32", {}, model, "onnx", "float32"),
    )
    measurements = []
    for candidate, run, with_graph in zip(
        (candidates[0], candidates[1], candidates[3]), (400.0, 100.0, 20.0), (600.0, 120.0, 60.0), strict=True
    ):
        name = candidate.name
        measurements += [
            Measurement(name, "host", Quantity.FILE_SIZE, "B", np.array([40_000.0])),
            Measurement(name, "host", Quantity.LOAD, "us", np.array([1500.0])),
            Measurement(name, "host", Quantity.WEIGHTS_PRIVATE, "B", np.array([1e6])),
            Measurement(name, "host", Quantity.WORKING_SET_PRIVATE, "B", np.array([2e5])),
            Measurement(name, "host", Quantity.PEAK_RSS, "B", np.array([]), {}, "no /proc"),
            latency(name, Scope.MODEL, [run, run * 0.9, run * 1.1] * 30),
            latency(name, Scope.WITH_GRAPH, [with_graph] * 90),
        ]
    environment = {
        "device": {"cpu": "Acme", "cores": 2, "usable_cores": 2, "governor": None}, "python": "3", "libraries": {},
        "load_average": None, "load_average_after": None,
    }  # fmt: skip
    graph = {"nodes": 33, "edges": 180, "graphs": 1}
    return Benchmark(
        candidates, tuple(measurements), {candidates[2].name: "it said no"}, QUICK, graph, 1, environment, "2026-01-01"
    )


def made_parity(name: str = "gcn-onnx-float32") -> ParityReport:
    agrees = np.array([1.0] * 9 + [0.0])
    stage = StageParity(
        TOTAL, "PyG model", "onnx runtime", 10, 0.5, 0.1, 0.9, 0.8, 0.7, np.linspace(0, 0.5, 10), agrees
    )
    return ParityReport(name, 10, (stage,))


@pytest.fixture
def report() -> Report:
    return Report("a test", (made_benchmark(),), (made_parity(),), {"gcn": ["prune 20%"]}, "pocketgnn bench", 0)


def test_ratios_are_against_the_fastest_rival_of_the_kind(report: Report) -> None:
    ours = report.rows[3]

    assert (ours.against_eager, ours.against_onnx) == (20.0, 5.0)
    assert (ours.against_eager_with_graph, ours.against_onnx_with_graph) == (10.0, 2.0)


def test_a_row_joins_what_was_measured_and_what_was_compared(report: Report) -> None:
    ours = report.rows[3]

    assert (ours.size_bytes, ours.memory_bytes, ours.run_us, ours.samples) == (40_000.0, 1.2e6, 20.0, 90)
    assert (ours.accuracy, ours.agreement, ours.peak_rss_bytes) == (0.7, 0.9, None)


def test_a_rival_that_did_not_export_is_a_row_with_its_reason(report: Report) -> None:
    assert report.rows[2].failure == "it said no"
    assert terminal.failures(report.rows) == ["gcn torch.onnx legacy: it said no"]


def test_an_artifact_that_was_only_compared_is_a_row(report: Report) -> None:
    rows = Report("", report.benchmarks, (*report.parity, made_parity("other"))).rows

    assert rows[-1].name == "other"
    assert rows[-1].agreement == 0.9


def test_every_row_fits_the_columns(report: Report) -> None:
    for row in report.rows:
        assert len(terminal.cells(row)) == len(terminal.COLUMNS)


def test_the_four_files_hold_the_same_figures(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path / "out")

    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(FILES)
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    with open(tmp_path / "out" / "results.csv", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [row["name"] for row in data["rows"]] == [line["name"] for line in lines]
    assert float(lines[3]["run_us"]) == data["rows"][3]["run_us"] == 20.0
    assert lines[2]["run_us"] == ""


def test_every_raw_sample_is_kept(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path)
    entries = json.loads((tmp_path / "report.json").read_text())["benchmarks"][0]["measurements"]

    with np.load(tmp_path / "samples.npz", allow_pickle=False) as samples:
        for entry, measurement in zip(entries, report.benchmarks[0].measurements, strict=True):
            np.testing.assert_array_equal(samples[entry["samples_key"]], measurement.samples)


def test_a_report_reads_back_to_the_same_rows(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path)

    assert Report.load(tmp_path).rows == report.rows


def test_joined_reports_keep_all_rows(report: Report) -> None:
    other = Report("b", (made_benchmark("gin"),), (), {"gin": ["x"]})

    joined = Report.joined([report, other], "both")

    assert joined.rows == [*report.rows, *other.rows]
    assert list(joined.steps) == ["gcn", "gin"]


class _References(html.parser.HTMLParser):
    """Collects what a page refers to, and its script elements."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href") and tag != "a"]


def test_the_page_refers_to_no_other_file_or_host(report: Report) -> None:
    page = _References()
    page.feed(report.html())

    assert all(reference.startswith(("#", "data:")) for reference in page.found)
    assert "@import" not in report.html()
    assert page.scripts == 0


def test_names_cannot_bring_markup_into_the_page() -> None:
    page = _References()
    page.feed(
        Report(
            HOSTILE,
            (made_benchmark(HOSTILE),),
            (made_parity(f"{HOSTILE}-onnx-float32"),),
            {HOSTILE: [HOSTILE]},
            HOSTILE,
        ).html()
    )

    assert page.scripts == 0


def test_the_page_is_the_same_every_time(report: Report) -> None:
    assert report.html() == report.html()


def test_an_empty_report_is_a_page_too() -> None:
    assert "<!doctype html>" in Report("nothing").html()


def test_an_existing_report_is_only_replaced_on_request(report: Report, tmp_path: Path) -> None:
    report.write(tmp_path)

    with pytest.raises(ArtifactError, match="already exists"):
        report.write(tmp_path)
    report.write(tmp_path, overwrite=True)


@pytest.mark.parametrize("damage", ["not json", "{}", '{"schema": 99}', '{"schema": 1}'])
def test_a_damaged_report_is_refused(damage: str, tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(damage)

    with pytest.raises(ArtifactError, match=str(tmp_path.name)):
        Report.load(tmp_path)


def test_the_front_holds_what_nothing_beats_in_both() -> None:
    assert _front([(1, 5), (2, 4), (3, 9), (4, 9), (5, 10)]) == [(1, 5), (3, 9), (5, 10)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (units.format_bytes(999), "999 B"), (units.format_bytes(40_254), "40.3 kB"), (units.format_bytes(3.72e6), "3.72 MB"),
        (units.format_us(76.94), "76.9 µs"), (units.format_us(1234.0), "1.23 ms"), (units.format_us(None), "–"),
        (units.format_share(0.9871), "98.7 %"), (units.format_ratio(30.44), "30.4×"), (units.format_error(3.7e-7), "3.7e-07"),
    ],
)  # fmt: skip
def test_numbers_read_as_three_digits_and_a_unit(text: str, expected: str) -> None:
    assert text == expected
