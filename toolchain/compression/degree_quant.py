"""Degree-Quant: while training, nodes of high degree are kept from rounding at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from toolchain.errors import RecipeError
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.ir.ops import Linear
from toolchain.ir.types import Domain


@dataclass(frozen=True, slots=True)
class DegreeQuant:
    """Protective masks: in each forward pass of training every node is protected with a probability that grows with its degree.

    The rows of a protected node stay real numbers in node values, and so do the messages that it sends. In a graph of n nodes,
    node i has the probability p_min + (p_max - p_min) * |{j : d(j) <= d(i)}| / n with p_max = min(1, p_min + change), where d is
    the in-degree; in a batch, every graph counts for itself. At evaluation nothing is protected.

    Attributes:
        linears: whether what a Linear reads and writes is protected as well. Where it is not, a hub's sum is cut to its range also
            while training, so that BatchNorms see the statistics that evaluation has.

    Source: Tailor et al. 2021 (arXiv:2008.05000), where a GCN's Linears are masked and those inside a GIN layer are not.
    """

    p_min: float = 0.0
    change: float = 0.1
    linears: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.p_min <= 1:
            raise RecipeError(f"p_min: {self.p_min}, expected a probability in [0, 1].")
        if not 0 <= self.change <= 1:
            raise RecipeError(f"change: {self.change}, expected a number in [0, 1].")

    def values(self, graph: Graph) -> frozenset[int]:
        """The values whose rows are protected, by their ids."""
        nodes = {value.id for value in graph.values if value.type.domain is Domain.NODE}
        if not self.linears:
            for value in graph.values:
                if isinstance(value.op, Linear):
                    nodes -= {value.id, value.inputs[0]}
        return frozenset(nodes)

    def probabilities(self, inputs: GraphInputs) -> np.ndarray:
        """Of each node to be protected: [N] float64."""
        degree = np.bincount(inputs.edge_index[1], minlength=inputs.num_nodes)
        graph, sizes = inputs.graph_index, inputs.nodes_per_graph
        key = graph * (degree.max(initial=0) + 1) + degree  # orders nodes by graph, then by degree
        first = np.concatenate([[0], np.cumsum(sizes)[:-1]])  # nodes of the graphs before
        rank = np.searchsorted(np.sort(key), key, side="right") - first[graph]
        p_max = min(1.0, self.p_min + self.change)
        return np.asarray(self.p_min + (p_max - self.p_min) * rank / sizes[graph])

    def draw(self, inputs: GraphInputs) -> Tensor:
        """Which nodes are protected in one forward pass, from torch's generator: [N, 1] bool."""
        probabilities = torch.from_numpy(self.probabilities(inputs))
        return (torch.rand(probabilities.shape, dtype=torch.float64) < probabilities).unsqueeze(1)
