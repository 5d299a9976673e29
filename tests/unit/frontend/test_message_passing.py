"""Layers without a lowering of their own: their forward, message, aggregate and update run on symbols."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_self_loops, degree, remove_self_loops, scatter, softmax

from device_benchmarks.layer_zoo import CASES, example, graphs, homogeneous_classes, restricted
from tests.parity import assert_close
from toolchain.frontend import lower, run_model
from toolchain.frontend.registry import LAYERS, REFUSED
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret, ops
from toolchain.passes import deployable
from toolchain.topology import Normalization, SelfLoops

# Layers that cannot run themselves on symbols, so that there is nothing to compare their lowering with.
NOT_TRACEABLE = ("ChebConv", "ARMAConv", "MFConv", "ClusterGCNConv")
REFUSED_HERE = ("SplineConv", "PANConv", "WLConv", "PDNConv", "GPSConv", "MeshCNNConv")
LOWERED = [case for case in CASES if case.name not in REFUSED_HERE]
BY_HAND = [case for case in LOWERED if getattr(pyg, case.layer) in LAYERS and case.layer not in NOT_TRACEABLE]


def check(model: nn.Module, fields: tuple[str, ...] = (), **options: bool) -> Graph:
    """Lower with one graph, compare with PyG on others; returns the deployable graph."""
    graph = deployable(lower(model.eval(), restricted(example(), fields), **options))
    for data in graphs().values():
        data = restricted(data, fields)
        assert_close(interpret(graph, GraphInputs.from_pyg(data)), run_model(model, data))
    return graph


@pytest.mark.parametrize("case", LOWERED, ids=lambda case: case.name)
def test_every_layer_of_the_zoo_equals_pyg_on_other_graphs(case) -> None:
    check(case.model(), case.fields)


@pytest.mark.parametrize("case", BY_HAND, ids=lambda case: case.name)
def test_a_lowering_by_hand_agrees_with_the_layers_own_forward(case) -> None:
    by_hand, traced = (check(case.model(), case.fields, traces_layers=traces) for traces in (False, True))
    data = restricted(graphs()["150 nodes, 600 edges"], case.fields)
    assert_close(*(interpret(graph, GraphInputs.from_pyg(data)) for graph in (by_hand, traced)))


def test_the_zoo_holds_every_homogeneous_class_once_in_its_plain_form() -> None:
    assert sorted(case.layer for case in CASES if not case.variant) == sorted(homogeneous_classes())
    assert {case.layer for case in CASES if getattr(pyg, case.layer) in REFUSED} <= set(REFUSED_HERE)


def ops_of(graph: Graph) -> list[type[ops.Op]]:
    return [type(value.op) for value in graph.values]


def case_named(name: str):
    return next(case for case in CASES if case.name == name)


@pytest.mark.parametrize("name", ["SGConv", "TAGConv", "APPNP", "LGConv", "GatedGraphConv", "GCNConv"])
def test_weighted_sums_become_propagates_without_edge_buffers(name: str) -> None:
    case = case_named(name)
    graph = check(case.model(), case.fields, traces_layers=True)
    assert ops.Propagate in ops_of(graph)
    assert not {ops.Gather, ops.Aggregate} & set(ops_of(graph))


def test_attention_over_heads_is_one_edge_softmax_and_one_propagate() -> None:
    graph = check(case_named("TransformerConv (heads averaged)").model())
    assert ops_of(graph).count(ops.EdgeSoftmax) == 1
    assert [value.op.operands for value in graph.values if isinstance(value.op, ops.Propagate)] == [("weight",)]


def test_normalizations_and_degrees_belong_to_topologies() -> None:
    specs = check(case_named("ChebConv").model(), ("edge_weight",)).topologies
    assert [(spec.self_loops, spec.normalization) for spec in specs] == [
        (SelfLoops.REMOVE, Normalization.SYMMETRIC_OUT)
    ]
    case = case_named("PNAConv")
    assert Normalization.DEGREE in {spec.normalization for spec in check(case.model(), case.fields).topologies}


class EdgeMlp(pyg.MessagePassing):
    """A user's layer: an edge MLP, attention, a gated update, and arguments of every kind."""

    def __init__(self, flow: str = "source_to_target", aggr: str | list[str] = "sum") -> None:
        super().__init__(aggr=aggr, flow=flow)
        self.edge = nn.Sequential(nn.Linear(2 * 6 + 3, 8), nn.LayerNorm(8), nn.ELU())
        self.score = nn.Parameter(torch.randn(1, 2, 4))
        self.gate = nn.GRUCell(8 if isinstance(aggr, str) else 8 * len(aggr), 6)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x, edge_attr=edge_attr, scale=0.5)

    def message(
        self, x_i: Tensor, x_j: Tensor, edge_attr: Tensor, scale: float, index: Tensor, ptr: object, size_i: int
    ):
        e = self.edge(torch.cat([x_i, x_j - x_i, edge_attr], dim=-1)).view(-1, 2, 4)
        alpha = (e * self.score).sum(-1) * scale
        alpha = softmax(alpha, index, ptr, size_i) if self.flow == "source_to_target" else alpha.sigmoid()
        return (e * alpha.unsqueeze(-1)).flatten(1)

    def update(self, inputs: Tensor, x: Tensor) -> Tensor:
        return self.gate(inputs, x)


@pytest.mark.parametrize("aggr", ["sum", ["mean", "std", "max"]])
@pytest.mark.parametrize("flow", ["source_to_target", "target_to_source"])
def test_a_users_own_layer_lowers_from_its_methods(flow: str, aggr: str | list[str]) -> None:
    torch.manual_seed(0)
    check(EdgeMlp(flow, aggr), ("edge_attr",))


