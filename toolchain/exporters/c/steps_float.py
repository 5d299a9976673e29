"""Calls of the float kernels: the ops of `toolchain.ir.reference`."""

from __future__ import annotations

from functools import singledispatch

import numpy as np

from toolchain.errors import ExportError
from toolchain.exporters.c import literals
from toolchain.exporters.c.layers import is_integer, scale_of, zero_of
from toolchain.exporters.c.packing import PackedFloats, packed_floats
from toolchain.exporters.c.program import Program
from toolchain.exporters.c.ready_linear import reads_sparse
from toolchain.ir import DType, Value, ops
from toolchain.ir.ops import Const, End, Extent, Function, Reduce
from toolchain.topology import Normalization, TopologySpec

PLAIN_SUM_TERMS = 500  # up to so many floats are summed plainly: see gnn_aggregate_start_f32
_REDUCE = {
    Reduce.SUM: "GNN_SUM", Reduce.MEAN: "GNN_MEAN", Reduce.MAX: "GNN_MAX", Reduce.MIN: "GNN_MIN", Reduce.PRODUCT: "GNN_PRODUCT",
}  # fmt: skip
_KIND = {
    ops.Add: "GNN_ADD", ops.Sub: "GNN_SUB", ops.Mul: "GNN_MUL", ops.Div: "GNN_DIV", ops.Maximum: "GNN_MAXIMUM"
}  # fmt: skip


@singledispatch
def compute(op: ops.Op, program: Program, value: Value) -> None:
    """Append the calls for the current block of rows of a float value."""
    raise ExportError(f"{value.scope}: {type(op).__name__} has no C kernel.")


def _constant(program: Program, value: Value | None, name: str) -> str:
    return "NULL" if value is None else program.constant(name, program.graph.constant(value).astype(np.float32))


def _fused_relu(op: ops.Op) -> int:
    activation = getattr(op, "activation", None)
    if activation not in (None, Function.RELU):
        raise ExportError(f"{activation} is fused into {type(op).__name__}; the C kernels fuse ReLU only.")
    return int(activation is Function.RELU)


def weights_enter_sums(spec: TopologySpec) -> bool:
    """Whether edges of a topology weigh something else than 1."""
    return spec.weighted or (spec.loop_weight != 1.0 and spec.self_loops.adds)


def _row_scale(program: Program, factor: ops.RowFactor | None) -> str:
    """Pointer to the float factors of the current rows; a topology without normalization has none."""
    if factor is None or program.graph.topologies[factor.topology].normalization is Normalization.NONE:
        return "NULL"
    if program.graph.topologies[factor.topology].normalization is Normalization.DEGREE and factor.end is End.SOURCE:
        return "NULL"
    program.topology(factor.topology, "scale")
    return f"topology_{factor.topology}.scale + first"


@compute.register
def _(op: ops.Linear, program: Program, value: Value) -> None:
    graph, number = program.graph, value.id
    x, weight, bias = graph.values[value.inputs[0]], graph.operand(value, "weight"), graph.operand(value, "bias")
    assert weight is not None
    codes = graph.constant(weight)
    dynamic = is_integer(weight.type)
    packed = None
    if isinstance(weight.op, Const) and not dynamic and not reads_sparse(program, value):
        packed = packed_floats(weight.op, codes, program.packing)
    if packed is not None:
        _packed_linear(op, program, value, packed)
        return
    stored = codes.astype(np.int8) if dynamic else np.ascontiguousarray(codes.T.astype(np.float32))
    fields = [f".weight = {program.constant(f'weight_{number}', stored)}"]
    if dynamic:
        assert weight.type.qparams is not None
        scales = np.broadcast_to(np.array(weight.type.qparams.scale, np.float32), codes.shape[:1])
        fields.append(f".weight_scale = {program.constant(f'weight_scale_{number}', scales)}")
    if bias is not None:
        fields.append(f".bias = {_constant(program, bias, f'bias_{number}')}")
    fields.append(f".in = {codes.shape[1]}, .out = {codes.shape[0]}, .relu = {_fused_relu(op)}")
    kind = "gnn_linear_dynamic_layer" if dynamic else "gnn_linear_f32_layer"
    layer = program.struct(kind, f"linear_{number}", fields)
    scale = _row_scale(program, op.row_factor)
    if reads_sparse(program, value):
        if dynamic:
            raise ExportError(
                f"{value.scope}: dynamic int8 weights do not read sparse features. Use static int8 or float."
            )
        y = program.place(value, writes=True)
        pointers = ("features->x_pointer", "features->x_index", "first", "rows")
        program.call("gnn_linear_sparse_f32", layer, *pointers, scale, y.rows, scope=value.scope)
        return
    operand, y = program.place(x), program.place(value, writes=True)
    if dynamic:
        range_ = program.buffer(f"range_{number}", "float", 8, is_block=False, writes=False)
        program.call("gnn_linear_dynamic", layer, range_, operand.rows, "rows", scale, y.rows, scope=value.scope)
    else:
        program.call("gnn_linear_f32", layer, operand.rows, "rows", scale, y.rows, scope=value.scope)


