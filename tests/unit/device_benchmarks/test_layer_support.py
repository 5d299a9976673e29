"""The support table: what it says is what running a layer gives."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from device_benchmarks.layer_support import FORMATS, check, main, markdown_row, shares
from device_benchmarks.layer_zoo import CASES, conv_classes, homogeneous_classes, why_not_counted

TABLE = (Path(__file__).resolve().parents[3] / "LAYERS.md").read_text()


def case_named(name: str):
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize("name", ["GENConv", "PNAConv", "ChebConv"])
def test_a_traced_layer_runs_in_onnx_and_c_as_the_table_says(name: str) -> None:
    rows = check(case_named(name), ("onnx", "c"))
    assert [row.is_supported for row in rows] == [True, True]
    assert f"| `{name}` | yes | yes | yes | yes |" in TABLE


@pytest.mark.parametrize("name", ["GPSConv", "PDNConv"])
def test_a_refused_layer_is_in_the_table_with_its_cause(name: str) -> None:
    assert markdown_row(check(case_named(name), FORMATS)) in TABLE


def test_the_table_holds_every_class_and_says_why_others_do_not_count() -> None:
    for name in conv_classes():
        reason = why_not_counted(name)
        assert (f"| `{name}` |" in TABLE) if reason is None else (f"- `{name}`: {reason}." in TABLE)


def test_shares_count_classes_in_their_plain_form() -> None:
    rows = [row for name in ("SAGEConv (max, normalized)", "GPSConv") for row in check(case_named(name), ("onnx",))]
    assert shares(rows, ("onnx",)) == {"onnx": (0, len(homogeneous_classes()))}


def test_the_command_prints_errors_and_refuses_unknown_layers(tmp_path: Path) -> None:
    written = tmp_path / "rows.json"
    result = CliRunner().invoke(main, ["--layer", "LGConv", "--format", "onnx", "--json", str(written)])
    assert result.exit_code == 0 and "LGConv" in result.output
    again = CliRunner().invoke(main, ["--layer", "LGConv", "--format", "onnx", "--with", str(written)])
    assert again.exit_code == 0 and "[1/1]" not in again.stderr
    assert CliRunner().invoke(main, ["--layer", "NoConv"]).exit_code == 2
