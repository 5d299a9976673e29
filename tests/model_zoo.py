"""The model zoo: tiny seeded models in eval mode, nothing left at its initial value. Importable without pytest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.nn import aggr
from torch_geometric.utils import scatter, softmax

FEATURES = 7
EDGE_FEATURES = 3
RELATIONS = 3
CLASSES = 4
HIDDEN = 8

ModelFactory = Callable[[], nn.Module]

MODELS: dict[str, ModelFactory] = {}
FIELDS: dict[str, tuple[str, ...]] = {}  # what each model takes beside x and edge_index


def _model(name: str, *fields: str) -> Callable[[ModelFactory], ModelFactory]:
    """Register a factory; the model it makes is seeded, in eval mode, and has nothing left at its initial value."""

    def register(build: ModelFactory) -> ModelFactory:
        def factory() -> nn.Module:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(len(name) * 1009 + sum(map(ord, name)))
                model = build()
                randomize(model)
            return model.eval()

        MODELS[name], FIELDS[name] = factory, fields
        return build

    return register


def randomize(model: nn.Module) -> None:
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


@_model("relations", "edge_type", "edge_attr")
class Relations(nn.Module):
    """RGCN over all relations, then a convolution of another kind for each of them."""

    def __init__(self) -> None:
        super().__init__()
        self.rgcn = pyg.RGCNConv(FEATURES, HIDDEN, RELATIONS, num_bases=2)
        layers = {
            ("n", "cites", "n"): pyg.GCNConv(HIDDEN, CLASSES),
            ("n", "knows", "n"): pyg.SAGEConv(HIDDEN, CLASSES),
            ("n", "likes", "n"): pyg.GATConv(HIDDEN, 2, heads=2, edge_dim=EDGE_FEATURES),
        }
        self.each = pyg.HeteroConv(layers, aggr="sum")

    def forward(self, x: Tensor, edge_index: Tensor, edge_type: Tensor, edge_attr: Tensor) -> Tensor:
        x = self.rgcn(x, edge_index, edge_type).relu()
        edges = {kind: edge_index[:, edge_type == number] for number, kind in enumerate(self.each.convs.keys())}
        attributes = {("n", "likes", "n"): edge_attr[edge_type == 2]}
        return self.each({"n": x}, edges, edge_attr_dict=attributes)["n"]


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
