"""The test zoo: tiny seeded models x small graphs. One list for every suite; importable without pytest.

`CASES` holds every legal (model name, graph name). `case_inputs` gives the graph with exactly the fields that the model takes,
`example` the graph to lower it with (other N and E than any test graph), `expected_outputs` what PyG computes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric import nn as pyg
from torch_geometric.data import Batch, Data
from torch_geometric.nn import aggr
from torch_geometric.utils import scatter, softmax

FEATURES = 7
EDGE_FEATURES = 3
CLASSES = 4
HIDDEN = 8

ModelFactory = Callable[[], nn.Module]
GraphBuilder = Callable[[int], Data]

MODELS: dict[str, ModelFactory] = {}
FIELDS: dict[str, tuple[str, ...]] = {}  # what each model takes beside x and edge_index


def _model(name: str, *fields: str) -> Callable[[ModelFactory], ModelFactory]:
    """Register a factory; the model it makes is seeded, in eval mode, and has nothing left at its initial value."""

    def register(build: ModelFactory) -> ModelFactory:
        def factory() -> nn.Module:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(len(name) * 1009 + sum(map(ord, name)))
                model = build()
                _randomize(model)
            return model.eval()

        MODELS[name], FIELDS[name] = factory, fields
        return build

    return register


def _randomize(model: nn.Module) -> None:
    """Move biases, eps, norm weights and running statistics off their neutral initial values, so that errors show."""
    for path, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        last = path.rsplit(".", 1)[-1]
        with torch.no_grad():
            if last in ("running_var",):
                tensor.uniform_(0.4, 2.5)
            elif last == "eps":
                tensor.uniform_(0.1, 0.6)
            elif tensor.dim() == 1 and last == "weight":  # the scale of a norm layer
                tensor.uniform_(0.5, 1.5)
            elif tensor.dim() == 1:  # biases and running means
                tensor.normal_(0.0, 0.3)


# --- models -----------------------------------------------------------------------------------------------------------


@_model("gcn_graph", "batch")
class GcnGraph(nn.Module):
    """Three GCN layers, mean pooling, dropout and a linear head: the shape of the PROTEINS model."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(pyg.GCNConv(FEATURES if i == 0 else HIDDEN, HIDDEN) for i in range(3))
        self.norms = nn.ModuleList(pyg.BatchNorm(HIDDEN) for _ in range(3))
        self.lin = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = norm(conv(x, edge_index)).relu()
        x = pyg.global_mean_pool(x, batch)
        x = F.dropout(x, p=0.5, training=self.training)
        return self.lin(x)


@_model("gcn_node")
class GcnNode(nn.Module):
    """Two GCN layers and log_softmax per node, called with the data object: the shape of the Cora model."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = pyg.GCNConv(FEATURES, HIDDEN)
        self.conv2 = pyg.GCNConv(HIDDEN, CLASSES)

    def forward(self, data: Data) -> Tensor:
        x, edge_index = data.x, data.edge_index
        x = F.relu(self.conv1(x, edge_index))
        x = F.dropout(x, training=self.training)
        return F.log_softmax(self.conv2(x, edge_index), dim=1)


@_model("gcn_weighted", "edge_weight")
class GcnWeighted(nn.Module):
    """Edge weights with `improved` loops, then without self-loops or bias, then unnormalized."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = pyg.GCNConv(FEATURES, HIDDEN, improved=True)
        self.conv2 = pyg.GCNConv(HIDDEN, HIDDEN, add_self_loops=False, bias=False)
        self.conv3 = pyg.GCNConv(HIDDEN, CLASSES, normalize=False)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        x = torch.tanh(self.conv1(x, edge_index, edge_weight))
        x = torch.tanh(self.conv2(x, edge_index, edge_weight=edge_weight))
        return self.conv3(x, edge_index, edge_weight)


def _gin_mlp(width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU()
    )


