"""Runtime: an artifact in, arrays out. The protocol that every format implements, and the graph side they share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from toolchain.artifact import FIXED_GRAPH, Artifact
from toolchain.errors import ArtifactError, InvalidInput, OutsideContract
from toolchain.feeds import build_feeds, degree
from toolchain.inputs import GraphInputs, PreparedGraph

Array = np.ndarray


class Runtime(ABC):
    """A loaded artifact.

    `run` takes a graph and returns one float32 array per model output. `prepare` and `run_feeds` are its two halves, so that
    a fixed graph is prepared once and a benchmark can time each alone.
    """

    name: str = ""

    def __init__(self, artifact: Artifact, *, threads: int = 1) -> None:
        self.artifact = artifact
        self.threads = threads
        self._fixed: GraphInputs | None = _load_fixed_graph(artifact) if artifact.contract.fixed_graph else None
        self._fixed_prepared: PreparedGraph | None = (
            self._fixed.prepare(artifact.contract.topologies) if self._fixed is not None else None
        )

    def run(self, inputs: GraphInputs | Array) -> tuple[Array, ...]:
        """Run one graph or batch.

        Args:
            inputs: a checked graph; for an artifact with a fixed graph also just x, [N, F].

        Raises:
            OutsideContract: the graph is not one that this artifact was built for.
        """
        outputs = self.run_feeds(self.prepare(inputs))
        widths = [array.shape[1:] for array in outputs]
        stated = [(output.channels,) for output in self.artifact.signature.outputs]
        if widths != stated:
            raise ArtifactError(
                f"{self.artifact.model_path}: gives rows of {widths}, the manifest says {stated}. Export the model again."
            )
        return outputs

    def prepare(self, inputs: GraphInputs | Array) -> dict[str, Array]:
        """Check a graph against the contract and compute every array that the model file takes."""
        contract = self.artifact.contract
        graph = self.checked(inputs)
        if self._fixed_prepared is not None:
            prepared = PreparedGraph(graph, self._fixed_prepared.topologies)
        else:
            prepared = graph.prepare(contract.topologies)
        contract.check_edges(max((t.num_edges for t in prepared.topologies), default=0))
        for feed in self.artifact.signature.inputs:
            contract.check_degree(degree(feed, prepared) or 0)
        return build_feeds(self.artifact.signature.inputs, prepared)

    def checked(self, inputs: GraphInputs | Array) -> GraphInputs:
        """The graph that a run is about, within the contract as far as its sizes show; x alone joins the fixed graph."""
        contract = self.artifact.contract
        fixed = self._fixed
        if fixed is not None:
            x = inputs.x if isinstance(inputs, GraphInputs) else inputs
            if isinstance(inputs, GraphInputs):
                _check_same_graph(inputs, fixed)
            if np.ndim(x) == 2 and len(x) != fixed.num_nodes:
                raise OutsideContract(
                    f"x: {len(x)} rows, the fixed graph of this artifact has {fixed.num_nodes} nodes."
                )
            graph = replace(fixed, x=x)
        elif isinstance(inputs, GraphInputs):
            graph = inputs
        elif isinstance(inputs, np.ndarray | list):
            raise OutsideContract(
                "only x was given, but this artifact has no fixed graph. Pass GraphInputs(x, edge_index)."
            )
        else:
            raise InvalidInput(
                f"inputs: got {type(inputs).__name__}, expected GraphInputs. Of PyG's Data: GraphInputs.from_pyg(data)."
            )
        contract.check(graph)
        return graph

    @abstractmethod
    def run_feeds(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        """Run the model file on the arrays of `prepare`."""

    def close(self) -> None:  # noqa: B027 - most runtimes hold nothing to release
        """Release what the runtime holds."""


def _check_same_graph(given: GraphInputs, fixed: GraphInputs) -> None:
    """Weights, features of edges and the batch may be left out; those that are given are the stored ones."""
    for name in ("edge_index", "edge_weight", "edge_attr", "edge_type", "batch"):
        array, stored = getattr(given, name), getattr(fixed, name)
        is_one_graph = name == "batch" and stored is None and array is not None and not array.any()
        if array is not None and not is_one_graph and (stored is None or not np.array_equal(array, stored)):
            raise OutsideContract(
                f"{name}: differs from the fixed graph of this artifact. Pass x alone, or export without a fixed graph."
            )


def _load_fixed_graph(artifact: Artifact) -> GraphInputs:
    path = artifact.path / FIXED_GRAPH
    if FIXED_GRAPH not in artifact.files:
        raise ArtifactError(
            f"{artifact.path}: the contract has a fixed graph but {FIXED_GRAPH} is not listed in the manifest."
        )
    with np.load(path, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    return GraphInputs(
        np.zeros((int(arrays["num_nodes"]), artifact.contract.features), np.float32), arrays["edge_index"],
        arrays.get("edge_weight"), arrays.get("edge_attr"), arrays.get("batch"), int(arrays["num_graphs"]),
        arrays.get("edge_type"),
    )  # fmt: skip
