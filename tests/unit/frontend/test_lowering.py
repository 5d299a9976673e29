"""What `lower` keeps of a model: names, dropout, ties, trainability; what it leaves alone; which code it follows."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.nn import global_max_pool as renamed_pool
from torch_geometric.utils import scatter, softmax

from tests.cases import FEATURES, GRAPHS, HIDDEN, MODELS, example
from tests.parity import assert_close
from toolchain.errors import InvalidInput
from toolchain.frontend import lower, lowers, registry, run_model
from toolchain.frontend.calls import LayerCall
from toolchain.frontend.symbols import Rows
from toolchain.inputs import GraphInputs
from toolchain.ir.graph import Graph
from toolchain.ir.ops import Add, Aggregate, BatchNorm, Const, Dropout, Linear, Propagate
from toolchain.ir.reference import interpret
from toolchain.topology import TopologySpec


def check(model: nn.Module, example: Data, others: list[Data]) -> Graph:
    """Lower on one graph, compare on others."""
    graph = lower(model, example)
    for data in others:
        assert_close(interpret(graph, GraphInputs.from_pyg(data)), run_model(model.eval(), data))
    return graph


def graphs(*fields: str, **extra: Any) -> list[Data]:
    built = [GRAPHS[name](FEATURES) for name in ("hub", "self_loops", "single_node", "random_60")]
    return [Data(x=g.x, edge_index=g.edge_index, **{f: g[f] for f in fields}, **extra) for g in built]


def constants(graph: Graph) -> dict[str, Const]:
    return {v.op.name: v.op for v in graph.values if isinstance(v.op, Const)}


def test_constants_carry_their_state_dict_names_and_values() -> None:
    model = MODELS["gin_graph"]()
    graph = lower(model, example("gin_graph"))
    state = {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
    named = {name: array for name, array in graph.constants.items() if name in state}
    assert set(state) - set(named) == {f"convs.{i}.eps" for i in range(3)}  # stored as 1 + eps
    assert all(np.array_equal(array, state[name].numpy()) for name, array in named.items())


def test_self_scale_is_one_plus_eps_and_trains_where_eps_does() -> None:
    model = MODELS["gin_graph"]()
    graph = lower(model, example("gin_graph"))
    assert graph.constants["convs.1.self_scale"] == pytest.approx(1 + model.convs[1].eps.item())
    assert [constants(graph)[f"convs.{i}.self_scale"].trainable for i in range(3)] == [False, True, True]


def test_statistics_and_frozen_parameters_do_not_train() -> None:
    model = MODELS["gcn_graph"]()
    model.convs[0].bias.requires_grad_(False)
    trainable = {name for name, op in constants(lower(model, example("gcn_graph"))).items() if op.trainable}
    assert "convs.1.bias" in trainable
    assert "convs.0.bias" not in trainable
    assert not any("running" in name for name in trainable)


def test_values_carry_the_path_of_their_layer() -> None:
    graph = lower(MODELS["gin_graph"](), example("gin_graph"))
    scopes = [v.scope for v in graph.values if isinstance(v.op, Linear)]
    assert scopes == [f"convs.{i}.nn.{j}" for i in range(3) for j in (0, 3)] + ["lin1", "lin2"]


def test_dropout_and_batch_norm_stay_in_the_graph() -> None:
    graph = lower(MODELS["gcn_graph"](), example("gcn_graph"))
    assert [v.op.p for v in graph.values if isinstance(v.op, Dropout)] == [0.5]
    assert sum(isinstance(v.op, BatchNorm) for v in graph.values) == 3


def test_training_mode_of_the_model_makes_no_difference() -> None:
    model = MODELS["gat_concat"]()
    assert str(lower(copy.deepcopy(model).train(), example("gat_concat"))) == str(lower(model, example("gat_concat")))


def test_model_is_not_changed() -> None:
    model = MODELS["gin_graph"]().train()
    before, kinds = copy.deepcopy(model.state_dict()), [type(m) for m in model.modules()]
    lower(model, example("gin_graph"))
    assert model.training
    assert [type(m) for m in model.modules()] == kinds
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_layer_used_twice_is_stored_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = pyg.GINConv(nn.Linear(FEATURES, FEATURES), train_eps=True)

        def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
            return self.conv(self.conv(x, edge_index).relu(), edge_index)

    graph = check(Twice(), graphs()[0], graphs())
    assert sorted(graph.constants) == ["conv.nn.bias", "conv.nn.weight", "conv.self_scale"]


def test_tied_weights_stay_tied() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(FEATURES, FEATURES), nn.Linear(FEATURES, FEATURES)
            self.second.weight = self.first.weight

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.first(x))

    assert sorted(check(Tied(), graphs()[0], graphs()).constants) == ["first.bias", "first.weight", "second.bias"]


def test_subclass_that_only_changes_its_constructor_lowers_as_its_parent() -> None:
    class Small(pyg.GCNConv):
        """A GCNConv of fixed width."""

        def __init__(self) -> None:
            super().__init__(FEATURES, 4)

    check(Small(), graphs()[0], graphs())


def test_dense_layer_of_the_user_lowers_through_its_own_forward() -> None:
    class Scaled(nn.Linear):
        def forward(self, input: Tensor) -> Tensor:
            return 0.5 * super().forward(input)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lin = Scaled(FEATURES, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.lin(x)

    check(Model(), graphs()[0], graphs())


class Arithmetic(nn.Module):
    """Numbers, parameters and tensors, on either side; in-place operations seen through every name."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, FEATURES))
        self.shift = nn.Parameter(torch.full((1, FEATURES), 0.3))
        self.register_buffer("gain", torch.tensor(2.0))
        self.weight = nn.Parameter(torch.randn(FEATURES, HIDDEN))
        self.square = nn.Parameter(torch.randn(HIDDEN, HIDDEN))

    def forward(self, x: Tensor) -> Tensor:
        y = self.scale * x + self.shift - 1 + (3 - x) / self.gain
        y = torch.add(y, x, alpha=0.5) - (-x) ** 2
        y = sum([y, x.pow(2), torch.mul(x, 2), x.div(4), torch.sub(1, x)])
        alias = y
        y += x
        y *= 0.5
        F.relu(alias, inplace=True)
        return torch.maximum(y, x) @ self.weight @ self.square.t()


