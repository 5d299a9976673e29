"""The command line on bad input: one clear error, and nothing left behind."""

from __future__ import annotations

import json
import os
import pickle
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.small_model import MODEL_FILE, last_error, write_model_file
from toolchain.artifact import MANIFEST, Artifact
from toolchain.cli import main
from toolchain.graph_file import load_graph


class Bomb:
    """What an attacker puts in a checkpoint: loading it runs a command."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize(
    "write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))], ids=["torch", "pickle"]
)
def test_a_malicious_checkpoint_is_refused_and_nothing_runs(
    write: Any, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "weights.pt"
    write(Bomb(tmp_path / "ran"), weights)

    assert main(["export", model, "--checkpoint", str(weights), "-o", str(tmp_path / "out")]) == 1
    assert "could run code" in last_error(capsys.readouterr())
    assert [path.name for path in tmp_path.iterdir()] == ["weights.pt"]


def test_a_checkpoint_of_the_model_is_used(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from toolchain.model_source import ModelSource

    state = ModelSource(model).model().state_dict()
    torch.save({name: tensor * 0 + 0.25 for name, tensor in state.items()}, tmp_path / "weights.pt")

    assert (
        main(
            [
                "prune",
                model,
                "--checkpoint",
                str(tmp_path / "weights.pt"),
                "--amount",
                "0.5",
                "-o",
                str(tmp_path / "p.pgnn"),
            ]
        )
        == 0
    )
    assert (load_graph(tmp_path / "p.pgnn").graph.constants["head.weight"] == 0.25).all()


def test_an_unsupported_layer_is_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = MODEL_FILE.replace("import GCNConv,", "import GCNConv, GPSConv,").replace(
        "GCNConv(8, 8)", "GPSConv(8, None)"
    )
    path = write_model_file(tmp_path, text)

    assert main(["export", str(path), "-o", str(tmp_path / "out")]) == 1
    error = last_error(capsys.readouterr())
    assert "conv2" in error
    assert "GPSConv" in error
    assert not (tmp_path / "out").exists()
    assert main(["inspect", str(path), "--format", "json"]) == 1
    layers = json.loads(capsys.readouterr().out)["layers"]
    assert [layer["path"] for layer in layers if layer["status"] == "unsupported"] == ["conv2"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "manifest"])
@pytest.mark.parametrize("verb", ["verify", "bench"])
def test_a_damaged_artifact_is_one_clear_error(
    verb: str, damage: str, artifact: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in Path(artifact).iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    target = copy / (MANIFEST if damage == "manifest" else Artifact.load(artifact).model_file)
    content = bytearray(target.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
    else:
        content = bytearray(content.replace(b'"float32"', b'"float23"').replace(b'"torchscript"', b'"onnx"'))
    target.write_bytes(content)
    extra = [] if verb == "verify" else ["--quick", "--no-rivals", "-o", str(tmp_path / "bench")]

    assert main([verb, str(copy), "--model", model, *extra]) == 1
    assert "copy" in last_error(capsys.readouterr())
    assert not (tmp_path / "bench").exists()


def test_graphs_outside_the_contract_are_one_clear_error(
    artifact: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wider = write_model_file(
        tmp_path, MODEL_FILE.replace("GCNConv(5, 8)", "GCNConv(6, 8)").replace("nodes, 5", "nodes, 6")
    )

    assert main(["verify", artifact, "--model", str(wider), "--to", "torchscript"]) == 1
    assert "6 features per node, the model takes 5" in last_error(capsys.readouterr())


@pytest.mark.parametrize(
    "text", ["graphs[3].x[0] = float('nan')", "graphs[3].edge_index[0, 0] = 999", "graphs[3].edge_index[0, 0] = -1"]
)
def test_a_malformed_graph_is_one_clear_error(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_model_file(tmp_path, MODEL_FILE.replace("    return graphs", f"    {text}\n    return [graphs[3]]"))

    assert main(["export", str(path), "-o", str(tmp_path / "out")]) == 1
    assert last_error(capsys.readouterr()).startswith("error: ")
    assert not (tmp_path / "out").exists()


RUN = "import sys; from toolchain.cli import main; sys.exit(main(sys.argv[1:]))"
FILLED = (
    "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); " + RUN
)


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="needs RLIMIT_FSIZE")
@pytest.mark.parametrize("verb", ["export", "prune"])
def test_a_disk_that_fills_is_one_clear_error_and_leaves_nothing(verb: str, model: str, tmp_path: Path) -> None:
    output = {"export": tmp_path / "out", "prune": tmp_path / "pruned.pgnn"}[verb]

    done = subprocess.run(
        [sys.executable, "-c", FILLED, verb, model, "-o", str(output), "-q"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert done.stderr.strip().count("\n") == 0
    assert "the disk is full or the file too large" in done.stderr
    assert [path for path in tmp_path.rglob("*") if path.is_file() or path.name.startswith(".")] == []


@pytest.mark.skipif(os.name != "posix", reason="needs SIGINT")
@pytest.mark.parametrize("moment", ["lowering", "writing"])
def test_ctrl_c_during_export_leaves_no_half_written_folder(moment: str, tmp_path: Path) -> None:
    """The model file stalls at the moment wanted, so that the signal really comes there."""
    stall = "import time; open('reached', 'w').close(); time.sleep(60)"
    text = MODEL_FILE
    if moment == "lowering":
        text = text.replace("    return SmallGCN()", f"    {stall}; return SmallGCN()")
    else:  # os.fsync is called once a file of the artifact is written and its folder not yet in place
        text = f"import os\n\ndef _stalled(descriptor):\n    {stall}\n\nos.fsync = _stalled\n" + text
    path = write_model_file(tmp_path, text)
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, "export", str(path), "-o", "out"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
        # A job that a script put in the background ignores SIGINT and hands that on; at a terminal it is not so.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "reached").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)

    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 130
    assert errors.strip().splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in errors
    left = sorted(p.name for p in (tmp_path / "out").iterdir()) if (tmp_path / "out").exists() else []
    assert left == []


BROKEN = "raise RuntimeError('imported')\n"


@pytest.mark.parametrize("verb", [["prune"], ["share"], ["quantize"], ["quantize", "--qat-epochs", "3"]])
@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("there.pgnn", "already exists"), ("there.pgnn/below.pgnn", "is a file, expected a folder"),
        (".", "is a folder, expected the name of a file"),
    ],
)  # fmt: skip
def test_a_place_that_takes_no_output_is_refused_before_the_model_is_touched(
    verb: list[str], output: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.py").write_text(BROKEN)
    (tmp_path / "there.pgnn").write_text("here")

    assert main([verb[0], str(tmp_path / "model.py"), *verb[1:], "-o", str(tmp_path / output)]) != 0
    assert words in last_error(capsys.readouterr())
    assert (tmp_path / "there.pgnn").read_text() == "here"


def test_a_run_below_a_file_is_refused_before_the_model_is_touched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.py").write_text(BROKEN)
    (tmp_path / "file").write_text("here")
    (tmp_path / "recipe.yaml").write_text("version: 1\nmodel: model.py\nsteps: [prune]\n")

    assert main(["run", str(tmp_path / "recipe.yaml"), "-o", str(tmp_path / "file")]) != 0
    assert "is a file, expected a folder" in last_error(capsys.readouterr())


@pytest.mark.parametrize("seed", ["-1", str(2**63), "x"])
def test_a_seed_is_a_whole_number_that_generators_take(
    seed: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["prune", model, "--seed", seed, "-o", str(tmp_path / "p.pgnn")]) == 2
    assert "--seed" in last_error(capsys.readouterr())
