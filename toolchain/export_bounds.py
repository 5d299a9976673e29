"""bounds_for: the largest graph that a file with planned memory is built for, from an export step and the user's graphs."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from toolchain.exporters.emission import Bounds
from toolchain.inputs import GraphInputs
from toolchain.model_source import GraphParts
from toolchain.recipe import Export


def bounds_for(step: Export, parts: GraphParts) -> Bounds:
    """The stated bounds; where none are stated, twice the largest graph of the data set, one graph at a time."""
    return bounds_of(step, (GraphInputs.from_pyg(data) for data in (*parts.train, *parts.validation, *parts.test)))


def bounds_of(step: Export, graphs: Iterable[GraphInputs]) -> Bounds:
    """The stated bounds; where none are stated, twice the largest of these graphs, one graph at a time."""
    nodes = edges = degree = 1
    for inputs in graphs:
        nodes, edges = max(nodes, inputs.num_nodes), max(edges, inputs.num_edges + inputs.num_nodes)
        degree = max(degree, *(int(np.bincount(ends, minlength=1).max()) + 1 for ends in inputs.edge_index))
    return Bounds(
        step.max_nodes or 2 * nodes, step.max_edges or 2 * edges, step.max_graphs or 1, step.max_degree or 2 * degree
    )
