"""made_up_graph: the bounds of an artifact in, a graph of that size out."""

from __future__ import annotations

import numpy as np

from toolchain.artifact import Artifact
from toolchain.inputs import GraphInputs


def made_up_graph(artifact: Artifact, seed: int = 0) -> GraphInputs:
    """A graph of the largest size that an artifact takes, for those who have none at hand: random edges and features."""
    contract, random = artifact.contract, np.random.default_rng(seed)
    nodes = contract.max_nodes or 1
    loops = nodes if any(spec.self_loops.adds for spec in contract.topologies) else 0
    degree = (contract.max_degree or 1) - (loops > 0)
    edges = max(min((contract.max_edges or 0) - loops, nodes * degree), 0)
    target = np.arange(edges) % nodes  # equal in-degrees, so that none is above the bound
    source = (target + 1 + random.integers(0, max(nodes - 1, 1), edges)) % nodes
    x: np.ndarray = random.normal(size=(nodes, contract.features))
    if artifact.provenance.get("sparse_features"):
        x = x > 1
    attributes = random.normal(size=(edges, contract.edge_features)) if contract.edge_features else None
    weights = random.uniform(0.5, 1.5, edges) if contract.edge_weight else None
    types = (
        random.integers(0, 1 + max(spec.relation or 0 for spec in contract.topologies), edges)
        if contract.edge_type
        else None
    )
    return GraphInputs(x, np.stack([source, target]), weights, attributes, edge_type=types)
