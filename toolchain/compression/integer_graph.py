"""From a float Graph and activation ranges to the integer Graph of ARITHMETIC.md: types, codes, where float remains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from toolchain.compression.integer_constants import (
    LinearCodes,
    accumulator_parameters,
    check_attention,
    check_sums,
    factor_codes,
    head_codes,
    linear_codes,
    self_scale_codes,
)
from toolchain.compression.integer_forms import integer_values, is_input, needs_table
from toolchain.compression.integer_plan import INT16_HEADROOM, IntegerPlan
from toolchain.compression.row_formats import row_codes, row_group, row_result
from toolchain.compression.row_scaling import needs_scaled_rows
from toolchain.errors import RecipeError, named
from toolchain.ir import DType, Graph, GraphBuilder, QParams, TensorType, Value, verify
from toolchain.ir.integer import activation_qparams
from toolchain.ir.integer_softmax import WEIGHT_QPARAMS
from toolchain.ir.ops import (
    Add,
    Aggregate,
    Broadcast,
    Concat,
    Const,
    Dequantize,
    EdgeSoftmax,
    End,
    Gather,
    HeadDot,
    HeadMean,
    Linear,
    LogSoftmax,
    Mul,
    Pool,
    Propagate,
    Quantize,
    Reduce,
    RowFactor,
    Slice,
    Sub,
)
from toolchain.ir.types import Domain


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the scale of codes comes from: that of a value of the float graph, divided by a power of two."""

    source: int
    divisor: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class IntegerGraph:
    """An integer graph and what it was made from.

    Attributes:
        origins: for each of its constants, the float constant of the source graph.
        grids: for each of its values that the plan gives a scale, or that passes on such codes, where the scale comes from.
        linears: for each of its Linear values the codes of weight and bias.
        rows: for each of its RowScale values the float value whose rows have the scales.
    """

    graph: Graph
    origins: Mapping[str, str]
    grids: Mapping[int, Grid]
    linears: Mapping[int, LinearCodes]
    rows: Mapping[int, int]


def integer_graph(graph: Graph, plan: IntegerPlan) -> IntegerGraph:
    """The integer form of a deployable float graph (see `scale_sources`).

    Every op that has an integer form runs on codes; the others run in float between Dequantize and Quantize.

    Raises:
        OutsideContract: sums over `max_degree` in-edges do not fit int32; names the value.
    """
    integerizer = _Integerizer(graph, plan)
    made = verify(integerizer.run())
    numbers = integerizer.builder.numbers
    origins = {name: integerizer.origins[name] for name in made.constants}
    grids = {numbers[id]: grid for id, grid in integerizer.grids.items() if id in numbers}
    linears = {numbers[id]: codes for id, codes in integerizer.linears.items()}
    rows = {numbers[id]: source for id, source in integerizer.rows.items()}
    return IntegerGraph(made, origins, grids, linears, rows)


