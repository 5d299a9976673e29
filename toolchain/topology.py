"""From the edges a user has to the edges a layer aggregates over: self-loops, normalization, CSR. Once per graph, in numpy.

Nothing of this happens inside an exported model: it is computed once before the model runs (once at export for a fixed graph).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from toolchain.errors import InvalidInput


class SelfLoops(Enum):
    """What happens to edges from a node to itself."""

    KEEP = "keep"  # edges as given
    REMAINING = "remaining"  # one loop per node; an existing loop keeps its weight (PyG add_remaining_self_loops)
    REPLACE = "replace"  # drop existing loops, then one new loop per node (PyG remove_ + add_self_loops)
    REMOVE = "remove"  # drop existing loops

    @property
    def adds(self) -> bool:
        """Whether every node gets a loop."""
        return self in (SelfLoops.REMAINING, SelfLoops.REPLACE)


class Normalization(Enum):
    """Coefficients derived from the edges."""

    NONE = "none"
    SYMMETRIC = "symmetric"  # D^-1/2 A D^-1/2 with D the weighted in-degree (Kipf & Welling 2017)
    SYMMETRIC_OUT = "symmetric_out"  # the same with D the weighted out-degree (the Laplacian of PyG's ChebConv)
    DEGREE = "degree"  # D A with D the number of in-edges, whatever they weigh: its row factor is the degree

    @property
    def is_symmetric(self) -> bool:
        """Whether the row factors of sources and targets are the same."""
        return self is not Normalization.DEGREE


class LoopAttributes(Enum):
    """`edge_attr` of the self-loops that are added."""

    NONE = "none"  # the topology carries no edge_attr across added loops
    MEAN = "mean"  # mean over the node's incoming edges (PyG GATConv fill_value="mean")


@dataclass(frozen=True, slots=True)
class TopologySpec:
    """How one topology of a model follows from `edge_index`. Serialized into the graph contract of an artifact.

    Attributes:
        weighted: `edge_weight` enters the coefficients; without it every edge weighs 1.
        loop_weight: weight of an added self-loop (2 for PyG's `improved`).
        reversed: aggregate at the source of each edge (PyG flow="target_to_source").
        relation: only the edges of this `edge_type`; None for all of them.
    """

    self_loops: SelfLoops = SelfLoops.KEEP
    normalization: Normalization = Normalization.NONE
    weighted: bool = False
    loop_weight: float = 1.0
    loop_attributes: LoopAttributes = LoopAttributes.NONE
    reversed: bool = False
    relation: int | None = None

    def to_json(self) -> dict[str, object]:
        return {
            "self_loops": self.self_loops.value,
            "normalization": self.normalization.value,
            "weighted": self.weighted,
            "loop_weight": self.loop_weight,
            "loop_attributes": self.loop_attributes.value,
            "reversed": self.reversed,
            "relation": self.relation,
        }

    @classmethod
    def from_json(cls, data: dict[str, object]) -> TopologySpec:
        return cls(
            SelfLoops(data["self_loops"]),
            Normalization(data["normalization"]),
            bool(data["weighted"]),
            float(data["loop_weight"]),  # type: ignore[arg-type]  # checked by the manifest schema
            LoopAttributes(data["loop_attributes"]),
            bool(data["reversed"]),
            data.get("relation"),  # type: ignore[arg-type]  # absent in files of models without relations
        )

    def __str__(self) -> str:
        parts = [f"self_loops={self.self_loops.value}", f"normalization={self.normalization.value}"]
        parts += ["weighted"] if self.weighted else []
        parts += [f"loop_weight={self.loop_weight:g}"] if self.loop_weight != 1.0 else []
        parts += (
            [f"loop_attributes={self.loop_attributes.value}"] if self.loop_attributes is not LoopAttributes.NONE else []
        )
        parts += ["reversed"] if self.reversed else []
        parts += [f"relation={self.relation}"] if self.relation is not None else []
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Topology:
    """Prepared edges, sorted by target (stable), so that `row_pointer` is a CSR index of them.

    Attributes:
        source, target: [E'] int64.
        row_pointer: [N + 1] int64; the in-edges of node i are row_pointer[i]:row_pointer[i + 1].
        weight: [E'] float32, or None when every edge weighs 1.
        source_scale, target_scale: [N] float32 row factors r and l of the normalization, or None when all 1:
            an aggregation is y_i = l_i * sum_j w_ij * r_j * x_j.
        origin: [E'] int64, position of the edge in the user's edge_index, or -1 for an added self-loop.
        loop_attributes: how `edge_attr` of added loops is filled.
    """

    num_nodes: int
    source: np.ndarray
    target: np.ndarray
    row_pointer: np.ndarray
    weight: np.ndarray | None
    source_scale: np.ndarray | None
    target_scale: np.ndarray | None
    origin: np.ndarray
    loop_attributes: LoopAttributes

    @property
    def num_edges(self) -> int:
        return int(self.source.shape[0])

    @property
    def in_degree(self) -> np.ndarray:
        """Number of in-edges of each node, added loops included: [N] int64."""
        return np.diff(self.row_pointer)

    def edge_values(self, values: np.ndarray) -> np.ndarray:
        """Bring values of edges [E, D] into the order of these edges [E', D], filling the rows of added self-loops.

        Raises:
            InvalidInput: loops were added, and nothing says what their values are.
        """
        added = self.origin < 0
        if not added.any():
            return values[self.origin]
        if self.loop_attributes is LoopAttributes.NONE:
            raise InvalidInput(
                "edge_attr or edge_weight: this topology adds self-loops but states no values for them. "
                "Build the layer with add_self_loops=False, or with fill_value='mean'."
            )
        kept = ~added
        sums = np.zeros((self.num_nodes, values.shape[1]), np.float32)
        np.add.at(sums, self.target[kept], values[self.origin[kept]])
        counts = occurrences(self.target[kept], self.num_nodes).clip(min=1).astype(np.float32)
        out = np.empty((self.num_edges, values.shape[1]), np.float32)
        out[kept] = values[self.origin[kept]]
        out[added] = (sums / counts[:, None])[self.target[added]]
        return out


def build_topology(
    spec: TopologySpec,
    num_nodes: int,
    edge_index: np.ndarray,
    edge_weight: np.ndarray | None,
    edge_type: np.ndarray | None = None,
) -> Topology:
    """Prepare checked edges for one topology, in O(N + E log E).

    Args:
        edge_index: [2, E] int64, already checked to lie in [0, num_nodes).
        edge_weight: [E] float32; needed when the spec is weighted.
        edge_type: [E] int64; needed when the spec is of one relation.
    """
    source, target = (edge_index[1], edge_index[0]) if spec.reversed else (edge_index[0], edge_index[1])
    weight = edge_weight if spec.weighted else None
    if spec.weighted and edge_weight is None:
        raise InvalidInput("edge_weight: missing, but the model was lowered with it. Pass edge_weight of shape [E].")
    origin = np.arange(source.shape[0], dtype=np.int64)
    if spec.relation is not None:
        if edge_type is None:
            raise InvalidInput("edge_type: missing, but the model reads it. Pass edge_type of shape [E].")
        origin = np.flatnonzero(edge_type == spec.relation)
        source, target = source[origin], target[origin]
        weight = weight[origin] if weight is not None else None
    if spec.self_loops is not SelfLoops.KEEP:
        is_loop = source == target
        has_loops = bool(is_loop.any())
        loop_weight = None
        if spec.self_loops.adds and (weight is not None or spec.loop_weight != 1.0):
            loop_weight = np.full(num_nodes, spec.loop_weight, np.float32)
            weight = np.ones(source.shape[0], np.float32) if weight is None else weight
            if has_loops and spec.self_loops is SelfLoops.REMAINING and spec.weighted:
                loop_weight[target[is_loop]] = weight[is_loop]  # repeated loops: the last one, as PyG
        if has_loops:
            keep = ~is_loop
            source, target, origin = source[keep], target[keep], origin[keep]
            weight = weight[keep] if weight is not None else None
    if spec.self_loops.adds:
        nodes = np.arange(num_nodes, dtype=np.int64)
        source, target = np.concatenate([source, nodes]), np.concatenate([target, nodes])
        origin = np.concatenate([origin, np.full(num_nodes, -1, np.int64)])
        if weight is not None and loop_weight is not None:
            weight = np.concatenate([weight, loop_weight])
    order = np.argsort(target, kind="stable")
    source, target, origin = source[order], target[order], origin[order]
    weight = weight[order] if weight is not None else None
    in_degree = occurrences(target, num_nodes)
    row_pointer = np.zeros(num_nodes + 1, np.int64)
    np.cumsum(in_degree, out=row_pointer[1:])
    source_scale, target_scale = _row_factors(spec, source, target, weight, in_degree)
    return Topology(
        num_nodes, source, target, row_pointer, weight, source_scale, target_scale, origin, spec.loop_attributes
    )


def occurrences(index: np.ndarray, size: int, weight: np.ndarray | None = None) -> np.ndarray:
    """How often each number below `size` stands in `index` ([size] int64), or the sum of its weights (float64).

    A 32-bit numpy counts no int64 by itself.
    """
    found = np.bincount(index.astype(np.intp, copy=False), weights=weight, minlength=size)
    return found if weight is not None else found.astype(np.int64, copy=False)


def _row_factors(
    spec: TopologySpec, source: np.ndarray, target: np.ndarray, weight: np.ndarray | None, in_degree: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """r and l of a normalization, [N] float32 each, or None where all are 1."""
    num_nodes = in_degree.shape[0]
    match spec.normalization:
        case Normalization.NONE:
            return None, None
        case Normalization.SYMMETRIC:
            scale = _inverse_sqrt_degree(in_degree, target, weight, num_nodes)
        case Normalization.SYMMETRIC_OUT:
            scale = _inverse_sqrt_degree(occurrences(source, num_nodes), source, weight, num_nodes)
        case Normalization.DEGREE:
            return None, in_degree.astype(np.float32)
    return scale, scale


def _inverse_sqrt_degree(counts: np.ndarray, end: np.ndarray, weight: np.ndarray | None, num_nodes: int) -> np.ndarray:
    degree = counts.astype(np.float32)
    if weight is not None:
        degree = occurrences(end, num_nodes, weight).astype(np.float32)
        if (degree < 0).any():
            worst = int(degree.argmin())
            raise InvalidInput(
                f"edge_weight: the weights into node {worst} sum to {degree[worst]:g}; symmetric normalization needs "
                "non-negative sums. Use non-negative edge weights."
            )
    with np.errstate(divide="ignore"):
        scale = (1.0 / np.sqrt(degree)).astype(np.float32)
    scale[degree == 0] = 0.0  # an isolated node without self-loop receives nothing, as in PyG
    return scale