class Columns(nn.Module):
    """Slices, splits, joins, and tensors of one dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(FEATURES, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        first, rest = x.split([3, FEATURES - 3], dim=-1)
        left, right = torch.chunk(x[:, :6], 2, dim=1)
        score = self.lin(x).squeeze(-1)
        gate = torch.sigmoid(score).unsqueeze(1)
        wide = torch.cat([first * gate, left + right, rest[..., 1:2], x[:, -1].view(-1, 1)], dim=1)
        return wide.view(x.size(0), -1).reshape(-1, wide.shape[1]).clone(), score


class EdgeCode(nn.Module):
    """Gathers by both ends, edge_attr of one column, scatter to both ends, the graph of each node."""

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(2 * FEATURES, HIDDEN)

    def forward(self, data: Data) -> tuple[Tensor, Tensor]:
        x, (source, target) = data.x, data.edge_index
        message = self.lin(torch.cat([x[source], x[data.edge_index[1]]], dim=1)).relu()
        message = message * data.edge_weight.unsqueeze(-1)
        assert getattr(data, "missing", None) is None
        assert data.pos is None
        weights = softmax(message, target, num_nodes=data.num_nodes)
        total = scatter(weights * message, target, dim_size=data.num_nodes, reduce="sum")
        back = scatter(message, source, dim_size=x.shape[0], reduce="min")
        number = data.batch.max().item() + 1
        pooled = scatter(total + back, data.batch, dim=0, dim_size=number, reduce="mean")
        return total - pooled[data.batch], renamed_pool(back, data.batch, number)


class SingleGraph(nn.Module):
    """Pooling written by hand, for one graph."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        means = [x.mean(dim=0, keepdim=True), x.sum(0, keepdim=True), x.amax(dim=0, keepdim=True)]
        return torch.cat([*means, x.max(dim=0, keepdim=True)[0]], dim=-1).flatten(1)


class OwnBatch(nn.Module):
    """A model that makes its own batch where it is called without."""

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        if batch is None:
            batch = torch.zeros(x.size(0), dtype=torch.long, device=x.device)
        again = x.new_zeros(x.shape[0], dtype=torch.long)
        return renamed_pool(x, batch) * np.float32(2) + scatter(x, again, reduce="mean") * torch.tensor(3)


@pytest.mark.parametrize("model_type", [Arithmetic, Columns, SingleGraph, OwnBatch])
def test_code_of_the_user_is_followed(model_type: type[nn.Module]) -> None:
    torch.manual_seed(0)
    check(model_type(), graphs()[0], graphs())