@_model("gin_graph", "batch")
class GinGraph(nn.Module):
    """GIN with BatchNorm MLPs and trained eps, sum pooling of every layer concatenated: the shape of GIN 5x64."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            pyg.GINConv(_gin_mlp(FEATURES if i == 0 else HIDDEN), train_eps=i > 0, eps=0.2) for i in range(3)
        )
        self.lin1 = pyg.Linear(3 * HIDDEN, HIDDEN)
        self.lin2 = pyg.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        pooled = []
        for conv in self.convs:
            x = conv(x, edge_index)
            pooled.append(pyg.global_add_pool(x, batch))
        h = self.lin1(torch.cat(pooled, dim=1)).relu()
        return self.lin2(F.dropout(h, 0.3, self.training))


@_model("sage_mean")
class SageMean(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = pyg.SAGEConv(FEATURES, HIDDEN)
        self.norm = nn.LayerNorm(HIDDEN)
        self.conv2 = pyg.SAGEConv(HIDDEN, HIDDEN, root_weight=False)
        self.conv3 = pyg.SAGEConv(HIDDEN, CLASSES, aggr="sum", bias=False)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = F.gelu(self.norm(self.conv1(x, edge_index)))
        x = F.leaky_relu(self.conv2(x, edge_index), 0.1) + x
        return self.conv3(x, edge_index)


@_model("sage_max", "batch")
class SageMax(nn.Module):
    """Maximum over neighbours (with and without projection) and maximum pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = pyg.SAGEConv(FEATURES, HIDDEN, aggr="max")
        self.conv2 = pyg.SAGEConv(HIDDEN, HIDDEN, aggr="max", project=True)
        self.lin = nn.Linear(2 * HIDDEN, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        x1 = self.conv1(x, edge_index).relu()
        x2 = self.conv2(x1, edge_index)
        return self.lin(pyg.global_max_pool(torch.cat((x1, x2), dim=-1), batch))


@_model("graphconv_weighted", "edge_weight")
class GraphConvWeighted(nn.Module):
    """GraphConv with sum, mean and max of weighted messages, and once unweighted."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = pyg.GraphConv(FEATURES, HIDDEN)
        self.conv2 = pyg.GraphConv(HIDDEN, HIDDEN, aggr="mean")
        self.conv3 = pyg.GraphConv(HIDDEN, HIDDEN, aggr="max", bias=False)
        self.conv4 = pyg.GraphConv(HIDDEN, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        x = torch.sigmoid(self.conv1(x, edge_index, edge_weight))
        x = self.conv2(x, edge_index, edge_weight).tanh()
        x = F.elu(self.conv3(x, edge_index, edge_weight))
        return self.conv4(x, edge_index)


@_model("gat_concat")
class GatConcat(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = pyg.GATConv(FEATURES, 4, heads=3, dropout=0.6)
        self.conv2 = pyg.GATConv(12, CLASSES, heads=2, concat=False, residual=True, negative_slope=0.1)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        x = F.dropout(x, p=0.6, training=self.training)
        x = F.elu(self.conv1(x, edge_index))
        return self.conv2(x, edge_index).log_softmax(dim=-1)


@_model("gat_mean_edge", "edge_attr", "batch")
class GatMeanEdge(nn.Module):
    """Attention that reads edge_attr, with loops filled by the mean and without loops."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = pyg.GATConv(FEATURES, HIDDEN, heads=2, concat=False, edge_dim=EDGE_FEATURES)
        self.conv2 = pyg.GATConv(
            HIDDEN, 4, heads=2, edge_dim=EDGE_FEATURES, add_self_loops=False, residual=True, bias=False
        )
        self.lin = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor) -> Tensor:
        x = self.conv1(x, edge_index, edge_attr).relu()
        x = self.conv2(x, edge_index, edge_attr=edge_attr) + x
        return self.lin(pyg.global_mean_pool(x, batch))


