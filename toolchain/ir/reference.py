"""What each op means, in numpy. Float values are float32; integer values are codes, and the result is exact.

`interpret` runs a Graph on a prepared graph. This is the definition that every backend is compared with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch

import numpy as np

from toolchain.errors import InvalidInput, OutsideContract
from toolchain.inputs import GraphInputs, PreparedGraph
from toolchain.ir import ops
from toolchain.ir.functions import ACTIVATIONS
from toolchain.ir.graph import Graph, Value
from toolchain.ir.ops import End, Extent, Reduce
from toolchain.ir.segments import segment_reduce
from toolchain.ir.types import TensorType
from toolchain.topology import Topology

Array = np.ndarray


@dataclass(frozen=True, slots=True)
class Call:
    """One op application: the value, its operand arrays and types, and the graph it runs on."""

    value: Value
    arrays: tuple[Array, ...]
    types: tuple[TensorType, ...]
    prepared: PreparedGraph
    constants: dict[str, Array]

    @property
    def type(self) -> TensorType:
        return self.value.type

    def array(self, slot: str) -> Array | None:
        names = self.value.op.operand_names(len(self.arrays))
        return self.arrays[names.index(slot)] if slot in names else None

    def operand_type(self, slot: str) -> TensorType | None:
        names = self.value.op.operand_names(len(self.arrays))
        return self.types[names.index(slot)] if slot in names else None

    @property
    def is_integer(self) -> bool:
        """Whether the first operand carries codes."""
        return bool(self.types) and self.types[0].dtype.is_integer

    def topology(self, index: int) -> Topology:
        return self.prepared.topologies[index]


def interpret(
    graph: Graph, inputs: GraphInputs | PreparedGraph, watch: Callable[[Value, Array], None] | None = None
) -> tuple[Array, ...]:
    """Run a graph.

    Args:
        watch: called with every value and its array as they are computed (calibration, tests, per-layer comparison).

    Returns:
        One array per graph output, float32.

    Raises:
        OutsideContract: an integer does not fit; names the value.
    """
    prepared = inputs.prepare(graph.topologies) if isinstance(inputs, GraphInputs) else inputs
    arrays: list[Array] = []
    constants = dict(graph.constants)
    for value in graph.values:
        operands = tuple(arrays[i] for i in value.inputs)
        types = tuple(graph.values[i].type for i in value.inputs)
        try:
            result = evaluate(value.op, Call(value, operands, types, prepared, constants))
        except OutsideContract as error:
            raise OutsideContract(f"{value.place}: {error}") from error
        arrays.append(result)
        if watch is not None:
            watch(value, result)
    return tuple(arrays[o] for o in graph.outputs)


@singledispatch
def evaluate(op: ops.Op, call: Call) -> Array:
    """The meaning of an op. Float results are float32, integer results have the dtype of their type."""
    raise TypeError(f"{type(op).__name__} has no reference")


def _float(array: Array) -> Array:
    return array.astype(np.float32, copy=False)


@evaluate.register
def _(op: ops.Input, call: Call) -> Array:
    inputs = call.prepared.inputs
    if op.role is ops.Role.X:
        values: Array | None = inputs.x
    else:
        assert op.type.topology is not None
        topology = call.topology(op.type.topology)
        if op.role is ops.Role.EDGE_WEIGHT:
            raw = inputs.edge_weight
            if raw is None:
                values = None
            elif topology.weight is not None:
                values = topology.weight[:, None]
            else:
                values = topology.edge_values(raw[:, None])
        else:
            values = None if inputs.edge_attr is None else topology.edge_values(inputs.edge_attr)
    if values is None:
        raise InvalidInput(
            f"{op.role.value}: missing, but the model reads it. Pass it with shape [E, {op.type.channels}]."
        )
    if values.shape[1] != op.type.channels:
        raise InvalidInput(
            f"{op.role.value}: {values.shape[1]} columns, the model was lowered with {op.type.channels}."
        )
    return _float(values)


@evaluate.register
def _(op: ops.Const, call: Call) -> Array:
    return call.constants[op.name]


@evaluate.register
def _(op: ops.Linear, call: Call) -> Array:
    from toolchain.ir import reference_integer as integer

    x, weight, bias = call.arrays[0], call.arrays[1], call.array("bias")
    if call.is_integer:
        return integer.linear(op, call)
    if call.types[1].dtype.is_integer:
        y = integer.dynamic_linear(call)
    else:
        y = x @ weight.T  # [rows, out]
    if bias is not None:
        y = y + bias
    y = activate(op.activation, y)
    return _float(y * row_factor(op.row_factor, call)[:, None] if op.row_factor is not None else y)


def activate(function: ops.Function | None, x: Array) -> Array:
    """Apply a fused activation; None is the identity."""
    return x if function is None else ACTIVATIONS[function](x, 0.0)


def row_factor(factor: ops.RowFactor, call: Call) -> Array:
    """[N] float32 factor of a topology's normalization; ones where it has none."""
    topology = call.topology(factor.topology)
    scale = topology.source_scale if factor.end is End.SOURCE else topology.target_scale
    return scale if scale is not None else np.ones(topology.num_nodes, np.float32)


