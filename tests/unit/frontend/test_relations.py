"""Relations: edge_type chooses edges, each relation is a topology of its own, and everything else done with it is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn.conv.gcn_conv import gcn_norm

import runtimes
from tests.cases import EDGE_FEATURES, FEATURES, GRAPHS, HIDDEN, MODELS, case_inputs, example
from tests.model_zoo import RELATIONS
from tests.parity import assert_close
from toolchain.artifact import Artifact
from toolchain.errors import ExportError, InvalidInput, OutsideContract, UnsupportedModule
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.exporters.packages import Sample, write_package
from toolchain.frontend import lower, run_model
from toolchain.inputs import GraphInputs
from toolchain.ir import interpret, ops
from toolchain.passes import deployable


class Typed(nn.Module):
    """A layer of relations, or a function of (layer, x, edge_index, edge_type, edge_weight, edge_attr)."""

    def __init__(self, layer: nn.Module | None, body: Callable[..., Tensor] | None = None) -> None:
        super().__init__()
        self.layer, self.body = layer, body

    def forward(
        self, x: Tensor, edge_index: Tensor, edge_type: Tensor, edge_weight: Tensor, edge_attr: Tensor
    ) -> Tensor:
        if self.body is not None:
            return self.body(self.layer, x, edge_index, edge_type, edge_weight, edge_attr)
        return self.layer(x, edge_index, edge_type)


def graph(name: str) -> Data:
    data = GRAPHS[name](FEATURES)
    kept = ("x", "edge_index", "edge_type", "edge_weight", "edge_attr")
    return Data(**{field: data[field] for field in kept})


def check(model: nn.Module) -> list[ops.Op]:
    """Lower with one graph, compare with PyG on others; returns the ops of the deployable graph."""
    lowered = deployable(lower(model.eval(), graph("random_60")))
    for name in ("repeated_edges", "self_loops", "single_node", "no_edges", "hub"):
        assert_close(interpret(lowered, GraphInputs.from_pyg(graph(name))), run_model(model, graph(name)))
    return [value.op for value in lowered.values]


RGCN: dict[str, Callable[[], nn.Module]] = {
    "rgcn": lambda: pyg.RGCNConv(FEATURES, 4, RELATIONS),
    "bases, sum": lambda: pyg.RGCNConv(FEATURES, 4, RELATIONS, num_bases=2, aggr="add"),
    "blocks, max": lambda: pyg.RGCNConv(FEATURES, 14, RELATIONS, num_blocks=7, aggr="max"),
    "no root": lambda: pyg.RGCNConv(FEATURES, 4, RELATIONS, root_weight=False, bias=False),
    "against the flow": lambda: pyg.RGCNConv(FEATURES, 4, RELATIONS, flow="target_to_source"),
    "fast": lambda: pyg.FastRGCNConv(FEATURES, 4, RELATIONS),
    "fast, blocks, sum": lambda: pyg.FastRGCNConv(FEATURES, 14, RELATIONS, num_blocks=7, aggr="sum"),
    "film": lambda: pyg.FiLMConv(FEATURES, 4, RELATIONS),
}


@pytest.mark.parametrize("name", RGCN)
def test_layers_of_relations_equal_pyg(name: str) -> None:
    torch.manual_seed(3)
    check(Typed(RGCN[name]()))


@pytest.mark.parametrize("aggregation", ["sum", "mean", "max", "min", "cat", None])
def test_a_convolution_for_each_relation_equals_pyg(aggregation: str | None) -> None:
    """Those by hand stay by hand: no message of a GCN, GIN or SAGE is stored for every edge."""
    torch.manual_seed(4)
    layers = {
        ("n", "a", "n"): pyg.GCNConv(FEATURES, HIDDEN),
        ("n", "b", "n"): pyg.SAGEConv(FEATURES, HIDDEN),
        ("n", "c", "n"): pyg.GINConv(nn.Linear(FEATURES, HIDDEN)),
    }

    def body(layer: nn.Module, x: Tensor, edges: Tensor, kinds: Tensor, weight: Tensor, attributes: Tensor) -> Tensor:
        chosen = {key: edges[:, kinds == number] for number, key in enumerate(layers)}
        y = layer({"n": x}, chosen, edge_weight_dict={("n", "a", "n"): weight[kinds == 0]})["n"]
        return y.flatten(1)

    used = check(Typed(pyg.HeteroConv(layers, aggregation), body))
    assert not [op for op in used if isinstance(op, ops.Gather | ops.Aggregate)]


def test_attention_reads_the_attributes_of_its_relation() -> None:
    torch.manual_seed(5)
    layer = pyg.GATConv(FEATURES, 4, edge_dim=EDGE_FEATURES)
    check(Typed(layer, lambda conv, x, e, kinds, w, a: conv(x, e[:, kinds == 1], a[kinds == 1])))


def normalized(edges: Tensor, x: Tensor) -> Tensor:
    return gcn_norm(edges, None, x.size(0), add_self_loops=False)[0]


REFUSED: dict[str, tuple[Typed, tuple[str, ...]]] = {
    "types as features": (
        Typed(nn.Embedding(RELATIONS, 4), lambda m, x, e, kinds, w, a: m(kinds)), ("layer: cannot lower Embedding",)
    ),
    "a function of types": (
        Typed(None, lambda m, x, e, kinds, w, a: x[e[0]] * kinds.float().view(-1, 1)), ("edge_type.float", "as edge_attr")
    ),
    "comparing types with a tensor": (
        Typed(None, lambda m, x, e, kinds, w, a: x[e[:, kinds == torch.tensor(1)][0]]), ("edge_type == 2",)
    ),
    "a relation of normalized edges": (
        Typed(None, lambda m, x, e, kinds, w, a: x[normalized(e, x)[:, kinds == 1][0]]), ("itself",)
    ),
    "attributes chosen after a function": (
        Typed(None, lambda m, x, e, kinds, w, a: a.relu()[kinds == 1]), ("before anything is computed",)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_other_uses_of_edge_types_are_refused_with_their_line(name: str) -> None:
    model, parts = REFUSED[name]
    with pytest.raises(UnsupportedModule) as caught:
        lower(model.eval(), graph("self_loops"))
    assert [part for part in parts if part not in str(caught.value)] == []
    assert "test_relations.py:" in str(caught.value) or str(caught.value).startswith("layer: ")


def test_graphs_of_several_kinds_of_nodes_are_refused_with_a_way_out() -> None:
    with pytest.raises(
        InvalidInput, match=r"example: got HeteroData.*to_homogeneous\(\).*edge_index\[:, edge_type == r\]"
    ):
        lower(pyg.SAGEConv(FEATURES, 4), HeteroData())  # type: ignore[arg-type]


# --- artifacts --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    lowered = lower(MODELS["relations"](), example("relations"), name="relations")
    return export(lowered, "onnx", tmp_path_factory.mktemp("relations") / "onnx")


def test_a_graph_without_edge_types_is_outside_the_contract(artifact: Artifact) -> None:
    runtime, inputs = runtimes.load(artifact), GraphInputs.from_pyg(case_inputs("relations", "self_loops"))
    with pytest.raises(OutsideContract, match=r"edge_type: missing, but the model reads it"):
        runtime.run(replace(inputs, edge_type=None))


@pytest.mark.parametrize("format", ["onnx", "c"])
def test_edges_of_relations_that_a_model_does_not_choose_count_for_nothing(format: str, tmp_path: Path) -> None:
    """As in PyG, whose layers never see them."""
    torch.manual_seed(6)
    model = Typed(pyg.GraphConv(FEATURES, 4), lambda conv, x, e, kinds, w, a: conv(x, e[:, kinds == 1])).eval()
    data = graph("random_60")
    data.edge_type = data.edge_type + 70_000 * (data.edge_type == 2)  # beyond what C stores in 16 bits
    artifact = export(lower(model, data), format, tmp_path / format)
    assert_close(runtimes.load(artifact).run(GraphInputs.from_pyg(data)), run_model(model, data))


def test_a_fixed_graph_keeps_its_relations(tmp_path: Path) -> None:
    lowered, data = lower(MODELS["relations"](), example("relations")), case_inputs("relations", "random_60")
    inputs = GraphInputs.from_pyg(data)
    for format in ("onnx", "c"):
        made = export(lowered, format, tmp_path / format, fixed_graph=inputs)
        assert_close(runtimes.load(made).run(inputs.x), run_model(MODELS["relations"](), data))


def test_an_app_without_edge_types_is_refused_and_a_cmake_project_gets_them(tmp_path: Path) -> None:
    lowered, data = lower(MODELS["relations"](), example("relations")), case_inputs("relations", "self_loops")
    inputs = GraphInputs.from_pyg(data)
    made = export(lowered, "c", tmp_path / "c", bounds=Bounds(9, 40, 1, 20))
    sample = Sample(inputs, runtimes.load(made).run(inputs))
    with pytest.raises(ExportError, match=r"reads edge_type, which the classes of an app do not take"):
        write_package(made, "android", tmp_path / "app", sample)
    project = write_package(made, "cmake", tmp_path / "project", sample)
    assert any("edge_type" in path.read_text() for path in project.rglob("*sample*.c"))