class Function(nn.Module):
    """A model whose forward is a function of (self, x, edge_index, edge_weight, edge_attr)."""

    def __init__(self, body: Callable[..., Tensor], **layers: nn.Module) -> None:
        super().__init__()
        self.body = body
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor, edge_attr: Tensor) -> Tensor:
        return self.body(self, x, edge_index, edge_weight, edge_attr)


def by_degree(m: nn.Module, x: Tensor, e: Tensor, w: Tensor, a: Tensor) -> Tensor:
    incoming = degree(e[1], x.size(0)).view(-1, 1)
    outgoing = degree(e[0], x.size(0), dtype=x.dtype).view(-1, 1)
    return x * torch.log(incoming + 1) / outgoing.clamp(min=1).sqrt()


def normalized_by_hand(m: nn.Module, x: Tensor, e: Tensor, w: Tensor, a: Tensor) -> Tensor:
    edge_index, _ = add_self_loops(remove_self_loops(e)[0], num_nodes=x.size(0))
    row, col = edge_index
    inverse = degree(col, x.size(0), dtype=x.dtype).pow(-0.5)
    inverse = inverse.masked_fill(inverse == float("inf"), 0)
    return scatter(x[row] * (inverse[row] * inverse[col]).view(-1, 1), col, dim=0, dim_size=x.size(0))


def several_topologies(m: nn.Module, x: Tensor, e: Tensor, w: Tensor, a: Tensor) -> Tensor:
    looped, norm = gcn_norm(e, w, x.size(0))
    one = scatter(x[looped[0]] * norm.view(-1, 1), looped[1], dim=0, dim_size=x.size(0))
    two = m.conv(x, e.flip([0]))
    return torch.cat([one, two, x], dim=-1)


def heads(m: nn.Module, x: Tensor, e: Tensor, w: Tensor, a: Tensor) -> Tensor:
    h = m.lin(x).view(-1, 3, 4)
    joined = torch.stack([h.mean(1), h.max(dim=1)[0], h.transpose(1, 2)[..., 0], h[:, -1]], dim=1)
    norm = joined.norm(dim=-1, keepdim=True) + 1
    return torch.where(joined > 0.1, joined / norm, torch.exp(-joined.abs())).flatten(1)


@pytest.mark.parametrize("body", [by_degree, normalized_by_hand, several_topologies, heads])
def test_functional_code_around_edges_and_heads_is_followed(body: Callable[..., Tensor]) -> None:
    torch.manual_seed(1)
    check(Function(body, conv=pyg.GCNConv(6, 5), lin=nn.Linear(6, 12)), ("edge_weight", "edge_attr"))


def dynamic_edge_conv_with_a_given_graph() -> nn.Module:
    return pyg.EdgeConv(nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 8)), aggr="mean")


MODELS: dict[str, Callable[[], nn.Module]] = {
    "GCN": lambda: pyg.GCN(6, 8, 2, 4, norm="batch", jk="cat"),
    "GraphSAGE": lambda: pyg.GraphSAGE(6, 8, 2, 4, norm="layer"),
    "GIN": lambda: pyg.GIN(6, 8, 2, 4),
    "GAT": lambda: pyg.GAT(6, 8, 2, 4, heads=2, v2=True),
    "PNA": lambda: pyg.PNA(6, 8, 2, 4, aggregators=["mean", "std"], scalers=["identity", "linear"], deg=torch.ones(5)),
    "EdgeCNN": lambda: pyg.EdgeCNN(6, 8, 2, 4),
    "DeepGCN": lambda: pyg.Sequential(
        "x, edge_index",
        [
            (nn.Linear(6, 8), "x -> x"),
            (pyg.DeepGCNLayer(pyg.GENConv(8, 8), nn.LayerNorm(8), nn.ReLU(), dropout=0.1), "x, edge_index -> x"),
            (pyg.DeepGCNLayer(pyg.GENConv(8, 8), pyg.GraphNorm(8), nn.ReLU(), "dense"), "x, edge_index -> x"),
        ],
    ),
    "DynamicEdgeConv with a given graph": dynamic_edge_conv_with_a_given_graph,
    "LightGCN layer stack": lambda: pyg.Sequential(
        "x, edge_index", [(pyg.LGConv(), "x, edge_index -> x1"), (pyg.LGConv(), "x1, edge_index -> x2"),
                          (lambda a, b, c: (a + b + c) / 3, "x, x1, x2 -> x")],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_models_of_pyg_lower(name: str) -> None:
    torch.manual_seed(2)
    check(MODELS[name]())


class Pooled(nn.Module):
    def __init__(self, pool: nn.Module) -> None:
        super().__init__()
        self.pool = pool

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        return self.pool(x, batch)


@pytest.mark.parametrize(
    "pool",
    [
        pyg.aggr.AttentionalAggregation(nn.Linear(6, 1), nn.Linear(6, 5)),
        pyg.aggr.Set2Set(6, processing_steps=3),
        pyg.aggr.SoftmaxAggregation(t=0.5),
        pyg.aggr.MultiAggregation(["mean", "std", "max"]),
        pyg.aggr.PowerMeanAggregation(p=3.0),
    ],
    ids=lambda pool: type(pool).__name__,
)
def test_poolings_over_graphs_of_a_batch(pool: nn.Module) -> None:
    model = Pooled(pool).eval()
    data = example()
    batched = Data(x=data.x.abs(), edge_index=data.edge_index, batch=torch.tensor([0] * 5 + [1] * 8))
    graph = deployable(lower(model, batched))
    other = graphs()["isolated nodes"]
    other = Data(x=other.x, edge_index=other.edge_index, batch=torch.tensor([0, 0, 1, 1, 1, 1, 2, 2, 2]))
    assert_close(interpret(graph, GraphInputs.from_pyg(other)), run_model(model, other))
