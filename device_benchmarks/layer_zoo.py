"""Every convolution class of PyTorch Geometric: how to build a small one, or why it does not count as a homogeneous layer.

`torch_geometric.nn.conv` says itself which classes are for heterogeneous graphs, hypergraphs and point clouds (the tables of
its documentation are made of the same functions). What is left counts, except wrappers of CUDA libraries.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data
from torch_geometric.nn import conv
from torch_geometric.nn.conv.utils import cheatsheet

FEATURES = 6
HIDDEN = 8
EDGE_FEATURES = 3
RELATIONS = 3
DEGREES = torch.tensor([1, 4, 6, 5, 3, 1])  # histogram of in-degrees, which PNA's scalers are built from

_CUDA = "wraps a CUDA library"
_NOT_COUNTED = {
    "MessagePassing": "the root class",
    "CuGraphSAGEConv": f"{_CUDA}; export SAGEConv with the same weights",
    "CuGraphGATConv": f"{_CUDA}; export GATConv with the same weights",
    "FusedGATConv": f"{_CUDA}; export GATConv with the same weights",
}


@dataclass(frozen=True, slots=True)
class LayerCase:
    """One layer with one configuration.

    Attributes:
        make: builds the layer with random weights.
        fields: what its forward takes beside x and edge_index.
        variant: what is special about this configuration; "" for the one that stands for the class.
        call: how the layer is called, where it is not `layer(x, edge_index, **fields)`.
    """

    layer: str
    make: Callable[[], nn.Module]
    fields: tuple[str, ...] = ()
    variant: str = ""
    call: Callable[..., Tensor] | None = None

    @property
    def name(self) -> str:
        return f"{self.layer} ({self.variant})" if self.variant else self.layer

    def model(self, seed: int = 0) -> nn.Module:
        """A seeded model of this one layer, in eval mode, with nothing left at a neutral initial value."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layer = self.make()
            for path, tensor in (*layer.named_parameters(), *layer.named_buffers()):
                _unsettle(path, tensor)
        return OneLayer(layer, self.fields, self.call).eval()


class OneLayer(nn.Module):
    """A model of one layer: x, edge_index and the graph's edge_weight, edge_attr or edge_type in, node values out."""

    def __init__(self, layer: nn.Module, fields: tuple[str, ...], call: Callable[..., Tensor] | None) -> None:
        super().__init__()
        self.layer, self.fields, self.call = layer, fields, call

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        edge_type: Tensor | None = None,
    ) -> Tensor:
        given = {"edge_weight": edge_weight, "edge_attr": edge_attr, "edge_type": edge_type}
        fields = {name: given[name] for name in self.fields}
        if self.call is not None:
            return self.call(self.layer, x, edge_index, **fields)
        return self.layer(x, edge_index, **fields)


def _unsettle(path: str, tensor: Tensor) -> None:
    """Move what starts at 0 or 1 (biases, eps, scales, statistics) to somewhere else, so that mistakes show."""
    if not tensor.is_floating_point() or tensor.dim() > 1 or "avg_deg" in path:
        return
    with torch.no_grad():
        is_positive = path.endswith(("running_var", "sigma", "weight", "scale", "beta"))
        tensor.uniform_(0.5, 1.5) if is_positive else tensor.normal_(0.0, 0.3)


def _mlp(inputs: int, outputs: int = HIDDEN) -> nn.Module:
    return nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, outputs))


def _with_x0(layer: nn.Module, x: Tensor, edge_index: Tensor, **fields: Tensor) -> Tensor:
    return layer(x, 0.5 * x, edge_index, **fields)


def _signed(layer: nn.Module, x: Tensor, edge_index: Tensor) -> Tensor:
    return layer(x, edge_index, edge_index.flip([0]))


def _layered(layer: nn.Module, x: Tensor, edge_index: Tensor) -> Tensor:
    return layer(torch.stack([x, x.relu(), x.tanh()], dim=1), edge_index)


def _first(layer: nn.Module, x: Tensor, edge_index: Tensor) -> Tensor:
    return layer(x, edge_index)[0]


def _labels(layer: nn.Module, x: Tensor, edge_index: Tensor) -> Tensor:
    return layer((x[:, 0] > 0).long(), edge_index).float().view(-1, 1)


def _of_relations() -> nn.Module:
    layers = (conv.GCNConv(F_, H_), conv.SAGEConv(F_, H_), conv.GINConv(_mlp(F_)))
    return conv.HeteroConv({("node", str(number), "node"): layer for number, layer in enumerate(layers)}, aggr="mean")


def _by_relation(layer: nn.Module, x: Tensor, edge_index: Tensor, edge_type: Tensor) -> Tensor:
    edges = {("node", str(number), "node"): edge_index[:, edge_type == number] for number in range(RELATIONS)}
    return layer({"node": x}, edges)["node"]


F_, H_, E_ = FEATURES, HIDDEN, EDGE_FEATURES
_AGGREGATORS = ["mean", "min", "max", "std"]
_SCALERS = ["identity", "amplification", "attenuation"]
_WEIGHT, _ATTR, _TYPE = ("edge_weight",), ("edge_attr",), ("edge_type",)

