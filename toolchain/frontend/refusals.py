"""Layers that cannot lower whatever they are built of, each with its reason and a way out."""

from __future__ import annotations

from torch import nn
from torch_geometric import nn as pyg
from torch_geometric.nn import aggr

from toolchain.frontend.calls import LayerCall
from toolchain.frontend.registry import REFUSED, lowers
from toolchain.frontend.symbols import Rows

_DROPS_NODES = (
    "it drops nodes by their values, and how many remain is only known when the model runs. Weigh all nodes by their score, "
    "as x * torch.tanh(score), and pool by graph"
)
_ALL_PAIRS = (
    "it attends from every node of a graph to every other, for which there is no topology. Use an attention layer along edges, "
    "such as TransformerConv"
)
_PICKS_ROWS = (
    "it picks rows of its table by values, and values are float32. Give the categories one-hot: the table [K, D], transposed, is "
    "the weight of Linear(K, D, bias=False), which with sparse features adds the same rows up"
)
_REASONS: dict[type[nn.Module], str] = {
    pyg.TopKPooling: _DROPS_NODES,
    pyg.SAGPooling: _DROPS_NODES,
    pyg.ASAPooling: _DROPS_NODES,
    pyg.PANPooling: _DROPS_NODES,
    pyg.EdgePooling: _DROPS_NODES,
    pyg.GraphUNet: f"between its layers {_DROPS_NODES}",
    pyg.GPSConv: _ALL_PAIRS,
    nn.Embedding: _PICKS_ROWS,
    nn.EmbeddingBag: _PICKS_ROWS,
    pyg.WLConv: "it hashes integer labels, and values are float32. Use WLConvContinuous",
    pyg.PANConv: "it multiplies sparse matrices, whose entries are only known when the model runs. Use TAGConv or MixHopConv",
    pyg.MeshCNNConv: "it takes edges four by four in the order they are given, which sorting by target does not keep",
    pyg.RGATConv: (
        "each edge picks its weights by its type. Use RGCNConv, or a GATConv for each relation, on edge_index[:, edge_type == r]"
    ),
    pyg.HypergraphConv: "the second row of its edges numbers hyperedges, no nodes. Make the hyperedges nodes of the graph",
}
_NO_AGGREGATION = (
    "no runtime sorts within groups of varying size. Supported aggregations: sum, mean, max, min, mul, var, std, softmax, "
    "powermean and several of these"
)


_AGGREGATIONS = (aggr.MedianAggregation, aggr.QuantileAggregation, aggr.SortAggregation, aggr.LSTMAggregation)
REFUSED.update((*_REASONS, *_AGGREGATIONS))


@lowers(*_REASONS)
def refused(call: LayerCall) -> Rows:
    raise call.refuse(next(reason for cls, reason in _REASONS.items() if issubclass(call.cls, cls)))


@lowers(*_AGGREGATIONS)
def refused_aggregation(call: LayerCall) -> Rows:
    raise call.refuse(_NO_AGGREGATION)
