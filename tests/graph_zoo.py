"""The graph zoo: what a graph may look like. Importable without pytest."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.data import Batch, Data

from tests.model_zoo import EDGE_FEATURES, RELATIONS

GraphBuilder = Callable[[int], Data]


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
        edge_type=torch.randint(0, RELATIONS, (num_edges,), generator=generator),
    )


def _both_ways(edges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    return [*edges, *((j, i) for i, j in edges)]


def random_edges(num_nodes: int, num_edges: int, seed: int) -> Tensor:
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
    "random_60": lambda width: make_graph(60, random_edges(60, 240, 8), width, 8),
}
