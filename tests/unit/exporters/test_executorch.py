"""ExecuTorch files: right up to their bounds, refused beyond them, int8 in XNNPACK's kernels, the same bytes every time."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("executorch", reason="executorch is not installed")

import runtimes
from tests.every_op import every_op, every_sum, gcn_gin, random_inputs
from tests.parity import assert_close
from toolchain.artifact import Artifact
from toolchain.compression import DynamicInt8, StaticInt8, quantize
from toolchain.errors import ArtifactError, ExportError, OutsideContract
from toolchain.exporters import executorch, export
from toolchain.exporters.emission import Bounds
from toolchain.exporters.feed_module import FeedModule
from toolchain.exporters.neighbour_lists import NeighbourLists
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, GraphBuilder, interpret, ops
from toolchain.ir.ops import Function, Input, Reduce, Role
from toolchain.ir.types import node

BOUNDS = Bounds(nodes=96, edges=300, graphs=5, degree=24)
SHAPES = [(9, 24, 1), (13, 40, 3), (1, 0, 1), (4, 0, 2), (2, 5, 1), (60, 70, 2), (96, 200, 5)]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return export(gcn_gin(), "executorch", tmp_path_factory.mktemp("float") / "model", bounds=BOUNDS)


@pytest.fixture(scope="module")
def static_int8() -> Graph:
    calibration = [random_inputs(20, 50, seed=seed) for seed in range(40)]
    return quantize(gcn_gin(), StaticInt8(calibration, min_agreement=0.0, mode="sums-int16"))


def test_every_op_is_right_with_the_portable_kernels(tmp_path: Path) -> None:
    graph = every_op()
    runtime = runtimes.load(export(graph, "executorch", tmp_path / "model", backend="portable"))

    for nodes, edges, graphs in [shape for shape in SHAPES if shape[1]]:
        inputs = random_inputs(nodes, edges, graphs=graphs)
        assert_close(runtime.run(inputs), interpret(graph, inputs), 1e-5)


def test_the_share_of_operators_that_the_delegate_computes_is_in_the_manifest(
    artifact: Artifact, tmp_path: Path
) -> None:
    """XNNPACK takes the products; sums over neighbours stay with ExecuTorch's own kernels."""
    portable = export(gcn_gin(), "executorch", tmp_path / "model", bounds=BOUNDS, backend="portable").provenance

    assert 0 < artifact.provenance["delegated_operators"] < artifact.provenance["operators"]
    assert (portable["delegated_operators"], portable["operators"] > 0) == (0, True)


def test_planned_memory_holds_the_neighbours_of_the_largest_graph_that_a_file_takes(artifact: Artifact) -> None:
    planned = executorch.planned_bytes(artifact.model_path.read_bytes())
    floats = 4 * BOUNDS.nodes * BOUNDS.degree * max(value.type.channels for value in gcn_gin().values)
    assert floats < planned < 4 * floats


@pytest.mark.parametrize("shape", SHAPES)
def test_a_model_is_right_on_any_size_up_to_its_bounds(artifact: Artifact, shape: tuple[int, int, int]) -> None:
    inputs = random_inputs(shape[0], shape[1], graphs=shape[2], seed=shape[0])

    assert_close(runtimes.load(artifact).run(inputs), interpret(gcn_gin(), inputs), 1e-5)


def test_the_result_of_a_run_is_not_overwritten_by_the_next(artifact: Artifact) -> None:
    runtime = runtimes.load(artifact)
    (first,) = runtime.run(random_inputs(9, 24))
    kept = first.copy()

    runtime.run(random_inputs(9, 24, seed=1))

    assert (first == kept).all()


def test_bounds_that_the_model_does_not_need_are_dropped(artifact: Artifact) -> None:
    contract = artifact.contract

    assert (contract.max_nodes, contract.max_graphs, contract.max_degree) == (96, 5, 24)
    assert contract.max_edges is None


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (random_inputs(97, 10), "97 nodes"),
        (random_inputs(40, 60, graphs=6), "6 graphs"),
        (GraphInputs(np.zeros((30, 4)), [list(range(1, 26)), [0] * 25]), "a node has 26 edges"),
    ],
)
def test_a_graph_beyond_the_bounds_is_refused(artifact: Artifact, inputs: GraphInputs, message: str) -> None:
    with pytest.raises(OutsideContract, match=message):
        runtimes.load(artifact).run(inputs)


