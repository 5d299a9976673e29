"""What each op computes in torch, on float tensors: the one emission that training and the torch-based exporters share.

Everything that depends on how edges are laid out is asked of the `Structure`. A quantizing emission registers its own
`singledispatch` and falls back to `emit`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from toolchain.errors import TypeMismatch
from toolchain.ir import ops
from toolchain.ir.graph import Value
from toolchain.ir.ops import Extent, Function, Reduce
from toolchain.ir.types import TensorType
from toolchain.torch_structure import Structure

ACTIVATIONS: dict[Function, Callable[[Tensor, float], Tensor]] = {
    Function.RELU: lambda x, alpha: F.relu(x),
    Function.LEAKY_RELU: lambda x, alpha: F.leaky_relu(x, alpha),
    Function.ELU: lambda x, alpha: F.elu(x, alpha),
    Function.GELU: lambda x, alpha: F.gelu(x),
    Function.GELU_TANH: lambda x, alpha: F.gelu(x, approximate="tanh"),
    Function.SIGMOID: lambda x, alpha: torch.sigmoid(x),
    Function.TANH: lambda x, alpha: torch.tanh(x),
    Function.EXP: lambda x, alpha: torch.exp(x),
    Function.LOG: lambda x, alpha: torch.log(x),
    Function.SQRT: lambda x, alpha: torch.sqrt(x),
    Function.ABS: lambda x, alpha: torch.abs(x),
    Function.STEP: lambda x, alpha: (x > 0).to(x.dtype),
}


@dataclass(frozen=True, slots=True)
class Call:
    """One op application: the value, its operands, and where it runs.

    Attributes:
        tensors: operands in order; a Const without operands finds its own tensor in `constants`.
        training: BatchNorm uses and updates batch statistics, Dropout drops.
    """

    value: Value
    tensors: tuple[Tensor, ...]
    types: tuple[TensorType, ...]
    structure: Structure
    constants: Callable[[str], Tensor]
    training: bool = False

    def operand(self, slot: str) -> Tensor | None:
        """The operand in a named slot, or None where the op was built without it."""
        names = self.value.op.operand_names(len(self.tensors))
        return self.tensors[names.index(slot)] if slot in names else None

    def operand_type(self, slot: str) -> TensorType | None:
        names = self.value.op.operand_names(len(self.tensors))
        return self.types[names.index(slot)] if slot in names else None


def activate(function: Function | None, x: Tensor, alpha: float = 0.01) -> Tensor:
    """Apply a fused activation; None is the identity."""
    return x if function is None else ACTIVATIONS[function](x, alpha)


def scale_rows(x: Tensor, factor: ops.RowFactor | None, structure: Structure) -> Tensor:
    """Multiply each node row by a factor of a topology's normalization."""
    scale = None if factor is None else structure.row_factor(factor)
    return x if scale is None else x * scale


@singledispatch
def emit(op: ops.Op, call: Call) -> Tensor:
    """The float meaning of an op, differentiable.

    Raises:
        TypeMismatch: the op works on integer codes.
    """
    raise TypeMismatch(
        f"%{call.value.id} {type(op).__name__}: has no float meaning in torch. "
        "Quantized graphs are exported, not trained."
    )


@emit.register
def _(op: ops.Input, call: Call) -> Tensor:
    return call.structure.input(op)


@emit.register
def _(op: ops.Const, call: Call) -> Tensor:
    return call.constants(op.name)


@emit.register
def _(op: ops.Linear, call: Call) -> Tensor:
    y = activate(op.activation, F.linear(call.tensors[0], call.tensors[1], call.operand("bias")))
    return scale_rows(y, op.row_factor, call.structure)


@emit.register
def _(op: ops.Propagate, call: Call) -> Tensor:
    x, self_scale, bias = call.tensors[0], call.operand("self_scale"), call.operand("bias")
    heads = call.operand_type("weight")
    y = call.structure.propagate(
        x, op.topology, op.reduce, call.operand("weight"), heads.channels if heads else 1, op.source_scaled
    )
    if self_scale is not None:
        y = y + self_scale * x
    if bias is not None:
        y = y + bias
    return scale_rows(activate(op.activation, y), op.row_factor, call.structure)


@emit.register
def _(op: ops.Gather, call: Call) -> Tensor:
    return call.structure.gather(call.tensors[0], op.topology, op.end)


@emit.register
def _(op: ops.Aggregate, call: Call) -> Tensor:
    return call.structure.aggregate(call.tensors[0], edge_topology(call), op.reduce, op.end)


@emit.register
def _(op: ops.EdgeSoftmax, call: Call) -> Tensor:
    return call.structure.edge_softmax(call.tensors[0], edge_topology(call))


def edge_topology(call: Call) -> int:
    """The topology whose edges the first operand has rows for."""
    topology = call.types[0].topology
    assert topology is not None, f"%{call.value.id} reads an edge value without topology"
    return topology


