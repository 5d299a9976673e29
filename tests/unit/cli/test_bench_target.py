"""bench --target: what it prints, and the status it ends with."""

from __future__ import annotations

import json

import pytest

from tests.firmware_artifact import firmware_artifact
from toolchain.artifact import Artifact
from toolchain.cli.app import main

ZIG = ("--compiler", "zig")
GRAPHS = """
import torch
from torch_geometric.data import Data


def get_model():
    raise AssertionError("only the graphs are needed")


def get_graphs():
    torch.manual_seed(0)
    return [
        Data(x=torch.ones(n, 3), edge_index=torch.zeros(2, 2, dtype=torch.long), edge_weight=torch.ones(2),
             edge_attr=torch.ones(2, 2), y=torch.tensor([n % 2]))
        for n in range(3, 20)
    ]
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    return str(firmware_artifact(tmp_path_factory.mktemp("artifact") / "tiny-c").path)


def test_a_report_names_memories_instructions_and_an_estimate_that_is_labelled(artifact, capsys):
    assert main(["bench", artifact, "--target", "cortex-m4", *ZIG, "-q"]) == 0

    text = capsys.readouterr().out
    for words in (
        "tiny-c on cortex-m4 (Cortex-M4F in unicorn, built by zig", "B of 1,048,576 B: code", "stack", "1 of 1 graphs equal",
        "per inference: prepare", "estimate, 168 MHz", "not measured", "largest constants: ", "a made-up graph",
    ):  # fmt: skip
        assert words in text


def test_graphs_of_a_model_file_are_compared_and_the_median_one_is_counted(artifact, tmp_path, capsys):
    (tmp_path / "graphs.py").write_text(GRAPHS)
    arguments = [
        "bench",
        artifact,
        "--target",
        "cortex-m4",
        *ZIG,
        "--model",
        str(tmp_path / "graphs.py"),
        "--format",
        "json",
    ]

    assert main(arguments) == 0

    found = json.loads(capsys.readouterr().out)
    (result,) = found["targets"]
    assert result["compared_graphs"] > 1
    assert result["differences"] == {}
    assert 3 < result["graph"]["nodes"] < 19


def test_several_targets_are_reported_one_after_the_other(artifact, capsys):
    assert (
        main(["bench", artifact, "--target", "cortex-m0plus", "--target", "cortex-m4", *ZIG, "--format", "json"]) == 0
    )

    found = json.loads(capsys.readouterr().out)["targets"]
    assert [result["target"] for result in found] == ["cortex-m0plus", "cortex-m4"]


def test_an_output_that_differs_ends_with_status_1(tmp_path, capsys):
    artifact = firmware_artifact(tmp_path / "tiny")
    contents = {name: (artifact.path / name).read_bytes() for name in artifact.files}
    contents["model.c"] = contents["model.c"].replace(
        b"        float sum = 0.0f;",
        b"#ifdef __arm__\n        float sum = 1.0f;\n#else\n        float sum = 0.0f;\n#endif",
    )
    Artifact.save(artifact, contents, overwrite=True)

    assert main(["bench", str(artifact.path), "--target", "cortex-m4", *ZIG]) == 1

    shown = capsys.readouterr()
    assert "0 of 1 graphs equal" in shown.out
    assert "1 of 1 graphs are not as on the host; graph 0: 20 values differ" in shown.err


def test_an_image_that_does_not_fit_ends_with_status_1_and_names_what_is_large(tmp_path, capsys):
    artifact = firmware_artifact(tmp_path / "tiny", padding_bytes=200_000)

    assert main(["bench", str(artifact.path), "--target", "cortex-m3", *ZIG]) == 1

    assert "Largest constants: scale (200,016 B)" in capsys.readouterr().err


def test_one_target_that_does_not_fit_does_not_hide_the_other(tmp_path, capsys):
    artifact = firmware_artifact(tmp_path / "tiny", padding_bytes=200_000)

    assert (
        main(["bench", str(artifact.path), "--target", "cortex-m3", "--target", "cortex-m4", *ZIG, "--format", "json"])
        == 1
    )

    found = json.loads(capsys.readouterr().out)
    assert [result["target"] for result in found["targets"]] == ["cortex-m4"]
    assert "needs 20" in found["failures"]["tiny on cortex-m3"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--target", "cortex-m99"], "target 'cortex-m99' is unknown"),
        (["--engine", "qemu"], "--engine and --compiler belong to --target"),
        (["--target", "cortex-m4", "--engine", "bochs"], "bochs"),
    ],
)
def test_a_wrong_option_ends_with_status_2(artifact, arguments, message, capsys):
    assert main(["bench", artifact, *arguments]) == 2

    assert message in capsys.readouterr().err


def test_a_file_instead_of_an_artifact_ends_with_status_2(capsys):
    assert main(["bench", "model.py", "--target", "cortex-m4"]) == 2

    assert "ARTIFACTS are folders" in capsys.readouterr().err
