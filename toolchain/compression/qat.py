"""Quantization-aware training in the code domain: what the forward pass computes is what the integer graph computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from toolchain.compression import code_domain_edges  # noqa: F401  # adds the ops along edges to emit_codes
from toolchain.compression.calibration import observe
from toolchain.compression.code_domain import (
    CodeCall,
    TrainedFactor,
    TrainedLinear,
    TrainedScale,
    emit_codes,
    qparams_of,
)
from toolchain.compression.integer_constants import (
    accumulator_parameters,
    factor_codes,
    head_codes,
    linear_codes,
    self_scale_codes,
)
from toolchain.compression.integer_graph import IntegerPlan, integer_graph
from toolchain.compression.static_int8 import Selection, StaticInt8, select
from toolchain.compression.training import Loss, Schedule, train_module
from toolchain.ir import DType, Graph, TensorType, Value
from toolchain.ir.ops import Const, HeadDot, Linear, Mul, Propagate
from toolchain.torch_module import GraphModule
from toolchain.torch_ops import Call, emit
from toolchain.torch_structure import Structure


@dataclass(frozen=True, slots=True, eq=False)
class QAT:
    """Train the weights of the static int8 form.

    Ranges come from `static` and stay fixed; the codes of weights and biases follow the weights in every step. BatchNorm is
    folded before, and there is no dropout. Pruned weights stay zero.

    Attributes:
        loader: a PyG DataLoader, or a list of Data or Batch objects, with labels, as for `fine_tune`.
        static: ranges, widths and equalization. Its `min_agreement` only steers which widths are taken.
        lr, weight_decay, loss, seed, batch_size: as for `fine_tune`.
        recalibrate: measure the ranges anew, on the float form of the trained weights, before every epoch but the first.
    """

    loader: Iterable[Any]
    epochs: int
    static: StaticInt8
    lr: float = 1e-4
    weight_decay: float = 0.0
    loss: Loss | None = None
    seed: int = 0
    batch_size: int = 64
    recalibrate: bool = False

    def __post_init__(self) -> None:
        self.schedule  # refuses a malformed one  # noqa: B018

    @property
    def schedule(self) -> Schedule:
        """The training loop's share of the options."""
        return Schedule(self.epochs, self.lr, self.weight_decay, self.loss, self.seed, self.batch_size)


def quantization_aware(graph: Graph, method: QAT) -> Graph:
    """The integer graph after training through its own arithmetic.

    Raises:
        InvalidInput: a batch without labels.
        QuantizationRefused: no integer form can hold the calibration graphs' sums.
    """
    selection = select(graph, method.static, accept_best=True)
    module = CodeDomainModule(selection.source, selection.plan)

    def before_epoch(epoch: int) -> None:
        if method.recalibrate and epoch > 0:
            module.plan = recalibrated(module, selection)

    train_module(module, method.loader, method.schedule, before_epoch)
    return module.to_integer_graph()


def recalibrated(module: CodeDomainModule, selection: Selection) -> IntegerPlan:
    """The plan with the ranges that the present weights have in float."""
    split = selection.split
    statistics = observe(module.latent.to_graph(), split.calibration, node_mask=split.calibration_nodes)
    return replace(module.plan, statistics=statistics)


class CodeDomainModule(nn.Module):
    """Runs the integer form of a float graph on codes, differentiably with respect to the float weights.

    Attributes:
        latent: the float graph's weights; its parameters are what learns.
        graph: the integer graph of the weights at construction (or when the plan was set); its value types are in force,
            its codes are replaced by those of the present weights.
    """

    def __init__(self, source: Graph, plan: IntegerPlan) -> None:
        super().__init__()
        self.latent = GraphModule(source)
        self.plan = plan

    @property
    def plan(self) -> IntegerPlan:
        """Ranges and widths. Setting it gives the values their new types."""
        return self._plan

    @plan.setter
    def plan(self, plan: IntegerPlan) -> None:
        self._plan = plan
        made = integer_graph(self.latent.to_graph(), plan)
        self.graph, self._origins = made.graph, dict(made.origins)

    def apply_masks(self) -> None:
        """Set pruned weights back to zero."""
        self.latent.apply_masks()

    def to_integer_graph(self) -> Graph:
        """The integer graph of the present weights: it computes what `forward` computes."""
        return integer_graph(self.latent.to_graph(), self.plan).graph

    def forward(self, batch: Structure, watch: Callable[[Value, Tensor], None] | None = None) -> tuple[Tensor, ...]:
        """One float32 tensor per output.

        Args:
            watch: called with every value that is no constant, and its tensor; codes hold q - z.
        """
        tensors: list[Tensor] = []
        types: list[TensorType] = []
        for value in self.graph.values:
            types.append(value.type)
            if isinstance(value.op, Const):
                tensors.append(self._weight(value) if not value.type.dtype.is_integer else torch.empty(0))
                continue
            operands = tuple(tensors[i] for i in value.inputs)
            call = Call(value, operands, tuple(types[i] for i in value.inputs), batch, self._constant)
            is_integer = value.type.dtype.is_integer or (bool(call.types) and call.types[0].dtype.is_integer)
            code = self._code_call(call) if is_integer else None
            tensors.append(emit(value.op, call) if code is None else emit_codes(value.op, code))
            if code is not None and code.linear is not None and value.type.dtype is DType.I32:
                # The scale of accumulators is a product with the weight's scale, which follows the weights.
                parameters = accumulator_parameters(call.types[0], code.linear.codes.weight_qparams)
                types[-1] = value.type.with_dtype(DType.I32, parameters)
            if watch is not None:
                watch(value, tensors[-1])
        return tuple(tensors[o] for o in self.graph.outputs)

    def _code_call(self, call: Call) -> CodeCall:
        value = call.value
        if isinstance(value.op, Linear):
            return CodeCall(call, linear=self._linear(value))
        if isinstance(value.op, Propagate) and "self_scale" in value.op.operands:
            return CodeCall(call, self_scale=self._self_scale(value))
        if isinstance(value.op, HeadDot | Mul):
            return CodeCall(call, factor=self._factor(value))
        return CodeCall(call)

    def _constant(self, name: str) -> Tensor:
        return self.latent.constant(self._origins[name])

    def _weight(self, const: Value) -> Tensor:
        assert isinstance(const.op, Const)
        return self._constant(const.op.name)

    def _linear(self, value: Value) -> TrainedLinear:
        """The codes of a Linear at the present weights, by the function that makes the integer graph."""
        assert isinstance(value.op, Linear)
        x, stored = self.graph.values[value.inputs[0]], self.graph.values[value.inputs[1]]
        weight = self._weight(stored)
        bias = self._weight(self.graph.values[value.inputs[2]]) if len(value.inputs) == 3 else None
        codes = linear_codes(
            weight.detach().numpy(), None if bias is None else bias.detach().numpy(), x.type,
            bits=self.plan.weight_bits, per_tensor=qparams_of(stored.type).axis is None,
        )  # fmt: skip
        return TrainedLinear(codes, weight, bias)

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
