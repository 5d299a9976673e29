"""How many operations one inference takes, and how many bit operations, in the two accountings that the literature uses.

Only what multiplies or follows edges counts: Linear, HeadDot, Propagate and Aggregate. Elementwise functions, pools and
softmaxes count nothing, as in the published tables.

    operations       one per multiply-accumulate of a dense product; 2 per edge and channel and 2 per node and channel of an
                     aggregation
    bit_operations   operations x mean bits of the quantizers that the op has: result, weight, and the input of the model
                     (MixQ's "BitOPs", Moustafa et al. 2025, arXiv:2505.09361)
    bops             multiply-accumulates x bits of one factor x bits of the other (product accounting)
    bops_sparse      the same without the products of a zero of x or of a stored zero weight

A float counts 32 bits, the coefficient of an edge beside float rows included; codes with a width for each group of rows count
the mean over the nodes that calibration saw. In a published table "BitOPs" may mean any of the three, so a figure is never
given without its name.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields

import numpy as np

from toolchain.inputs import GraphInputs
from toolchain.ir.graph import Graph, Value
from toolchain.ir.ops import Aggregate, Const, Dropout, HeadDot, Linear, Propagate, Quantize, RowScale
from toolchain.ir.reference_rows import mean_bits
from toolchain.ir.types import Domain, DType, TensorType
from toolchain.topology import TopologySpec

FLOAT_BITS = 32
DYNAMIC_BITS = 8  # of float values that an integer weight multiplies: they are quantized at each inference


@dataclass(frozen=True, slots=True, eq=False)
class GraphSizes:
    """How large the graph of an inference is, or several graphs are on average; counts are linear in these.

    Attributes:
        nodes, graphs: rows of node and graph values.
        edges: of each topology of the model, added self-loops included.
        feature_nonzeros: entries of each column of x that are not zero, [F]; None: all of them.
    """

    nodes: float
    edges: tuple[float, ...]
    graphs: float = 1
    feature_nonzeros: np.ndarray | None = None

    @classmethod
    def mean_of(cls, topologies: Sequence[TopologySpec], graphs: Iterable[GraphInputs]) -> GraphSizes:
        """The sizes of an average inference, each of `graphs` being one.

        Raises:
            ValueError: no graphs.
        """
        prepared = [g.prepare(tuple(topologies)) for g in graphs]
        if not prepared:
            raise ValueError("graphs: none given, expected at least one to take the sizes from")
        count = len(prepared)
        return cls(
            _mean(sum(p.inputs.num_nodes for p in prepared), count),
            tuple(_mean(sum(p.topologies[i].num_edges for p in prepared), count) for i in range(len(topologies))),
            _mean(sum(p.inputs.num_graphs for p in prepared), count),
            sum(np.count_nonzero(p.inputs.x, axis=0) for p in prepared) / count,
        )


@dataclass(frozen=True, slots=True)
class OperationCounts:
    """Operations of one inference. Whole numbers for one graph, means for several."""

    macs: float = 0
    macs_sparse: float = 0
    operations: float = 0
    bit_operations: float = 0
    bops: float = 0
    bops_sparse: float = 0

    def __add__(self, other: OperationCounts) -> OperationCounts:
        return OperationCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))


def operation_counts(graph: Graph, sizes: GraphSizes, *, edge_bits: int | None = None) -> OperationCounts:
    """Operations of a whole model. BatchNorm, Dropout and the like count nothing, so a trainable Graph may be given as well.

    Args:
        edge_bits: width of the coefficients of edges in `bops`, where a published table states one. None: what the model
            has, which beside integer rows is 1 bit for edges that are all alike.
    """
    total = OperationCounts()
    for value in graph.values:
        total += value_counts(graph, value, sizes, edge_bits=edge_bits)
    return total


def value_counts(graph: Graph, value: Value, sizes: GraphSizes, *, edge_bits: int | None = None) -> OperationCounts:
    """Operations of one op."""
    match value.op:
        case Linear() | HeadDot():
            return _dense(graph, value, sizes)
        case Propagate():
            return _propagate(graph, value, value.op, sizes, edge_bits)
        case Aggregate():
            x = graph.values[value.inputs[0]].type
            edges = _rows(x, sizes) * x.channels
            return _counted(
                edges, edges, 2 * edges, _result_bits(graph, value), bits_of(x) * _edge_bits(x, edge_bits, 1)
            )
        case _:
            return OperationCounts()


def weight_bits(graph: Graph) -> float:
    """Mean width of the weights of all Linear and HeadDot ops; a weight that two ops share counts once, a table not."""
    weights = {value.inputs[1] for value in graph.values if isinstance(value.op, Linear | HeadDot)}
    weights = {w for w in weights if not getattr(graph.values[w].op, "is_table", False)}
    sizes = [(np.prod(graph.values[w].type.shape), bits_of(graph.values[w].type)) for w in weights]
    total = sum(size for size, _ in sizes)
    return float(sum(size * bits for size, bits in sizes) / total) if total else float(FLOAT_BITS)


def value_bits(graph: Graph) -> float:
    """Mean width of the values between the ops that count: the model's input, and their results but for accumulators."""
    widths: dict[int, float] = {}
    for value in graph.values:
        if not isinstance(value.op, Linear | HeadDot | Propagate | Aggregate):
            continue
        x = graph.values[value.inputs[0]]
        if _is_model_input(graph, x):
            widths[x.id] = _operand_bits(graph, value)
        if _stored(graph, value).type.dtype is not DType.I32:
            widths[value.id] = _result_bits(graph, value)
    return sum(widths.values()) / len(widths) if widths else float(FLOAT_BITS)