def _packed_linear(op: ops.Linear, program: Program, value: Value, packed: PackedFloats) -> None:
    number, bias = value.id, program.graph.operand(value, "bias")
    x = program.graph.values[value.inputs[0]]
    fields = [
        f".index = {program.constant(f'index_{number}', packed.index)}",
        f".values = {program.constant(f'weight_{number}', packed.values) if packed.values.size else 'NULL'}",
        f".bias = {_constant(program, bias, f'bias_{number}')}",
        f".in = {x.type.channels}, .out = {value.type.channels}, .index_bits = {packed.bits}, .relu = {_fused_relu(op)}",
    ]
    layer = program.struct("gnn_linear_packed_f32_layer", f"linear_{number}", fields)
    scale, operand = _row_scale(program, op.row_factor), program.place(x)
    y = program.place(value, writes=True)
    kernel = f"gnn_linear_{packed.storage}_f32"
    program.call(kernel, layer, operand.rows, "rows", scale, y.rows, scope=value.scope)


@compute.register
def _(op: ops.Propagate, program: Program, value: Value) -> None:
    graph, number = program.graph, value.id
    x, weight = graph.values[value.inputs[0]], graph.operand(value, "weight")
    spec = graph.topologies[op.topology]
    arrays = ["weight"] if weights_enter_sums(spec) else []
    if spec.normalization is Normalization.DEGREE:
        raise ExportError(f"{value.scope}: degrees are row factors; no C kernel sums neighbours times them.")
    if spec.normalization is not Normalization.NONE:
        arrays.append("scale")
    fields = [
        f".channels = {x.type.channels}, .heads = {0 if weight is None else weight.type.channels}",
        f".reduce = {_REDUCE[op.reduce]}, .relu = {_fused_relu(op)}, .source_scaled = {int(op.source_scaled)}",
    ]
    for slot in ("self_scale", "bias"):
        operand = graph.operand(value, slot)
        if operand is not None:
            array = np.broadcast_to(graph.constant(operand), (1 if slot == "self_scale" else x.type.channels,))
            fields.append(f".{slot} = {program.constant(f'{slot}_{number}', array.astype(np.float32))}")
    struct = program.struct("gnn_propagate_f32_op", f"propagate_{number}", fields)
    topology, scale = program.topology(op.topology, *arrays), _row_scale(program, op.row_factor)
    place = program.place(x)
    edge = "NULL" if weight is None else program.place(weight).name
    y = program.place(value, writes=True)
    program.call(
        "gnn_propagate_f32", struct, topology, place.name, edge, scale, "first", "rows", y.rows, scope=value.scope
    )


@compute.register(ops.Pool)
@compute.register(ops.Aggregate)
@compute.register(ops.EdgeSoftmax)
def _(op: ops.Op, program: Program, value: Value) -> None:
    """Complete before the loop: see `before`."""


@compute.register
def _(op: ops.HeadDot, program: Program, value: Value) -> None:
    x, weight = (program.graph.values[i] for i in value.inputs)
    heads, width = weight.type.shape
    stored = _constant(program, weight, f"weight_{value.id}")
    operand, y = program.place(x), program.place(value, writes=True)
    program.call("gnn_head_dot_f32", operand.rows, stored, "rows", f"{heads}u", f"{width}u", y.rows, scope=value.scope)


@compute.register
def _(op: ops.HeadMean, program: Program, value: Value) -> None:
    x, y = program.place(program.graph.values[value.inputs[0]]), program.place(value, writes=True)
    program.call(
        "gnn_head_mean_f32", x.rows, "rows", f"{op.heads}u", f"{value.type.channels}u", y.rows, scope=value.scope
    )


@compute.register(ops.Add)
@compute.register(ops.Sub)
@compute.register(ops.Mul)
@compute.register(ops.Div)
@compute.register(ops.Maximum)
def _(op: ops.Op, program: Program, value: Value) -> None:
    arguments = []
    for side, number in zip("ab", value.inputs, strict=True):
        operand = program.graph.values[number]
        if isinstance(operand.op, Const):
            pointer, stride = _constant(program, operand, f"{side}_{value.id}"), 0
        else:
            place = program.place(operand)
            pointer, stride = place.rows, place.stride
        arguments += [pointer, f"{operand.type.channels}u", f"{stride}u"]
    y = program.place(value, writes=True)
    program.call(
        "gnn_binary_f32", _KIND[type(op)], *arguments, "rows", f"{value.type.channels}u", f"{_fused_relu(op)}u", y.rows,
        scope=value.scope,
    )  # fmt: skip