CASES: tuple[LayerCase, ...] = (
    LayerCase("SimpleConv", lambda: conv.SimpleConv("mean", combine_root="cat")),
    LayerCase("SimpleConv", lambda: conv.SimpleConv("mul", combine_root="cat"), (), "product"),
    LayerCase("GCNConv", lambda: conv.GCNConv(F_, H_), _WEIGHT),
    LayerCase("GCNConv", lambda: conv.GCNConv(F_, H_, add_self_loops=False), (), "without self-loops"),
    LayerCase("ChebConv", lambda: conv.ChebConv(F_, H_, 3), _WEIGHT),
    LayerCase("SAGEConv", lambda: conv.SAGEConv(F_, H_)),
    LayerCase("SAGEConv", lambda: conv.SAGEConv(F_, H_, "max", normalize=True), (), "max, normalized"),
    LayerCase("SAGEConv", lambda: conv.SAGEConv(F_, H_, ["mean", "std"]), (), "mean and std"),
    LayerCase("GraphConv", lambda: conv.GraphConv(F_, H_), _WEIGHT),
    LayerCase("GatedGraphConv", lambda: conv.GatedGraphConv(H_, 2), _WEIGHT),
    LayerCase("ResGatedGraphConv", lambda: conv.ResGatedGraphConv(F_, H_, edge_dim=E_), _ATTR),
    LayerCase("GATConv", lambda: conv.GATConv(F_, 4, heads=2, edge_dim=E_), _ATTR),
    LayerCase("GATv2Conv", lambda: conv.GATv2Conv(F_, 4, heads=2)),
    LayerCase("TransformerConv", lambda: conv.TransformerConv(F_, 4, heads=2, beta=True, edge_dim=E_), _ATTR),
    LayerCase("TransformerConv", lambda: conv.TransformerConv(F_, 4, heads=2, concat=False), (), "heads averaged"),
    LayerCase("AGNNConv", lambda: conv.AGNNConv()),
    LayerCase("TAGConv", lambda: conv.TAGConv(F_, H_), _WEIGHT),
    LayerCase("GINConv", lambda: conv.GINConv(_mlp(F_), train_eps=True)),
    LayerCase("GINEConv", lambda: conv.GINEConv(_mlp(F_), edge_dim=E_), _ATTR),
    LayerCase("ARMAConv", lambda: conv.ARMAConv(F_, H_, num_stacks=2, num_layers=2), _WEIGHT),
    LayerCase("SGConv", lambda: conv.SGConv(F_, H_, K=2), _WEIGHT),
    LayerCase("SSGConv", lambda: conv.SSGConv(F_, H_, alpha=0.1, K=3)),
    LayerCase("APPNP", lambda: conv.APPNP(K=3, alpha=0.1)),
    LayerCase("MFConv", lambda: conv.MFConv(F_, H_, max_degree=4)),
    LayerCase("DNAConv", lambda: conv.DNAConv(F_, heads=2), call=_layered),
    LayerCase("GMMConv", lambda: conv.GMMConv(F_, H_, dim=E_, kernel_size=4), _ATTR),
    LayerCase("SplineConv", lambda: conv.SplineConv(F_, H_, dim=E_, kernel_size=3), _ATTR),
    LayerCase("NNConv", lambda: conv.NNConv(F_, H_, _mlp(E_, F_ * H_)), _ATTR),
    LayerCase("CGConv", lambda: conv.CGConv(F_, dim=E_, batch_norm=True), _ATTR),
    LayerCase("EdgeConv", lambda: conv.EdgeConv(_mlp(2 * F_))),
    LayerCase("FeaStConv", lambda: conv.FeaStConv(F_, H_, heads=3)),
    LayerCase("LEConv", lambda: conv.LEConv(F_, H_), _WEIGHT),
    LayerCase(
        "PNAConv",
        lambda: conv.PNAConv(F_, H_, _AGGREGATORS, _SCALERS, DEGREES, edge_dim=E_, towers=2, divide_input=True),
        _ATTR,
    ),
    LayerCase("PNAConv", lambda: conv.PNAConv(F_, H_, ["sum", "var"], ["linear"], DEGREES), (), "sum and var, linear"),
    LayerCase("ClusterGCNConv", lambda: conv.ClusterGCNConv(F_, H_, diag_lambda=0.2)),
    LayerCase("GENConv", lambda: conv.GENConv(F_, H_, edge_dim=E_, msg_norm=True, learn_t=True), _ATTR),
    LayerCase("GENConv", lambda: conv.GENConv(F_, H_, aggr="powermean", p=2.5), (), "powermean"),
    LayerCase("GCN2Conv", lambda: conv.GCN2Conv(F_, 0.1, 0.5, 2), _WEIGHT, call=_with_x0),
    LayerCase("PANConv", lambda: conv.PANConv(F_, H_, 2), call=_first),
    LayerCase("WLConv", lambda: conv.WLConv(), call=_labels),
    LayerCase("WLConvContinuous", lambda: conv.WLConvContinuous(), _WEIGHT),
    LayerCase("SuperGATConv", lambda: conv.SuperGATConv(F_, 4, heads=2)),
    LayerCase("SuperGATConv", lambda: conv.SuperGATConv(F_, 4, heads=2, attention_type="SD"), (), "scaled dot"),
    LayerCase("FAConv", lambda: conv.FAConv(F_), call=_with_x0),
    LayerCase("EGConv", lambda: conv.EGConv(F_, H_, ["symnorm", "max", "std"], num_heads=2)),
    LayerCase("PDNConv", lambda: conv.PDNConv(F_, H_, E_, H_), _ATTR),
    LayerCase("PDNConv", lambda: conv.PDNConv(F_, H_, E_, H_, normalize=False), _ATTR, "not normalized"),
    LayerCase("GeneralConv", lambda: conv.GeneralConv(F_, H_, E_, heads=2, attention=True, l2_normalize=True), _ATTR),
    LayerCase("LGConv", lambda: conv.LGConv()),
    LayerCase("GPSConv", lambda: conv.GPSConv(F_, conv.GINConv(_mlp(F_, F_)), heads=2)),
    LayerCase("AntiSymmetricConv", lambda: conv.AntiSymmetricConv(F_, num_iters=2)),
    LayerCase("DirGNNConv", lambda: conv.DirGNNConv(conv.GCNConv(F_, H_))),
    LayerCase("MixHopConv", lambda: conv.MixHopConv(F_, H_, [0, 1, 2])),
    LayerCase("SignedConv", lambda: conv.SignedConv(F_, H_, first_aggr=True), call=_signed),
    LayerCase("MeshCNNConv", lambda: conv.MeshCNNConv(F_, H_, nn.ModuleList([nn.Linear(F_, H_) for _ in range(5)]))),
)
RELATIONAL: tuple[LayerCase, ...] = (  # layers of edges with types, which the homogeneous classes do not count
    LayerCase("RGCNConv", lambda: conv.RGCNConv(F_, H_, RELATIONS, num_bases=2), _TYPE),
    LayerCase("FastRGCNConv", lambda: conv.FastRGCNConv(F_, H_, RELATIONS), _TYPE),
    LayerCase("FiLMConv", lambda: conv.FiLMConv(F_, H_, RELATIONS), _TYPE),
    LayerCase("RGATConv", lambda: conv.RGATConv(F_, H_, RELATIONS), _TYPE),
    LayerCase("HeteroConv", _of_relations, _TYPE, call=_by_relation),
)


