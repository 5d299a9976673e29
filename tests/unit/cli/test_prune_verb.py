"""pocketgnn prune: the methods on the command line, and wrong usage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.small_model import last_error
from toolchain.cli import main
from toolchain.graph_file import load_graph


def pruned(model: str, folder: Path, *arguments: str) -> dict[str, Any]:
    """Run prune; its Graph's matrices, and the share of zeros of each."""
    output = folder / "pruned.pgnn"
    assert main(["prune", model, "-o", str(output), "-q", *arguments]) == 0
    graph = load_graph(output).graph
    return {
        name: (array.shape, float((array == 0).mean())) for name, array in graph.constants.items() if array.ndim == 2
    }


def test_the_default_is_a_fifth_of_the_convolutions(model: str, tmp_path: Path):
    assert pruned(model, tmp_path) == {
        "conv1.lin.weight": ((8, 5), 0.2), "conv2.lin.weight": ((8, 8), 13 / 64), "head.weight": ((3, 8), 0.0),
    }  # fmt: skip


def test_rounds_of_global_pruning_reach_the_density(model: str, tmp_path: Path):
    arguments = ["--density", "25%", "--scope", "global", "--rounds", "3", "--epochs", "1", "--include-head"]
    found = pruned(model, tmp_path, *arguments)

    assert sum(shape[0] * shape[1] * zeros for shape, zeros in found.values()) == pytest.approx(0.75 * 128)


def test_channels_leave_the_model(model: str, tmp_path: Path):
    found = pruned(model, tmp_path, "--method", "channels", "--channels", "3", "--target", "conv2", "--fine-tune", "1")

    assert [shape for shape, _ in found.values()] == [(8, 5), (5, 8), (3, 5)]


@pytest.mark.parametrize("method", ["snip", "ecs", "blocks", "bogp"])
def test_every_mask_method_runs(method: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("optuna")
    extra = {"bogp": ["--trials", "2"], "snip": ["--at-initialization", "--batches", "2"]}.get(method, [])
    output = str(tmp_path / "p.pgnn")
    assert main(["prune", model, "--method", method, "--amount", "0.5", "-o", output, "--format", "json", *extra]) == 0

    (step,) = json.loads(capsys.readouterr().out)["steps"]
    assert step["after"]["sparsity"] == pytest.approx(0.5 * 104 / 128, abs=0.05)
    assert step["after"]["accuracy"] is not None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--amount", "50%", "--density", "50%"], "contradict each other"),
        (["--density", "0"], "density: 0.0, expected a share in (0, 1)"),
        (["--method", "snip", "--amount", "1"], "prune.amount"),
        (["--heads", "heads"], "prune.heads: belongs to method channels, not to l1"),
        (["--rounds", "4"], "rounds 4 and epochs 0 contradict each other"),
        (["--method", "channels"], "give one of them"),
        (["--method", "channels", "--channels", "8"], "conv1.lin, which has 8 and can lose 7"),
        (["--target", "conv7"], "'conv7' names no weight"),
        (["--method", "lottery"], "'lottery' is not one of"),
    ],
)
def test_wrong_usage_is_one_clear_error_and_leaves_nothing(
    arguments: list[str], message: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["prune", model, "-o", str(tmp_path / "p.pgnn"), *arguments]) == 2
    assert message in last_error(capsys.readouterr())
    assert list(tmp_path.iterdir()) == []


def test_a_method_that_needs_graphs_says_how_to_give_them(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    arguments = ["prune", str(workplace / "pruned.pgnn"), "--method", "snip", "-o", str(tmp_path / "p.pgnn")]

    assert main(arguments) == 2
    assert "--graphs" in last_error(capsys.readouterr())


def test_a_loss_that_is_not_finite_is_one_clear_error(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["prune", model, "--fine-tune", "3", "--lr", "1e30", "-o", str(tmp_path / "p.pgnn")]

    assert main(arguments) == 1
    assert "epoch 2 of 3, step 1, lr 1e+30: the loss is nan" in last_error(capsys.readouterr())
    assert not (tmp_path / "p.pgnn").exists()
