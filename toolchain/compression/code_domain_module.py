"""CodeDomainModule: a float graph trained through the arithmetic of its integer graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from toolchain.compression import code_domain_edges  # noqa: F401  # adds the ops along edges to emit_codes
from toolchain.compression.a2q import memory_penalty
from toolchain.compression.code_domain import (
    CodeCall,
    TrainedFactor,
    TrainedLinear,
    TrainedScale,
    emit_codes,
    emit_real,
)
from toolchain.compression.code_domain_rows import sparse_codes
from toolchain.compression.code_rounding import Protection, Rounding, straight_through
from toolchain.compression.degree_quant import DegreeQuant
from toolchain.compression.input_codes import MOST_KEPT, InputCodes
from toolchain.compression.integer_constants import (
    WeightFormat,
    accumulator_parameters,
    factor_codes,
    head_codes,
    self_scale_codes,
)
from toolchain.compression.integer_graph import integer_graph
from toolchain.compression.integer_plan import IntegerPlan
from toolchain.compression.quantizers import Quantizer, ValueQuantizer, WeightQuantizer
from toolchain.compression.slots import slots_of
from toolchain.errors import RecipeError, named
from toolchain.inputs import GraphInputs
from toolchain.ir import DType, Graph, TensorType, Value, interpret
from toolchain.ir.ops import Const, HeadDot, Input, Linear, Mul, Propagate, Quantize, RowScale
from toolchain.torch_module import GraphModule
from toolchain.torch_ops import Call
from toolchain.torch_sparse import SparseMatrix
from toolchain.torch_structure import Structure, TorchGraph

ENOUGH_ROWS = 2**20


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """What training has made of a module at some moment."""

    weights: Mapping[str, Any]
    quantizers: dict[str, ValueQuantizer]
    weight_quantizers: dict[str, WeightQuantizer]


class CodeDomainModule(nn.Module):
    """Runs the integer form of a float graph on codes, differentiably with respect to the float weights and learned scales.

    Attributes:
        latent: the float graph's weights; its parameters learn.
        slots: the values and weights that have a scale of their own.
        quantizers: of values, by the name of the slot; their parameters learn.
        weight_quantizers: of weights, by the name of the constant; their parameters learn.
        plan: ranges and widths of what no quantizer is named for.
        made: the integer graph of the last forward pass, with what it was made of.

    Args:
        quantizers: by names or patterns of slots; slots that none names keep what the plan gives them.
        degree_quant: protects nodes in train mode.
        dropout: of values in train mode, by names or patterns of slots: the probability with which a code becomes zero.
    """

    def __init__(
        self, source: Graph, plan: IntegerPlan, quantizers: Mapping[str, Quantizer] = MappingProxyType({}),
        degree_quant: DegreeQuant | None = None, dropout: Mapping[str, float] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        super().__init__()
        self.degree_quant = degree_quant
        self._kept: list[InputCodes] = []  # of a node task, which sees the same graph again and again
        self._sparse: dict[int, SparseMatrix | None] = {}  # codes of the input in this forward pass
        self.latent = GraphModule(source)
        self.plan = plan
        self._dropout = self._dropped(dropout)
        chosen = self.slots.assign("bits", quantizers)
        self._attach(
            {s.name: chosen[s.name].for_value(s) for s in self.slots.values if s.name in chosen},
            {s.name: chosen[s.name].for_weight(s) for s in self.slots.weights if s.name in chosen},
        )
        if degree_quant is not None and self.made.rows:
            raise RecipeError(
                "degree_quant beside A2Q: nodes are either protected by their degree or grouped by it. Leave one out."
            )

    def _dropped(self, dropout: Mapping[str, float]) -> dict[int, float]:
        """The probabilities by id of the value in the float graph.

        Raises:
            RecipeError: one that is no probability below 1, or a pattern that names no value.
        """
        for pattern, p in dropout.items():
            if not 0 <= p < 1:
                raise RecipeError(f"dropout of {pattern!r}: {p}, expected a probability in [0, 1).")
        stated = self.slots.assign("dropout", dropout)
        weights = [slot.name for slot in self.slots.weights if stated.get(slot.name)]
        if weights:
            raise RecipeError(f"dropout of {weights[0]!r}: is a weight; dropout is of values.")
        return {slot.id: stated[slot.name] for slot in self.slots.values if stated.get(slot.name)}

    def _attach(self, values: dict[str, ValueQuantizer], weights: dict[str, WeightQuantizer]) -> None:
        self.quantizers, self.weight_quantizers = values, weights
        self.learned = nn.ModuleList([*values.values(), *weights.values()])
        self._by_id = {slot.id: values[slot.name] for slot in self.slots.values if slot.name in values}
        self.update()

    def snapshot(self) -> Snapshot:
        """A copy of the weights and of the quantizers, with all that they have learned and seen."""
        return Snapshot(*copy.deepcopy((self.latent.state_dict(), self.quantizers, self.weight_quantizers)))

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot of this module; optimizers made since then do not know the restored quantizers."""
        self.latent.load_state_dict(snapshot.weights)
        self._attach(snapshot.quantizers, snapshot.weight_quantizers)

    @property
    def plan(self) -> IntegerPlan:
        return self._plan

    @plan.setter
    def plan(self, plan: IntegerPlan) -> None:
        self._plan, source = plan, self.latent.to_graph()
        self.made = integer_graph(source, plan)
        self.slots = slots_of(source, plan, self.made)

    @property
    def graph(self) -> Graph:
        """The integer graph of the last forward pass."""
        return self.made.graph

    def update(self) -> None:
        """Make the integer graph of the present weights and of what the quantizers say at present."""
        formats = {slot.id: slot.qparams for slot in self.slots.values}
        names, rows = {slot.id: slot.name for slot in self.slots.values}, {}
        for id, quantizer in self._by_id.items():
            with named(names[id]):
                formats[id] = quantizer.qparams()
                if (format := quantizer.rows()) is not None:
                    rows[id] = format
        weights = {}
        for name, weight in self.weight_quantizers.items():
            with named(name):
                weights[name] = WeightFormat(weight.bits, weight.scales())
        plan = replace(self._plan, formats=formats, weights={**self._plan.weights, **weights}, rows=rows)
        self.made = integer_graph(self.latent.to_graph(), plan)
        self._protected = frozenset[int]() if self.degree_quant is None else self.degree_quant.values(self.made.graph)
        self._rounded_first = {grid.source: id for id, grid in sorted(self.made.grids.items(), reverse=True)}
        # Values are dropped where they are read: codes of groups of rows, where there are any.
        grouped = {source: id for id, source in self.made.rows.items() if self._is_cut(id)}
        self._dropped_at = {id: source for source, id in {**self._rounded_first, **grouped}.items()}

    def _is_cut(self, id: int) -> bool:
        """Whether a RowScale is the one ahead of a Linear."""
        op = self.made.graph.values[id].op
        return isinstance(op, RowScale) and bool(op.limits)

    def start(self, graphs: Sequence[GraphInputs]) -> None:
        """Let the quantizers that begin with real rows see those of calibration graphs: a million of each value at most."""
        source = self.latent.to_graph()
        wanted = {slot.id: self.quantizers[slot.name] for slot in self.slots.values if slot.name in self.quantizers}
        wanted = {id: quantizer for id, quantizer in wanted.items() if quantizer.rows() is not None}
        rows: dict[int, list[np.ndarray]] = {id: [] for id in wanted}
        degrees: list[tuple[np.ndarray, ...]] = []
        for graph in graphs if wanted else ():
            prepared = graph.prepare(source.topologies)
            degrees.append(tuple(t.in_degree for t in prepared.topologies))
            interpret(source, prepared, lambda value, array: rows[value.id].append(array) if value.id in rows else None)
            if sum(len(d[0]) for d in degrees) > ENOUGH_ROWS:
                break
        for id, quantizer in wanted.items():
            quantizer.start(np.concatenate(rows[id]), tuple(np.concatenate(d) for d in zip(*degrees, strict=True)))
        self.update()

    def auxiliary_loss(self) -> Tensor | None:
        """What the quantizers add to the loss of the step whose forward pass has just run."""
        own = [q.loss() for q in self.quantizers.values()]
        terms = [t for t in (*own, memory_penalty(list(self.quantizers.values()))) if t is not None]
        return torch.stack(terms).sum() if terms else None

    def trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        """The parameters, by the names of constants, and those of quantizers by the name of their slot."""
        yield from self.latent.trained()
        for name, quantizer in (*self.quantizers.items(), *self.weight_quantizers.items()):
            for own, parameter in quantizer.named_parameters():
                yield f"{name} {own}", parameter

    def groups(self, scale_lr: float) -> list[dict[str, Any]]:
        """Parameters for an optimizer: the weights, and what the quantizers learn, without weight decay."""
        learned = list(self.learned.parameters())
        weights: dict[str, Any] = {"params": list(self.latent.parameters())}
        return [weights, {"params": learned, "lr": scale_lr, "weight_decay": 0.0}] if learned else [weights]

    def apply_masks(self) -> None:
        """Set pruned weights back to zero."""
        self.latent.apply_masks()

    def to_integer_graph(self) -> Graph:
        """The integer graph of the present weights: it computes what `forward` computes."""
        self.update()
        return self.graph

    def forward(self, batch: Structure, watch: Callable[[Value, Tensor], None] | None = None) -> tuple[Tensor, ...]:
        """One float32 tensor per output.

        Args:
            watch: called with every value that is no constant, and its tensor; codes hold q - z.
        """
        self.update()
        learned = {id: step for id, q in self._by_id.items() if (step := q.step()) is not None}
        protection = self._draw(batch)
        tensors: list[Tensor] = []
        types: list[TensorType] = []
        steps: list[Tensor | None] = []  # scales that learn
        for value in self.graph.values:
            grid = self.made.grids.get(value.id)
            step = learned.get(grid.source) if grid is not None else None
            steps.append(step if grid is None or step is None else step / grid.divisor)
            types.append(value.type)
            if isinstance(value.op, Const):
                tensors.append(self._weight(value) if not value.type.dtype.is_integer else torch.empty(0))
                continue
            operands = tuple(tensors[i] for i in value.inputs)
            call = Call(value, operands, tuple(types[i] for i in value.inputs), batch, self._constant, self.training)
            if not value.type.dtype.is_integer and not (call.types and call.types[0].dtype.is_integer):
                tensors.append(emit_real(value.op, call))
            else:
                rounding = self._rounding(value, steps[-1], protection)
                code = self._code_call(CodeCall(call, tuple(steps[i] for i in value.inputs), rounding))
                with named(value.place):
                    tensors.append(self._codes(code, self._chance(value), is_seen=watch is not None))
                if code.linear is not None and value.type.dtype is DType.I32:
                    # The scale of accumulators is a product with the weight's scale, which follows the weights.
                    parameters = accumulator_parameters(call.types[0], code.linear.codes.weight_qparams)
                    types[-1] = value.type.with_dtype(DType.I32, parameters)
                    steps[-1] = code.step() * code.linear.step
            if watch is not None:
                watch(value, tensors[-1])
        return tuple(tensors[o] for o in self.graph.outputs)

    def _chance(self, value: Value) -> float:
        """The probability with which a code of this value is dropped in this forward pass."""
        source = self._dropped_at.get(value.id) if self.training else None
        return 0.0 if source is None else self._dropout.get(source, 0.0)

    def _codes(self, code: CodeCall, chance: float, *, is_seen: bool) -> Tensor:
        """The result of an op on codes, of which some are dropped.

        The input's codes are kept, as long as neither the batch nor the scale changes. Where they are sparse, those of groups of
        rows are so too, and nothing is returned for them unless it `is_seen`.
        """
        value, batch, rounding = code.call.value, code.call.structure, code.rounding
        if isinstance(value.op, RowScale) and value.op.limits and not is_seen:
            matrix = self._sparse.get(value.inputs[0])
            if matrix is not None:
                made = sparse_codes(value.op, code, matrix)
                self._sparse[value.id] = made.with_values(functional.dropout(made.values, chance))
                return torch.empty(0)
        is_input = isinstance(value.op, Quantize) and isinstance(self.graph.values[value.inputs[0]].op, Input)
        if not is_input or rounding.step is not None or rounding.protection is not None or rounding.observe is not None:
            self._sparse.pop(value.id, None)
            codes = emit_codes(value.op, code)
            return functional.dropout(codes, chance) if chance else codes
        kept = next((k for k in self._kept if k.fits(value.id, batch, code.out)), None)
        if kept is None:
            kept = InputCodes(value.id, batch, code.out, emit_codes(value.op, code))
            self._kept = [*self._kept[1 - MOST_KEPT :], kept]
        used = kept.dropped(chance) if chance else kept
        self._sparse[value.id] = used.sparse
        if used.sparse is not None and chance and self._is_read_densely(value):
            return used.sparse.dense()
        return used.codes

    def _is_read_densely(self, value: Value) -> bool:
        """Whether an op reads it that does not take a sparse matrix."""
        return any(value.id in v.inputs and not isinstance(v.op, Linear) for v in self.graph.values)

    def _code_call(self, code: CodeCall) -> CodeCall:
        """With what its constants mean."""
        value = code.call.value
        if isinstance(value.op, Linear):
            return replace(code, linear=self._linear(value))
        if isinstance(value.op, Propagate) and "self_scale" in value.op.operands:
            return replace(code, self_scale=self._self_scale(value))
        if isinstance(value.op, HeadDot | Mul):
            return replace(code, factor=self._factor(value))
        if isinstance(value.op, RowScale) and (quantizer := self._by_id.get(self.made.rows[value.id])) is not None:
            return replace(code, rows=quantizer.trained_rows())
        return code

    def _draw(self, batch: Structure) -> Protection | None:
        """The nodes that stay real numbers in this forward pass."""
        if self.degree_quant is None or not self.training:
            return None
        assert isinstance(batch, TorchGraph), "training runs on edge lists"
        return Protection.of(self.degree_quant.draw(batch.prepared.inputs))

    def _rounding(self, value: Value, step: Tensor | None, protection: Protection | None) -> Rounding:
        grid = self.made.grids.get(value.id)
        quantizer = self._by_id.get(grid.source) if grid is not None else None
        rows = protection if value.id in self._protected else None
        fractions = protection is not None or (self.training and bool(self._dropout))
        if grid is None or quantizer is None:
            return Rounding(step, protection=rows, keeps_fractions=fractions)
        observes = self.training and quantizer.observes and self._rounded_first[grid.source] == value.id
        return Rounding(
            step, quantizer.clips_gradient, protection=rows, keeps_fractions=fractions,
            observe=quantizer.observe if observes else None,
        )  # fmt: skip

    def _constant(self, name: str) -> Tensor:
        return self.latent.constant(self.made.origins[name])

    def _weight(self, const: Value) -> Tensor:
        assert isinstance(const.op, Const)
        return self._constant(const.op.name)

    def _linear(self, value: Value) -> TrainedLinear:
        """The codes of a Linear, with the weights and scales that learn."""
        codes, stored = self.made.linears[value.id], self.graph.values[value.inputs[1]]
        weight = self._weight(stored)
        bias = self._weight(self.graph.values[value.inputs[2]]) if len(value.inputs) == 3 else None
        assert isinstance(stored.op, Const)
        name = self.made.origins[stored.op.name]
        quantizer = self.weight_quantizers.get(name)
        bits = self.plan.weight_format(name).bits if quantizer is None else quantizer.bits
        step = torch.tensor(codes.weight_qparams.scale).expand(weight.shape[0])
        learned = None if quantizer is None else quantizer.step()
        if learned is not None:
            step = straight_through(learned.expand_as(step), step)
        return TrainedLinear(
            codes,
            weight,
            bias,
            step,
            1.0 if bits == 1 else 2 ** (bits - 1) - 0.5,
            self._sparse.get(value.inputs[0]),
        )

    def _self_scale(self, value: Value) -> TrainedScale:
        assert isinstance(value.op, Propagate)
        stored = self.graph.operand(value, "self_scale")
        assert stored is not None
        weight = self._weight(stored)
        degree = self.plan.max_degree[value.op.topology]
        x = self.graph.values[value.inputs[0]].type
        codes, qparams = self_scale_codes(float(weight.detach()[0]), x, degree)
        return TrainedScale(int(codes[0]), round(-torch.tensor(qparams.scale[0]).log2().item()), weight)

    def _factor(self, value: Value) -> TrainedFactor | None:
        """The stored operand of a HeadDot or Mul, if it has one."""
        stored = next((o for o in self.graph.operands(value) if isinstance(o.op, Const)), None)
        if stored is None:
            return None
        weight = self._weight(stored)
        array = weight.detach().numpy()
        if isinstance(value.op, HeadDot):
            codes, qparams = head_codes(array, self.graph.values[value.inputs[0]].type)
        else:
            codes, qparams = factor_codes(array)
        return TrainedFactor(codes, np.asarray(qparams.scale, np.float64), weight)
