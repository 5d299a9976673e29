"""Stages: which values are computed in one loop over blocks of rows, and which must be complete before a loop starts.

An operand is read either row by row (same row of the same domain) or as a whole (any row: neighbours, an edge's ends, a
graph's nodes). A value's level is one more than that of anything it reads as a whole. The values of one level and domain
form a stage: one loop, in which a block of rows passes through all of them while it is in the cache. So messages of shape
[E, F] never exist, and a value gets memory for all its rows only if a later stage reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.ir import Domain, DType, Graph, Value
from toolchain.ir.ops import (
    Aggregate,
    Broadcast,
    Const,
    DegreeGroup,
    EdgeSoftmax,
    Extent,
    Gather,
    Input,
    LayerNorm,
    Linear,
    Pool,
    Propagate,
)


@dataclass(frozen=True, slots=True, order=True)
class StageKey:
    """Position of a stage: stages run in this order."""

    level: int
    domain: str
    topology: int


@dataclass(frozen=True, slots=True)
class Stage:
    """One loop over the rows of a domain.

    Attributes:
        values: computed here, in order. Pool and Aggregate are finished here; their rows were collected in `collects`.
        collects: Pools and Aggregates that read a value of this stage.
    """

    key: StageKey
    domain: Domain
    topology: int | None
    values: tuple[Value, ...]
    collects: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Schedule:
    """All stages of a graph, and the values that need memory for all their rows."""

    stages: tuple[Stage, ...]
    stored: frozenset[int]
    stage_of: dict[int, int]  # value id → index of its stage


def reads_whole(graph: Graph, value: Value, place: int) -> bool:
    """Whether an op reads operand number `place` at other rows than the one it computes."""
    op, operand = value.op, graph.values[value.inputs[place]]
    if isinstance(operand.op, Const):
        return False
    if isinstance(op, Propagate):
        return True
    if isinstance(op, Linear):  # dynamic int8: the range of all rows comes first
        weight = graph.operand(value, "weight")
        return place == 0 and operand.type.dtype is DType.F32 and weight is not None and weight.type.dtype.is_integer
    if isinstance(op, LayerNorm):
        return op.extent is Extent.GRAPH
    return isinstance(op, Gather | EdgeSoftmax | Broadcast)


def schedule(graph: Graph) -> Schedule:
    """Group the values of a graph into stages."""
    level: dict[int, int] = {}
    for value in graph.values:
        levels = [0]
        for place, operand in enumerate(value.inputs):
            collected = isinstance(value.op, Pool | Aggregate)
            later = collected or reads_whole(graph, value, place)
            levels.append(level[operand] + (1 if later and not _is_given(graph.values[operand]) else 0))
            if collected:
                levels[-1] = max(levels[-1], 1)
        level[value.id] = max(levels)
    _postpone(graph, level)

    def key(value: Value) -> StageKey:
        return StageKey(
            level[value.id], value.type.domain.value, -1 if value.type.topology is None else value.type.topology
        )

    members: dict[StageKey, list[Value]] = {}
    collects: dict[StageKey, list[Value]] = {}
    for value in graph.values:
        if isinstance(value.op, Const):
            continue
        members.setdefault(key(value), []).append(value)
        if isinstance(value.op, Pool | Aggregate):
            collects.setdefault(key(graph.values[value.inputs[0]]), []).append(value)
    keys = sorted(members)
    stages = tuple(
        Stage(k, members[k][0].type.domain, members[k][0].type.topology, tuple(members[k]), tuple(collects.get(k, ())))
        for k in keys
    )
    stage_of = {v.id: i for i, stage in enumerate(stages) for v in stage.values}
    return Schedule(stages, _stored(graph, stage_of), stage_of)


def _postpone(graph: Graph, level: dict[int, int]) -> None:
    """Move what is made of edge inputs alone, and groups of degrees, to the stage of its first reader: then it needs no memory for
    all edges or nodes.
    """
    users = graph.users()
    movable: set[int] = set()
    for value in graph.values:
        rows = [o for o in graph.operands(value) if not isinstance(o.op, Const)]
        is_early = value.type.domain is Domain.EDGE or isinstance(value.op, DegreeGroup)
        if is_early and all(o.id in movable for o in rows):
            movable.add(value.id)
    for value in reversed(graph.values):
        if value.id not in movable or value.id in graph.outputs or not users[value.id]:
            continue
        limits = []
        for user in (graph.values[u] for u in users[value.id]):
            is_here = (user.type.domain, user.type.topology) == (value.type.domain, value.type.topology)
            whole = any(reads_whole(graph, user, place) for place, i in enumerate(user.inputs) if i == value.id)
            limits.append(level[user.id] - (0 if is_here and not whole else 1))
        level[value.id] = max(level[value.id], min(limits))


def _is_given(value: Value) -> bool:
    """Whether a value is complete before anything runs."""
    return isinstance(value.op, Const) or (isinstance(value.op, Input) and value.type.domain is Domain.NODE)


def _stored(graph: Graph, stage_of: dict[int, int]) -> frozenset[int]:
    """Values that are read as a whole, or in a later stage than they are computed in."""
    stored: set[int] = set()
    for value in graph.values:
        if isinstance(value.op, EdgeSoftmax):
            stored.add(value.id)  # computed for whole rows of edges at once
        if isinstance(value.op, Aggregate):
            stored.add(value.id)  # the accumulator is the result
        for place, number in enumerate(value.inputs):
            operand = graph.values[number]
            if _is_given(operand) or isinstance(value.op, Pool | Aggregate):
                continue
            if reads_whole(graph, value, place) or stage_of[number] != stage_of[value.id]:
                stored.add(number)
    return frozenset(stored)
