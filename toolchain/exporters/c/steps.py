"""What calls an op becomes: the dispatch, and the ops that only move rows.

Arithmetic is in steps_float, steps_integer, for attention and edges in steps_edges, for row scales in steps_rows.
"""

from __future__ import annotations

from functools import singledispatch

from toolchain.errors import ExportError
from toolchain.exporters.c import steps_edges, steps_float, steps_integer, steps_rows
from toolchain.exporters.c.layers import is_integer
from toolchain.exporters.c.program import Program
from toolchain.exporters.sparse_input import stands_for_features
from toolchain.ir import Domain, Value, ops
from toolchain.ir.ops import End, Role


def compute(program: Program, value: Value) -> None:
    """Append the calls that compute the current block of rows of a value."""
    if program.sparse and isinstance(value.op, ops.Quantize) and stands_for_features(program.graph, value):
        return  # the Linear behind it reads the positions of ones
    _compute(value.op, program, value)


@singledispatch
def _compute(op: ops.Op, program: Program, value: Value) -> None:
    """Ops without an integer form: they run in float, between Dequantize and Quantize."""
    steps_float.compute(op, program, value)


@_compute.register(ops.Linear)
@_compute.register(ops.Propagate)
@_compute.register(ops.Pool)
@_compute.register(ops.Add)
@_compute.register(ops.Sub)
@_compute.register(ops.Maximum)
@_compute.register(ops.Activation)
@_compute.register(ops.HeadDot)
@_compute.register(ops.HeadMean)
@_compute.register(ops.EdgeSoftmax)
@_compute.register(ops.Aggregate)
@_compute.register(ops.Mul)
@_compute.register(ops.Quantize)
@_compute.register(ops.Dequantize)
def _(op: ops.Op, program: Program, value: Value) -> None:
    if not is_integer(program.graph.values[value.inputs[0]].type):
        steps_float.compute(op, program, value)
    else:
        (steps_edges if steps_edges.takes(program.graph, value) else steps_integer).compute(op, program, value)


@_compute.register(ops.DegreeGroup)
@_compute.register(ops.PeakGroup)
@_compute.register(ops.RowScale)
def _(op: ops.Op, program: Program, value: Value) -> None:
    steps_rows.compute(op, program, value)


@_compute.register
def _(op: ops.Input, program: Program, value: Value) -> None:
    if value.type.domain is Domain.NODE:
        return  # read where the caller has it
    assert value.type.topology is not None
    y = program.place(value, writes=True)
    if op.role is Role.EDGE_WEIGHT:
        program.topology_arrays.setdefault(value.type.topology, set()).add("weight")
        source = f"topology_{value.type.topology}_weight + first"
        program.call(
            "gnn_copy_rows",
            source,
            "sizeof(float)",
            "sizeof(float)",
            "rows",
            y.rows,
            "sizeof(float)",
            scope=value.scope,
        )
        return
    topology = program.topology(value.type.topology, "origin")
    program.stages[-1].reads_targets = True
    program.call(
        "gnn_edge_attr_f32", "features->edge_attr", f"{value.type.channels}u", topology, "target", "first", "rows", y.rows,
        scope=value.scope,
    )  # fmt: skip


@_compute.register
def _(op: ops.Gather, program: Program, value: Value) -> None:
    x = program.place(program.graph.values[value.inputs[0]])
    y = program.place(value, writes=True)
    program.topology(op.topology)
    if op.end is End.TARGET:
        program.stages[-1].reads_targets = True
    index = "target" if op.end is End.TARGET else f"topology_{op.topology}.source + first"
    program.call("gnn_gather", x.name, index, _row_bytes(value), "rows", y.rows, scope=value.scope)


@_compute.register
def _(op: ops.Broadcast, program: Program, value: Value) -> None:
    x = program.place(program.graph.values[value.inputs[0]])
    y = program.place(value, writes=True)
    program.call(
        "gnn_broadcast",
        x.name,
        "graph_pointer",
        "num_graphs",
        _row_bytes(value),
        "first",
        "rows",
        y.rows,
        scope=value.scope,
    )


@_compute.register
def _(op: ops.Slice, program: Program, value: Value) -> None:
    x = program.place(program.graph.values[value.inputs[0]])
    y = program.place(value, writes=True)
    size = x.dtype.numpy.itemsize
    program.call(
        "gnn_copy_rows", f"{x.rows} + {op.start}u", f"{x.stride * size}u", _row_bytes(value), "rows", y.rows,
        f"{y.stride * size}u", scope=value.scope,
    )  # fmt: skip


@_compute.register
def _(op: ops.Concat, program: Program, value: Value) -> None:
    y = program.place(value, writes=True)
    start = 0
    for number in value.inputs:
        operand = program.graph.values[number]
        place = f"{y.rows} + {start}u"
        if is_integer(operand.type) and (operand.type.dtype, operand.type.qparams) != (
            value.type.dtype,
            value.type.qparams,
        ):
            steps_integer.requantize(program, value, operand, place, y, f"{value.id}_{start}")
        else:
            x = program.place(operand)
            size = x.dtype.numpy.itemsize
            program.call(
                "gnn_copy_rows", x.rows, f"{x.stride * size}u", f"{operand.type.channels * size}u", "rows", place,
                f"{y.stride * size}u", scope=value.scope,
            )  # fmt: skip
        start += operand.type.channels


@_compute.register
def _(op: ops.Dropout, program: Program, value: Value) -> None:
    raise ExportError(f"{value.scope}: Dropout has no inference form; run toolchain.passes.deployable first.")


def collect(program: Program, value: Value) -> None:
    """Append what a Pool or Aggregate does in its operand's stage: start before the loop, add every block in it."""
    if not is_integer(program.graph.values[value.inputs[0]].type):
        steps_float.collect(program, value)
    else:
        (steps_edges if steps_edges.takes(program.graph, value) else steps_integer).collect(program, value)


def before(program: Program, value: Value) -> None:
    """Append what a value needs ahead of the loop of its stage: ranges, statistics, the end of a collection."""
    integer = is_integer(program.graph.values[value.inputs[0]].type if value.inputs else value.type)
    (steps_edges if integer else steps_float).before(program, value)


def _row_bytes(value: Value) -> str:
    return f"{value.type.channels * value.type.dtype.numpy.itemsize}u"
