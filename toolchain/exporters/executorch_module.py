"""ExecuTorchModule: a FeedModule without the ops that ExecuTorch computes wrongly."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from toolchain.exporters.feed_module import FeedModule
from toolchain.ir import ops
from toolchain.ir.ops import Function
from toolchain.torch_ops import Call


class ExecuTorchModule(FeedModule):
    """A FeedModule that spells out the ops that a backend would compute wrongly."""

    def emit(self, op: ops.Op, call: Call) -> Tensor:
        if isinstance(op, ops.Activation) and op.function is Function.GELU_TANH:
            # XNNPACK's partitioner takes gelu and ignores approximate="tanh" (executorch 1.4): an error of 5e-4.
            x = call.tensors[0]
            return 0.5 * x * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (x + 0.044715 * x * x * x)))
        return super().emit(op, call)
