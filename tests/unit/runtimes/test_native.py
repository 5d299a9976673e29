"""C artifacts in process: what is checked before the call, what the call is given, how a refusal is worded."""

from __future__ import annotations

import shutil
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_geometric.data import Data

import runtimes
import toolchain
from runtimes import Runtime, c_interface
from runtimes.native import NativeRuntime
from tests.c_tools import private_cache
from tests.cases import CASES, FEATURES, MODELS, case_inputs, example
from tests.fuzz.models import fuzzed_graph
from tests.parity import assert_close
from tests.tiny_c_model import MAX_DEGREE, MAX_EDGES, MAX_NODES, OUTPUTS, SOURCE, tiny_graph, tiny_outputs, write_tiny
from toolchain.artifact import Artifact, Output
from toolchain.c_artifact import c_sources
from toolchain.errors import ArtifactError, InvalidInput, OutsideContract
from toolchain.exporters.emission import Bounds
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.passes import deployable
from toolchain.topology import SelfLoops, TopologySpec


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Libraries of these tests go where nobody finds them again."""
    with pytest.MonkeyPatch.context() as patch:
        private_cache(patch, tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return write_tiny(tmp_path_factory.mktemp("native") / "tiny")


@pytest.fixture(scope="module")
def runtime(artifact: Artifact) -> NativeRuntime:
    opened = runtimes.load(artifact.path)
    assert isinstance(opened, NativeRuntime)
    return opened


def assert_equal(actual: tuple[np.ndarray, ...], expected: tuple[np.ndarray, ...]) -> None:
    assert [array.dtype for array in actual] == [np.float32] * len(expected)
    for ours, theirs in zip(actual, expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)


# --- runs ---


@pytest.mark.parametrize(("nodes", "edges", "graphs"), [(5, 8, 2), (6, 10, 1), (1, 0, 1), (2, 0, 2), (1, 4, 1)])
def test_outputs_per_node_edge_and_graph_are_those_of_the_model(
    nodes: int, edges: int, graphs: int, runtime: NativeRuntime
) -> None:
    graph = tiny_graph(1, nodes, edges, graphs)

    assert_equal(runtime.run(graph), tiny_outputs(graph))


def test_a_graph_without_batch_is_one_graph(runtime: NativeRuntime) -> None:
    graph = replace(tiny_graph(graphs=1), batch=None)

    assert_equal(runtime.run(graph), tiny_outputs(graph))


def test_feeds_can_be_run_again_and_results_are_the_callers_own(runtime: NativeRuntime) -> None:
    graph = tiny_graph()
    feeds = runtime.prepare(graph)
    first = runtime.run_feeds(feeds)
    first[0][:] = np.nan

    assert_equal(runtime.run_feeds(feeds), tiny_outputs(graph))


def test_features_changed_in_place_are_seen_by_the_next_run(runtime: NativeRuntime) -> None:
    graph = tiny_graph()
    feeds = runtime.prepare(replace(graph, x=graph.x.copy()))
    runtime.run_feeds(feeds)
    feeds["x"][:] *= 2

    assert_equal(runtime.run_feeds(feeds), tiny_outputs(replace(graph, x=graph.x * 2)))


def test_features_replaced_by_other_arrays_are_seen_by_the_next_run(runtime: NativeRuntime) -> None:
    graph = tiny_graph()
    feeds = runtime.prepare(graph)
    runtime.run_feeds(feeds)
    feeds["x"] = graph.x * 3
    expected = tiny_outputs(replace(graph, x=graph.x * 3))

    assert_equal(runtime.run_feeds(feeds), expected)
    assert_equal(runtime.run_feeds(dict(feeds)), expected)  # and a plain dict does as well


def test_threads_may_each_run_feeds_of_their_own(runtime: NativeRuntime) -> None:
    graphs = [tiny_graph(seed) for seed in range(4)]
    expected = [tiny_outputs(graph) for graph in graphs]
    wrong: list[int] = []

    def work(number: int) -> None:
        feeds = runtime.prepare(graphs[number])
        for _ in range(500):
            outputs = runtime.run_feeds(feeds)
            if any((ours != theirs).any() for ours, theirs in zip(outputs, expected[number], strict=True)):
                wrong.append(number)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert wrong == []


def test_the_arena_is_aligned_as_the_model_asks(runtime: NativeRuntime) -> None:
    arenas = [runtime.prepare(tiny_graph(seed))["arena"] for seed in range(20)]

    assert [arena.ctypes.data % 8 for arena in arenas] == [0] * 20
    assert {arena.dtype for arena in arenas} == {np.dtype(np.uint8)}


def test_the_build_is_stated_for_measurements(runtime: NativeRuntime) -> None:
    assert "-O3" in runtime.build


# --- refusals ---


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"nodes": MAX_NODES + 1, "edges": 2}, f"{MAX_NODES + 1} nodes.*max_nodes={MAX_NODES + 1}"),
        ({"nodes": 5, "edges": MAX_EDGES + 1}, f"{MAX_EDGES + 1} edges.*max_edges={MAX_EDGES + 1}"),
        ({"nodes": 3, "edges": 1, "graphs": 3}, "3 graphs.*max_graphs=3"),
        (
            {"nodes": 1, "edges": MAX_DEGREE + 1, "graphs": 1},
            f"a node has {MAX_DEGREE + 1}.*max_degree={MAX_DEGREE + 1}",
        ),
    ],
)
def test_a_graph_beyond_a_bound_is_told_the_bound_and_the_way_out(
    change: dict[str, int], words: str, runtime: NativeRuntime
) -> None:
    with pytest.raises(OutsideContract, match=words):
        runtime.prepare(tiny_graph(**change))


@pytest.mark.parametrize("inputs", [None, Data(), {"x": np.ones((3, 4))}], ids=["None", "Data", "dict"])
def test_what_is_no_graph_is_told_how_to_become_one(inputs: object, runtime: NativeRuntime) -> None:
    with pytest.raises(
        InvalidInput, match=rf"inputs: got {type(inputs).__name__}, expected GraphInputs.*from_pyg\(data\)"
    ):
        runtime.run(inputs)  # type: ignore[arg-type]
    with pytest.raises(OutsideContract, match="only x was given"):
        runtime.run(np.ones((3, 4), np.float32))


def test_a_graph_without_the_attributes_that_are_read_is_refused(runtime: NativeRuntime) -> None:
    with pytest.raises(OutsideContract, match="edge_attr: missing"):
        runtime.prepare(replace(tiny_graph(), edge_attr=None))


def test_what_only_the_c_code_refuses_is_refused_in_words(artifact: Artifact, tmp_path: Path) -> None:
    picky = SOURCE.replace(
        "    a->magic = MAGIC;\n", "    if (graph->num_nodes == 3) return GNN_ERROR_WEIGHT;\n    a->magic = MAGIC;\n"
    )
    runtime = runtimes.load(write_tiny(tmp_path / "picky", source=picky).path)

    with pytest.raises(OutsideContract, match=r"sum to less than 0 \(3 nodes, 2 edges, 1 graphs\)"):
        runtime.prepare(tiny_graph(nodes=3, edges=2, graphs=1))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x", np.zeros((4, 2), np.float32)),
        ("x", np.zeros((5, 3), np.float32)),
        ("x", np.zeros((5, 2), np.float64)),
        ("x", np.zeros((5, 4), np.float32)[:, ::2]),
        ("edge_attr", np.zeros((7, 1), np.float32)),
        ("arena", np.zeros(8, np.uint8)),
        ("rows", np.array([5, 8, 5], np.int64)),
        ("rows", np.array([5, 8, -1, 8, 2], np.int64)),
    ],
)
def test_arrays_that_would_be_read_beyond_their_end_never_reach_c(
    name: str, value: np.ndarray, runtime: NativeRuntime
) -> None:
    feeds = runtime.prepare(tiny_graph())
    runtime.run_feeds(feeds)
    feeds[name] = value

    with pytest.raises(InvalidInput, match=f"^{name}: "):
        runtime.run_feeds(feeds)


def test_an_arena_without_a_graph_is_refused(runtime: NativeRuntime) -> None:
    feeds = runtime.prepare(tiny_graph())
    feeds["arena"] = np.zeros_like(feeds["arena"].view(np.uint64)).view(np.uint8)

    with pytest.raises(InvalidInput, match="holds no prepared graph"):
        runtime.run_feeds(feeds)


# --- the files and the manifest ---


def test_files_that_the_manifest_does_not_list_are_not_compiled(artifact: Artifact, tmp_path: Path) -> None:
    shutil.copytree(artifact.path, tmp_path / "tiny")
    (tmp_path / "tiny" / "other.c").write_text("#error compiled\n")
    (tmp_path / "tiny" / "stdint.h").write_text("#error included\n")

    graph = tiny_graph()
    assert_equal(runtimes.load(tmp_path / "tiny").run(graph), tiny_outputs(graph))


def test_a_file_that_changes_after_the_check_is_refused(artifact: Artifact, tmp_path: Path) -> None:
    shutil.copytree(artifact.path, tmp_path / "tiny")
    loaded = Artifact.load(tmp_path / "tiny")
    (tmp_path / "tiny" / "model.c").write_text(SOURCE.replace("sum +=", "sum -="))

    with pytest.raises(ArtifactError, match=r"model\.c: changed"):
        c_sources(loaded)


@pytest.mark.parametrize(
    "lie",
    [
        {"max_nodes": 7}, {"max_edges": 11}, {"max_graphs": 1}, {"max_degree": 5}, {"features": 3}, {"edge_features": None},
        {"edge_weight": True}, {"edge_type": True}, {"max_degree": None},
        {"outputs": (OUTPUTS[0], OUTPUTS[1], Output("output_2", "graph", 3))},
        {"outputs": OUTPUTS[:2]},
        {"provenance": {"name_in_c": "other"}},
    ],
)  # fmt: skip
def test_a_library_that_is_not_what_the_manifest_says_is_refused(lie: dict[str, Any], tmp_path: Path) -> None:
    write_tiny(tmp_path / "lie", **lie)

    with pytest.raises(ArtifactError, match=r"manifest|do not compile"):
        runtimes.load(tmp_path / "lie")


@pytest.mark.parametrize("name", [None, "", "a b", "tiny;int x", "1st", "tiny\n"])
def test_a_name_that_is_no_identifier_is_never_compiled(name: Any, tmp_path: Path) -> None:
    write_tiny(tmp_path / "named", provenance={"name_in_c": name})

    with pytest.raises(ArtifactError, match="expected a C identifier"):
        runtimes.load(tmp_path / "named")


def test_an_artifact_of_another_version_of_the_interface_does_not_compile(tmp_path: Path) -> None:
    header = (
        (Path("runtimes/c/include/gnn.h")).read_text().replace("uint8_t has_fixed_graph;", "uint32_t has_fixed_graph;")
    )
    write_tiny(tmp_path / "old", extra={"gnn.h": header.encode()})

    with pytest.raises(ArtifactError, match="gnn_model_layout_differs"):
        runtimes.load(tmp_path / "old")


def test_every_status_of_the_header_has_words() -> None:
    header = (Path("runtimes/c/include/gnn.h")).read_text()
    numbers = [
        int(line.split("=")[1].split(",")[0].split("/")[0])
        for line in header.splitlines()
        if "GNN_ERROR_" in line and "=" in line
    ]

    assert sorted(c_interface.STATUS) == sorted(numbers)


# --- rows per edge ---


def test_rows_per_edge_count_the_self_loops_that_the_topology_adds(artifact: Artifact, tmp_path: Path) -> None:
    """An edge from a node to itself is dropped or kept in place of the one that would be added: one per node either way."""
    edges = np.array([[0, 1, 1], [0, 0, 1]])
    graph = GraphInputs(np.zeros((3, 2)), edges, edge_attr=np.zeros((3, 1)))
    specs = (TopologySpec(), TopologySpec(self_loops=SelfLoops.REPLACE))
    write_tiny(tmp_path / "loops", topologies=specs, provenance={"output_topologies": [None, 1, None]})

    assert runtimes.load(tmp_path / "loops").prepare(graph)["rows"].tolist() == [3, 3, 3, 4, 1]


def test_rows_per_edge_of_an_unknown_topology_are_refused(tmp_path: Path) -> None:
    specs = (TopologySpec(), TopologySpec(self_loops=SelfLoops.REPLACE))
    write_tiny(tmp_path / "loops", topologies=specs)

    with pytest.raises(ArtifactError, match="output_topologies"):
        runtimes.load(tmp_path / "loops")


# --- models that were exported ---


def exported(model: str, folder: Path, **options: Any) -> tuple[Runtime, Graph]:
    graph = toolchain.lower(MODELS[model](), example(model), name=model)
    artifact = toolchain.export(graph, "c", folder / model, bounds=Bounds(64, 512, 4, 64), **options)
    return runtimes.load(artifact), deployable(graph)


@pytest.mark.parametrize("model", ["gcn_weighted", "multi_output"])
def test_an_exported_model_computes_what_the_interpreter_does(model: str, tmp_path: Path) -> None:
    runtime, graph = exported(model, tmp_path)
    for name in ("self_loops", "random_60", "batch_of_three"):
        if (model, name) in CASES:
            inputs = GraphInputs.from_pyg(case_inputs(model, name))
            assert_close(runtime.run(inputs), interpret(graph, inputs))


@pytest.mark.parametrize("model", ["gcn_weighted", "gat_mean_edge"])
def test_a_model_with_a_fixed_graph_takes_features_alone(model: str, tmp_path: Path) -> None:
    fixed = GraphInputs.from_pyg(example(model))
    runtime, graph = exported(model, tmp_path, fixed_graph=fixed)
    x = np.random.default_rng(0).standard_normal(fixed.x.shape).astype(np.float32)

    assert_close(runtime.run(x), interpret(graph, replace(fixed, x=x)))
    with pytest.raises(OutsideContract, match="differs from the fixed graph"):
        runtime.run(replace(fixed, edge_index=fixed.edge_index[::-1]))
    with pytest.raises(OutsideContract, match=r"has \d+ nodes"):
        runtime.run(x[:-1])


def test_edge_weights_that_cannot_be_normalized_are_invalid_input(tmp_path: Path) -> None:
    runtime, _ = exported("gcn_weighted", tmp_path)
    graph = GraphInputs(np.ones((2, FEATURES)), np.array([[0], [1]]), edge_weight=np.array([-5.0]))

    with pytest.raises(InvalidInput, match="the weights into node 1 sum to"):
        runtime.run(graph)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> tuple[Runtime, Graph]:
    graph, _ = fuzzed_graph("sparse")
    folder = tmp_path_factory.mktemp("sparse") / "sparse"
    artifact = toolchain.export(graph, "c", folder, bounds=Bounds(16, 64, 1, 16), sparse_features=True)
    return runtimes.load(artifact), graph


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_binary_features_are_passed_as_the_positions_of_ones(share: float, sparse: tuple[Runtime, Graph]) -> None:
    runtime, graph = sparse
    rng = np.random.default_rng(1)
    x = rng.random((7, runtime.artifact.contract.features)) < share
    inputs = GraphInputs(x, rng.integers(0, 7, (2, 20)))
    feeds = runtime.prepare(inputs)

    assert "x" not in feeds
    assert feeds["x_index"].size == x.sum()
    assert_equal(runtime.run_feeds(feeds), interpret(graph, inputs))


def test_features_that_are_not_binary_are_refused_by_a_model_for_positions(sparse: tuple[Runtime, Graph]) -> None:
    runtime, _ = sparse
    x = np.zeros((3, runtime.artifact.contract.features), np.float32)
    x[1, 2] = 0.5

    with pytest.raises(InvalidInput, match=r"x: 0\.5 at \[1, 2\].*which are 0 or 1"):
        runtime.run(GraphInputs(x, np.zeros((2, 0))))


def test_positions_beyond_their_array_never_reach_c(sparse: tuple[Runtime, Graph]) -> None:
    runtime, _ = sparse
    feeds = runtime.prepare(GraphInputs(np.ones((3, runtime.artifact.contract.features)), np.zeros((2, 0))))
    feeds["x_index"] = feeds["x_index"][:-1].copy()

    with pytest.raises(InvalidInput, match="x_pointer: points beyond"):
        runtime.run_feeds(feeds)