class HandWrittenMessages(nn.Module):
    """The forms of gather, weight and scatter that become one Propagate."""

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor) -> Tensor:
        row, col = edge_index
        column, n = edge_weight.view(-1, 1), x.size(0)
        plain = scatter(x[row], col, dim_size=n, reduce="max")
        weighted = scatter(column * x[row], col, dim_size=n, reduce="mean")
        computed = scatter(x[row] * torch.sigmoid(column), col, dim_size=n)
        back = scatter(x[col], row, dim_size=n, reduce="min")
        weighted_back = scatter(x[col] * column, row, dim_size=n)
        computed_back = scatter(torch.tanh(column) * x[col], row, dim_size=n)
        own = scatter(x[col], col, dim_size=n)
        return torch.cat([plain, weighted, computed, back, weighted_back, computed_back, own], dim=-1)


def test_hand_written_messages_become_propagate() -> None:
    graph = check(HandWrittenMessages(), graphs("edge_weight")[0], graphs("edge_weight"))
    assert sum(isinstance(v.op, Propagate) for v in graph.values) == 5
    assert sum(isinstance(v.op, Aggregate) for v in graph.values) == 2  # computed weights against the flow, own values


def test_parameters_used_by_the_code_of_the_user_keep_their_names_and_train() -> None:
    trainable = {name for name, op in constants(lower(Arithmetic(), graphs()[0])).items() if op.trainable}
    assert trainable == {"scale", "shift", "square", "weight.transposed"}


def test_edge_code_of_the_user_is_followed_on_batches() -> None:
    torch.manual_seed(0)
    batch = GRAPHS["batch_of_three"](FEATURES)
    single = GRAPHS["random_60"](FEATURES)
    single.batch = torch.zeros(60, dtype=torch.long)
    check(EdgeCode(), batch, [batch, single])


class NeighbourSum(pyg.MessagePassing):
    """W (x_i + sum of the neighbours): the example of frontend/README.md."""

    def __init__(self) -> None:
        super().__init__(aggr="add")
        self.lin = nn.Linear(FEATURES, HIDDEN)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return self.lin(x + self.propagate(edge_index, x=x))


def test_layer_of_the_user_lowers_once_it_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "LAYERS", dict(registry.LAYERS))

    @lowers(NeighbourSum)
    def neighbour_sum(call: LayerCall) -> Rows:
        call.only("x", "edge_index")
        call.edge_index()
        x = call.rows("x")
        total = call.emit(Propagate(call.lowering.builder.topology(TopologySpec())), x.value)
        return call.layer.lin(call.emit(Add(), total.value, x.value))

    check(NeighbourSum(), graphs()[0], graphs())


def test_optional_arguments_follow_the_example() -> None:
    """The same model is weighted or not, depending on what it is lowered with."""
    model = pyg.GCN(FEATURES, HIDDEN, 2)
    assert [t.weighted for t in lower(model, graphs("edge_weight")[0]).topologies] == [True]
    assert [t.weighted for t in lower(model, graphs()[0]).topologies] == [False]


def test_negative_sum_of_weights_is_refused_when_a_graph_is_prepared() -> None:
    graph = lower(pyg.GCN(FEATURES, HIDDEN, 1), graphs("edge_weight")[0])
    data = graphs("edge_weight")[0]
    data.edge_weight = -5 * torch.ones_like(data.edge_weight)
    with pytest.raises(InvalidInput, match=r"sum to .* non-negative"):
        interpret(graph, GraphInputs.from_pyg(data))


def test_missing_edge_weight_is_refused_when_a_graph_is_prepared() -> None:
    graph = lower(pyg.GCN(FEATURES, HIDDEN, 1), graphs("edge_weight")[0])
    with pytest.raises(InvalidInput, match="edge_weight: missing"):
        interpret(graph, GraphInputs.from_pyg(graphs()[0]))


def test_one_dimensional_attributes_and_outputs_become_columns() -> None:
    class Distances(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = pyg.GATConv(FEATURES, 1, edge_dim=1, add_self_loops=False)

        def forward(self, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
            return self.conv(x, edge_index, edge_attr).view(-1)

    data = [Data(x=g.x, edge_index=g.edge_index, edge_attr=g.edge_weight) for g in graphs("edge_weight")]
    graph = check(Distances(), data[0], data)
    assert graph.values[graph.outputs[0]].type.channels == 1


def test_lowering_twice_gives_the_same_graph() -> None:
    model = MODELS["pyg_gat"]()
    first, second = (lower(model, example("pyg_gat")) for _ in range(2))
    assert str(first) == str(second)
    assert all(np.array_equal(first.constants[name], second.constants[name]) for name in first.constants)
