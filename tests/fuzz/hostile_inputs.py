"""Hostile graphs in bulk: thousands of inputs per chunk, most with something wrong."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag, auto

import numpy as np

from toolchain.artifact import Artifact
from toolchain.topology import TopologySpec

MAX_OUTPUTS = 4
STATE_BYTES = 16  # head of the arena: the model's mark and the counts


class Flag(IntFlag):
    """What the runner does with an input, beside passing its arrays. The names are macros there."""

    NO_GRAPH = auto()
    NO_SOURCE = auto()
    NO_TARGET = auto()
    NO_BATCH = auto()
    NO_WEIGHT = auto()
    NO_TYPE = auto()
    NO_FEATURES = auto()
    NO_X = auto()
    NO_X_INDEX = auto()
    NO_EDGE_ATTR = auto()
    NO_ARENA = auto()
    NO_OUTPUTS = auto()
    NO_VALUES = auto()
    NO_VALUE = auto()  # the pointer of the last output
    SKIP_PREPARE = auto()
    STALE = auto()  # the arena held another graph of the model before
    RUN_TWICE = auto()  # the second time into a sink


class Fault(IntEnum):
    """What is wrong, or at least unusual, with an input."""

    NOTHING = 0
    ZERO_NODES = auto()
    MANY_NODES = auto()
    NO_EDGES = auto()
    MANY_EDGES = auto()
    ZERO_GRAPHS = auto()
    MANY_GRAPHS = auto()
    HUB = auto()
    LOOPS = auto()
    DUPLICATES = auto()
    BAD_SOURCE = auto()
    BAD_TARGET = auto()
    BATCH_DECREASES = auto()
    BATCH_RANGE = auto()
    X_NOT_FINITE = auto()
    X_HUGE = auto()
    ATTR_NOT_FINITE = auto()
    WEIGHT_NOT_FINITE = auto()
    WEIGHT_NEGATIVE = auto()
    SPARSE_POINTER = auto()
    SPARSE_INDEX = auto()
    ARENA_SMALL = auto()
    ARENA_MISALIGNED = auto()
    RUN_SMALL = auto()
    CORRUPT_STATE = auto()
    FLAG = auto()  # one of Flag


RECORD = np.dtype(
    [(name, np.uint32) for name in (
        "num_nodes", "num_edges", "num_graphs", "nodes_given", "edges_given", "flags", "arena_bytes", "arena_offset",
        "run_bytes", "corrupt_at", "corrupt_with",
    )] + [("rows", np.uint32, MAX_OUTPUTS)]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Limits:
    """What the model takes, from its artifact and its own answer for the arena."""

    nodes: int
    edges: int
    graphs: int
    degree: int
    features: int
    edge_features: int
    weighted: bool
    typed: bool
    sparse: bool
    topologies: tuple[TopologySpec, ...]
    outputs: tuple[str, ...]  # domains
    arena_bytes: int

    @classmethod
    def of(cls, artifact: Artifact, arena_bytes: int) -> Limits:
        contract = artifact.contract
        assert contract.max_nodes and contract.max_edges and contract.max_graphs and contract.max_degree
        return cls(
            contract.max_nodes, contract.max_edges, contract.max_graphs, contract.max_degree, contract.features,
            contract.edge_features or 0, contract.edge_weight, contract.edge_type,
            bool(artifact.provenance.get("sparse_features")), contract.topologies,
            tuple(output.domain for output in artifact.signature.outputs), arena_bytes,
        )  # fmt: skip


@dataclass(slots=True)
class Chunk:
    """Inputs side by side: a record each, and their arrays one after another.

    Attributes:
        dense: [all nodes, F] float32, x itself or what the sparse features stand for.
        is_comparable: outputs are finite numbers that two computations agree on.
    """

    records: np.ndarray
    source: np.ndarray
    target: np.ndarray
    batch: np.ndarray
    weight: np.ndarray
    dense: np.ndarray
    x_pointer: np.ndarray
    x_index: np.ndarray
    edge_attr: np.ndarray
    edge_type: np.ndarray
    faults: np.ndarray
    is_comparable: np.ndarray

    @property
    def edge_owner(self) -> np.ndarray:
        """The input of each edge."""
        return np.repeat(np.arange(len(self.records)), self.records["edges_given"])

    @property
    def node_owner(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.records)), self.records["nodes_given"])

    def sections(self, sparse: bool) -> list[np.ndarray]:
        """The arrays in the order in which the runner reads them."""
        x = np.empty((0,), np.float32) if sparse else self.dense
        return [
            self.source, self.target, self.batch, self.weight, x, self.x_pointer, self.x_index, self.edge_attr, self.edge_type,
        ]  # fmt: skip


def make_chunk(limits: Limits, count: int, rng: np.random.Generator, fault_share: float = 0.6) -> Chunk:
    """`count` inputs: `fault_share` of them have a fault, a sixth of those another one."""
    faults = np.where(
        rng.random((count, 2)) < [fault_share, fault_share / 6], rng.integers(1, len(Fault), (count, 2)), 0
    )

    def has(fault: Fault) -> np.ndarray:
        return (faults == fault).any(1)

    records = _sizes(limits, count, rng, has)
    chunk = _arrays(limits, records, rng, faults)
    _spoil_edges(limits, chunk, rng, has)
    _spoil_values(limits, chunk, rng, has)
    _spoil_call(limits, records, rng, has)
    return chunk


def _sizes(limits: Limits, count: int, rng: np.random.Generator, has) -> np.ndarray:  # type: ignore[no-untyped-def]
    records = np.zeros(count, RECORD)
    nodes = rng.integers(1, limits.nodes + 1, count)
    edges = rng.integers(0, np.maximum(limits.edges - nodes, 0) + 1)
    graphs = np.where(rng.random(count) < 0.5, 1, rng.integers(1, limits.graphs + 1, count))
    records["nodes_given"] = nodes
    nodes = np.where(has(Fault.ZERO_NODES), 0, nodes)
    too_many = np.array([limits.nodes + 1, 65_535, 65_536, 2**31, 2**32 - 1])
    nodes = np.where(has(Fault.MANY_NODES), rng.choice(too_many[too_many > limits.nodes], count), nodes)
    edges = np.where(has(Fault.NO_EDGES), 0, edges)
    edges = np.where(has(Fault.MANY_EDGES), limits.edges + rng.integers(-2, 4, count), edges)
    edges = np.where(has(Fault.HUB), limits.degree + rng.integers(-2, 2, count), edges).clip(min=0)
    graphs = np.where(has(Fault.ZERO_GRAPHS), 0, graphs)
    graphs = np.where(has(Fault.MANY_GRAPHS), rng.choice([limits.graphs + 1, 65_536, 2**32 - 1], count), graphs)
    records["num_nodes"], records["num_edges"], records["num_graphs"] = nodes, edges, graphs
    records["edges_given"] = edges
    return records


def _arrays(limits: Limits, records: np.ndarray, rng: np.random.Generator, faults: np.ndarray) -> Chunk:
    edges, nodes = int(records["edges_given"].sum()), int(records["nodes_given"].sum())
    given = np.repeat(records["nodes_given"].astype(np.int64), records["edges_given"])
    source, target = (rng.integers(0, np.maximum(given, 1)).astype(np.uint16) for _ in range(2))
    graphs = np.repeat(records["num_graphs"].astype(np.int64).clip(1, 65_535), records["nodes_given"])
    batch = rng.integers(0, graphs)
    owner = np.repeat(np.arange(len(records)), records["nodes_given"])
    batch = batch[np.lexsort((batch, owner))].astype(np.uint16)
    if limits.sparse:
        dense = (rng.random((nodes, limits.features)) < 0.3).astype(np.float32)
    else:
        dense = rng.normal(0, 2, (nodes, limits.features)).astype(np.float32)
    # eighths: their sums are exact, so that no sum is negative for one computation and zero for another
    weight = rng.integers(0, 17, edges if limits.weighted else 0).astype(np.float32) / 8
    attr = rng.normal(0, 2, (edges, limits.edge_features)).astype(np.float32)
    types = rng.choice(_relations(limits), edges) if limits.typed else np.zeros(0, np.uint16)
    pointer, index = (
        _sparse(limits, records, dense) if limits.sparse else (np.zeros(0, np.uint32), np.zeros(0, np.uint16))
    )
    return Chunk(
        records, source, target, batch, weight, dense, pointer, index, attr, types, faults, np.ones(len(records), bool)
    )


def _relations(limits: Limits) -> np.ndarray:
    """Those of the model, and two that no edge of it has, which count for nothing."""
    known = [spec.relation for spec in limits.topologies if spec.relation is not None]
    return np.array([*known, max(known) + 1, 65_535], np.uint16)


def _sparse(limits: Limits, records: np.ndarray, dense: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pointers from 0 for each input; indices with room for F ones per row, so that no checked pointer leads beyond them."""
    given = records["nodes_given"].astype(np.int64)
    owner = np.repeat(np.arange(len(records)), given)
    rows, columns = np.nonzero(dense)
    before = np.zeros(len(dense) + 1, np.int64)
    np.cumsum(dense.sum(1), out=before[1:])
    first_row = np.concatenate([[0], np.cumsum(given)])
    start = before[first_row[:-1]]  # ones before each input
    pointer = np.zeros(int(given.sum()) + len(records), np.uint32)
    place = np.arange(len(dense)) + owner + 1  # an extra entry at the head of each input
    pointer[place] = before[1:] - start[owner]
    index = np.zeros(len(dense) * limits.features, np.uint16)
    offset = first_row[:-1] * limits.features
    index[offset[owner[rows]] + np.arange(len(rows)) - start[owner[rows]]] = columns
    return pointer, index