@emit.register
def _(op: ops.HeadDot, call: Call) -> Tensor:
    x, weight = call.tensors
    return (x.unflatten(1, call.types[1].shape) * weight).sum(dim=2)  # [., H, C] to [., H]


@emit.register
def _(op: ops.HeadMean, call: Call) -> Tensor:
    return call.tensors[0].unflatten(1, (op.heads, -1)).mean(dim=1)  # [., H, C] to [., C]


@emit.register
def _(op: ops.Pool, call: Call) -> Tensor:
    return call.structure.pool(call.tensors[0], op.reduce)


@emit.register
def _(op: ops.Broadcast, call: Call) -> Tensor:
    return call.structure.broadcast(call.tensors[0])


@emit.register
def _(op: ops.Add, call: Call) -> Tensor:
    return activate(op.activation, call.tensors[0] + call.tensors[1])


@emit.register
def _(op: ops.Sub, call: Call) -> Tensor:
    return call.tensors[0] - call.tensors[1]


@emit.register
def _(op: ops.Mul, call: Call) -> Tensor:
    return call.tensors[0] * call.tensors[1]


@emit.register
def _(op: ops.Div, call: Call) -> Tensor:
    return call.tensors[0] / call.tensors[1]


@emit.register
def _(op: ops.Maximum, call: Call) -> Tensor:
    return torch.maximum(call.tensors[0], call.tensors[1])


@emit.register
def _(op: ops.Activation, call: Call) -> Tensor:
    return activate(op.function, call.tensors[0], op.alpha)


@emit.register
def _(op: ops.LogSoftmax, call: Call) -> Tensor:
    return torch.log_softmax(call.tensors[0], dim=1) if op.log else torch.softmax(call.tensors[0], dim=1)


@emit.register
def _(op: ops.Concat, call: Call) -> Tensor:
    return torch.cat(call.tensors, dim=1)


@emit.register
def _(op: ops.Slice, call: Call) -> Tensor:
    return call.tensors[0][:, op.start : op.stop]


@emit.register
def _(op: ops.BatchNorm, call: Call) -> Tensor:
    x, weight, bias, mean, variance = call.tensors
    return F.batch_norm(x, mean, variance, weight, bias, call.training, op.momentum, op.eps)


@emit.register
def _(op: ops.LayerNorm, call: Call) -> Tensor:
    x, weight, bias = call.tensors
    if op.extent is Extent.ROW and not op.eps_outside:
        return F.layer_norm(x, call.types[0].shape, weight, bias, op.eps)
    average = _row_mean if op.extent is Extent.ROW else _graph_mean
    centred = x - average(x, call.structure)
    variance = average(centred * centred, call.structure)
    spread = torch.sqrt(variance) + op.eps if op.eps_outside else torch.sqrt(variance + op.eps)
    return centred / spread * weight + bias


def _row_mean(x: Tensor, structure: Structure) -> Tensor:
    return x.mean(dim=1, keepdim=True)  # [., 1]


def _graph_mean(x: Tensor, structure: Structure) -> Tensor:
    return structure.broadcast(structure.pool(_row_mean(x, structure), Reduce.MEAN))  # [N, 1]


@emit.register
def _(op: ops.Dropout, call: Call) -> Tensor:
    return F.dropout(call.tensors[0], op.p, call.training)


@emit.register
def _(op: ops.DegreeGroup, call: Call) -> Tensor:
    return groups_of(call.structure.in_degree(op.topology), op.bounds)


@emit.register
def _(op: ops.PeakGroup, call: Call) -> Tensor:
    x = call.types[0].qparams  # between two codes lies no bound that the rounding of their real values could move
    bounds = op.bounds if x is None else [(np.floor(b / x.scale[0]) + 0.5) * x.scale[0] for b in op.bounds]
    return groups_of(call.tensors[0].abs().amax(dim=1, keepdim=True), bounds)


def groups_of(x: Tensor, bounds: Sequence[float]) -> Tensor:
    """How many of the bounds [N, 1] exceeds: [N, 1]."""
    return (x > torch.from_numpy(np.array([bounds])).to(x.dtype)).to(x.dtype).sum(dim=1, keepdim=True)


@emit.register
def _(op: ops.RowScale, call: Call) -> Tensor:
    x, group, bias = call.tensors[0], call.tensors[1][:, 0].long(), call.operand("bias")
    y = x * _of_groups(op.factors, group, x)
    y = activate(op.activation, y if bias is None else y + bias)
    if op.limits:
        limits = _of_groups(op.limits, group, x)
        y = torch.minimum(torch.maximum(y, -limits), limits)
    return scale_rows(y, op.row_factor, call.structure)


def _of_groups(numbers: tuple[float, ...], group: Tensor, like: Tensor) -> Tensor:
    """[N, 1]: the number of each row's group."""
    return torch.from_numpy(np.array(numbers)).to(like.dtype).index_select(0, group).unsqueeze(1)
