"""The invariants of a Graph. Runs after lowering and after every pass, so that a bad rewrite is caught where it happens."""

from __future__ import annotations

import numpy as np

from toolchain.errors import InvalidGraph
from toolchain.ir.graph import Graph, Value
from toolchain.ir.ops import (
    ALL_OPS,
    Const,
    DegreeGroup,
    Dequantize,
    Gather,
    Input,
    Linear,
    Op,
    PeakGroup,
    Propagate,
    RowFactor,
    RowScale,
)
from toolchain.ir.types import DType, TensorType


def verify(graph: Graph) -> Graph:
    """Check every invariant and return the graph itself.

    Raises:
        InvalidGraph: names the value, what is wrong, and the value's scope.
    """
    for position, value in enumerate(graph.values):
        where = f"%{value.id} {type(value.op).__name__}" + (f" ({value.scope})" if value.scope else "")
        if value.id != position:
            raise InvalidGraph(f"{where}: stands at position {position}; ids must equal positions")
        if type(value.op) not in ALL_OPS:
            raise InvalidGraph(f"{where}: not one of the ops of toolchain.ir.ops")
        if any(not 0 <= i < value.id for i in value.inputs):
            raise InvalidGraph(f"{where}: reads {value.inputs}; a value may only read earlier values")
        _check_type(graph, value, where)
        _check_topologies(graph, value.op, where)
        if isinstance(value.op, RowScale):
            _check_groups(graph, value, value.op, where)
        if isinstance(value.op, Const):
            _check_constant(graph, value.op, where)
    if not graph.outputs or any(not 0 <= o < len(graph.values) for o in graph.outputs):
        raise InvalidGraph(f"outputs {graph.outputs} do not name values")
    for o in graph.outputs:
        if graph.values[o].type.dtype is not DType.F32:
            raise InvalidGraph(
                f"output %{o} is {graph.values[o].type}; outputs are float32, end an integer path with Dequantize"
            )
    roles = [v.op for v in graph.values if isinstance(v.op, Input)]
    if len(set(roles)) != len(roles):
        raise InvalidGraph("the same runtime array is read by two Input values; share one")
    stored = {v.op.name for v in graph.values if isinstance(v.op, Const)}
    if stored != set(graph.constants):
        raise InvalidGraph(
            f"constants {sorted(stored ^ set(graph.constants))} are stored without a Const value, or the reverse"
        )
    return graph


def _check_type(graph: Graph, value: Value, where: str) -> None:
    inferred: TensorType = value.op.infer(tuple(graph.values[i].type for i in value.inputs))
    if (inferred.domain, inferred.shape, inferred.topology) != (
        value.type.domain,
        value.type.shape,
        value.type.topology,
    ):
        raise InvalidGraph(f"{where}: has type {value.type}, its op infers {inferred}")
    if value.type.dtype.is_integer != (value.type.qparams is not None):
        raise InvalidGraph(f"{where}: type {value.type}; integer types and only they carry quantization parameters")
    if isinstance(value.op, Dequantize) and value.type.dtype is not DType.F32:
        raise InvalidGraph(f"{where}: Dequantize gives float32, not {value.type}")


def _check_topologies(graph: Graph, op: Op, where: str) -> None:
    used: list[int] = []
    if isinstance(op, Propagate | Gather | DegreeGroup):
        used.append(op.topology)
    if isinstance(op, Linear | Propagate | RowScale) and isinstance(op.row_factor, RowFactor):
        used.append(op.row_factor.topology)
    if isinstance(op, Input) and op.type.topology is not None:
        used.append(op.type.topology)
    if any(not 0 <= t < len(graph.topologies) for t in used):
        raise InvalidGraph(f"{where}: topology {used} does not exist; the graph has {len(graph.topologies)}")


def _check_groups(graph: Graph, value: Value, op: RowScale, where: str) -> None:
    groups = graph.values[value.inputs[1]].op
    if not isinstance(groups, DegreeGroup | PeakGroup):
        raise InvalidGraph(
            f"{where}: takes its groups from {type(groups).__name__}; they come from DegreeGroup or PeakGroup"
        )
    if len(groups.bounds) + 1 != len(op.factors):
        raise InvalidGraph(f"{where}: has {len(op.factors)} factors for {len(groups.bounds) + 1} groups")


def _check_constant(graph: Graph, op: Const, where: str) -> None:
    array = graph.constants.get(op.name)
    if array is None:
        raise InvalidGraph(f"{where}: no array is stored under {op.name!r}")
    if array.shape != op.type.shape or array.dtype != op.type.dtype.numpy:
        raise InvalidGraph(f"{where}: array is {array.dtype}{array.shape}, type says {op.type}")
    if op.is_half and not is_half(array):
        raise InvalidGraph(f"{where}: is marked as halves, but not all of its {array.dtype} numbers are such")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InvalidGraph(
            f"{where}: weights hold {int((~np.isfinite(array)).sum())} non-finite values; retrain or repair the checkpoint"
        )
    if op.type.qparams is not None and op.type.dtype is not DType.I32:
        low, high = op.type.qparams.code_range
        low = low if op.type.qparams.bits == 8 else -high  # stored codes are symmetric
        if array.size and (array.min() < low or array.max() > high):
            raise InvalidGraph(
                f"{where}: codes in [{array.min()}, {array.max()}], {op.type.qparams.bits} bits allow [{low}, {high}]"
            )


def is_half(array: np.ndarray) -> bool:
    """Whether all numbers of an array are finite IEEE halves."""
    with np.errstate(over="ignore"):
        return array.dtype == np.float32 and bool((array.astype(np.float16) == array).all())