@_model("gatv2", "edge_attr")
class GatV2(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = pyg.GATv2Conv(FEATURES, 4, heads=2, edge_dim=EDGE_FEATURES)
        self.conv2 = pyg.GATv2Conv(8, 4, heads=2, add_self_loops=False, share_weights=True, residual=True)
        self.conv3 = pyg.GATv2Conv(8, CLASSES, heads=3, concat=False, bias=False)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        x = F.elu(self.conv1(x, edge_index, edge_attr))
        x = F.elu(self.conv2(x, edge_index))
        return self.conv3(x, edge_index)


@_model("gine_edge_attr", "edge_attr", "batch")
class GineEdgeAttr(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.edge_encoder = nn.Linear(EDGE_FEATURES, HIDDEN)
        self.conv1 = pyg.GINEConv(_gin_mlp(FEATURES), edge_dim=EDGE_FEATURES, train_eps=True)
        self.conv2 = pyg.GINEConv(pyg.MLP([HIDDEN, HIDDEN, HIDDEN]), eps=0.4)
        self.pool = aggr.SumAggregation()
        self.lin = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor, batch: Tensor) -> Tensor:
        x = self.conv1(x, edge_index, edge_attr)
        x = self.conv2(x, edge_index, self.edge_encoder(edge_attr))
        return self.lin(self.pool(x, batch))


@_model("pyg_gin")
def _pyg_gin() -> nn.Module:
    return pyg.GIN(FEATURES, HIDDEN, num_layers=3, out_channels=CLASSES, norm="batch_norm", dropout=0.2, train_eps=True)


@_model("pyg_gcn_jk", "edge_weight")
def _pyg_gcn_jk() -> nn.Module:
    return pyg.GCN(
        FEATURES, HIDDEN, num_layers=3, out_channels=CLASSES, jk="cat", act="elu", act_first=True, norm="BatchNorm"
    )


@_model("pyg_sage_jk", "batch")
def _pyg_sage_jk() -> nn.Module:
    return pyg.GraphSAGE(FEATURES, HIDDEN, num_layers=3, out_channels=CLASSES, jk="max", norm="LayerNorm", act="gelu")


@_model("pyg_gat", "edge_attr")
def _pyg_gat() -> nn.Module:
    return pyg.GAT(
        FEATURES,
        HIDDEN,
        num_layers=2,
        out_channels=CLASSES,
        v2=True,
        heads=2,
        edge_dim=EDGE_FEATURES,
        jk="last",
        act=nn.LeakyReLU(0.2),
    )


@_model("residual_layernorm", "batch")
class ResidualLayerNorm(nn.Module):
    """PyG LayerNorm in both modes between residual GCN layers, pooled as mean | max."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(FEATURES, HIDDEN)
        self.convs = nn.ModuleList(pyg.GCNConv(HIDDEN, HIDDEN) for _ in range(2))
        self.norms = nn.ModuleList([pyg.LayerNorm(HIDDEN), pyg.LayerNorm(HIDDEN, mode="node", affine=False)])
        self.act = nn.GELU(approximate="tanh")
        self.lin = nn.Linear(2 * HIDDEN, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> Tensor:
        x = self.encoder(x)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = x + self.act(conv(norm(x, batch), edge_index))
        return self.lin(torch.cat([pyg.global_mean_pool(x, batch), pyg.global_max_pool(x, batch)], dim=-1))


@_model("mlp_only")
class MlpOnly(nn.Module):
    """No edge is read: PyG MLPs with both orders of norm and activation, torch Sequential, softmax."""

    def __init__(self) -> None:
        super().__init__()
        self.first = pyg.MLP([FEATURES, HIDDEN, HIDDEN], act="leaky_relu", act_first=True, dropout=0.3)
        self.second = pyg.MLP(
            [HIDDEN, HIDDEN], norm="layer_norm", norm_kwargs={"mode": "node"}, plain_last=False, bias=False
        )
        self.third = nn.Sequential(
            nn.Linear(HIDDEN, HIDDEN, bias=False),
            nn.ELU(0.7),
            nn.Dropout(0.1),
            nn.Identity(),
            nn.Linear(HIDDEN, CLASSES),
        )

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return F.softmax(self.third(self.second(self.first(x))), dim=-1)


@_model("multi_output", "batch")
class MultiOutput(nn.Module):
    """Node logits that also read their graph's summary, and graph log-probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = pyg.GraphConv(FEATURES, HIDDEN)
        self.node_head = nn.Linear(2 * HIDDEN, 3)
        self.graph_head = nn.Sequential(nn.Linear(HIDDEN, CLASSES), nn.LogSoftmax(dim=-1))

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor) -> tuple[Tensor, Tensor]:
        h = self.conv(x, edge_index).sigmoid()
        summary = pyg.global_mean_pool(h, batch)
        return self.node_head(torch.cat([h, summary[batch]], dim=1)), self.graph_head(summary)


@_model("scatter_functions", "edge_weight", "batch")
class ScatterFunctions(nn.Module):
    """Hand-written message passing: gathers, edge arithmetic, attention, scatter to both ends and to graphs."""

    def __init__(self) -> None:
        super().__init__()
        self.message = nn.Linear(2 * HIDDEN, HIDDEN)
        self.encoder = nn.Linear(FEATURES, HIDDEN)
        self.score = nn.Linear(HIDDEN, 1)
        self.scale = nn.Parameter(torch.ones(HIDDEN))
        self.lin = nn.Linear(HIDDEN, CLASSES)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor, batch: Tensor) -> Tensor:
        row, col = edge_index
        h = self.encoder(x)
        message = F.relu(self.message(torch.cat([h[row], h.index_select(0, col) - h[row]], dim=-1)))
        attention = softmax(self.score(message), col, num_nodes=x.size(0))
        inward = scatter(attention * message, col, dim=0, dim_size=x.size(0), reduce="sum")
        outward = scatter(message * edge_weight.view(-1, 1), row, dim=0, dim_size=x.shape[0], reduce="mean")
        h = h * self.scale + 0.5 * inward - outward / 2
        return self.lin(scatter(h, batch, dim=0, reduce="max"))


