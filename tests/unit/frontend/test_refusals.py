"""What does not lower is refused: module path or source line first, then the fact, then the way out."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune
from torch_geometric import nn as pyg
from torch_geometric.data import Data, HeteroData
from torch_geometric.nn import aggr
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.utils import add_self_loops, scatter

from tests.cases import EDGE_FEATURES, FEATURES, GRAPHS, HIDDEN
from toolchain.errors import InvalidGraph, InvalidInput, UnsupportedModule
from toolchain.frontend import lower


def single(*fields: str) -> Data:
    """One graph of the zoo with these extra fields."""
    graph = GRAPHS["hub"](FEATURES)
    return Data(x=graph.x, edge_index=graph.edge_index, **{name: graph[name] for name in fields})


def batch_of_three() -> Data:
    graph = GRAPHS["batch_of_three"](FEATURES)
    return Data(x=graph.x, edge_index=graph.edge_index, batch=graph.batch, num_graphs=3)


class Layered(nn.Module):
    """A model with one list of convolutions, so that a refusal has a path to name."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.convs = nn.ModuleList([pyg.GCNConv(FEATURES, HIDDEN), layer])

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.convs[1](self.convs[0](x, edge_index), edge_index)


class Own(pyg.MessagePassing):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.propagate(edge_index, x=x)


class ChoosesRows(Own):
    def message(self, x_j: Tensor) -> Tensor:
        return x_j * (x_j.mean(-1) > 0).nonzero().size(0)


class Branches(Own):
    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        sign = 1 if pyg.global_mean_pool(x, None).mean(-1) > 0 else -1
        return sign * super().forward(x, edge_index)


class UnknownFunction(Own):
    def message(self, x_j: Tensor) -> Tensor:
        return x_j.erfinv()


