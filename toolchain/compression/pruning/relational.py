"""Relational graphs: one small undirected graph whose adjacency, repeated block by block, masks every weight.

A mask of N x N bits for the whole model, whatever its widths. Source: You et al. 2020 (arXiv:2007.06559) for the relation
of graph and network.
"""

from __future__ import annotations

import numpy as np

from toolchain.errors import RecipeError, require

PROPERTIES = ("degree centrality", "eigenvector centrality", "clustering", "edge connectivity", "cycles")


def random_relational_graph(nodes: int, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Adjacency [N, N] bool, symmetric, with self-edges: the pairs and self-edges above a threshold on random numbers.

    The threshold lies where round((1 - amount) * N²) entries are True. A pair makes two of them: where one is left over, a
    self-edge below the threshold is taken, or the pair for a self-edge above it, either as likely.
    """
    rows, columns = np.triu_indices(nodes)
    order = np.argsort(rng.random(rows.size), kind="stable")
    rows, columns = rows[order], columns[order]
    entries = np.where(rows == columns, 1, 2)  # of the symmetric matrix
    wanted = round((1 - amount) * nodes**2)
    taken = np.cumsum(entries) <= wanted
    if entries[taken].sum() < wanted:
        above, below = (np.flatnonzero(part & (entries == 1)) for part in (taken, ~taken))
        if above.size and (rng.random() < 0.5 or not below.size):
            taken[[taken.sum(), above[-1]]] = True, False
        else:
            taken[below[:1]] = True
    adjacency = np.zeros((nodes, nodes), bool)
    adjacency[rows[taken], columns[taken]] = True
    return adjacency | adjacency.T


def graph_properties(adjacency: np.ndarray) -> np.ndarray:
    """The five `PROPERTIES` of a relational graph, self-edges left out: [5] float64.

    Mean degree centrality, mean eigenvector centrality, average clustering coefficient, edge connectivity, and the number
    of independent cycles.
    """
    networkx = require("networkx", "search")
    graph = networkx.from_numpy_array(adjacency & ~np.eye(len(adjacency), dtype=bool))
    degree = np.mean(list(networkx.degree_centrality(graph).values()))
    eigenvector = np.mean(list(networkx.eigenvector_centrality(graph, max_iter=10_000).values()))
    clustering, connectivity = networkx.average_clustering(graph), networkx.edge_connectivity(graph)
    return np.array([degree, eigenvector, clustering, connectivity, len(networkx.cycle_basis(graph))], np.float64)


def weight_mask(adjacency: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The adjacency repeated to a weight [out, in]: node n owns the channels c with floor(c * N / channels) = n.

    So each node owns as many consecutive channels as any other, or one more; of fewer channels than nodes each belongs to
    a node of its own.
    """
    rows, columns = (np.arange(size) * len(adjacency) // size for size in shape)
    return adjacency[np.ix_(rows, columns)]


def check_nodes(nodes: int, channels: int | None = None) -> None:
    """Refuse a number of nodes that makes no graph, or more than a weight has channels at most: some would own none."""
    if nodes < 2:
        raise RecipeError(f"nodes: {nodes}, expected at least 2 nodes of the relational graph.")
    if channels is not None and nodes > channels:
        raise RecipeError(
            f"nodes: {nodes}, but no pruned weight has more than {channels} channels, which nodes share out. Give at "
            "most so many."
        )