def _one_each(counts: np.ndarray, chosen: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A random element of each chosen input's array; returns (inputs that have one, positions in the flat array)."""
    start = np.concatenate([[0], np.cumsum(counts.astype(np.int64))[:-1]])
    inputs = np.flatnonzero(chosen & (counts > 0))
    return inputs, start[inputs] + rng.integers(0, counts[inputs].astype(np.int64))


def _spoil_edges(limits: Limits, chunk: Chunk, rng: np.random.Generator, has) -> None:  # type: ignore[no-untyped-def]
    records, owner = chunk.records, chunk.edge_owner
    edges = records["edges_given"]
    chunk.target[has(Fault.HUB)[owner]] = 0
    if limits.typed:  # of several relations none would have too many
        chunk.edge_type[(has(Fault.MANY_EDGES) | has(Fault.HUB))[owner]] = 0
    loops = has(Fault.LOOPS)[owner]
    chunk.target[loops] = chunk.source[loops]
    _, places = _one_each(edges, has(Fault.DUPLICATES), rng)
    copies = np.minimum(places + 1, max(len(owner) - 1, 0))
    same = owner[copies] == owner[places] if len(places) else np.zeros(0, bool)
    chunk.source[copies[same]], chunk.target[copies[same]] = chunk.source[places[same]], chunk.target[places[same]]
    for fault, ends in ((Fault.BAD_SOURCE, chunk.source), (Fault.BAD_TARGET, chunk.target)):
        inputs, places = _one_each(edges, has(fault), rng)
        ends[places] = np.where(rng.random(len(inputs)) < 0.5, records["nodes_given"][inputs], 65_535)
    nodes = records["nodes_given"]
    _, places = _one_each(nodes, has(Fault.BATCH_DECREASES), rng)
    chunk.batch[places] = 0
    inputs, places = _one_each(nodes, has(Fault.BATCH_RANGE), rng)
    chunk.batch[places] = np.where(rng.random(len(inputs)) < 0.5, records["num_graphs"][inputs] & 0xFFFF, 65_535)


def _spoil_values(limits: Limits, chunk: Chunk, rng: np.random.Generator, has) -> None:  # type: ignore[no-untyped-def]
    records = chunk.records
    not_finite = np.array([np.nan, np.inf, -np.inf], np.float32)
    if not limits.sparse:
        flat = chunk.dense.reshape(-1)
        _, places = _one_each(records["nodes_given"] * limits.features, has(Fault.X_NOT_FINITE), rng)
        flat[places] = rng.choice(not_finite, len(places))
        inputs, places = _one_each(records["nodes_given"] * limits.features, has(Fault.X_HUGE), rng)
        flat[places] = rng.choice(np.array([3e38, -3e38, 1e-40, -0.0], np.float32), len(places))
        chunk.is_comparable[inputs] = False
    _, places = _one_each(records["edges_given"] * limits.edge_features, has(Fault.ATTR_NOT_FINITE), rng)
    chunk.edge_attr.reshape(-1)[places] = rng.choice(not_finite, len(places))
    if limits.weighted:
        _, places = _one_each(records["edges_given"], has(Fault.WEIGHT_NOT_FINITE), rng)
        chunk.weight[places] = rng.choice(not_finite, len(places))
        _, places = _one_each(records["edges_given"], has(Fault.WEIGHT_NEGATIVE), rng)
        chunk.weight[places] = rng.choice(np.array([-0.125, -1.0, -100.0], np.float32), len(places))
    if limits.sparse:
        _, places = _one_each(records["nodes_given"] + 1, has(Fault.SPARSE_POINTER), rng)
        garbage = np.array([0, 1, limits.features + 1, 2**16, 2**31, 2**32 - 1], np.uint32)
        chunk.x_pointer[places] = rng.choice(garbage, len(places))
        _, places = _one_each(records["nodes_given"] * limits.features, has(Fault.SPARSE_INDEX), rng)
        chunk.x_index[places] = rng.choice(np.array([0, limits.features, 65_535], np.uint16), len(places))
        chunk.is_comparable[has(Fault.SPARSE_POINTER) | has(Fault.SPARSE_INDEX)] = False  # other ones than `dense` has


def _spoil_call(limits: Limits, records: np.ndarray, rng: np.random.Generator, has) -> None:  # type: ignore[no-untyped-def]
    count, required = len(records), limits.arena_bytes
    small = rng.choice([0, 1, STATE_BYTES, required - 8, required - 1], count)
    records["arena_bytes"] = np.where(has(Fault.ARENA_SMALL), small, required)
    records["arena_offset"] = np.where(has(Fault.ARENA_MISALIGNED), rng.integers(1, 8, count), 0)
    records["run_bytes"] = np.where(
        has(Fault.RUN_SMALL), np.minimum(small, records["arena_bytes"]), records["arena_bytes"]
    )
    records["corrupt_with"] = np.where(has(Fault.CORRUPT_STATE), rng.integers(1, 256, count), 0)
    records["corrupt_at"] = rng.integers(0, STATE_BYTES, count)
    flags = np.where(has(Fault.FLAG), rng.choice([flag.value for flag in Flag], count), 0)
    alone = rng.random(count)  # the usual ways to call
    flags |= np.where((alone < 0.3) & (records["num_graphs"] == 1), Flag.NO_BATCH.value, 0)
    flags |= np.where(alone > 0.8, Flag.RUN_TWICE.value, 0)
    # A call that never reaches the arena leaves the graph that was in it, which is no fault.
    reaches = (records["arena_bytes"] == required) & (records["arena_offset"] == 0)
    reaches &= flags & (Flag.NO_GRAPH | Flag.NO_ARENA | Flag.SKIP_PREPARE).value == 0
    records["flags"] = np.where(reaches, flags, flags & ~Flag.STALE.value)
