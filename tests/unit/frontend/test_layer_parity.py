"""Every layer in every variant that changes what it computes equals PyG on every graph of the zoo."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Batch, Data
from torch_geometric.nn import aggr

from tests.cases import EDGE_FEATURES, FEATURES, GRAPHS, make_graph
from tests.graph_zoo import random_edges
from tests.model_zoo import randomize
from tests.parity import assert_close
from toolchain.frontend import lower, run_model
from toolchain.inputs import GraphInputs
from toolchain.ir.reference import interpret


class Plain(nn.Module):
    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.layer(x, edge_index)


class Weighted(Plain):
    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:  # type: ignore[override]
        return self.layer(x, edge_index, edge_weight)


class Attributed(Plain):
    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:  # type: ignore[override]
        return self.layer(x, edge_index, edge_attr)


class Batched(Plain):
    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:  # type: ignore[override]
        return self.layer(x, batch)


class Dense(Plain):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.layer(x)


F, D, H = FEATURES, EDGE_FEATURES, 6


@dataclass(frozen=True, slots=True)
class Variant:
    call: type[Plain]
    layer: Callable[[], nn.Module]


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(F, H), nn.Tanh(), nn.Linear(H, H))


VARIANTS: dict[str, Variant] = {
    "gcn": Variant(Plain, lambda: pyg.GCNConv(F, H)),
    "gcn_improved_without_weight": Variant(Plain, lambda: pyg.GCNConv(F, H, improved=True)),
    "gcn_improved": Variant(Weighted, lambda: pyg.GCNConv(F, H, improved=True)),
    "gcn_no_loops": Variant(Weighted, lambda: pyg.GCNConv(F, H, add_self_loops=False)),
    "gcn_no_loops_improved": Variant(Weighted, lambda: pyg.GCNConv(F, H, add_self_loops=False, improved=True)),
    "gcn_not_normalized": Variant(Plain, lambda: pyg.GCNConv(F, H, normalize=False)),
    "gcn_not_normalized_weighted": Variant(Weighted, lambda: pyg.GCNConv(F, H, normalize=False)),
    "gcn_reversed": Variant(Weighted, lambda: pyg.GCNConv(F, H, flow="target_to_source")),
    "gcn_cached": Variant(Plain, lambda: pyg.GCNConv(F, H, cached=True)),
    "gcn_max": Variant(Plain, lambda: pyg.GCNConv(F, H, aggr="max")),
    "gcn_mean": Variant(Weighted, lambda: pyg.GCNConv(F, H, aggr="mean", bias=False)),
    "gin": Variant(Plain, lambda: pyg.GINConv(mlp(), eps=0.3)),
    "gin_trained_eps": Variant(Plain, lambda: pyg.GINConv(mlp(), train_eps=True)),
    "gin_mean": Variant(Plain, lambda: pyg.GINConv(mlp(), aggr="mean")),
    "gin_max_reversed": Variant(Plain, lambda: pyg.GINConv(mlp(), aggr="max", flow="target_to_source")),
    "gine": Variant(Attributed, lambda: pyg.GINEConv(mlp(), edge_dim=D, train_eps=True)),
    "gine_mean": Variant(Attributed, lambda: pyg.GINEConv(mlp(), edge_dim=D, aggr="mean")),
    "sage_mean": Variant(Plain, lambda: pyg.SAGEConv(F, H)),
    "sage_sum": Variant(Plain, lambda: pyg.SAGEConv(F, H, aggr="sum", bias=False)),
    "sage_add_module": Variant(Plain, lambda: pyg.SAGEConv(F, H, aggr=aggr.SumAggregation())),
    "sage_min": Variant(Plain, lambda: pyg.SAGEConv(F, H, aggr="min", root_weight=False)),
    "sage_max_project": Variant(Plain, lambda: pyg.SAGEConv(F, H, aggr="max", project=True)),
    "sage_pair": Variant(Plain, lambda: pyg.SAGEConv((F, F), H, flow="target_to_source")),
    "graphconv": Variant(Plain, lambda: pyg.GraphConv(F, H)),
    "graphconv_max": Variant(Weighted, lambda: pyg.GraphConv(F, H, aggr="max")),
    "graphconv_mean": Variant(Weighted, lambda: pyg.GraphConv(F, H, aggr="mean", bias=False)),
    "graphconv_reversed": Variant(Weighted, lambda: pyg.GraphConv(F, H, flow="target_to_source")),
    "gat": Variant(Plain, lambda: pyg.GATConv(F, H, heads=2)),
    "gat_no_loops": Variant(Plain, lambda: pyg.GATConv(F, H, heads=2, concat=False, add_self_loops=False)),
    "gat_edge": Variant(Attributed, lambda: pyg.GATConv(F, H, heads=2, edge_dim=D, bias=False)),
    "gat_edge_no_loops": Variant(Attributed, lambda: pyg.GATConv(F, H, edge_dim=D, add_self_loops=False)),
    "gat_edge_not_passed": Variant(Plain, lambda: pyg.GATConv(F, H, edge_dim=D)),
    "gat_attributes_not_read": Variant(Attributed, lambda: pyg.GATConv(F, H)),
    "gat_residual": Variant(Plain, lambda: pyg.GATConv(F, H, heads=2, concat=False, residual=True)),
    "gat_pair": Variant(Plain, lambda: pyg.GATConv((F, F), H, heads=2)),
    "gat_reversed": Variant(Plain, lambda: pyg.GATConv(F, H, heads=2, flow="target_to_source")),
    "gat_slope_dropout": Variant(Plain, lambda: pyg.GATConv(F, H, negative_slope=0.4, dropout=0.3)),
    "gatv2": Variant(Plain, lambda: pyg.GATv2Conv(F, H, heads=2)),
    "gatv2_shared": Variant(Plain, lambda: pyg.GATv2Conv(F, H, heads=2, share_weights=True, concat=False)),
    "gatv2_edge": Variant(Attributed, lambda: pyg.GATv2Conv(F, H, heads=2, edge_dim=D, residual=True)),
    "gatv2_edge_no_loops": Variant(Attributed, lambda: pyg.GATv2Conv(F, H, edge_dim=D, add_self_loops=False)),
    "gatv2_reversed_no_bias": Variant(Plain, lambda: pyg.GATv2Conv(F, H, bias=False, flow="target_to_source")),
    "batch_norm": Variant(Dense, lambda: pyg.BatchNorm(F, eps=1e-2)),
    "batch_norm_single": Variant(Dense, lambda: pyg.BatchNorm(F, allow_single_element=True)),
    "batch_norm_plain": Variant(Dense, lambda: nn.BatchNorm1d(F, affine=False, momentum=None)),
    "layer_norm": Variant(Dense, lambda: nn.LayerNorm(F, eps=1e-3)),
    "layer_norm_plain": Variant(Dense, lambda: nn.LayerNorm(F, elementwise_affine=False)),
    "layer_norm_no_bias": Variant(Dense, lambda: nn.LayerNorm((F,), bias=False)),
    "pyg_layer_norm_graph": Variant(Batched, lambda: pyg.LayerNorm(F, eps=1e-2)),
    "pyg_layer_norm_graph_plain": Variant(Batched, lambda: pyg.LayerNorm(F, affine=False)),
    "pyg_layer_norm_node": Variant(Batched, lambda: pyg.LayerNorm(F, mode="node")),
    "sum_aggregation": Variant(Batched, aggr.SumAggregation),
    "mean_aggregation": Variant(Batched, aggr.MeanAggregation),
    "max_aggregation": Variant(Batched, aggr.MaxAggregation),
    "min_aggregation": Variant(Batched, aggr.MinAggregation),
    "linear": Variant(Dense, lambda: nn.Linear(F, H, bias=False)),
    "pyg_linear": Variant(Dense, lambda: pyg.Linear(F, H, weight_initializer="glorot")),
    "leaky_relu": Variant(Dense, lambda: nn.LeakyReLU(0.3)),
    "elu": Variant(Dense, lambda: nn.ELU(0.4)),
    "gelu_tanh": Variant(Dense, lambda: nn.GELU("tanh")),
    "log_softmax": Variant(Dense, lambda: nn.LogSoftmax(dim=1)),
    "mlp_norm_first": Variant(Dense, lambda: pyg.MLP([F, H, H], act="elu", dropout=[0.1, 0.2])),
    "mlp_act_first": Variant(Dense, lambda: pyg.MLP([F, H, H], act_first=True, plain_last=False)),
    "mlp_graph_norm": Variant(Batched, lambda: pyg.MLP([F, H, H], norm="layer_norm")),
    "mlp_no_norm_no_act": Variant(Dense, lambda: pyg.MLP([F, H, H], norm=None, act=None, bias=[True, False])),
    "gcn_class": Variant(Plain, lambda: pyg.GCN(F, H, 2, dropout=0.5, act="tanh")),
    "gin_class": Variant(Plain, lambda: pyg.GIN(F, H, 2, out_channels=3, jk="max", norm="batch_norm", act_first=True)),
    "sage_class": Variant(Plain, lambda: pyg.GraphSAGE(F, H, 2, out_channels=3, jk="cat", aggr="max", project=True)),
    "gat_class": Variant(Plain, lambda: pyg.GAT(F, H, 2, out_channels=3, heads=3, norm="BatchNorm")),
    "gat_v2_class": Variant(Plain, lambda: pyg.GAT(F, H, 3, out_channels=3, v2=True, heads=2, jk="last")),
    "gin_one_layer": Variant(Plain, lambda: pyg.GIN(F, H, 1, act=nn.Sigmoid())),
}

NEEDS: dict[type[Plain], str | None] = {
    Plain: None, Weighted: "edge_weight", Attributed: "edge_attr", Batched: "batch", Dense: None,
}  # fmt: skip


def graph_for(call: type[Plain], graph: Data) -> Data:
    field = NEEDS[call]
    kept = {"x": graph.x, "edge_index": graph.edge_index}
    if field == "batch":
        kept["batch"] = torch.zeros(graph.num_nodes, dtype=torch.long) if graph.batch is None else graph.batch
    elif field is not None:
        kept[field] = graph[field]
    return Data(**kept)


def two_graphs() -> Data:
    graphs = [make_graph(n, random_edges(n, 2 * n, n), F, n) for n in (8, 11)]
    return Batch.from_data_list(graphs)


@pytest.mark.parametrize("name", VARIANTS)
def test_layer_variant_equals_pyg_on_every_graph(name: str) -> None:
    variant = VARIANTS[name]
    torch.manual_seed(len(name))
    model = variant.call(variant.layer()).eval()
    randomize(model)
    graph = lower(model, graph_for(variant.call, two_graphs()))
    for builder in GRAPHS.values():
        data = graph_for(variant.call, builder(F))
        for module in model.modules():
            if isinstance(module, pyg.GCNConv):
                module._cached_edge_index = None  # PyG would keep the first graph's normalization
        assert_close(interpret(graph, GraphInputs.from_pyg(data)), run_model(model, data))