def test_dense_lowering_takes_a_hub_of_any_degree(tmp_path: Path) -> None:
    written = export(gcn_gin(), "executorch", tmp_path / "model", bounds=BOUNDS, lowering="dense")
    inputs = GraphInputs(np.ones((90, 4)), [list(range(1, 90)), [0] * 89])

    assert written.contract.max_degree is None
    assert_close(runtimes.load(written).run(inputs), interpret(gcn_gin(), inputs), 1e-5)


@pytest.mark.parametrize("lowering", ["scatter", "index-put"])
def test_lowerings_by_edge_take_a_hub_of_any_degree_and_a_graph_without_edges(lowering: str, tmp_path: Path) -> None:
    written = export(gcn_gin(), "executorch", tmp_path / "model", bounds=BOUNDS, lowering=lowering)
    runtime = runtimes.load(written)

    assert (written.contract.max_degree, written.contract.max_edges) == (None, 300)
    for inputs in (
        GraphInputs(np.ones((90, 4)), [list(range(1, 90)), [0] * 89]),
        random_inputs(3, 0),
        random_inputs(9, 24),
    ):
        assert_close(runtime.run(inputs), interpret(gcn_gin(), inputs), 1e-5)


@pytest.mark.parametrize("lowering", ["neighbours", "dense", "scatter", "index-put"])
def test_sums_are_right_whatever_multiplies_the_messages(lowering: str, tmp_path: Path) -> None:
    """Nothing, factors of both nodes or of one, a division, weights of edges, loops that count twice; also without edges."""
    graph = every_sum()
    runtime = runtimes.load(export(graph, "executorch", tmp_path / "model", bounds=BOUNDS, lowering=lowering))

    for nodes, edges in [(9, 24), (3, 0), (1, 0), (96, 200)]:
        inputs = random_inputs(nodes, edges)
        assert_close(runtime.run(inputs), interpret(graph, inputs), 1e-5)


def test_hubs_within_the_bounds_decide_the_lowering() -> None:
    cora, proteins = Bounds(2708, 13264, 1, 169), Bounds(620, 2718, 1, 26)

    assert [executorch.cheapest_lowering(bounds) for bounds in (cora, proteins)] == ["scatter", "neighbours"]


def test_planned_sizes_are_the_bounds_or_just_above_and_all_different() -> None:
    graph = gcn_gin()  # 32 channels, 4 features, 3 classes
    module = FeedModule(graph, lambda feeds: NeighbourLists(graph.topologies, feeds))

    sizes = executorch.planned_sizes(module, Bounds(nodes=32, edges=9, graphs=1, degree=4))

    assert sizes == {"N": 33, "K0": 5, "K1": 6, "G": 1}


def test_one_graph_at_a_time_is_a_fixed_size(tmp_path: Path) -> None:
    written = export(gcn_gin(), "executorch", tmp_path / "model", bounds=replace(BOUNDS, graphs=1))
    inputs = random_inputs(20, 40)

    assert_close(runtimes.load(written).run(inputs), interpret(gcn_gin(), inputs), 1e-5)


def test_gelu_tanh_is_not_computed_as_the_erf_form(tmp_path: Path) -> None:
    b = GraphBuilder()
    graph = b.finish([b.add(ops.Activation(Function.GELU_TANH), b.add(Input(Role.X, node(4))))])
    inputs = GraphInputs(np.linspace(-4, 4, 80).reshape(20, 4), np.zeros((2, 0)))

    assert_close(
        runtimes.load(export(graph, "executorch", tmp_path / "m", bounds=BOUNDS)).run(inputs),
        interpret(graph, inputs),
        1e-5,
    )


def test_static_int8_follows_the_integer_reference(tmp_path: Path, static_int8: Graph) -> None:
    runtime = runtimes.load(export(static_int8, "executorch", tmp_path / "model", bounds=BOUNDS))

    for nodes, edges, graphs in SHAPES:
        inputs = random_inputs(nodes, edges, graphs=graphs, seed=nodes)
        assert_close(runtime.run(inputs), interpret(static_int8, inputs), 0.05)  # hidden values have 8 bits


def test_int16_values_read_as_digits_give_the_integer_reference(tmp_path: Path, static_int8: Graph) -> None:
    """A code of an int8 value may round the other way, as sums of neighbours are not rounded to 16 bits here."""
    written = export(static_int8, "executorch", tmp_path / "model", bounds=BOUNDS, wide_linear="digits")
    inputs = random_inputs(60, 70, graphs=2)

    assert_close(runtimes.load(written).run(inputs), interpret(static_int8, inputs), 2e-2)


