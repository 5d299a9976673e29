"""Structure: how node, edge and graph rows are connected while a Graph runs in torch. One subclass per lowering."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from toolchain.errors import InvalidInput
from toolchain.inputs import PreparedGraph
from toolchain.ir.ops import End, Input, Reduce, Role, RowFactor


class Structure(ABC):
    """What the ops of `toolchain.torch_ops` need to know about a graph.

    N nodes, E edge rows, G graphs. How many edge rows there are, and in which order, is the structure's own business,
    as long as `gather`, `aggregate`, `edge_softmax` and `propagate` agree on it.
    """

    @abstractmethod
    def input(self, op: Input) -> Tensor:
        """An array of the runtime graph."""

    @abstractmethod
    def row_factor(self, factor: RowFactor) -> Tensor | None:
        """Normalization factor of each node, [N, 1]; None stands for ones."""

    @abstractmethod
    def in_degree(self, topology: int) -> Tensor:
        """In-edges of each node, [N, 1] float."""

    @abstractmethod
    def propagate(
        self, x: Tensor, topology: int, reduce: Reduce, weight: Tensor | None, heads: int, source_scaled: bool
    ) -> Tensor:
        """l_i * reduce_{j->i} ( w_ij * h_ij * r_j * x_j ): [N, C] to [N, C].

        Args:
            weight: h, one per edge and head: [E, H] with H dividing C; None means ones.
            heads: H.
            source_scaled: r is already multiplied into x.
        """

    @abstractmethod
    def gather(self, x: Tensor, topology: int, end: End) -> Tensor:
        """Node rows at one end of every edge: [N, C] to [E, C]."""

    @abstractmethod
    def aggregate(self, x: Tensor, topology: int, reduce: Reduce, end: End) -> Tensor:
        """Reduce edge rows at one end: [E, C] to [N, C]; no edge gives 0."""

    @abstractmethod
    def edge_softmax(self, x: Tensor, topology: int) -> Tensor:
        """Softmax over the in-edges of each node: [E, H] to [E, H]."""

    @abstractmethod
    def pool(self, x: Tensor, reduce: Reduce) -> Tensor:
        """Reduce the nodes of each graph: [N, C] to [G, C]; no node gives 0, or 1 for a product."""

    @abstractmethod
    def broadcast(self, x: Tensor) -> Tensor:
        """The row of each node's graph: [G, C] to [N, C]."""


def weigh_heads(messages: Tensor, weight: Tensor, heads: int) -> Tensor:
    """Multiply each of the H heads of [E, H*C] by its weight [E, H]."""
    if heads == 1:
        return messages * weight
    return (messages.unflatten(1, (heads, -1)) * weight.unsqueeze(2)).flatten(1)


def segment_reduce(values: Tensor, segments: Tensor, count: int, reduce: Reduce) -> Tensor:
    """Reduce rows by segment number, differentiably: [E, C] to [count, C]; an empty segment gives 0, of a product 1."""
    if reduce is Reduce.PRODUCT:
        index = segments.unsqueeze(1).expand(-1, values.shape[1])
        return values.new_ones(count, values.shape[1]).scatter_reduce(0, index, values, "prod")
    zeros = values.new_zeros(count, values.shape[1])
    if reduce in (Reduce.MAX, Reduce.MIN):
        index = segments.unsqueeze(1).expand(-1, values.shape[1])
        return zeros.scatter_reduce(0, index, values, "amax" if reduce is Reduce.MAX else "amin", include_self=False)
    total = zeros.index_add(0, segments, values)
    if reduce is Reduce.MEAN:
        total = total / torch.bincount(segments, minlength=count).clamp(min=1).to(total.dtype).unsqueeze(1)
    return total


def segment_softmax(logits: Tensor, segments: Tensor, count: int) -> Tensor:
    """Softmax of rows within each segment, per channel: [E, H]."""
    peak = segment_reduce(logits.detach(), segments, count, Reduce.MAX)
    weights = torch.exp(logits - peak.index_select(0, segments))
    total = segment_reduce(weights, segments, count, Reduce.SUM)
    return weights / (total.index_select(0, segments) + 1e-16)


@dataclass(frozen=True, slots=True, eq=False)
class TorchTopology:
    """A prepared `Topology` as tensors, the float ones in the dtype of the module. [., 1] broadcasts over channels."""

    source: Tensor  # [E]
    target: Tensor  # [E]
    in_degree: Tensor  # [N] int64
    weight: Tensor | None  # [E, 1]
    source_scale: Tensor | None  # [N, 1]
    target_scale: Tensor | None  # [N, 1]


