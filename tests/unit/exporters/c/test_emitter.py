"""model.c and model.h: what the text says, what the bounds do, and what is refused before anything is written."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.c_zoo import BOUNDS, zoo_graph
from tests.cases import case_inputs
from toolchain import GraphInputs
from toolchain.errors import ExportError
from toolchain.exporters.c.emitter import emit
from toolchain.exporters.emission import Bounds

GOLDEN = Path(__file__).resolve().parents[3] / "golden" / "gcn_graph_int8.c"


def text_of(model: str = "gcn_graph", mode: str = "int8", bounds: Bounds = BOUNDS, **options: object) -> str:
    return emit(zoo_graph(model, mode), bounds, **options).model.decode()  # type: ignore[arg-type]  # options of the exporter


def run_part(text: str) -> str:
    """The stages: everything after run() begins, whose calls say how a model is computed."""
    return text[text.index("_run(const") : text.index("size_t gnn_")]


def test_the_stages_of_a_small_gcn() -> None:
    """After a deliberate change: write `run_part(text_of())` to the golden file and read the difference."""
    assert run_part(text_of()) == GOLDEN.read_text()


def test_same_graph_same_bytes() -> None:
    first, second = (emit(zoo_graph("gat_concat", "int8"), BOUNDS) for _ in range(2))
    assert first.model == second.model and first.extra_files == second.extra_files


def test_only_the_kernels_that_are_called_are_shipped() -> None:
    emission = emit(zoo_graph("gcn_graph", "int8"), BOUNDS)
    kernels = {name.removesuffix(".c") for name in emission.extra_files if name.endswith(".c")}
    called = set(re.findall(r"\b(gnn_\w+)\(", emission.model.decode()))
    assert kernels == {name for name in called if not name.startswith("gnn_gcn_graph")}
    assert "gnn_propagate_s8_s16" in kernels and "gnn_linear_f32" not in kernels


def test_no_buffer_holds_messages_of_all_edges() -> None:
    """More edges cost the prepared edges (2 bytes each) and at most the place to receive them in, and not one byte more."""
    for model in ("gcn_graph", "gin_graph", "sage_mean", "sage_max"):
        small, large = (
            int(emit(zoo_graph(model, "int8"), replace(BOUNDS, edges=e)).facts["arena_bytes"]) for e in (640, 6400)
        )  # fmt: skip
        topologies = len(re.findall(r"static gnn_topology topology_at", text_of(model)))
        assert large - small <= (2 * topologies + 4) * (6400 - 640) + 8


def test_attention_keeps_one_number_per_edge_and_head_and_no_messages() -> None:
    edges = 6400
    arena = int(emit(zoo_graph("gatv2", "float32"), replace(BOUNDS, edges=edges)).facts["arena_bytes"])
    prepared = 3 * 6 * edges  # three topologies: source and origin
    widest_message = 4 * 12 * edges
    assert arena < prepared + 2 * 4 * 3 * edges + widest_message  # logits and weights of up to three heads


def test_the_degree_bound_is_what_integer_sums_can_hold() -> None:
    graph = zoo_graph("gin_graph", "all-int16")
    emission = emit(graph, Bounds(60_000, 2**30, 1, None))
    assert emission.bounds is not None and emission.bounds.degree is not None
    assert 16 <= emission.bounds.degree < 2**16
    assert emit(graph, Bounds(64, 512, 1, 9)).bounds == Bounds(64, 512, 1, 9)


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        (Bounds(None, 10, 1, 9), "max_nodes: None"),
        (Bounds(65_536, 10, 1, 9), "max_nodes: 65536, expected a number up to 65535"),
        (Bounds(10, None, 1, 9), "max_edges: None"),
        (Bounds(10, 10, 0, 9), "max_graphs: 0"),
    ],
)
def test_bounds_that_cannot_be_are_refused(bounds: Bounds, words: str) -> None:
    with pytest.raises(ExportError, match=words):
        emit(zoo_graph("gcn_graph", "float32"), bounds)


def test_a_fixed_graph_lies_in_constants_and_not_in_the_arena() -> None:
    inputs = GraphInputs.from_pyg(case_inputs("gcn_graph", "random_60"))
    fixed = emit(zoo_graph("gcn_graph", "int8"), fixed_graph=inputs)
    free = emit(zoo_graph("gcn_graph", "int8"), Bounds(60, 300, 1, 30))
    assert "fixed_source_0" in fixed.model.decode() and "gnn_prepare_topology" not in fixed.model.decode()
    assert fixed.facts["arena_bytes"] < free.facts["arena_bytes"] - 300 * 2
    assert fixed.bounds is not None and fixed.bounds.nodes == 60 and fixed.bounds.edges == 297  # 3 of 240 were loops


def test_sparse_features_need_a_linear_layer_first() -> None:
    with pytest.raises(ExportError, match=r"sparse features: Mul .* reads x as rows of numbers"):
        emit(zoo_graph("gcn_graph", "int8"), BOUNDS, sparse_features=True)


def test_every_number_of_a_constant_is_in_the_text() -> None:
    graph = zoo_graph("mlp_only", "float32")
    text = text_of("mlp_only", "float32")
    for array in graph.constants.values():
        for value in np.asarray(array, np.float32).reshape(-1)[:5]:
            assert f"{float(value).hex().replace('0000000p', 'p')}f" in text
