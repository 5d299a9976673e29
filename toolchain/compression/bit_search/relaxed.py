"""MixQ's relaxed search: every value and weight is a softmax mixture of its widths, which learns with the model.

    t~ = sum_b softmax(alpha_t)_b Q_b(t),    loss = task + penalty * sum_t (mean bits of t) * cost_t

Afterwards each takes the width of its largest alpha. Source: Moustafa et al. 2025 (arXiv:2505.09361). Unlike its published
code, weights stay float while the codes change, every quantizer that the model will have takes part, and the penalty is on
one scale for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from toolchain.compression.bit_search.additive import Assignment
from toolchain.compression.bit_search.space import SearchSpace
from toolchain.compression.code_domain import straight_through
from toolchain.compression.distillation import Distillation
from toolchain.compression.labelled import cross_entropy
from toolchain.compression.quantizers import Learned, LearnedValue, LearnedWeight
from toolchain.compression.training import Loss, Schedule, train_module
from toolchain.errors import RecipeError
from toolchain.ir import Value, ops
from toolchain.seeds import check_seed
from toolchain.torch_module import GraphModule
from toolchain.torch_ops import Call, activate, scale_rows
from toolchain.torch_sparse import SparseMatrix, mostly_zero


@dataclass(frozen=True, slots=True, eq=False)
class MixQ:
    """Options of the relaxed search.

    Attributes:
        loader: training graphs with labels, as for `fine_tune`.
        penalty: lambda, >= 0: what the whole cost at the widest candidates adds to the loss. 0 lets accuracy decide alone.
        mixture_lr: of the mixtures and scales, without weight decay.
        distillation: a float teacher, as for QAT.
        lr, weight_decay, loss, seed, batch_size: as for `fine_tune`.
    """

    loader: Iterable[Any]
    epochs: int = 50
    penalty: float = 0.1
    lr: float = 0.01
    mixture_lr: float = 0.01
    distillation: Distillation | None = None
    weight_decay: float = 0.0
    loss: Loss | None = None
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if self.penalty < 0:
            raise RecipeError(f"penalty: {self.penalty}, expected 0 or more.")
        if self.epochs < 1:
            raise RecipeError(f"epochs: {self.epochs}, expected at least 1: the mixtures learn in them.")
        Schedule(self.epochs, self.lr, self.weight_decay, self.loss, self.seed, self.batch_size)


def relaxed_search(space: SearchSpace, method: MixQ) -> Assignment:
    """Bits of every slot of a space, by MixQ's relaxation.

    Raises:
        TrainingDiverged: the loss is not finite.
    """
    module = RelaxedModule(space)
    task = method.loss or cross_entropy

    def penalized(output: Tensor, labels: Tensor) -> Tensor:
        return task(output, labels) + method.penalty * module.mean_cost()

    schedule = Schedule(method.epochs, method.lr, method.weight_decay, penalized, method.seed, method.batch_size)
    train_module(
        module, method.loader, schedule, groups=module.groups(method.mixture_lr), distillation=method.distillation
    )
    return module.assignment()


class RelaxedModule(GraphModule):
    """The float graph of a space with a mixture of quantizers at every slot. All of it is differentiable."""

    def __init__(self, space: SearchSpace) -> None:
        super().__init__(space.source)
        self._names = list(space.slots.names)
        self._costs = space.shares
        mixtures: list[Mixture] = []
        for value in space.slots.values:
            quantizers = [Learned(bits).for_value(value) for bits in space.candidates[value.name]]
            mixtures.append(Mixture(space.candidates[value.name], quantizers, _rounded_value))
        for weight in space.slots.weights:
            made = [Learned(bits).for_weight(weight) for bits in space.candidates[weight.name]]
            mixtures.append(Mixture(space.candidates[weight.name], made, _rounded_weight))
        self.mixtures = nn.ModuleList(mixtures)
        self._by_value = {slot.id: mixtures[i] for i, slot in enumerate(space.slots.values)}
        weights = {slot.name: mixtures[len(self._by_value) + i] for i, slot in enumerate(space.slots.weights)}
        self._by_constant = weights
        readers = space.source.users()
        self._sparsely_read = {
            slot.id for slot in space.slots.values
            if slot.is_input and all(isinstance(space.source.values[u].op, ops.Linear) for u in readers[slot.id])
        }  # fmt: skip
        self._sparse: dict[
            int, tuple[Tensor, SparseMatrix | None]
        ] = {}  # of the last batch: an input, and its non-zeros
        self._products: dict[int, SparseMatrix] = {}  # left operands of this forward pass

    def groups(self, mixture_lr: float) -> list[dict[str, Any]]:
        """Parameters for an optimizer: the weights, and mixtures and scales without weight decay."""
        learned = list(self.mixtures.parameters())
        weights = [parameter for _, parameter in self.trained()]
        return [{"params": weights}, {"params": learned, "lr": mixture_lr, "weight_decay": 0.0}]

    def emit(self, op: ops.Op, call: Call) -> Tensor:
        mixture = self._mixture(call.value)
        exact = self._linear(op, call) if isinstance(op, ops.Linear) else super().emit(op, call)
        if mixture is None:
            return exact
        sparse = self._non_zeros(call.value, exact)
        if sparse is None:
            return mixture(exact)
        self._products[call.value.id] = sparse.with_values(mixture(sparse.values))
        return exact  # for its shape: who reads it takes the product

    def _non_zeros(self, value: Value, x: Tensor) -> SparseMatrix | None:
        """Of a mostly zero input, whose zeros stay zero at any width."""
        self._products.pop(value.id, None)
        if value.id not in self._sparsely_read:
            return None
        if value.id not in self._sparse or self._sparse[value.id][0] is not x:
            self._sparse[value.id] = x, mostly_zero(x)
        return self._sparse[value.id][1]

    def _linear(self, op: ops.Linear, call: Call) -> Tensor:
        sparse, bias = self._products.get(call.value.inputs[0]), call.operand("bias")
        if sparse is None:
            return super().emit(op, call)
        y = sparse.product(call.tensors[1].T.contiguous())
        return scale_rows(activate(op.activation, y if bias is None else y + bias), op.row_factor, call.structure)

    def _mixture(self, value: Value) -> Mixture | None:
        if isinstance(value.op, ops.Const):
            return self._by_constant.get(value.op.name)
        return self._by_value.get(value.id)

    def mean_cost(self) -> Tensor:
        """Cost of the mean widths, as a share of that of the widest candidates."""
        total = torch.zeros(())
        for name, mixture in zip(self._names, self._each(), strict=True):
            total = total + self._costs[name] * mixture.mean_bits()
        return total

    def assignment(self) -> dict[str, int]:
        """The widths that weigh most."""
        return {name: mixture.heaviest() for name, mixture in zip(self._names, self._each(), strict=True)}

    def _each(self) -> Iterable[Mixture]:
        return self.mixtures  # type: ignore[return-value]  # a ModuleList of nothing else


class Mixture(nn.Module):
    """A weighted mean of a tensor rounded to several widths; weights and scales learn.

    Args:
        rounded: (tensor, quantizer) → the tensor on the quantizer's grid.
    """

    def __init__(
        self, bits: Sequence[int], quantizers: Sequence[nn.Module], rounded: Callable[[Tensor, Any], Tensor]
    ) -> None:
        super().__init__()
        self.bits, self._rounded = tuple(bits), rounded
        self.quantizers = nn.ModuleList(quantizers)
        # Near uniform, with a slight lead of more bits, as in the published search.
        self.alpha = nn.Parameter(torch.softmax(torch.softmax(torch.tensor(self.bits, dtype=torch.float32), 0), 0))

    @property
    def weights(self) -> Tensor:
        return torch.softmax(self.alpha, 0)

    def mean_bits(self) -> Tensor:
        return (self.weights * torch.tensor(self.bits, dtype=torch.float32)).sum()

    def heaviest(self) -> int:
        return self.bits[int(self.alpha.argmax())]

    def forward(self, x: Tensor) -> Tensor:
        parts = [self._rounded(x, quantizer) for quantizer in self.quantizers]
        return (torch.stack(parts, dim=-1) * self.weights).sum(dim=-1)


def _rounded_value(x: Tensor, quantizer: LearnedValue) -> Tensor:
    qparams, step = quantizer.qparams(), quantizer.step()
    low, high = (bound - qparams.zero_point for bound in qparams.code_range)
    real = x / step
    return straight_through(real, real.detach().round()).clamp(low, high) * step


def _rounded_weight(weight: Tensor, quantizer: LearnedWeight) -> Tensor:
    step = quantizer.step().reshape(-1, 1)
    real = weight / step
    if quantizer.bits == 1:
        return straight_through(real.clamp(-1, 1), torch.where(real >= 0, 1.0, -1.0)) * step
    top = 2 ** (quantizer.bits - 1) - 1
    return straight_through(real, real.detach().round()).clamp(-top, top) * step
