"""compare: faster, slower, too noisy to tell, and results that cannot be compared."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from device_benchmarks.comparison import Verdict, compare_results, read_result
from device_benchmarks.device_result import KIND, SCHEMA_VERSION
from device_benchmarks.measurement import Scope
from toolchain.cli import main
from toolchain.errors import ArtifactError, InvalidInput


def _result(median: float, spread: float = 0.01, drift: float = 0.0, seed: int = 0, windows: int = 4) -> dict:
    random = np.random.default_rng(seed)
    parts = []
    for window in range(windows):
        center = median * (1 + drift * (window % 2 - 0.5))
        parts.append({"samples_us": random.normal(center, spread * median, 500).tolist()})
    return {
        "kind": KIND, "schema": SCHEMA_VERSION, "valid": True, "validity": {"outputs_equal": True},
        "device": {"model": "Raspberry Pi 4", "machine": "aarch64", "os": "Debian", "transport": "ssh"},
        "artifact": {"format": "c"}, "runtime": {"name": "native C", "threads": 1, "cores": "any"},
        "inputs": {"sha256": "ab"}, "protocol": {"name": "quick"},
        "latency_us": {scope.value: {"windows": parts} for scope in Scope},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("new", "verdict"),
    [
        (_result(100, seed=1), Verdict.PASS),
        (_result(50, seed=1), Verdict.PASS),
        (_result(103, seed=1), Verdict.PASS),
        (_result(120, seed=1), Verdict.REGRESSION),
        (_result(105, spread=0.2, seed=1), Verdict.INCONCLUSIVE),
        (_result(100, drift=0.3, seed=1), Verdict.INCONCLUSIVE),  # the clock changed between windows
        (_result(110, drift=0.3, seed=1), Verdict.INCONCLUSIVE),
    ],
)
def test_a_verdict_follows_the_medians_and_their_noise(new, verdict):
    found = compare_results(_result(100), new, 0.05)

    assert found.verdict is verdict
    for scope in found.scopes:
        assert scope.low <= scope.change <= scope.high


def test_one_slower_scope_is_a_regression():
    new = _result(100, seed=1)
    new["latency_us"][Scope.WITH_GRAPH.value] = _result(150)["latency_us"][Scope.MODEL.value]

    assert compare_results(_result(100), new, 0.05).verdict is Verdict.REGRESSION


def test_results_written_before_keys_were_added_are_read(tmp_path):
    """`_result` has none of what came later: a seed, a hash of the serial number, a delegate, a trimmed mean."""
    new = copy.deepcopy(_result(100, seed=1))
    new |= {"seed": 3, "scopes": [scope.value for scope in Scope]}
    new["device"] |= {"serial_hash": "00ff", "manufacturer": "Raspberry Pi Ltd"}
    new["runtime"] |= {"version": "1", "affinity": None, "delegate": None, "delegated_op_fraction": None}
    (tmp_path / "old.json").write_text(json.dumps(_result(100)))
    (tmp_path / "new.json").write_text(json.dumps(new))

    old, found = (read_result(tmp_path / f"{name}.json") for name in ("old", "new"))

    assert compare_results(old, found, 0.05).verdict is Verdict.PASS


@pytest.mark.parametrize(
    "keys", [("device", "model"), ("inputs", "sha256"), ("runtime", "cores"), ("protocol", "name")]
)
def test_results_of_different_conditions_are_refused(keys):
    new = _result(100)
    new[keys[0]][keys[1]] = "other"

    with pytest.raises(InvalidInput, match=rf"{keys[0]}\.{keys[1]}: .* in the old result, 'other' in the new one"):
        compare_results(_result(100), new, 0.05)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r["latency_us"].pop(Scope.MODEL.value),
        lambda r: r["latency_us"].update({Scope.MODEL.value: {"windows": []}}),
        lambda r: r["latency_us"].update({Scope.MODEL.value: {"windows": [{"samples_us": []}]}}),
        lambda r: r["latency_us"].update({Scope.MODEL.value: {"windows": [{"samples_us": [float("nan")]}]}}),
        lambda r: r["latency_us"].update({Scope.MODEL.value: {"windows": [{"samples_us": [0.0, 0.0]}]}}),
        lambda r: r["latency_us"].update({Scope.MODEL.value: {"windows": [{"samples_us": ["x"]}]}}),
        lambda r: r.pop("inputs"),
        lambda r: r.update({"device": 3}),
    ],
)
def test_a_result_with_parts_missing_is_refused(change):
    new = copy.deepcopy(_result(100))
    change(new)

    with pytest.raises(InvalidInput):
        compare_results(_result(100), new, 0.05)


def test_a_result_that_is_not_valid_is_refused(tmp_path):
    text = json.dumps({**_result(100), "valid": False, "validity": {"not_throttled": False}})
    (tmp_path / "hot.json").write_text(text)

    with pytest.raises(InvalidInput, match=r"hot\.json: not valid, since it fails: not throttled"):
        read_result(tmp_path / "hot.json")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"kind": "other"}', '{"kind": "device-benchmark", "schema": 99}']
)
def test_a_file_that_is_no_result_is_refused(tmp_path, text):
    (tmp_path / "file.json").write_text(text)

    with pytest.raises(ArtifactError, match=r"file\.json: "):
        read_result(tmp_path / "file.json")


@pytest.mark.parametrize(("median", "spread", "status"), [(100, 0.01, 0), (120, 0.01, 3), (105, 0.2, 3)])
def test_only_a_pass_ends_with_status_0(tmp_path, capsys, median, spread, status):
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(json.dumps(_result(100)))
    new.write_text(json.dumps(_result(median, spread, seed=1)))

    assert main(["compare", str(old), str(new), "--max-regress", "5%", "--format", "json"]) == status

    verdict = json.loads(capsys.readouterr().out)["verdict"]
    assert (verdict == "pass") is (status == 0)


def test_a_file_that_is_not_there_is_told(tmp_path, capsys):
    assert main(["compare", str(tmp_path / "none.json"), str(tmp_path / "none.json")]) == 1

    assert "none.json: no such file. Pass what bench -d wrote." in capsys.readouterr().err
