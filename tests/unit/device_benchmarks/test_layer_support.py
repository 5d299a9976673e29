"""The support table: what it says is what running a layer gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from device_benchmarks.layer_check import FORMATS, NO_WEIGHTS, check, limit
from device_benchmarks.layer_support import main
from device_benchmarks.layer_table import SHORT, markdown_row, shares
from device_benchmarks.layer_zoo import CASES, RELATIONAL, conv_classes, why_not_counted

TABLE = (Path(__file__).resolve().parents[3] / "LAYERS.md").read_text()


def case_named(name: str):
    return next(case for case in (*CASES, *RELATIONAL) if case.name == name)


def table_cells(name: str) -> list[str]:
    """What the table says of a layer: one cell for each format, and the causes of what is missing."""
    line = next(line for line in TABLE.splitlines() if line.startswith(f"| `{name}` |"))
    return [cell.strip() for cell in line.strip("|").split("|")[1:]]


@pytest.mark.parametrize("name", ["GENConv", "PNAConv", "ChebConv", "RGCNConv"])
def test_a_traced_layer_runs_in_onnx_and_c_as_the_table_says(name: str) -> None:
    rows = check(case_named(name), ("onnx", "c"))
    assert [row.is_supported for row in rows] == [True, True]
    assert all(cell.startswith("f32 ") for cell in table_cells(name)[: len(FORMATS)])


def test_narrow_precisions_run_as_the_table_says() -> None:
    told = dict(zip(FORMATS, table_cells("SSGConv"), strict=False))
    rows = {p: check(case_named("SSGConv"), ("onnx", "litert"), p) for p in ("float16", "dynamic-int8", "static-int8")}
    for precision, found in rows.items():
        assert [row.error is not None and row.error <= limit(row.format, precision) for row in found] == [True, True]
        assert all(SHORT[precision] in told[row.format].replace("=", "").split() for row in found)
    assert told["c"].endswith(" s8=")


def test_a_layer_without_weights_has_none_to_narrow() -> None:
    rows = check(case_named("LGConv"), ("onnx",), "float16") + check(case_named("LGConv"), ("onnx",), "dynamic-int8")
    assert [row.cause for row in rows] == [NO_WEIGHTS, NO_WEIGHTS]
    assert table_cells("LGConv")[-1] == f"f16 d8: {NO_WEIGHTS}"


@pytest.mark.parametrize("name", ["GPSConv", "PDNConv"])
def test_a_refused_layer_is_in_the_table_with_its_cause(name: str) -> None:
    rows = [row for precision in SHORT for row in check(case_named(name), FORMATS, precision)]
    assert markdown_row(rows, FORMATS) in TABLE


def test_the_table_holds_every_class_and_says_why_others_do_not_count() -> None:
    for name in conv_classes():
        reason = why_not_counted(name)
        assert (f"| `{name}` |" in TABLE) if reason is None else (f"- `{name}`: {reason}." in TABLE)


def test_shares_count_classes_in_their_plain_form() -> None:
    rows = [row for name in ("SAGEConv (max, normalized)", "LGConv") for row in check(case_named(name), ("onnx",))]
    assert shares(rows, ("onnx",)) == {"onnx": 1}


def test_the_command_prints_errors_and_refuses_unknown_layers(tmp_path: Path) -> None:
    written = tmp_path / "rows.json"
    result = CliRunner().invoke(main, ["--layer", "LGConv", "--format", "onnx", "--json", str(written)])
    assert result.exit_code == 0 and "LGConv" in result.output and "[1/1]" in result.stderr
    again = CliRunner().invoke(main, ["--layer", "LGConv", "--format", "onnx", "--with", str(written)])
    assert again.exit_code == 0 and "[1/1]" not in again.stderr
    assert CliRunner().invoke(main, ["--layer", "NoConv"]).exit_code == 2