def test_dynamic_int8_is_as_close_to_float_as_the_integer_reference(tmp_path: Path) -> None:
    graph = quantize(gcn_gin(), DynamicInt8())
    runtime = runtimes.load(export(graph, "executorch", tmp_path / "model", bounds=BOUNDS))
    inputs = [random_inputs(nodes, edges, graphs=graphs, seed=nodes) for nodes, edges, graphs in SHAPES]

    floats = [interpret(gcn_gin(), one)[0] for one in inputs]
    ours, reference = (
        max(np.abs(run(one)[0] - exact).max() for one, exact in zip(inputs, floats, strict=True))
        for run in (runtime.run, lambda one: interpret(graph, one))
    )

    assert ours <= 1.5 * reference


def test_int8_products_run_in_xnnpack_and_weights_take_a_byte_each(static_int8: Graph) -> None:
    rng = np.random.default_rng(0)
    b = GraphBuilder()
    x = b.add(ops.Linear(Function.RELU), b.add(Input(Role.X, node(4))), b.const("w0", rng.normal(size=(256, 4))))
    wide = b.finish([b.add(ops.Pool(Reduce.MEAN), b.add(ops.Linear(), x, b.const("w1", rng.normal(size=(256, 256)))))])

    floats, codes = (executorch.emit(g, bounds=BOUNDS).model for g in (wide, quantize(wide, DynamicInt8())))

    assert 4 * 66_560 < len(floats) < 4 * 66_560 + 12_000
    assert 66_560 < len(codes) < 66_560 + 20_000
    for model in (codes, executorch.emit(static_int8, bounds=BOUNDS).model):
        for op in (b"quantized_decomposed::", b"aten::linear", b"aten::addmm", b"aten::mm"):
            assert op not in model


def test_the_bytes_do_not_depend_on_the_process_or_on_earlier_exports(artifact: Artifact) -> None:
    script = textwrap.dedent("""
        import hashlib
        from tests.every_op import gcn_gin
        from toolchain.exporters import executorch
        from toolchain.exporters.emission import Bounds
        bounds = Bounds(nodes=96, edges=300, graphs=5, degree=24)
        print(hashlib.sha256(executorch.emit(gcn_gin(), bounds=bounds).model).hexdigest())
    """)
    root = Path(__file__).parents[3]
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root).stdout
    data = artifact.model_path.read_bytes()

    assert there.split()[-1] == hashlib.sha256(data).hexdigest()
    assert str(root).encode() not in data
    assert sys.prefix.encode() not in data


def test_a_truncated_program_is_refused(tmp_path: Path, artifact: Artifact) -> None:
    data = artifact.model_path.read_bytes()
    damaged = Artifact.save(replace(artifact, path=tmp_path / "damaged"), {"model.pte": data[: len(data) // 2]})

    with pytest.raises(ArtifactError, match="ExecuTorch cannot load it"):
        runtimes.load(damaged)


def test_a_program_with_other_inputs_than_the_manifest_says_is_refused(tmp_path: Path, artifact: Artifact) -> None:
    fewer = replace(artifact.signature, inputs=artifact.signature.inputs[:-1])
    data = artifact.model_path.read_bytes()
    changed = Artifact.save(replace(artifact, path=tmp_path / "changed", signature=fewer), {"model.pte": data})

    with pytest.raises(ArtifactError, match=r"takes \d+ arrays, the manifest lists"):
        runtimes.load(changed)


def test_an_unknown_wide_linear_is_refused(static_int8: Graph) -> None:
    with pytest.raises(ExportError, match="Choices: auto, digits, rows"):
        executorch.emit(static_int8, wide_linear="fastest")


def test_portable_kernels_refuse_a_quantized_graph(static_int8: Graph) -> None:
    with pytest.raises(ExportError, match="no int8 product"):
        executorch.emit(static_int8, backend="portable")


@pytest.mark.parametrize(
    ("option", "message"), [("lowering", "Lowerings: auto, neighbours"), ("backend", "Backends: xnnpack")]
)
def test_an_unknown_option_is_refused(option: str, message: str) -> None:
    with pytest.raises(ExportError, match=message):
        executorch.emit(gcn_gin(), **{option: "fastest"})  # type: ignore[arg-type]  # the option is what is tested
