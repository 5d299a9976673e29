"""pocketgnn quantize: the options of quantization-aware training."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.small_model import MODEL_FILE, last_error, write_model_file
from toolchain.cli import main
from toolchain.graph_file import load_graph
from toolchain.ir import DType
from toolchain.ir.ops import PeakGroup, RowScale

TRAINING = ["--qat-epochs", "1", "--min-agreement", "0%"]


def test_training_options_reach_the_integers(model: str, tmp_path: Path) -> None:
    output = tmp_path / "q.pgnn"
    options = ["--estimator", "learned", "--bits", "*=3", "--degree-quant", "0.2", "--distill", "5", "--keep-best"]
    assert main(["quantize", model, *TRAINING, *options, "-o", str(output)]) == 0
    values = load_graph(output).graph.values
    widths = {v.type.qparams.bits for v in values if v.type.dtype is DType.I8 and v.type.qparams is not None}

    assert widths == {3, 4}  # weights of 3 bits are stored in 4


def test_groups_of_nodes_reach_the_integers(model: str, tmp_path: Path) -> None:
    output = tmp_path / "q.pgnn"
    options = ["--a2q", "nearest", "--groups", "3", "--mean-bits", "3", "--bits", "*weight=4"]
    assert main(["quantize", model, *TRAINING, *options, "-o", str(output)]) == 0
    values = load_graph(output).graph.values

    assert {len(v.op.bounds) for v in values if isinstance(v.op, PeakGroup)} == {2}
    assert any(isinstance(v.op, RowScale) and v.op.limits for v in values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--distill", "5"], "--distill: is of training. Give --qat-epochs."),
        ([*TRAINING, "--bits", "4"], "--bits '4': expected PATTERN=BITS"),
        ([*TRAINING, "--bits", "*=9"], "bits"),
        ([*TRAINING, "--bits", "nothing=4"], "'nothing': no value or weight has this name. There are x, "),
        ([*TRAINING, "--mean-bits", "2"], "--mean-bits: is of --a2q. Choose groups: --a2q degree or nearest."),
        ([*TRAINING, "--observer", "minmax"], "observer belongs to estimator observed; this step has fixed"),
    ],
)
def test_options_that_name_no_training_are_refused(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    assert main(["quantize", model, *options, "-o", str(tmp_path / "q.pgnn")]) != 0
    assert message in last_error(capsys.readouterr())
    assert list(tmp_path.iterdir()) == []


def test_float16_weights_go_from_the_graph_file_to_an_artifact_that_is_verified_step_by_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    half, model = str(tmp_path / "half.pgnn"), str(write_model_file(tmp_path, MODEL_FILE.replace("8", "16")))
    assert main(["quantize", model, "--to", "float16", "-o", half]) == 0
    assert load_graph(Path(half)).graph.has_halves
    assert (
        main(["export", half, "--to", "onnx", "--graphs", model, "--name", "model", "-o", str(tmp_path / "out")]) == 0
    )
    artifact = str(tmp_path / "out" / "model-onnx-float16")
    capsys.readouterr()

    assert main(["verify", artifact, "--model", model, "--graph", half, "--max-abs", "1e-2", "--format", "json"]) == 0
    stages = json.loads(capsys.readouterr().out)["parity"][0]["stages"]
    errors = {stage["stage"]: stage["max_relative"] for stage in stages}
    assert 1e-6 < errors["quantization"] < 4e-3
    assert errors["lowering"] < 1e-5 and errors["backend"] < 1e-5


def test_float16_that_would_change_nothing_is_refused(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quantize", model, "--to", "float16", "-o", str(tmp_path / "q.pgnn")]) != 0
    assert "no weight of 128 numbers or more that halves can hold" in last_error(capsys.readouterr())


def test_an_option_of_int8_beside_float16_is_refused(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "q.pgnn")
    assert main(["quantize", model, "--to", "float16", "--mode", "int8", "-o", output]) != 0
    assert "mode: 'int8' is of static-int8" in last_error(capsys.readouterr())