@dataclass(frozen=True, slots=True, eq=False)
class TorchGraph(Structure):
    """A graph or batch as an edge list of tensors: the differentiable structure that training runs on.

    Attributes:
        prepared: the numpy graph that the tensors were made of.
        x: [N, F].
        topologies: one per topology of the model.
        graph_index: [N] int64.
        num_graphs: G.
    """

    prepared: PreparedGraph
    x: Tensor
    topologies: tuple[TorchTopology, ...]
    graph_index: Tensor
    num_graphs: int
    _edge_inputs: dict[tuple[Role, int], Tensor] = field(default_factory=dict, repr=False)

    @classmethod
    def of(
        cls, prepared: PreparedGraph, *, dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu"
    ) -> TorchGraph:
        """Tensors of a prepared graph. Make them once and reuse them over the epochs."""

        def floats(array: np.ndarray) -> Tensor:
            return torch.tensor(array, dtype=dtype, device=device)

        def column(array: np.ndarray | None) -> Tensor | None:
            return None if array is None else floats(array).unsqueeze(1)

        def indices(array: np.ndarray) -> Tensor:
            return torch.tensor(array, dtype=torch.int64, device=device)

        topologies = tuple(
            TorchTopology(
                indices(t.source), indices(t.target), indices(t.in_degree), column(t.weight), column(t.source_scale),
                column(t.target_scale),
            )
            for t in prepared.topologies
        )  # fmt: skip
        inputs = prepared.inputs
        return cls(prepared, floats(inputs.x), topologies, indices(inputs.graph_index), inputs.num_graphs)

    @property
    def num_nodes(self) -> int:
        return int(self.x.shape[0])

    def input(self, op: Input) -> Tensor:
        if op.role is Role.X:
            values = self.x
        else:
            assert op.type.topology is not None, f"{op.role.value} belongs to a topology"
            values = self._edge_input(op.role, op.type.topology, op.type.channels)
        if values.shape[1] != op.type.channels:
            raise InvalidInput(
                f"{op.role.value}: {values.shape[1]} columns, the model was lowered with {op.type.channels}."
            )
        return values

    def _edge_input(self, role: Role, topology: int, channels: int) -> Tensor:
        if (role, topology) not in self._edge_inputs:
            inputs, edges = self.prepared.inputs, self.prepared.topologies[topology]
            raw = inputs.edge_attr if role is Role.EDGE_ATTR else inputs.edge_weight
            if raw is None:
                raise InvalidInput(f"{role.value}: missing, the model reads it. Pass it with shape [E, {channels}].")
            if role is Role.EDGE_ATTR:
                array = edges.edge_values(raw)
            else:
                array = (edges.weight if edges.weight is not None else raw[edges.origin])[:, None]
            self._edge_inputs[role, topology] = torch.tensor(array, dtype=self.x.dtype, device=self.x.device)
        return self._edge_inputs[role, topology]

    def row_factor(self, factor: RowFactor) -> Tensor | None:
        topology = self.topologies[factor.topology]
        return topology.source_scale if factor.end is End.SOURCE else topology.target_scale

    def in_degree(self, topology: int) -> Tensor:
        return self.topologies[topology].in_degree.to(self.x.dtype).unsqueeze(1)

    def propagate(
        self, x: Tensor, topology: int, reduce: Reduce, weight: Tensor | None, heads: int, source_scaled: bool
    ) -> Tensor:
        edges = self.topologies[topology]
        scaled = x if edges.source_scale is None or source_scaled else x * edges.source_scale
        messages = scaled.index_select(0, edges.source)  # [E, C]
        if edges.weight is not None:
            messages = messages * edges.weight
        if weight is not None:
            messages = weigh_heads(messages, weight, heads)
        y = self._at_targets(messages, edges, reduce)
        return y if edges.target_scale is None else y * edges.target_scale

    def _at_targets(self, messages: Tensor, edges: TorchTopology, reduce: Reduce) -> Tensor:
        if reduce is Reduce.MEAN:  # the in-degree is known, so it is not counted again
            total = segment_reduce(messages, edges.target, self.num_nodes, Reduce.SUM)
            return total / edges.in_degree.clamp(min=1).to(total.dtype).unsqueeze(1)
        return segment_reduce(messages, edges.target, self.num_nodes, reduce)

    def gather(self, x: Tensor, topology: int, end: End) -> Tensor:
        edges = self.topologies[topology]
        return x.index_select(0, edges.source if end is End.SOURCE else edges.target)

    def aggregate(self, x: Tensor, topology: int, reduce: Reduce, end: End) -> Tensor:
        edges = self.topologies[topology]
        if end is End.TARGET:
            return self._at_targets(x, edges, reduce)
        return segment_reduce(x, edges.source, self.num_nodes, reduce)

    def edge_softmax(self, x: Tensor, topology: int) -> Tensor:
        return segment_softmax(x, self.topologies[topology].target, self.num_nodes)

    def pool(self, x: Tensor, reduce: Reduce) -> Tensor:
        return segment_reduce(x, self.graph_index, self.num_graphs, reduce)

    def broadcast(self, x: Tensor) -> Tensor:
        return x.index_select(0, self.graph_index)