@evaluate.register
def _(op: ops.Propagate, call: Call) -> Array:
    if call.is_integer:
        from toolchain.ir import reference_integer, reference_integer_edges

        if "weight" in op.operands:
            return reference_integer_edges.propagate(op, call)
        return reference_integer.propagate(op, call)
    topology = call.topology(op.topology)
    x, weight, self_scale, bias = call.arrays[0], *(call.array(s) for s in ("weight", "self_scale", "bias"))
    scaled = x
    if topology.source_scale is not None and not op.source_scaled:
        scaled = x * topology.source_scale[:, None]
    messages = scaled[topology.source].astype(np.float64)  # [E, C]
    if topology.weight is not None:
        messages = messages * topology.weight[:, None]
    if weight is not None:
        heads = weight.shape[1]
        messages = (messages.reshape(-1, heads, x.shape[1] // heads) * weight[:, :, None]).reshape(-1, x.shape[1])
    y = segment_reduce(messages, topology.target, topology.num_nodes, op.reduce)
    if topology.target_scale is not None:
        y = y * topology.target_scale[:, None]
    if self_scale is not None:
        y = y + self_scale * x
    if bias is not None:
        y = y + bias
    y = activate(op.activation, y)
    if op.row_factor is not None:
        y = y * row_factor(op.row_factor, call)[:, None]
    return _float(y)


@evaluate.register
def _(op: ops.Gather, call: Call) -> Array:
    topology = call.topology(op.topology)
    return call.arrays[0][topology.source if op.end is End.SOURCE else topology.target]


@evaluate.register
def _(op: ops.Aggregate, call: Call) -> Array:
    if call.is_integer:
        from toolchain.ir import reference_integer_edges as integer

        return integer.aggregate(op, call)
    assert call.types[0].topology is not None
    topology = call.topology(call.types[0].topology)
    ends = topology.target if op.end is End.TARGET else topology.source
    return _float(segment_reduce(call.arrays[0], ends, topology.num_nodes, op.reduce))


@evaluate.register
def _(op: ops.EdgeSoftmax, call: Call) -> Array:
    if call.is_integer:
        from toolchain.ir import reference_integer_edges as integer

        return integer.edge_softmax(op, call)
    assert call.types[0].topology is not None
    topology = call.topology(call.types[0].topology)
    logits = call.arrays[0].astype(np.float64)
    peak = np.full((topology.num_nodes, logits.shape[1]), -np.inf)
    np.maximum.at(peak, topology.target, logits)
    weights = np.exp(logits - peak[topology.target])
    total = segment_reduce(weights, topology.target, topology.num_nodes, Reduce.SUM)
    return _float(weights / (total[topology.target] + 1e-16))  # PyG's guard, kept for equality


@evaluate.register
def _(op: ops.HeadDot, call: Call) -> Array:
    if call.is_integer:
        from toolchain.ir import reference_integer_edges as integer

        return integer.head_dot(op, call)
    x, weight = call.arrays
    heads, width = weight.shape
    return _float((x.reshape(-1, heads, width) * weight).sum(axis=2))


@evaluate.register
def _(op: ops.HeadMean, call: Call) -> Array:
    if call.is_integer:
        from toolchain.ir import reference_integer_edges as integer

        return integer.head_mean(op, call)
    x = call.arrays[0]
    return _float(x.reshape(-1, op.heads, x.shape[1] // op.heads).mean(axis=1))


@evaluate.register
def _(op: ops.Pool, call: Call) -> Array:
    if call.is_integer:
        from toolchain.ir import reference_integer as integer

        return integer.pool(op, call)
    inputs = call.prepared.inputs
    return _float(segment_reduce(call.arrays[0], inputs.graph_index, inputs.num_graphs, op.reduce))


@evaluate.register
def _(op: ops.Broadcast, call: Call) -> Array:
    return call.arrays[0][call.prepared.inputs.graph_index]


def _binary(op: ops.Op, call: Call, function: Callable[[Array, Array], Array]) -> Array:
    if call.is_integer:
        from toolchain.ir import reference_integer as integer

        return integer.binary(op, call)
    return _float(function(*call.arrays))


@evaluate.register
def _(op: ops.Add, call: Call) -> Array:
    return _binary(op, call, lambda a, b: activate(op.activation, a + b))


@evaluate.register
def _(op: ops.Sub, call: Call) -> Array:
    return _binary(op, call, np.subtract)


@evaluate.register
def _(op: ops.Mul, call: Call) -> Array:
    return _binary(op, call, np.multiply)


@evaluate.register
def _(op: ops.Div, call: Call) -> Array:
    return _binary(op, call, np.divide)


@evaluate.register
def _(op: ops.Maximum, call: Call) -> Array:
    return _binary(op, call, np.maximum)


@evaluate.register
def _(op: ops.Activation, call: Call) -> Array:
    if call.is_integer:
        from toolchain.ir import reference_integer as integer

        return integer.activation(op, call)
    return _float(ACTIVATIONS[op.function](call.arrays[0], op.alpha))


@evaluate.register
def _(op: ops.LogSoftmax, call: Call) -> Array:
    shifted = call.arrays[0] - call.arrays[0].max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return _float(logs if op.log else np.exp(logs))


@evaluate.register
def _(op: ops.Concat, call: Call) -> Array:
    if call.is_integer:
        from toolchain.ir import reference_integer as integer

        return integer.concat(op, call)
    return np.concatenate(call.arrays, axis=1)


@evaluate.register
def _(op: ops.Slice, call: Call) -> Array:
    return call.arrays[0][:, op.start : op.stop]


@evaluate.register
def _(op: ops.BatchNorm, call: Call) -> Array:
    x, weight, bias, mean, variance = call.arrays
    return _float((x - mean) / np.sqrt(variance + np.float32(op.eps)) * weight + bias)


@evaluate.register
def _(op: ops.LayerNorm, call: Call) -> Array:
    x, weight, bias = call.arrays
    wide = x.astype(np.float64)
    if op.extent is Extent.ROW:
        mean, variance = wide.mean(axis=1, keepdims=True), wide.var(axis=1, keepdims=True)
    else:
        inputs = call.prepared.inputs
        index, graphs = inputs.graph_index, inputs.num_graphs
        mean = segment_reduce(wide.mean(axis=1, keepdims=True), index, graphs, Reduce.MEAN)[index]
        variance = segment_reduce(((wide - mean) ** 2).mean(axis=1, keepdims=True), index, graphs, Reduce.MEAN)[index]
    spread = np.sqrt(variance) + op.eps if op.eps_outside else np.sqrt(variance + op.eps)
    return _float((wide - mean) / spread * weight + bias)


@evaluate.register
def _(op: ops.Dropout, call: Call) -> Array:
    return call.arrays[0]


@evaluate.register
def _(op: ops.Quantize, call: Call) -> Array:
    from toolchain.ir import reference_integer as integer

    return integer.quantize(op, call)


@evaluate.register
def _(op: ops.DegreeGroup, call: Call) -> Array:
    from toolchain.ir import reference_rows as rows

    return rows.degree_group(op, call)


@evaluate.register
def _(op: ops.PeakGroup, call: Call) -> Array:
    from toolchain.ir import reference_rows as rows

    return rows.peak_group(op, call)


@evaluate.register
def _(op: ops.RowScale, call: Call) -> Array:
    from toolchain.ir import reference_rows as rows

    return rows.row_scale(op, call)


@evaluate.register
def _(op: ops.Dequantize, call: Call) -> Array:
    qparams = call.types[0].qparams
    assert qparams is not None
    scale = np.asarray(qparams.scale, np.float64)
    return ((call.arrays[0].astype(np.int64) - qparams.zero_point) * scale).astype(np.float32)
