"""The command line: what each verb prints and writes, and how gates and wrong usage end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_model import last_error
from toolchain.artifact import MANIFEST, Artifact
from toolchain.cli import main
from toolchain.cli.app import VERBS
from toolchain.graph_file import load_graph
from toolchain.ir.ops import Linear

# --- help ---


def test_help_teaches_the_verbs_in_the_order_of_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0

    text = capsys.readouterr().out
    listed = text[text.index("Commands:") :]
    assert [line.split()[0] for line in listed.splitlines()[1:] if line.startswith("  ") and line[2] != " "] == list(
        VERBS
    )


@pytest.mark.parametrize("verb", sorted(VERBS))
def test_every_verb_has_help(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert "--format" in capsys.readouterr().out


def test_help_needs_no_torch() -> None:
    code = "import sys; from toolchain.cli import main; assert main(['--help']) == 0; assert 'torch' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# --- the verbs ---


def test_inspect_lists_layers_formats_cost_and_the_graph(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", model, "--format", "json"]) == 0

    data = json.loads(capsys.readouterr().out)
    assert {layer["path"]: layer["status"] for layer in data["layers"]} == {
        "(model)": "code", "conv1": "supported", "conv2": "supported", "head": "supported",
    }  # fmt: skip
    assert data["formats"]["onnx"] == "supported"
    cost = data["cost"]
    assert cost["linear_macs"] + cost["edge_macs"] == cost["macs"] > 0
    assert cost["bit_operations"] == 32 * cost["operations"]
    assert cost["bops"] == 32 * 32 * cost["macs"]
    assert data["ir"].startswith("graph model")


def test_results_go_to_stdout_and_progress_to_stderr(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", model, "--format", "json"]) == 0

    captured = capsys.readouterr()
    json.loads(captured.out)
    assert "lowering the model" in captured.err


def test_quiet_says_nothing_but_the_result(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prune", model, "-o", str(tmp_path / "p.pgnn"), "-q"]) == 0

    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.strip() == str(tmp_path / "p.pgnn")


def test_steps_flow_from_verb_to_verb(workplace: Path, model: str, tmp_path: Path) -> None:
    pruned, int8, out = workplace / "pruned.pgnn", tmp_path / "int8.pgnn", tmp_path / "out"

    assert main(["quantize", str(pruned), "--graphs", model, "--min-agreement", "50%", "-o", str(int8), "-q"]) == 0
    assert (
        main(["export", str(int8), "--to", "onnx", "--to", "torchscript", "--name", "small", "-o", str(out), "-q"]) == 0
    )

    assert load_graph(int8).steps == ("lowering", "compression", "quantization")
    assert sorted(path.name for path in out.iterdir()) == ["small-onnx-static-int8", "small-torchscript-static-int8"]
    assert Artifact.load(out / "small-onnx-static-int8").precision == "static-int8"


def test_weights_of_fewer_bits(workplace: Path, model: str, tmp_path: Path) -> None:
    int4 = tmp_path / "int4.pgnn"
    words = ["--weight-bits", "4", "--min-agreement", "0", "-o", str(int4), "-q"]

    assert main(["quantize", str(workplace / "pruned.pgnn"), "--graphs", model, *words]) == 0

    graph = load_graph(int4).graph
    weights = [graph.values[v.inputs[1]].type.qparams for v in graph.values if isinstance(v.op, Linear)]
    assert {qparams.bits for qparams in weights if qparams is not None} == {4}


def test_dynamic_int8_needs_no_graphs(workplace: Path, tmp_path: Path) -> None:
    assert (
        main(["quantize", str(workplace / "pruned.pgnn"), "--to", "dynamic-int8", "-o", str(tmp_path / "d.pgnn"), "-q"])
        == 0
    )


def test_verify_tells_the_steps_of_a_direct_export_apart(
    artifact: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", artifact, "--model", model, "--max-abs", "1e-4", "--format", "json"]) == 0

    data = json.loads(capsys.readouterr().out)
    assert [stage["stage"] for stage in data["parity"][0]["stages"]] == ["lowering", "backend", "deployment", "total"]
    assert data["failed"] == []


def test_verify_tells_quantization_and_backend_apart_by_the_graphs_given(
    workplace: Path, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pruned, int8, out = str(workplace / "pruned.pgnn"), str(tmp_path / "int8.pgnn"), str(tmp_path / "out")
    assert main(["quantize", pruned, "--to", "dynamic-int8", "-o", int8, "-q"]) == 0
    assert main(["export", int8, "--to", "torchscript", "-o", out, "-q"]) == 0
    capsys.readouterr()
    arguments = ["verify", f"{out}/model-torchscript-dynamic-int8", "--model", model, "--format", "json"]

    assert main([*arguments, "--graph", pruned, "--graph", int8]) == 0

    stages = [stage["stage"] for stage in json.loads(capsys.readouterr().out)["parity"][0]["stages"]]
    assert stages == ["lowering", "compression", "quantization", "backend", "deployment", "total"]
    assert main([*arguments, "--graph", pruned]) == 2
    assert "exported from none of the Graphs" in last_error(capsys.readouterr())


def test_verify_takes_a_model_file_directly(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["verify", model, "--to", "torchscript", "--part", "train", "--batch-size", "8", "--format", "json"]) == 0
    )

    assert json.loads(capsys.readouterr().out)["parity"][0]["graphs"] == 32


def test_bench_writes_a_report(artifact: str, model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "bench"

    assert (
        main(["bench", artifact, "--model", model, "--quick", "--no-rivals", "-o", str(out), "--format", "json"]) == 0
    )

    data = json.loads(capsys.readouterr().out)
    assert data["rows"][0]["samples"] >= 64
    assert data["benchmarks"][0]["validity"] == {"min_samples_met": True, "min_duration_met": True}
    assert {path.name for path in out.iterdir()} == {"report.html", "report.json", "results.csv", "samples.npz"}
    assert main(["report", str(out), "-o", str(tmp_path / "again"), "-q"]) == 0


def test_the_demo_ends_with_one_table_and_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The demo itself, with less of everything: one small model, one epoch, one format."""
    from toolchain.cli import demo

    monkeypatch.setattr(demo, "SUBJECTS", (demo.Subject("gin", "GIN", {"layers": 1, "hidden": 8}, epochs=1),))
    export = {"export": {"formats": ["torchscript"]}}
    monkeypatch.setattr(demo, "STEPS", ["prune", export, {"verify": {"graphs": 20}}, "bench"])

    assert main(["demo", "-o", str(tmp_path / "demo"), "--format", "json"]) == 0

    data = json.loads(capsys.readouterr().out)
    names = ["gin PyG eager", "gin torch.onnx dynamo", "gin torch.onnx legacy", "gin-torchscript-float32"]
    assert [row["name"] for row in data["rows"]] == names
    assert all(row["samples"] >= 64 for row in data["rows"])
    assert data["rows"][-1]["against_eager"] > 0
    assert Path(data["page"]).is_file()
    assert main(["demo", "-o", str(tmp_path / "demo")]) == 1