class TopK(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool = pyg.TopKPooling(HIDDEN)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.pool(x, edge_index)[0]


class Sag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.pool = pyg.SAGPooling(HIDDEN, ratio=0.5)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.pool(x, edge_index)[0]


class Learned(Own):
    def __init__(self) -> None:
        super().__init__()
        self.score = nn.Linear(2 * HIDDEN, 1)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        weight = self.score(torch.cat([x[edge_index[0]], x[edge_index[1]]], -1)).sigmoid().view(-1)
        edge_index, weight = gcn_norm(edge_index, weight, x.size(0))
        return self.propagate(edge_index, x=x, edge_weight=weight)

    def message(self, x_j: Tensor, edge_weight: Tensor) -> Tensor:
        return x_j * edge_weight.view(-1, 1)


CALLED = "`return self.pool(x, edge_index)[0]`)"
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "layer of another kind of graph": (
        lambda: pyg.HypergraphConv(HIDDEN, 4), ("cannot lower HypergraphConv", "hyperedges nodes of the graph")
    ),
    "data-dependent shapes": (ChoosesRows, ("test_refusals.py:", "a choice of rows by their values", "with a mask")),
    "control flow on values": (Branches, ("test_refusals.py:", "branching on", "torch.where")),
    "unknown function in message()": (UnknownFunction, ("test_refusals.py:", "'erfinv'", "supported functions")),
    "pooling that drops nodes": (TopK, ("convs.1.pool: cannot lower TopKPooling", "x * torch.tanh(score)", CALLED)),
    "attention pooling that drops nodes": (Sag, ("convs.1.pool: cannot lower SAGPooling", "x * torch.tanh(score)", CALLED)),
    "U-Net of such pooling": (lambda: pyg.GraphUNet(HIDDEN, HIDDEN, 4, depth=2), (
        "cannot lower GraphUNet", "drops nodes", "pool by graph", "(called at test_refusals.py:",
    )),
    "table of categories": (
        lambda: Calls(lambda m, x, *_: m.table((x[:, 0] > 0).long()), table=nn.Embedding(9, 4)),
        ("table: cannot lower Embedding", "Give the categories one-hot", "Linear(K, D, bias=False)"),
    ),
    "attention over all nodes": (
        lambda: pyg.GPSConv(HIDDEN, pyg.GINConv(nn.Linear(HIDDEN, HIDDEN))), ("cannot lower GPSConv", "TransformerConv")
    ),
    "normalization of weights that the layer computes": (Learned, ("gcn_norm of computed edge weights", "normalize=False")),
    "LSTM aggregation": (lambda: pyg.SAGEConv(HIDDEN, 4, aggr="lstm"), ("aggr=", "sum, mean, max, min")),
    "median aggregation": (lambda: pyg.SAGEConv(HIDDEN, 4, aggr="median"), ("aggr='median'",)),
    "quantile aggregation": (
        lambda: pyg.SimpleConv(aggr.QuantileAggregation(0.3)),
        ("aggr_module: cannot lower QuantileAggregation", "sum, mean, max, min, mul"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
def test_unsupported_layer_is_refused_with_its_module_path(name: str) -> None:
    build, parts = LAYERS[name]
    with pytest.raises(UnsupportedModule) as caught:
        lower(Layered(build()).eval(), single())
    message = str(caught.value)
    assert message.startswith("convs.1")
    assert [part for part in parts if part not in message] == []


class Calls(nn.Module):
    """A model whose forward is given as a function of (self, x, edge_index, edge_weight, edge_attr, batch)."""

    def __init__(self, body: Callable[..., object], **layers: nn.Module) -> None:
        super().__init__()
        self.body = body
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        edge_attr: Tensor | None = None,
        batch: Tensor | None = None,
    ) -> object:
        return self.body(self, x, edge_index, edge_weight, edge_attr, batch)


def gcn() -> nn.Module:
    return pyg.GCNConv(FEATURES, 4)


ALL = ("edge_weight", "edge_attr")

CALLS: dict[str, tuple[Calls, tuple[str, ...]]] = {
    "layer that JumpingKnowledge runs as LSTM": (
        Calls(lambda m, x, *_: m.jk([x, x]), jk=pyg.JumpingKnowledge("lstm", FEATURES, 2)),
        ("jk: cannot lower JumpingKnowledge", "cat, max"),
    ),
    "batch statistics at inference": (
        Calls(lambda m, x, *_: m.norm(x), norm=pyg.BatchNorm(FEATURES, track_running_stats=False)),
        ("norm.module: cannot lower BatchNorm1d", "track_running_stats=False"),
    ),
    "size argument": (
        Calls(lambda m, x, e, *_: m.conv(x, e, size=(12, 12)), conv=pyg.GraphConv(FEATURES, 4)),
        ("conv: ", "argument size=(12, 12)"),
    ),
    "computed weights in a normalization": (
        Calls(lambda m, x, e, w, *_: m.conv(x, e, torch.sigmoid(w)), conv=gcn()),
        ("conv: cannot lower GCNConv", "normalize=False"),
    ),
    "computed attributes with self-loops": (
        Calls(
            lambda m, x, e, w, a, b: m.conv(x, e, m.encoder(a)),
            conv=pyg.GATConv(FEATURES, 4, edge_dim=5),
            encoder=nn.Linear(EDGE_FEATURES, 5),
        ),
        ("conv: cannot lower GATConv", "add_self_loops=False"),
    ),
    "constant attributes of self-loops": (
        Calls(lambda m, x, e, w, a, b: m.conv(x, e, a), conv=pyg.GATv2Conv(FEATURES, 4, edge_dim=3, fill_value=0.0)),
        ("conv: ", "fill_value=0.0", "'mean'"),
    ),
    "softmax over nodes": (
        Calls(lambda m, x, *_: m.act(x), act=nn.Softmax(dim=0)),
        ("act: cannot lower Softmax", "dim=-1"),
    ),
    "unknown torch layer": (Calls(lambda m, x, *_: m.act(x), act=nn.PReLU()), ("act: cannot lower PReLU", "torch.nn.ReLU")),
    "method without lowering": (Calls(lambda m, x, *_: x.cumsum(0)), ("test_refusals.py:", "'cumsum'")),
    "keyword without lowering": (Calls(lambda m, x, *_: torch.mean(x, dim=0, dtype=torch.float64)), ("mean", "dtype")),
    "active F.dropout": (Calls(lambda m, x, *_: functional.dropout(x, 0.5)), ("F.dropout", "training=self.training")),
    "edges made by the model": (
        Calls(lambda m, x, e, *_: m.conv(x, add_self_loops(e)[0]), conv=gcn()),
        ("add_self_loops beside existing self-loops", "add_remaining_self_loops"),
    ),
    "scatter without size": (
        Calls(lambda m, x, e, *_: scatter(x[e[0]], e[1], dim=0)),
        ("scatter", "dim_size=x.size(0)"),
    ),
    "scatter of any row": (
        Calls(lambda m, x, e, *_: scatter(x[e[0]], e[1], dim_size=x.size(0), reduce="any")),
        ("reduce='any'", "sum, add, mean, max, min, mul"),
    ),
    "scatter over channels": (
        Calls(lambda m, x, e, *_: scatter(x, torch.zeros(FEATURES, dtype=torch.long), dim=1)),
        ("scatter", "dim=0"),
    ),
    "branch on a value": (
        Calls(lambda m, x, *_: x if (x > 0).all() else -x),
        ("a branch on all values", "only known when the model runs", "torch.where"),
    ),
    "branch on the number of nodes": (Calls(lambda m, x, *_: x if x.size(0) > 3 else -x), ("number of nodes",)),
    "one row per edge returned": (Calls(lambda m, x, e, *_: x[e[0]]), ("forward: returns one row per edge",)),
    "index returned": (Calls(lambda m, x, e, *_: e), ("forward: returns edge_index",)),
    "scripted layer": (
        Calls(lambda m, x, *_: m.lin(x), lin=torch.jit.script(nn.Linear(FEATURES, 4))),
        ("lin: cannot lower RecursiveScriptModule",),
    ),
    "plain numpy": (Calls(lambda m, x, *_: torch.tensor(x.numpy())), ("'numpy'",)),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_unsupported_use_is_refused_with_its_place(name: str) -> None:
    model, parts = CALLS[name]
    with pytest.raises(UnsupportedModule) as caught:
        lower(model.eval(), single(*ALL))
    message = str(caught.value)
    assert [part for part in parts if part not in message] == []


def test_pooling_without_batch_is_refused_for_several_graphs() -> None:
    model = Calls(lambda m, x, e, w, a, b: pyg.global_mean_pool(x, None))
    with pytest.raises(UnsupportedModule, match=r"the example holds 3 graphs\. Pool with `batch`"):
        lower(model, batch_of_three())


def test_graph_layer_norm_without_batch_is_refused_for_several_graphs() -> None:
    model = Calls(lambda m, x, e, w, a, b: m.norm(x), norm=pyg.LayerNorm(FEATURES))
    with pytest.raises(UnsupportedModule, match=r"norm: .*the example holds 3 graphs\. Pass batch"):
        lower(model, batch_of_three())


def test_lazily_initialized_layer_is_refused_until_it_has_run() -> None:
    model = Layered(pyg.SAGEConv(-1, 4)).eval()
    with pytest.raises(UnsupportedModule, match=r"convs\.1\.lin_l: not initialized .* run one forward pass first"):
        lower(model, single())
    data = single()
    model(data.x, data.edge_index)
    lower(model, data)


def test_hooks_are_refused_because_they_would_be_lost() -> None:
    model = Layered(pyg.GCNConv(HIDDEN, 4))
    model.convs[1].lin.register_forward_hook(lambda module, inputs, output: 2 * output)
    with pytest.raises(UnsupportedModule, match=r"convs\.1\.lin: has forward_hooks"):
        lower(model, single())


def test_torch_pruning_is_refused_until_it_is_permanent() -> None:
    model = Calls(lambda m, x, *_: m.lin(x), lin=nn.Linear(FEATURES, 4))
    prune.l1_unstructured(model.lin, "weight", 0.5)
    with pytest.raises(UnsupportedModule, match=r"prune\.remove"):
        lower(model, single())
    prune.remove(model.lin, "weight")
    lower(model, single())


def test_double_precision_is_refused_by_its_parameter() -> None:
    with pytest.raises(UnsupportedModule, match=r"convs\.0\.bias: dtype torch\.float64.*model\.float\(\)"):
        lower(Layered(gcn()).double(), single())


def test_required_argument_that_no_graph_has_is_refused() -> None:
    class Positions(nn.Module):
        def forward(self, x: Tensor, pos: Tensor) -> Tensor:
            return x + pos

    with pytest.raises(UnsupportedModule, match=r"forward: takes 'pos'.*single `data`"):
        lower(Positions(), single())


def test_field_that_no_runtime_graph_has_is_refused() -> None:
    class Positions(nn.Module):
        def forward(self, data: Data) -> Tensor:
            return data.x + data.pos

    data = single()
    data.pos = torch.zeros(12, FEATURES)
    with pytest.raises(UnsupportedModule, match=r"data\.pos: not a field"):
        lower(Positions(), data)


def test_model_and_example_of_other_types_are_refused() -> None:
    with pytest.raises(UnsupportedModule, match=r"model: got type, expected a torch\.nn\.Module instance"):
        lower(pyg.GCNConv, single())  # type: ignore[arg-type]  # the class in place of an instance
    with pytest.raises(InvalidInput, match="example: got HeteroData"):
        lower(gcn(), HeteroData())  # type: ignore[arg-type]  # graphs of one node type only


def test_example_that_the_model_cannot_run_is_an_invalid_input() -> None:
    data = single()
    data.x = data.x[:, :3]
    with pytest.raises(InvalidInput, match="example: the model itself fails on it"):
        lower(Layered(pyg.GCNConv(HIDDEN, 4)), data)


def test_non_finite_weights_are_refused() -> None:
    model = Calls(lambda m, x, *_: m.lin(x), lin=nn.Linear(FEATURES, 4))
    with torch.no_grad():
        model.lin.weight[0, 0] = float("nan")
    with pytest.raises(InvalidGraph, match=r"lin\.weight.*non-finite|weights hold 1 non-finite"):
        lower(model, single())


def test_finite_weights_whose_products_overflow_are_named_as_the_models_own_fault() -> None:
    model = Calls(lambda m, x, *_: m.lin(m.lin(x) * 1e30), lin=nn.Linear(FEATURES, FEATURES))
    with torch.no_grad():
        model.lin.weight[:] = 1e30
    with pytest.raises(InvalidInput, match=r"output 0 of the model itself is (nan|-?inf) at \[0, 0\]"):
        lower(model, single())


def test_model_that_is_not_a_function_of_its_arguments_is_refused() -> None:
    """A wrong lowering cannot leave: the Graph is compared with the model on the example."""

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x * self.calls

    with pytest.raises(InvalidGraph, match="differs from the model by"):
        lower(Counting(), single())


def test_refusal_leaves_model_and_library_untouched() -> None:
    model = Layered(Branches()).train()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(UnsupportedModule):
        lower(model, single())
    assert type(model.convs[0]) is pyg.GCNConv
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert pyg.global_mean_pool.__module__ == "torch_geometric.nn.pool.glob"
    assert scatter(torch.ones(2, 1), torch.tensor([0, 0])).tolist() == [[2.0]]
