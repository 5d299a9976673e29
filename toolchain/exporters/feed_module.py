"""FeedModule: a Graph as a torch module whose inputs are the feeds of a model file: what the torch exporters trace."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from toolchain.exporters.fixed_feeds import FixedFeeds
from toolchain.exporters.sparse_input import Features, reads_features
from toolchain.feeds import Feed, FeedKind, build_feed
from toolchain.inputs import GraphInputs, PreparedGraph
from toolchain.ir import Graph, ops
from toolchain.ir.ops import Input, Role
from toolchain.torch_module import GraphModule
from toolchain.torch_ops import Call, activate, scale_rows
from toolchain.torch_structure import Structure


class FeedSource(Protocol):
    """Where a feed-driven structure takes its arrays from."""

    def take(self, feed: Feed) -> Tensor:
        """The tensor of a feed; the same feed gives the same tensor."""


@runtime_checkable
class SparseStructure(Protocol):
    """A structure that reads features by their entries."""

    def sparse_linear(self, weight: Tensor) -> Tensor:
        """x W^T with W [out, F]: [N, out]."""


class FeedPlan:
    """Notes each feed that is asked for, in order, and serves it from an example graph.

    Args:
        fixed: what is known of a fixed graph: `stored` are its arrays, all feeds but the features.
    """

    def __init__(self, example: PreparedGraph, fixed: FixedFeeds | None = None) -> None:
        self.example, self.fixed = example, fixed
        self.feeds: dict[str, Feed] = {}
        self.tensors: dict[str, Tensor] = {}

    def take(self, feed: Feed) -> Tensor:
        if feed.name not in self.feeds:
            self.feeds[feed.name] = feed
            # A copy, because numpy gives an axis of length 1 a stride of 0, which ExecuTorch does not take.
            array = torch.from_numpy(build_feed(feed, self.example))
            self.tensors[feed.name] = array.clone(memory_format=torch.contiguous_format)
        assert self.feeds[feed.name] == feed, f"{feed.name} names two different feeds"
        return self.tensors[feed.name]

    @property
    def given(self) -> tuple[Feed, ...]:
        """The inputs of the file."""
        if self.fixed is None:
            return tuple(self.feeds.values())
        return tuple(self.fixed.sized(feed) for feed in self.feeds.values() if self.fixed.is_given(feed))

    @property
    def stored(self) -> dict[str, Tensor]:
        """The arrays in the file, by the name of their feed."""
        names = {feed.name for feed in self.given}
        return {name: tensor for name, tensor in self.tensors.items() if name not in names}


class BoundFeeds:
    """Serves the tensors that a model file was called with, and those that it holds."""

    def __init__(self, feeds: tuple[Feed, ...], tensors: tuple[Tensor, ...], stored: Mapping[str, Tensor]) -> None:
        self.tensors = {feed.name: tensor for feed, tensor in zip(feeds, tensors, strict=True)} | dict(stored)

    def take(self, feed: Feed) -> Tensor:
        return self.tensors[feed.name]


Lowering = Callable[[FeedSource], Structure]


class FeedModule(GraphModule):
    """Positional tensors in, a tuple of tensors out; inference only.

    Args:
        features: how x is fed; the structures that `lowering` makes take it so.
        fixed: what is known of a fixed graph: all feeds but the features are buffers.

    Attributes:
        feeds: the inputs in order: those that the ops asked of the structure, in the order of asking.
        examples: one tensor per feed, of a small graph with edges, several graphs and no special case.
    """

    def __init__(
        self, graph: Graph, lowering: Lowering, *, features: Features = Features.DENSE, fixed: FixedFeeds | None = None
    ) -> None:
        super().__init__(graph)
        self.eval().requires_grad_(False)
        self.lowering, self.features = lowering, features
        self.prepare()
        example = example_graph(graph, binary=features is Features.BINARY) if fixed is None else fixed.prepared
        plan = FeedPlan(example, fixed)
        self.run(lowering(plan))
        self.feeds = plan.given
        self.examples = tuple(plan.tensors[feed.name] for feed in self.feeds)
        self._stored = tuple(plan.stored)
        for name, tensor in plan.stored.items():
            self.register_buffer(f"fixed_{name}", tensor)

    def prepare(self) -> None:
        """Store what the ops need beside the constants; called once, before the first run."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]  # feeds instead of a structure
        stored = {name: getattr(self, f"fixed_{name}") for name in self._stored}
        return self.run(self.lowering(BoundFeeds(self.feeds, tensors, stored)))

    def _register(self, op: ops.Const, array: np.ndarray, dtype: torch.dtype) -> None:
        super()._register(op, array, torch.float16 if op.is_half else dtype)

    def constant(self, name: str) -> Tensor:
        stored = super().constant(name)
        return stored.float() if stored.dtype is torch.float16 else stored

    @property
    def halves(self) -> list[str]:
        """The attributes that are stored as float16."""
        return [
            name for name, tensor in (*self.named_parameters(), *self.named_buffers()) if tensor.dtype is torch.float16
        ]

    def emit(self, op: ops.Op, call: Call) -> Tensor:
        if (
            self.features is Features.DENSE
            or not isinstance(op, ops.Linear)
            or not reads_features(self.graph, call.value)
        ):
            return super().emit(op, call)
        assert isinstance(call.structure, SparseStructure), "the lowering was made for features that it cannot read"
        y, bias = call.structure.sparse_linear(call.tensors[1]), call.operand("bias")
        y = activate(op.activation, y if bias is None else y + bias)
        return scale_rows(y, op.row_factor, call.structure)

    def run(self, structure: Structure) -> tuple[Tensor, ...]:
        """All ops on one structure."""
        return super().forward(structure)


def example_graph(
    graph: Graph, num_nodes: int = 11, num_edges: int = 29, num_graphs: int = 3, *, binary: bool = False
) -> PreparedGraph:
    """A seeded graph that fits a model's inputs. Odd sizes, so that a baked-in one shows."""
    widths = {v.op.role: v.type.channels for v in graph.values if isinstance(v.op, Input)}
    rng = np.random.default_rng(0)
    x: np.ndarray = rng.normal(size=(num_nodes, widths.get(Role.X, 1)))
    inputs = GraphInputs(
        x > 0 if binary else x,
        rng.integers(0, num_nodes, (2, num_edges)),
        rng.uniform(0.5, 1.5, num_edges),
        rng.normal(size=(num_edges, widths.get(Role.EDGE_ATTR, 1))),
        np.arange(num_nodes) * num_graphs // num_nodes,
        num_graphs,
        rng.integers(0, 1 + max((spec.relation or 0 for spec in graph.topologies), default=0), num_edges),
    )
    return inputs.prepare(graph.topologies)


def feed(
    kind: FeedKind, topology: int | None = None, *, reduce: str | None = None, dims: tuple[str | int, ...] = (),
    dtype: str = "float32", factors: bool = True, min_rows: int = 0,
) -> Feed:  # fmt: skip
    """A feed named after what it holds: "x", "source0", "coefficient0_mean", "coefficient0_sum_without_factors"."""
    name = kind.value + ("" if topology is None else str(topology)) + ("" if reduce is None else f"_{reduce}")
    name += "" if factors else "_without_factors"
    return Feed(name, kind, topology, reduce, dtype, dims, factors=factors, min_rows=min_rows)