def test_run_does_a_whole_recipe(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"version: 1\nmodel: {model}\nname: small\nsteps:\n- prune\n- quantize: {{precisions: [float32, dynamic-int8]}}\n"
        "- export: {formats: [torchscript]}\n- verify: {max_accuracy_drop: 1.0}\n"
    )

    assert main(["run", str(recipe), "-o", str(tmp_path / "out"), "--format", "json"]) == 0

    data = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in data["rows"]] == ["small-torchscript-float32", "small-torchscript-dynamic-int8"]
    manifest = json.loads((tmp_path / "out" / "small-torchscript-float32" / MANIFEST).read_text())
    assert manifest["parity"]["rows"] == 4


# --- gates and usage ---


def test_a_gate_that_is_not_met_ends_with_status_3(
    workplace: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["verify", str(workplace / "pruned.pgnn"), "--model", model, "--to", "torchscript", "--max-abs", "1e-9"]

    assert main(arguments) == 3
    assert "largest error" in last_error(capsys.readouterr())


def test_a_recipe_whose_gate_fails_ends_with_status_3_and_a_report(model: str, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"version: 1\nmodel: {model}\nsteps:\n- prune: {{amount: 0.9}}\n- export: {{formats: [torchscript]}}\n"
        "- verify: {max_abs: 0.0}\n"
    )

    assert main(["run", str(recipe), "-o", str(tmp_path / "out"), "-q"]) == 3
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_run_that_stopped_at_its_gate_goes_on_with_another_one(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = tmp_path / "recipe.yaml", str(tmp_path / "out")
    text = (
        f"version: 1\nmodel: {model}\nname: small\nsteps:\n- prune\n- fine_tune: {{epochs: 1}}\n"
        "- export: {formats: [torchscript]}\n- verify: {max_abs: 0.0}\n"
    )
    recipe.write_text(text)
    assert main(["run", str(recipe), "-o", out]) == 3
    capsys.readouterr()

    recipe.write_text(text.replace("max_abs: 0.0", "max_accuracy_drop: 1.0"))
    assert main(["run", str(recipe), "-o", out, "--resume", "--format", "json"]) == 0

    captured = capsys.readouterr()
    steps = json.loads(captured.out)["steps"]
    assert [line for line in captured.err.splitlines() if "finished before" in line] == [
        "prune (finished before)", "fine-tune (finished before)",
    ]  # fmt: skip
    assert [step["name"] for step in steps] == ["prune 20% (layer)", "fine-tune 1 epochs"]
    assert main(["run", str(recipe), "-o", out, "--resume", "--overwrite"]) == 2
    assert main(["run", str(recipe), "-o", out]) == 1


def test_options_that_contradict_each_other_are_refused_before_anything_is_done(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pruned, output = str(workplace / "pruned.pgnn"), str(tmp_path / "q.pgnn")

    assert main(["quantize", pruned, "--to", "dynamic-int8", "--qat-epochs", "3", "-o", output]) == 2
    assert "quantize: qat_epochs: 3 is of static-int8" in last_error(capsys.readouterr())
    assert main(["export", pruned, "--to", "torchscript", "--set", "lowring=dense", "-o", output]) == 1
    assert "lowring: no option of format torchscript" in last_error(capsys.readouterr())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"], ["prune"], ["prune", "model.py", "--amount", "2"], ["export", "model.py", "--to", "tarball"],
        ["verify", "a", "--min-agreement", "often"], ["--unknown"], ["inspect", "no_such_file.py"], ["run", "no_such_recipe.yaml"],
        ["verify", "no/such/folder", "--model", "model.py"], ["bench", "model.py", "--threads", "0"],
    ],
)  # fmt: skip
def test_wrong_usage_ends_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert last_error(capsys.readouterr())


def test_a_step_that_needs_graphs_says_how_to_give_them(
    workplace: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["quantize", str(workplace / "pruned.pgnn"), "-o", str(tmp_path / "q.pgnn")]) == 2
    assert "--graphs" in last_error(capsys.readouterr())
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_kept_without_overwrite(
    model: str, artifact: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (Path(artifact) / MANIFEST).read_bytes()

    assert main(["export", model, "--to", "torchscript", "-o", str(workplace / "out")]) == 1
    assert "--overwrite" in last_error(capsys.readouterr())
    assert (Path(artifact) / MANIFEST).read_bytes() == before
    assert main(["export", model, "--to", "torchscript", "-o", str(workplace / "out"), "--overwrite", "-q"]) == 0


def test_a_traceback_is_shown_only_on_request(model: str, workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", model, "--to", "torchscript", "-o", str(workplace / "out"), "-vv"]) == 1
    assert "Traceback" in capsys.readouterr().err