@compute.register
def _(op: ops.Activation, program: Program, value: Value) -> None:
    x, y = program.place(program.graph.values[value.inputs[0]]), program.place(value, writes=True)
    function, alpha = f"GNN_{op.function.name}", literals.number(np.float32(op.alpha))
    program.call(
        "gnn_activation_f32",
        function,
        alpha,
        x.rows,
        f"(size_t)rows * {value.type.channels}u",
        y.rows,
        scope=value.scope,
    )


@compute.register
def _(op: ops.LogSoftmax, program: Program, value: Value) -> None:
    x, y = program.place(program.graph.values[value.inputs[0]]), program.place(value, writes=True)
    program.call(
        "gnn_log_softmax_f32", x.rows, "rows", f"{value.type.channels}u", f"{int(op.log)}u", y.rows, scope=value.scope
    )


@compute.register
def _(op: ops.BatchNorm, program: Program, value: Value) -> None:
    x, *statistics = (program.graph.values[i] for i in value.inputs)
    weight, bias, mean, variance = (program.graph.constant(v).astype(np.float64) for v in statistics)
    factor = weight / np.sqrt(variance + op.eps)
    scale = program.constant(f"weight_{value.id}", factor.astype(np.float32))
    shift = program.constant(f"bias_{value.id}", (bias - mean * factor).astype(np.float32))
    operand, y = program.place(x), program.place(value, writes=True)
    program.call(
        "gnn_affine_f32", operand.rows, scale, shift, "rows", f"{value.type.channels}u", y.rows, scope=value.scope
    )


def _norm_struct(program: Program, op: ops.LayerNorm, value: Value) -> str:
    weight, bias = (program.graph.values[i] for i in value.inputs[1:])
    stored = (_constant(program, weight, f"weight_{value.id}"), _constant(program, bias, f"bias_{value.id}"))
    return program.struct(
        "gnn_layer_norm_op", f"norm_{value.id}",
        [
            f".weight = {stored[0]}, .bias = {stored[1]}, .channels = {value.type.channels}",
            f".eps_outside = {int(op.eps_outside)}, .eps = {literals.number(np.float32(op.eps))}",
        ],
    )  # fmt: skip


@compute.register
def _(op: ops.LayerNorm, program: Program, value: Value) -> None:
    x = program.graph.values[value.inputs[0]]
    if op.extent is Extent.ROW:
        struct = _norm_struct(program, op, value)
        operand, y = program.place(x), program.place(value, writes=True)
        program.call("gnn_layer_norm_f32", struct, operand.rows, "rows", y.rows, scope=value.scope)
        return
    operand, y, statistics = program.place(x), program.place(value, writes=True), _statistics(program, value)
    program.call(
        "gnn_graph_norm_f32", f"&norm_{value.id}", statistics, "graph_pointer", "num_graphs", operand.rows, "first", "rows",
        y.rows, scope=value.scope,
    )  # fmt: skip


def _statistics(program: Program, value: Value) -> str:
    graphs = program.bounds.graphs
    assert graphs is not None
    return program.buffer(f"statistics_{value.id}", "float", 8 * graphs, is_block=False, writes=True)


@compute.register
def _(op: ops.Quantize, program: Program, value: Value) -> None:
    q = op.qparams
    low, high = q.code_range
    inverse = literals.number(np.float32(1.0 / np.float64(scale_of(value.type))))
    struct = program.struct(
        "gnn_quantize_op", f"quantize_{value.id}",
        [f".channels = {value.type.channels}, .zero_point = {zero_of(value.type)}, .low = {low}, .high = {high}",
         f".inverse_scale = {inverse}"],
    )  # fmt: skip
    x, y = program.place(program.graph.values[value.inputs[0]]), program.place(value, writes=True)
    suffix = "s8" if y.dtype is DType.I8 else "s16"
    program.call(f"gnn_quantize_{suffix}", struct, x.rows, "rows", y.rows, f"{y.stride}u", scope=value.scope)


# --- whole-array steps ------------------------------------------------------------------------------------------------