@dataclass(slots=True)
class _Integerizer:
    graph: Graph
    plan: IntegerPlan
    builder: GraphBuilder = field(init=False)
    integers: frozenset[int] = field(init=False)  # values that are computed on codes
    users: tuple[tuple[int, ...], ...] = field(init=False)
    codes: dict[int, int] = field(default_factory=dict)  # old id → new id of its integer form
    floats: dict[int, int] = field(default_factory=dict)  # old id → new id of its float form
    scaled: dict[tuple[int, int], int] = field(default_factory=dict)  # (old id, topology) → row-scaled copy
    origins: dict[str, str] = field(default_factory=dict)  # new constant → old constant
    grids: dict[int, Grid] = field(default_factory=dict)  # new id → where its scale comes from
    linears: dict[int, LinearCodes] = field(default_factory=dict)  # new id → its codes
    grouped: dict[int, tuple[int, int]] = field(default_factory=dict)  # old id → (its row-scaled codes, their groups)
    rows: dict[int, int] = field(default_factory=dict)  # new id → old id of the value whose rows have scales

    def __post_init__(self) -> None:
        self.builder = GraphBuilder(self.graph.topologies, self.graph.name)
        has_tables, edges = self.plan.mode != "all-int16", self.plan.edge_arithmetic
        self.integers = integer_values(self.graph, has_tables=has_tables, edges=edges)
        self.users = self.graph.users()

    def run(self) -> Graph:
        for value in self.graph.values:
            if isinstance(value.op, Const):
                continue  # stored by the op that reads it, as floats or as codes
            if value.id in self.integers:
                with named(value.place):
                    self.codes[value.id] = self._integer(value)
            else:
                operands = [self._float(o) for o in self.graph.operands(value)]
                self.floats[value.id] = self.builder.add(value.op, *operands, scope=value.scope)
        return self.builder.finish([self._float(self.graph.values[o]) for o in self.graph.outputs])

    # --- the two forms of a value -------------------------------------------------------------------------------------

    def _float(self, value: Value) -> int:
        if value.id not in self.floats:
            if isinstance(value.op, Const):
                self.floats[value.id] = self._const(value, self.graph.constant(value), None)
            else:
                self.floats[value.id] = self.builder.add(Dequantize(), self.codes[value.id], scope=value.scope)
        return self.floats[value.id]

    def _code(self, value: Value) -> int:
        if value.id not in self.codes:
            if is_input(self.graph, value) and value.id not in self.plan.formats:
                is_binary = self.plan.statistics[value.id].is_binary
                type_ = (DType.I8, QParams((1.0,), 0, 8)) if is_binary else self._parameters(value, DType.I16)
            else:
                type_ = self._parameters(value, self._storage(value))
            self.codes[value.id] = self._quantized(self._float(value), *type_, None, value.scope)
            self.grids[self.codes[value.id]] = Grid(value.id)
        return self.codes[value.id]

    def _scaled_code(self, value: Value, topology: int) -> int:
        """The rows of a value times r: int16, at a scale that holds every code, since r <= 1."""
        if (value.id, topology) not in self.scaled:
            code = self._code(value)
            type_ = self.builder.type(code)
            assert type_.qparams is not None
            room = 128 if type_.dtype is DType.I8 else 1
            qparams = QParams((float(np.float32(type_.qparams.scale[0] / room)),), 0, 16)
            factor = RowFactor(topology, End.SOURCE)
            made = self._quantized(code, DType.I16, qparams, factor, value.scope)
            self.scaled[value.id, topology], grid = made, self.grids[code]
            self.grids[made] = Grid(grid.source, room * grid.divisor)
        return self.scaled[value.id, topology]

    def _quantized(self, operand: int, dtype: DType, qparams: QParams, factor: RowFactor | None, scope: str) -> int:
        type_ = self.builder.type(operand).with_dtype(dtype, qparams)
        return self.builder.add(Quantize(dtype, qparams, factor), operand, type=type_, scope=scope)

    def _const(self, value: Value, array: np.ndarray, type_: TensorType | None) -> int:
        op = value.op
        assert isinstance(op, Const)
        made = self.builder.changed(op, array, type=type_, scope=value.scope)
        stored = self.builder.values[made].op
        assert isinstance(stored, Const)
        self.origins[stored.name] = op.name
        return made

    # --- types --------------------------------------------------------------------------------------------------------

    def _parameters(self, value: Value, dtype: DType) -> tuple[DType, QParams]:
        stated = self.plan.formats.get(value.id)
        if stated is not None:
            return (DType.I8 if stated.bits <= 8 else DType.I16), stated
        statistics = self.plan.statistics[value.id]
        if dtype is DType.I8:
            return dtype, activation_qparams(*statistics.range(self.plan.percentile), dtype)
        low, high = statistics.range()
        return dtype, activation_qparams(INT16_HEADROOM * low, INT16_HEADROOM * high, dtype)

    def _storage(self, value: Value) -> DType:
        """Width of a value's codes, where its op does not pass on those of its operand."""
        op, mode = value.op, self.plan.mode
        readers = [self.graph.values[u] for u in self.users[value.id]]
        if mode == "all-int16":
            return DType.I16
        edges = self.plan.edge_arithmetic
        if any(r.id in self.integers and needs_table(r, edges) for r in readers) or needs_table(value, edges):
            return DType.I8
        if isinstance(op, HeadDot) or (edges == "integer" and value.type.domain is Domain.EDGE):
            return DType.I16  # logits, and rows of which only a block exists at a time
        if isinstance(op, Pool) or not any(r.id in self.integers for r in readers):
            return DType.I16  # few rows, or read by float ops only: the logits
        if isinstance(op, Concat):
            wide = any(self.builder.type(self._code(o)).dtype is DType.I16 for o in self.graph.operands(value))
            return DType.I16 if wide else DType.I8
        return DType.I16 if mode == "sums-int16" and self._is_sum(value, readers) else DType.I8

    @staticmethod
    def _is_sum(value: Value, readers: list[Value]) -> bool:
        """Whether a value is a sum that no clamp has cut yet, or a term of such a sum."""
        op = value.op
        if isinstance(op, Propagate | Aggregate):
            return getattr(op, "activation", None) is None and op.reduce in (Reduce.SUM, Reduce.MEAN)
        if isinstance(op, Add | Sub | HeadMean):
            return getattr(op, "activation", None) is None
        is_term = isinstance(op, Mul) or (isinstance(op, Linear) and op.activation is None)
        return is_term and all(isinstance(r.op, Add | Sub) for r in readers)

    def _keeps_codes(self, value: Value) -> bool:
        """Whether the result has the codes of its operand: data movement, and plain maxima and minima."""
        op = value.op
        if isinstance(op, Slice | Broadcast | Gather):
            return True
        if isinstance(op, Pool | Aggregate):
            return op.reduce in (Reduce.MAX, Reduce.MIN)
        if not isinstance(op, Propagate) or op.reduce not in (Reduce.MAX, Reduce.MIN):
            return False
        return not op.operands and op.activation is None and not needs_scaled_rows(self.graph, value)

    # --- ops ----------------------------------------------------------------------------------------------------------

    def _integer(self, value: Value) -> int:
        op = value.op
        if isinstance(op, Linear):
            return self._linear(value, op)
        if isinstance(op, Propagate):
            return self._propagate(value, op)
        if isinstance(op, HeadDot):
            return self._head_dot(value)
        if isinstance(op, EdgeSoftmax):
            return self._edge_softmax(value, op)
        is_mul, given = isinstance(op, Mul), self.graph.operands(value)
        operands = [self._factor(o) if is_mul and isinstance(o.op, Const) else self._code(o) for o in given]
        if isinstance(op, Aggregate) and op.reduce in (Reduce.SUM, Reduce.MEAN):
            edges = self.builder.type(operands[0])
            assert edges.topology is not None
            check_sums(edges, self.plan.max_degree[edges.topology])
        return self._add(value, operands, self.builder.type(operands[0]))

    def _add(self, value: Value, operands: list[int], first: TensorType) -> int:
        if self._keeps_codes(value):
            made = self.builder.add(
                value.op, *operands, type=value.type.with_dtype(first.dtype, first.qparams), scope=value.scope
            )
            if operands[0] in self.grids:
                self.grids[made] = self.grids[operands[0]]
            return made
        return self._requantized(value, operands)

    def _requantized(self, value: Value, operands: list[int]) -> int:
        stated, edges = self.plan.formats.get(value.id), self.plan.edge_arithmetic
        if stated is not None and stated.bits > 8:
            readers = (self.graph.values[u] for u in self.users[value.id] if u in self.integers)
            if any(needs_table(v, edges) for v in (value, *readers)):
                raise RecipeError(
                    f"{value.scope or type(value.op).__name__}: its activation is a table of int8 codes, {stated.bits} bits "
                    "were asked for. Give it 8 or fewer."
                )
        type_ = value.type.with_dtype(*self._parameters(value, self._storage(value)))
        made = self.builder.add(value.op, *operands, type=type_, scope=value.scope)
        self.grids[made] = Grid(value.id)
        return made

    def _row_code(self, value: Value) -> tuple[int, int]:
        """The row-scaled codes of a value, and their groups."""
        if value.id not in self.grouped:
            rows, code = self.plan.rows[value.id], self._code(value)
            group = row_group(self.builder, rows, code, value.scope)
            made = row_codes(self.builder, rows, code, group, value.scope)
            self.grouped[value.id], self.rows[made] = (made, group), value.id
        return self.grouped[value.id]

    def _row_result(self, value: Value, op: Linear, accumulators: int, group: int, bias: Value | None) -> int:
        rows, stored = self.plan.rows[value.inputs[0]], None if bias is None else self._float(bias)
        type_ = value.type.with_dtype(*self._parameters(value, self._storage(value)))
        made = row_result(self.builder, rows, accumulators, group, stored, op, type_, value.scope)
        self.grids[made], self.rows[made] = Grid(value.id), value.inputs[0]
        return made

    def _linear(self, value: Value, op: Linear) -> int:
        source = self.graph.values[value.inputs[0]]
        has_rows = source.id in self.plan.rows
        x, group = self._row_code(source) if has_rows else (self._code(source), -1)
        x_type = self.builder.type(x)
        weight, bias = self.graph.operand(value, "weight"), self.graph.operand(value, "bias")
        assert weight is not None and isinstance(weight.op, Const)
        stored_as = self.plan.weight_format(weight.op.name)
        if stored_as.bits == 1 and weight.op.pruned:
            raise RecipeError(
                f"{weight.op.name}: 1-bit codes are +1 and -1, and its pruned weights are 0. Give it 2 bits."
            )
        codes = linear_codes(
            self.graph.constant(weight), None if bias is None or has_rows else self.graph.constant(bias), x_type, stored_as,
            per_tensor=self._is_logits(value) or _is_shared(weight),
        )  # fmt: skip
        w_type = weight.type.with_dtype(DType.I8, codes.weight_qparams)
        operands = [x, self._const(weight, codes.weight, w_type)]
        if bias is not None and codes.bias is not None:
            operands.append(self._const(bias, codes.bias, bias.type.with_dtype(DType.I32, codes.bias_qparams)))
        accumulators = value.type.with_dtype(DType.I32, accumulator_parameters(x_type, codes.weight_qparams))
        if has_rows:
            made = self.builder.add(Linear(), *operands, type=accumulators, scope=value.scope)
            self.linears[made] = codes
            return self._row_result(value, op, made, group, bias)
        if self._gives_accumulators(value, op):
            made = self.builder.add(op, *operands, type=accumulators, scope=value.scope)
        else:
            made = self._requantized(value, operands)
        self.linears[made] = codes
        return made

    def _gives_accumulators(self, value: Value, op: Linear) -> bool:
        """Whether the int32 accumulators are dequantized as they are: nothing integer reads the result."""
        return (
            op.activation is None
            and op.row_factor is None
            and not any(u in self.integers for u in self.users[value.id])
        )

    def _is_logits(self, value: Value) -> bool:
        """Whether the codes are compared with each other on a device: one scale for all classes."""
        current = value
        while current.id not in self.graph.outputs:
            readers = self.users[current.id]
            if len(readers) != 1 or not isinstance(self.graph.values[readers[0]].op, LogSoftmax):
                return False
            current = self.graph.values[readers[0]]
        return True

    def _propagate(self, value: Value, op: Propagate) -> int:
        source = self.graph.values[value.inputs[0]]
        if "weight" in op.operands:
            return self._attend(value, source)
        if needs_scaled_rows(self.graph, value) and not op.source_scaled:
            x, op = self._scaled_code(source, op.topology), replace(op, source_scaled=True)
        else:
            x = self._code(source)
        x_type = self.builder.type(x)
        operands = [x]
        self_scale, bias = self.graph.operand(value, "self_scale"), self.graph.operand(value, "bias")
        degree = self.plan.max_degree[op.topology] if op.reduce in (Reduce.SUM, Reduce.MEAN) else 1
        if self_scale is not None:
            codes, qparams = self_scale_codes(float(self.graph.constant(self_scale)[0]), x_type, degree)
            operands.append(self._const(self_scale, codes, self_scale.type.with_dtype(DType.I32, qparams)))
        else:
            check_sums(x_type, degree)
        if bias is not None:
            operands.append(self._float(bias))
        return self._add(replace(value, op=op), operands, x_type)

    # --- attention ----------------------------------------------------------------------------------------------------

    def _head_dot(self, value: Value) -> int:
        x, weight = (self.graph.values[i] for i in value.inputs)
        code = self._code(x)
        codes, qparams = head_codes(self.graph.constant(weight), self.builder.type(code))
        stored = self._const(weight, codes, weight.type.with_dtype(DType.I8, qparams))
        return self._add(value, [code, stored], self.builder.type(code))

    def _factor(self, constant: Value) -> int:
        codes, qparams = factor_codes(self.graph.constant(constant))
        return self._const(constant, codes, constant.type.with_dtype(DType.I16, qparams))

    def _edge_softmax(self, value: Value, op: EdgeSoftmax) -> int:
        logits = self._code(self.graph.values[value.inputs[0]])
        type_ = self.builder.type(logits)
        assert type_.qparams is not None and type_.topology is not None
        check_attention(self.plan.max_degree[type_.topology])
        if type_.dtype is not DType.I16:
            wide = self._quantized(logits, DType.I16, QParams(type_.qparams.scale, 0, 16), None, value.scope)
            self.grids[wide], logits = self.grids[logits], wide
        return self.builder.add(op, logits, type=value.type.with_dtype(DType.I16, WEIGHT_QPARAMS), scope=value.scope)

    def _attend(self, value: Value, source: Value) -> int:
        """Weights sum to 1 at every node, so no degree is too large for the sum."""
        operands = [self._code(source), self.codes[value.inputs[1]]]
        bias = self.graph.operand(value, "bias")
        if bias is not None:
            operands.append(self._float(bias))
        return self._add(value, operands, self.builder.type(operands[0]))


def _is_shared(weight: Value) -> bool:
    """Whether a weight comes from a codebook: with one scale its codes do so too."""
    return isinstance(weight.op, Const) and weight.op.codebook is not None