@_model("sequential", "batch")
def _sequential() -> nn.Module:
    return pyg.Sequential(
        "x, edge_index, batch",
        [
            (pyg.GCNConv(FEATURES, HIDDEN, add_self_loops=False), "x, edge_index -> x1"),
            nn.ReLU(inplace=True),
            (pyg.GINConv(_gin_mlp(HIDDEN)), "x1, edge_index -> x2"),
            (lambda x1, x2: [x1, x2], "x1, x2 -> xs"),
            (pyg.JumpingKnowledge("max"), "xs -> x"),
            (pyg.global_mean_pool, "x, batch -> x"),
            nn.Linear(HIDDEN, CLASSES),
        ],
    )


# --- graphs -----------------------------------------------------------------------------------------------------------


def make_graph(num_nodes: int, edges: list[tuple[int, int]] | Tensor, width: int, seed: int) -> Data:
    """A graph with seeded features, positive edge weights and edge attributes."""
    generator = torch.Generator().manual_seed(seed)
    edge_index = (
        edges if isinstance(edges, Tensor) else torch.tensor(edges, dtype=torch.long).reshape(-1, 2).t().contiguous()
    )
    num_edges = edge_index.shape[1]
    return Data(
        x=torch.randn(num_nodes, width, generator=generator),
        edge_index=edge_index,
        edge_weight=torch.rand(num_edges, generator=generator) * 1.9 + 0.1,
        edge_attr=torch.randn(num_edges, EDGE_FEATURES, generator=generator),
    )


def _both_ways(edges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [*edges, *((j, i) for i, j in edges)]


def _random_edges(num_nodes: int, num_edges: int, seed: int) -> Tensor:
    return torch.randint(0, num_nodes, (2, num_edges), generator=torch.Generator().manual_seed(seed))


def _batch_of_three(width: int) -> Data:
    graphs = [GRAPHS[name](width) for name in ("ring", "single_node", "repeated_edges")]
    return Batch.from_data_list(graphs)


GRAPHS: dict[str, GraphBuilder] = {
    "ring": lambda width: make_graph(6, _both_ways([(i, (i + 1) % 6) for i in range(6)]), width, 1),
    "path_isolated": lambda width: make_graph(6, [(0, 1), (1, 2), (2, 3), (3, 4)], width, 2),  # node 5 has no edge
    "self_loops": lambda width: make_graph(5, [(0, 0), (0, 1), (1, 2), (2, 2), (3, 4), (4, 3)], width, 3),
    "repeated_edges": lambda width: make_graph(
        4, [(0, 1), (0, 1), (0, 1), (1, 2), (2, 3), (1, 2), (3, 3), (3, 3)], width, 4
    ),
    "hub": lambda width: make_graph(12, [(i, 0) for i in range(1, 12)] + [(0, 5)], width, 5),
    "single_node": lambda width: make_graph(1, [], width, 6),
    "no_edges": lambda width: make_graph(5, [], width, 7),
    "batch_of_three": _batch_of_three,
    "random_60": lambda width: make_graph(60, _random_edges(60, 240, 8), width, 8),
}


# --- cases ------------------------------------------------------------------------------------------------------------

CASES: tuple[tuple[str, str], ...] = tuple((model, graph) for model in MODELS for graph in GRAPHS)


def example(model_name: str, width: int = FEATURES) -> Data:
    """The graph to lower a model with: 13 nodes, 27 edges, two graphs where the model takes `batch`."""
    graph = make_graph(13, _random_edges(13, 27, 99), width, 99)
    graph.batch = torch.tensor([0] * 13)
    if "batch" in FIELDS[model_name]:
        first = make_graph(6, _random_edges(6, 12, 98), width, 98)
        graph = Batch.from_data_list([first, make_graph(7, _random_edges(7, 15, 97), width, 97)])
    return _restrict(graph, model_name)


def case_inputs(model_name: str, graph_name: str) -> Data:
    """A zoo graph with exactly the fields that the model takes; a single graph gets an all-zero `batch` where one is read."""
    graph = GRAPHS[graph_name](FEATURES)
    if graph.batch is None:
        graph.batch = torch.zeros(graph.num_nodes, dtype=torch.long)
    return _restrict(graph, model_name)


def _restrict(graph: Data, model_name: str) -> Data:
    kept = ("x", "edge_index", *FIELDS[model_name])
    return Data(**{name: graph[name] for name in kept})


def expected_outputs(model: nn.Module, data: Data) -> tuple[np.ndarray, ...]:
    """What PyG computes: the model in eval mode on one graph, as a tuple of float32 arrays."""
    if isinstance(model, pyg.Sequential):  # its forward may be *args, **kwargs
        parameters = list(model.signature.param_dict)
    else:
        parameters = list(inspect.signature(model.forward).parameters)
    if "data" in parameters:
        arguments = {"data": data}
    else:
        arguments = {name: data[name] for name in parameters if name in data}
    with torch.no_grad():
        outputs = model.eval()(**arguments)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return tuple(output.numpy() for output in outputs)
