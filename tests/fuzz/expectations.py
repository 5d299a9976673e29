"""Which statuses each hostile input may get: worked out in numpy from the contract, apart from the C code.

An input in which nothing is wrong must be taken; any other must be refused with the status of one of the things that are
wrong with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tests.fuzz.hostile_inputs import Chunk, Fault, Flag, Limits
from toolchain.topology import Normalization, SelfLoops

OK, NULL, ARENA, NODES, EDGES, GRAPHS, DEGREE, INDEX, BATCH, VALUE, WEIGHT, NOT_PREPARED = range(12)  # gnn_status


@dataclass(frozen=True, slots=True)
class Expected:
    """Statuses that are allowed, [inputs, 12] bool, and what is accepted.

    Attributes:
        rows: [inputs, outputs] rows of each output of an accepted input, 0 for others.
    """

    prepare: np.ndarray
    run: np.ndarray
    rows: np.ndarray

    @property
    def accepted(self) -> np.ndarray:
        return self.run[:, OK]


def expect(limits: Limits, chunk: Chunk) -> Expected:
    """Everything that is wrong with each input."""
    records = chunk.records
    nodes, edges, graphs = (records[name].astype(np.int64) for name in ("num_nodes", "num_edges", "num_graphs"))

    def given(flag: Flag) -> np.ndarray:
        return (records["flags"] & flag.value) != 0

    prepare, run = np.zeros((len(records), 12), bool), np.zeros((len(records), 12), bool)
    arena = (records["arena_bytes"] < limits.arena_bytes) | (records["arena_offset"] % 8 != 0)
    prepare[:, ARENA] = arena
    prepare[:, NULL] = given(Flag.NO_GRAPH) | given(Flag.NO_ARENA) | (given(Flag.NO_BATCH) & (graphs != 1))
    missing = given(Flag.NO_SOURCE) | given(Flag.NO_TARGET) | (given(Flag.NO_WEIGHT) & limits.weighted)
    missing |= given(Flag.NO_TYPE) & limits.typed
    prepare[:, NULL] |= missing & (edges > 0)
    prepare[:, NODES] = (nodes == 0) | (nodes > limits.nodes)
    prepare[:, GRAPHS] = (graphs == 0) | (graphs > limits.graphs)
    prepared_edges = _expect_edges(limits, chunk, prepare)
    owner = chunk.node_owner
    wrong = chunk.batch >= graphs[owner]
    wrong[1:] |= (chunk.batch[1:] < chunk.batch[:-1]) & (owner[1:] == owner[:-1])
    prepare[:, BATCH] = _any(owner, wrong, len(records)) & ~given(Flag.NO_BATCH)
    prepare[:, OK] = ~prepare.any(1)

    run[:, NOT_PREPARED] = ~prepare[:, OK] | given(Flag.SKIP_PREPARE) | (records["corrupt_with"] != 0)
    run[:, ARENA] = arena | (records["run_bytes"] < limits.arena_bytes)
    for flag in (Flag.NO_ARENA, Flag.NO_FEATURES, Flag.NO_X, Flag.NO_OUTPUTS, Flag.NO_VALUES, Flag.NO_VALUE):
        run[:, NULL] |= given(flag)
    run[:, NULL] |= given(Flag.NO_X_INDEX) & limits.sparse
    run[:, NULL] |= given(Flag.NO_EDGE_ATTR) & (limits.edge_features > 0) & (edges > 0)
    run[:, VALUE] = _any(chunk.edge_owner, ~np.isfinite(chunk.edge_attr).all(1), len(records))
    if limits.sparse:
        for number in np.flatnonzero(np.isin(chunk.faults, (Fault.SPARSE_POINTER, Fault.SPARSE_INDEX)).any(1)):
            run[number, VALUE] = not _is_sparse(limits, chunk, int(number))
    else:
        run[:, VALUE] |= _any(owner, ~np.isfinite(chunk.dense).all(1), len(records))
    run[:, OK] = ~run.any(1)
    by_domain = {"node": nodes, "graph": graphs, "edge": prepared_edges}
    rows = np.stack([np.where(run[:, OK], by_domain[domain], 0) for domain in limits.outputs], axis=1)
    return Expected(prepare, run, rows)


def _any(owner: np.ndarray, what: np.ndarray, count: int) -> np.ndarray:
    return np.bincount(owner[what], minlength=count) > 0


def _expect_edges(limits: Limits, chunk: Chunk, prepare: np.ndarray) -> np.ndarray:
    """Fill EDGES, DEGREE, INDEX, VALUE and WEIGHT; returns the edges of the first topology, added self-loops included."""
    records, owner, count = chunk.records, chunk.edge_owner, len(chunk.records)
    nodes = records["num_nodes"].astype(np.int64)
    outside = (chunk.source >= nodes[owner]) | (chunk.target >= nodes[owner])
    prepare[:, INDEX] = _any(owner, outside, count)
    if limits.weighted:
        prepare[:, VALUE] = _any(owner, ~np.isfinite(chunk.weight), count)
    is_loop = chunk.source == chunk.target
    counts = []
    for spec in limits.topologies:
        adds = spec.self_loops is not SelfLoops.KEEP
        chosen = np.ones(len(owner), bool) if spec.relation is None else chunk.edge_type == spec.relation
        edges, loops = (np.bincount(owner[which], minlength=count) for which in (chosen, chosen & is_loop))
        counts.append(edges - loops + nodes if adds else edges)
        prepare[:, EDGES] |= counts[-1] > limits.edges
        ends = chunk.source if spec.reversed else chunk.target
        kept = chosen & ~outside & ~(is_loop & adds) & (ends < limits.nodes)
        slot = owner * limits.nodes + ends
        degree = np.bincount(slot[kept], minlength=count * limits.nodes).reshape(count, limits.nodes) + adds
        prepare[:, DEGREE] |= (degree * (np.arange(limits.nodes) < nodes[:, None]) > limits.degree).any(1)
        if spec.weighted and spec.normalization is Normalization.SYMMETRIC:
            weights = np.where(np.isfinite(chunk.weight), chunk.weight, 0).astype(np.float64)
            total = np.bincount(slot[kept], weights[kept], minlength=count * limits.nodes)
            if adds:
                loop = np.full(count * limits.nodes, spec.loop_weight)
                if spec.self_loops is SelfLoops.REMAINING:
                    own = is_loop & ~outside & (ends < limits.nodes)
                    loop[slot[own]] = weights[own]  # repeated loops: the last one
                total = total + loop
            prepare[:, WEIGHT] |= (total.reshape(count, limits.nodes) < 0).any(1)
    return counts[0] if counts else records["num_edges"].astype(np.int64)


def _is_sparse(limits: Limits, chunk: Chunk, number: int) -> bool:
    """Whether pointers do not decrease from 0 and the indices of each row increase below F."""
    given = chunk.records["nodes_given"].astype(np.int64)
    before, rows = int(given[:number].sum()), int(given[number])
    pointer = chunk.x_pointer[before + number : before + number + rows + 1].astype(np.int64)
    index = chunk.x_index[before * limits.features : (before + rows) * limits.features].astype(np.int64)
    if pointer[0] != 0 or (np.diff(pointer) < 0).any() or (np.diff(pointer) > limits.features).any():
        return False
    for start, stop in pairwise(pointer):
        ones = index[start:stop]
        if (ones >= limits.features).any() or (np.diff(ones) <= 0).any():
            return False
    return True