def conv_classes() -> tuple[str, ...]:
    """Names of all classes in `torch_geometric.nn.conv`."""
    return tuple(name for name in conv.__all__ if inspect.isclass(getattr(conv, name)))


def why_not_counted(name: str) -> str | None:
    """Why a class is no homogeneous convolution; None where it is one."""
    if name in _NOT_COUNTED:
        return _NOT_COUNTED[name]
    if cheatsheet.processes_heterogeneous_graphs(name):
        return "for heterogeneous graphs"
    if cheatsheet.processes_hypergraphs(name):
        return "for hypergraphs"
    # SignedConv is listed among the point clouds because its edges come by two other names; it knows no positions.
    if cheatsheet.processes_point_clouds(name) and name != "SignedConv":
        return "for point clouds"
    return None


def homogeneous_classes() -> tuple[str, ...]:
    """Names of the classes that count."""
    return tuple(name for name in conv_classes() if why_not_counted(name) is None)


def random_graph(nodes: int, edges: int, seed: int, isolated: int = 0) -> Data:
    """A graph with features, positive weights, attributes and types; the last `isolated` nodes have no edge."""
    generator = torch.Generator().manual_seed(seed)
    return Data(
        x=torch.randn(nodes, FEATURES, generator=generator),
        edge_index=torch.randint(0, nodes - isolated, (2, edges), generator=generator),
        edge_weight=torch.rand(edges, generator=generator) + 0.5,
        edge_attr=torch.rand(edges, EDGE_FEATURES, generator=generator),
        edge_type=torch.randint(0, RELATIONS, (edges,), generator=generator),
    )


def graphs() -> dict[str, Data]:
    """What every layer is run on: isolated nodes, a single node with a single edge, and a larger graph."""
    return {
        "isolated nodes": random_graph(9, 16, 1, isolated=3),
        "one node, one edge": random_graph(1, 1, 2),
        "150 nodes, 600 edges": random_graph(150, 600, 3),
    }


def example() -> Data:
    """The graph to lower with: of another size than those to run on."""
    return random_graph(13, 40, 4)


def restricted(graph: Data, fields: tuple[str, ...]) -> Data:
    """A graph with x, edge_index and some fields only."""
    kept: dict[str, Any] = {name: graph[name] for name in ("x", "edge_index", *fields)}
    return Data(**kept)
