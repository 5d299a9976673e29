"""TorchScript files: right on any size, the same bytes from every process, and nothing but torch to load them."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.jit.mobile import _load_for_lite_interpreter

import runtimes
from tests.every_op import every_op, every_sum, gcn_gin, random_inputs
from toolchain.artifact import Artifact
from toolchain.compression import DynamicInt8, StaticInt8, quantize
from toolchain.errors import ArtifactError, ExportError
from toolchain.exporters import export, torchscript
from toolchain.feeds import build_feeds
from toolchain.ir import Graph, GraphBuilder, interpret
from toolchain.ir.ops import End, Input, Linear, Propagate, Reduce, Role, RowFactor
from toolchain.ir.types import node
from toolchain.passes import deployable
from toolchain.topology import Normalization, TopologySpec

SHAPES = [(9, 24, 1), (13, 40, 3), (1, 0, 1), (4, 0, 2), (2, 5, 1), (60, 70, 2)]


@pytest.fixture(scope="module")
def static_int8() -> Graph:
    calibration = [random_inputs(20, 50, seed=seed) for seed in range(40)]
    return quantize(gcn_gin(), StaticInt8(calibration, min_agreement=0.0, mode="sums-int16"))


def run(model: bytes, emission: torchscript.Emission, graph: Graph, shape: tuple[int, int, int], *, lite: bool = False):  # type: ignore[no-untyped-def]
    nodes, edges, graphs = shape
    inputs = random_inputs(nodes, edges, graphs=graphs, seed=nodes)
    feeds = build_feeds(emission.inputs, inputs.prepare(graph.topologies))
    load = _load_for_lite_interpreter if lite else torch.jit.load
    outputs = load(io.BytesIO(model))(*(torch.from_numpy(array) for array in feeds.values()))
    return [output.numpy() for output in outputs], interpret(graph, inputs)


@pytest.fixture(scope="module", params=["auto", "edges"])
def float_emission(request: pytest.FixtureRequest) -> tuple[torchscript.Emission, Graph]:
    graph = deployable(every_op())
    return torchscript.emit(graph, lowering=request.param, lite=True), graph


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lite", [False, True])
def test_every_op_is_right_on_sizes_other_than_the_example(float_emission, shape, lite) -> None:  # type: ignore[no-untyped-def]
    emission, graph = float_emission
    model = emission.extra_files[torchscript.LITE_FILE] if lite else emission.model

    for actual, expected in zip(*run(model, emission, graph, shape, lite=lite), strict=True):
        assert_allclose(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("wide_linear", ["digits", "dynamic"])
def test_static_int8_follows_the_integer_reference(static_int8: Graph, shape, wide_linear) -> None:  # type: ignore[no-untyped-def]
    emission = torchscript.emit(static_int8, wide_linear=wide_linear, lite=True)

    for lite in (False, True):
        model = emission.extra_files[torchscript.LITE_FILE] if lite else emission.model
        ((actual,), (expected,)) = run(model, emission, static_int8, shape, lite=lite)
        step = 0.02 if wide_linear == "digits" else 0.1  # of the largest logit; hidden values have 8 bits
        assert_allclose(actual, expected, atol=step * np.abs(expected).max())


def test_dynamic_int8_follows_the_integer_reference() -> None:
    graph = quantize(gcn_gin(), DynamicInt8())
    emission = torchscript.emit(graph)

    for shape in SHAPES:
        ((actual,), (expected,)) = run(emission.model, emission, graph, shape)
        assert_allclose(actual, expected, rtol=1e-3, atol=1e-3)


def test_int8_weights_take_a_byte_each() -> None:
    rng = np.random.default_rng(0)
    b = GraphBuilder()
    x = b.add(Input(Role.X, node(4)))
    x = b.add(Linear(), x, b.const("w0", rng.normal(size=(256, 4))))
    graph = b.finish([b.add(Linear(), x, b.const("w1", rng.normal(size=(256, 256))))])

    floats, codes = (len(torchscript.emit(g).model) for g in (graph, quantize(graph, DynamicInt8())))

    assert 4 * 66_560 < floats < 4 * 66_560 + 8_000
    assert 66_560 < codes < 66_560 + 20_000


def test_the_bytes_do_not_depend_on_the_process_or_on_earlier_exports(static_int8: Graph) -> None:
    script = textwrap.dedent("""
        import hashlib
        from tests.every_op import every_op
        from toolchain.exporters import torchscript
        emission = torchscript.emit(every_op(), lite=True)
        print(hashlib.sha256(emission.model + emission.extra_files["model.ptl"]).hexdigest())
    """)
    first = torchscript.emit(every_op(), lite=True)
    torchscript.emit(static_int8)
    here = hashlib.sha256(first.model + first.extra_files[torchscript.LITE_FILE]).hexdigest()
    command = [sys.executable, "-c", script]
    there = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3]).stdout

    assert here == there.strip()
    assert torchscript.emit(static_int8).model == torchscript.emit(static_int8).model


def test_no_path_of_the_exporting_machine_is_in_the_file(static_int8: Graph) -> None:
    emission = torchscript.emit(static_int8, lite=True)

    for data in (emission.model, *emission.extra_files.values()):
        assert str(Path(__file__).parents[3]).encode() not in data
        assert sys.prefix.encode() not in data


def test_it_runs_in_a_process_without_torch_geometric_and_torch_scatter(tmp_path: Path, static_int8: Graph) -> None:
    for name, graph in (("float", gcn_gin()), ("int8", static_int8)):
        export(graph, "torchscript", tmp_path / name)
    script = textwrap.dedent("""
        import sys
        sys.modules.update(torch_geometric=None, torch_scatter=None)  # importing them raises
        import numpy as np, runtimes
        from toolchain.inputs import GraphInputs
        graph = GraphInputs(np.ones((3, 4)), np.array([[0, 1], [1, 2]]))
        for path in sys.argv[1:]:
            (logits,) = runtimes.load(path).run(graph)
            print(logits.shape, np.isfinite(logits).all())
    """)
    command = [sys.executable, "-c", script, str(tmp_path / "float"), str(tmp_path / "int8")]

    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert lines == ["(1, 3) True"] * 2


def test_the_runtime_gives_what_the_reference_gives(tmp_path: Path) -> None:
    graph = gcn_gin()
    artifact = export(graph, "torchscript", tmp_path / "model", lite=True)
    inputs = random_inputs(30, 80, graphs=3)

    (actual,) = runtimes.load(artifact).run(inputs)

    assert_allclose(actual, interpret(graph, inputs)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("lowering", ["auto", "edges"])
@pytest.mark.parametrize("shape", [(9, 24, 1), (3, 0, 1), (96, 200, 1)])
def test_sums_are_right_whatever_multiplies_the_messages(lowering: str, shape: tuple[int, int, int]) -> None:
    graph = every_sum()
    emission = torchscript.emit(graph, lowering=lowering)

    ((actual,), (expected,)) = run(emission.model, emission, graph, shape)

    assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)


def test_a_row_factor_of_a_float_linear_is_applied() -> None:
    b = GraphBuilder((TopologySpec(normalization=Normalization.SYMMETRIC),))
    x = b.add(Linear(None, RowFactor(0, End.SOURCE)), b.add(Input(Role.X, node(4))), b.const("w", np.eye(4)))
    graph = b.finish([b.add(Propagate(0, Reduce.MEAN, source_scaled=True, row_factor=RowFactor(0, End.TARGET)), x)])
    emission = torchscript.emit(graph)

    ((actual,), (expected,)) = run(emission.model, emission, graph, (9, 24, 1))

    assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_a_checkpoint_in_place_of_the_model_is_refused(tmp_path: Path) -> None:
    artifact = export(gcn_gin(), "torchscript", tmp_path / "model")
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(3)}, buffer)
    Artifact.save(artifact, {"model.pt": buffer.getvalue()}, overwrite=True)

    with pytest.raises(ArtifactError, match="not a TorchScript archive"):
        runtimes.load(tmp_path / "model")


def test_a_file_that_takes_other_inputs_than_the_manifest_says_is_refused(tmp_path: Path) -> None:
    artifact = export(gcn_gin(), "torchscript", tmp_path / "model")
    other = export(every_op(), "torchscript", tmp_path / "other")
    Artifact.save(artifact, {"model.pt": other.model_path.read_bytes()}, overwrite=True)

    with pytest.raises(ArtifactError, match="takes 14 inputs, the manifest lists 8"):
        runtimes.load(tmp_path / "model")


@pytest.mark.parametrize(("option", "message"), [("lowering", "Lowerings: auto"), ("engine", "Engines:")])
def test_an_unknown_option_is_refused(option: str, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        torchscript.emit(gcn_gin(), **{option: "fastest"})  # type: ignore[arg-type]  # the option is what is tested
