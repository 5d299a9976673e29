"""What the lowering adds to a model, such as the permutation of a layout, is no weight: nothing prunes, shares or counts it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import EGConv, GCNConv, GeneralConv, global_mean_pool

from toolchain.compression import ECS, SNIP, BoGP, DynamicInt8, KMeans, L1Blocks, L1Unstructured, prune, quantize, share
from toolchain.compression.channel_groups import channel_groups
from toolchain.compression.pruning import StructuredChannels
from toolchain.compression.pruning.channel_removal import removed, zeroed
from toolchain.compression.pruning.channels import choose
from toolchain.compression.pruning.selection import selected_weights
from toolchain.compression.step_report import Footprint, sparsity
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.ir.operation_counts import weight_bits
from toolchain.ir.ops import Const, HeadDot


class StackedLayers(nn.Module):
    """A jumping knowledge by hand: the mean of two layers, stacked in a dimension of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second, self.head = GCNConv(5, 8), GCNConv(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        a = self.first(x, edge_index).relu()
        b = self.second(a, edge_index).relu()
        return self.head(global_mean_pool(torch.stack([a, b], -1).mean(-1), batch))


class One(nn.Module):
    """A convolution and a head."""

    def __init__(self, conv: Callable[[], nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.head = conv(), nn.Linear(8, 3)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor | None = None) -> Tensor:
        return self.head(global_mean_pool(self.conv(x, edge_index).relu(), batch))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "stacked": StackedLayers,
    "EGConv": lambda: One(lambda: EGConv(5, 8, num_heads=4, num_bases=2)),
    "GeneralConv": lambda: One(lambda: GeneralConv(5, 8, heads=2, attention=True)),
}


def graphs(count: int = 12) -> list[Data]:
    generator = torch.Generator().manual_seed(1)
    made = []
    for number in range(count):
        nodes = 4 + number % 3
        edges = torch.randint(nodes, (2, 3 * nodes), generator=generator)
        made.append(Data(x=torch.randn(nodes, 5, generator=generator), edge_index=edges, y=torch.tensor([number % 3])))
    return made


def tables(graph: Graph) -> list[str]:
    return [v.op.name for v in graph.values if isinstance(v.op, Const) and v.op.is_table]


def lowered(name: str) -> Graph:
    graph = lower(MODELS[name]().eval(), graphs()[0])
    assert any(graph.constants[table].ndim == 2 for table in tables(graph)), "else this model shows nothing"
    return graph


def methods() -> list[Any]:
    data = graphs()
    return [
        L1Unstructured(0.5), L1Unstructured(0.5, scope="global"), L1Blocks(0.5), SNIP(data, 0.5), ECS(data, 0.5),
    ]  # fmt: skip


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("name", MODELS)
def test_pruning_takes_its_share_of_the_models_own_weights(name: str, number: int) -> None:
    graph = lowered(name)
    pruned = prune(graph, methods()[number])

    assert all(np.array_equal(pruned.constants[table], graph.constants[table]) for table in tables(graph))
    own = selected_weights(graph, None, include_head=False)
    assert not set(own) & set(tables(graph))
    share_of_zeros = np.mean(np.concatenate([pruned.constants[weight].ravel() == 0 for weight in own]))
    assert share_of_zeros == pytest.approx(0.5, abs=0.12)  # blocks at the end of a row are shorter


def test_relational_masks_leave_tables_as_they_are() -> None:
    pytest.importorskip("optuna")
    graph = lowered("stacked")
    pruned = prune(graph, BoGP(graphs(), 0.5, database=10, trials=2, initial=1))

    assert all(np.array_equal(pruned.constants[table], graph.constants[table]) for table in tables(graph))


@pytest.mark.parametrize("name", MODELS)
def test_a_codebook_holds_no_numbers_of_tables(name: str) -> None:
    graph = lowered(name)
    shared = share(graph, KMeans(4, scope="global"))

    assert all(v.op.codebook is None for v in shared.values if isinstance(v.op, Const) and v.op.is_table)
    assert all(np.isin(shared.constants[table], graph.constants[table]).all() for table in tables(shared))


@pytest.mark.parametrize("name", MODELS)
def test_a_dense_model_has_no_zeros_and_no_bits_but_those_of_its_weights(name: str) -> None:
    graph = lowered(name)
    dense, quantized = Footprint.of(graph), quantize(graph, DynamicInt8())
    number = {v.op.name: v.id for v in quantized.values if isinstance(v.op, Const)}
    stored = {
        w: 8 if quantized.values[number[w]].type.dtype.is_integer else 32 for w in selected_weights(graph, None, True)
    }
    sizes = {w: graph.constants[w].size for w in stored}
    vectors = [v for v in graph.values if isinstance(v.op, HeadDot) and not graph.values[v.inputs[1]].op.is_table]

    assert sparsity(graph) == 0 and dense.weight_bits == 32
    if not vectors:  # which count for bits, but not for pruning
        mean = sum(stored[w] * sizes[w] for w in stored) / sum(sizes.values())
        assert weight_bits(quantized) == pytest.approx(mean)
    weights = sum(graph.constants[w].size for w in selected_weights(graph, None, include_head=True))
    zeros = sum(int((quantized.constants[w] == 0).sum()) for w in selected_weights(graph, None, include_head=True))
    assert sparsity(quantized) == pytest.approx(zeros / weights)


@pytest.mark.parametrize("name", MODELS)
def test_removed_channels_are_those_of_layers_and_pass_through_tables(name: str) -> None:
    graph = lowered(name)
    channels = channel_groups(graph)
    assert not {weight for group in channels.groups for weight in group.weights} & set(tables(graph))
    dropped = choose(graph, channels, StructuredChannels(0.5))
    small, same_size = removed(graph, channels, dropped), zeroed(graph, channels, dropped)

    assert small.weight_bytes < graph.weight_bytes
    batch = GraphInputs.from_pyg(Batch.from_data_list(graphs()))
    for found, expected in zip(interpret(small, batch), interpret(same_size, batch), strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_permutation_loses_the_channels_that_it_permutes() -> None:
    small = prune(lowered("stacked"), StructuredChannels(0.5))

    permutation = next(small.constants[table] for table in tables(small) if small.constants[table].ndim == 2)
    assert permutation.shape == (8, 8)  # of two layers with four channels left each
    assert (permutation != 0).sum(axis=0).tolist() == [1] * 8
    assert (permutation != 0).sum(axis=1).tolist() == [1] * 8