def _counts(program: Program, value: Value, op: ops.Pool | ops.Aggregate) -> str:
    if op.reduce is not Reduce.MEAN:
        return "NULL"
    nodes = program.bounds.nodes
    assert nodes is not None
    return program.buffer(f"counts_{value.id}", "uint32_t", 4 * nodes, is_block=False, writes=True)


def _error(program: Program, value: Value, op: ops.Pool | ops.Aggregate) -> str:
    """Memory for what rounding takes from long sums, so that thousands of terms keep the accuracy of a few."""
    most = program.bounds.nodes if isinstance(op, ops.Pool) else program.max_degree
    assert most is not None
    if op.reduce not in (Reduce.SUM, Reduce.MEAN) or most <= PLAIN_SUM_TERMS:
        return "NULL"
    bytes_ = 4 * program.rows_of(value.type.domain) * value.type.channels
    return program.buffer(f"error_{value.id}", "float", bytes_, is_block=False, writes=True)


def collect(program: Program, value: Value) -> None:
    """Start a Pool or Aggregate before the loop of its operand, and add every block in it."""
    op = value.op
    assert isinstance(op, ops.Pool | ops.Aggregate)
    operand = program.graph.values[value.inputs[0]]
    reduce, channels = _REDUCE[op.reduce], f"{value.type.channels}u"
    y, error = program.place(value, writes=True), _error(program, value, op)
    if isinstance(op, ops.Pool):
        program.call(
            "gnn_pool_start_f32", reduce, "num_graphs", channels, y.name, error, scope=value.scope, before=True
        )
        x, y, error = program.place(operand), program.place(value, writes=True), _error(program, value, op)
        program.call(
            "gnn_pool_f32", reduce, x.rows, "graph_pointer", "num_graphs", "first", "rows", channels, y.name,
            error, scope=value.scope,
        )  # fmt: skip
        return
    counts = _counts(program, value, op)
    program.call(
        "gnn_aggregate_start_f32", reduce, "num_nodes", channels, y.name, counts, error, scope=value.scope, before=True
    )
    x, y = program.place(operand), program.place(value, writes=True)
    counts, error = _counts(program, value, op), _error(program, value, op)
    topology = operand.type.topology
    assert topology is not None
    program.topology(topology)
    if op.end is End.TARGET:
        program.stages[-1].reads_targets = True
    index = "target" if op.end is End.TARGET else f"topology_{topology}.source + first"
    program.call("gnn_aggregate_f32", reduce, x.rows, index, "rows", channels, y.name, counts, error, scope=value.scope)


def before(program: Program, value: Value) -> None:
    """Append what a value needs ahead of the loop of its stage."""
    op = value.op
    if isinstance(op, ops.Pool):
        y = program.place(value, writes=True)
        program.call(
            "gnn_pool_finish_f32", _REDUCE[op.reduce], "graph_pointer", "num_graphs", f"{value.type.channels}u", y.name,
            scope=value.scope, before=True,
        )  # fmt: skip
    elif isinstance(op, ops.Aggregate):
        y = program.place(value, writes=True)
        counts = _counts(program, value, op)
        program.call(
            "gnn_aggregate_finish_f32", _REDUCE[op.reduce], "num_nodes", f"{value.type.channels}u", y.name, counts,
            scope=value.scope, before=True,
        )  # fmt: skip
    elif isinstance(op, ops.EdgeSoftmax):
        topology = value.type.topology
        assert topology is not None
        program.topology(topology)
        x, y = program.place(program.graph.values[value.inputs[0]]), program.place(value, writes=True)
        program.call(
            "gnn_edge_softmax_f32", f"topology_{topology}.row_pointer", "num_nodes", f"{value.type.channels}u", x.name, y.name,
            scope=value.scope, before=True,
        )  # fmt: skip
    elif isinstance(op, ops.LayerNorm) and op.extent is Extent.GRAPH:
        struct = _norm_struct(program, op, value)
        x, statistics = program.place(program.graph.values[value.inputs[0]]), _statistics(program, value)
        program.call(
            "gnn_graph_statistics_f32", struct, x.name, "graph_pointer", "num_graphs", statistics, scope=value.scope,
            before=True,
        )  # fmt: skip
    elif isinstance(op, ops.Linear) and is_integer(program.graph.values[value.inputs[1]].type):
        operand = program.graph.values[value.inputs[0]]
        rows = {"node": "num_nodes", "graph": "num_graphs", "edge": f"num_edges_{operand.type.topology}"}
        x = program.place(operand)
        range_ = program.buffer(f"range_{value.id}", "float", 8, is_block=False, writes=True)
        count = f"(size_t){rows[operand.type.domain.value]} * {operand.type.channels}u"
        program.call("gnn_range_f32", x.name, count, range_, scope=value.scope, before=True)