def bits_of(type: TensorType) -> int:
    """Width of one element: that of its codes, or of a float."""
    return FLOAT_BITS if type.qparams is None else type.qparams.bits


def short(count: float) -> str:
    """A count with three digits: "1.23 M"."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count:.3g}"


def _dense(graph: Graph, value: Value, sizes: GraphSizes) -> OperationCounts:
    """A product with a stored weight, [out, in] or, for HeadDot, [heads, width]."""
    x, weight = graph.values[value.inputs[0]], graph.values[value.inputs[1]]
    rows = _rows(x.type, sizes)
    macs = rows * int(np.prod(weight.type.shape))
    sparse = _products_without_zeros(graph, value, x, rows, sizes)
    x_bits, w_bits = _operand_bits(graph, value), bits_of(weight.type)
    widths: list[float] = [w_bits]
    result = _stored(graph, value).type
    if result.dtype.is_integer and result.dtype is not DType.I32:  # accumulators have no quantizer
        widths.append(_result_bits(graph, value))
    if weight.type.dtype.is_integer and _is_model_input(graph, x):
        widths.append(x_bits)
    return _counted(macs, sparse, macs, sum(widths) / len(widths), x_bits * w_bits)


def _propagate(graph: Graph, value: Value, op: Propagate, sizes: GraphSizes, edge_bits: int | None) -> OperationCounts:
    """One product per edge and channel; a self term is one more edge at every node."""
    x, nodes = graph.values[value.inputs[0]].type, sizes.nodes
    weight, self_scale = graph.operand(value, "weight"), graph.operand(value, "self_scale")
    along = sizes.edges[op.topology] * x.channels
    own = nodes * x.channels if self_scale is not None else 0
    loops = graph.topologies[op.topology].loop_weight
    coefficient = _edge_bits(x, edge_bits, max(int(loops), 1).bit_length()) if weight is None else bits_of(weight.type)
    counts = _counted(
        along, along, 2 * (along + own + nodes * x.channels), _result_bits(graph, value), bits_of(x) * coefficient
    )
    if self_scale is None:
        return counts
    return counts + _counted(own, own, 0, 0, bits_of(x) * bits_of(self_scale.type))


def _counted(macs: float, sparse: float, operations: float, mean_bits: float, product: float) -> OperationCounts:
    return OperationCounts(macs, sparse, operations, operations * mean_bits, macs * product, sparse * product)


def _result_bits(graph: Graph, value: Value) -> float:
    stored = _stored(graph, value)
    return mean_bits(graph, stored) if isinstance(stored.op, RowScale) else bits_of(stored.type)


def _stored(graph: Graph, value: Value) -> Value:
    """The value, or what a RowScale makes of it while a row is at hand."""
    scaled = (v for v in graph.values if isinstance(v.op, RowScale) and v.inputs[0] == value.id)
    made = next(scaled, None)
    return value if made is None else _stored(graph, made)


def _edge_bits(rows: TensorType, stated: int | None, stored: int) -> int:
    """Width of the coefficient of an edge beside rows of some type."""
    if stated is not None:
        return stated
    return stored if rows.dtype.is_integer else FLOAT_BITS


def _operand_bits(graph: Graph, value: Value) -> float:
    """Width of what enters a product: a float beside an integer weight is quantized on the way."""
    operand = graph.values[value.inputs[0]]
    x = operand.type
    if isinstance(operand.op, RowScale):
        return mean_bits(graph, operand)
    if x.dtype.is_integer or not isinstance(value.op, Linear | HeadDot):
        return bits_of(x)
    return DYNAMIC_BITS if graph.values[value.inputs[1]].type.dtype.is_integer else FLOAT_BITS


def _rows(type: TensorType, sizes: GraphSizes) -> float:
    if type.domain is Domain.EDGE:
        assert type.topology is not None
        return sizes.edges[type.topology]
    return sizes.nodes if type.domain is Domain.NODE else sizes.graphs


def _is_model_input(graph: Graph, value: Value) -> bool:
    """Whether a value is x of the model, at most quantized, scaled by rows or dropped out."""
    while isinstance(value.op, Quantize | Dropout | RowScale):
        value = graph.values[value.inputs[0]]
    return value.is_features


def _products_without_zeros(graph: Graph, value: Value, x: Value, rows: float, sizes: GraphSizes) -> float:
    stored = graph.values[value.inputs[1]]
    assert isinstance(stored.op, Const)
    is_set = graph.constants[stored.op.name] != 0
    if not isinstance(value.op, Linear) or sizes.feature_nonzeros is None or not _is_model_input(graph, x):
        return rows * int(np.count_nonzero(is_set))
    found = (
        np.asarray(sizes.feature_nonzeros) * is_set.sum(axis=0)
    ).sum()  # [in] non-zeros on both sides of each product
    return _mean(float(found), 1)


def _mean(total: float, count: int) -> float:
    """A quotient, as a whole number where it is one."""
    quotient = total / count
    return int(quotient) if quotient == int(quotient) else quotient
