"""What an integer Linear uses of its kernel, whatever form its weights have."""

from __future__ import annotations

from toolchain.exporters.c import uses
from toolchain.exporters.c.layers import Requant, linear_constants, linear_ratio, lowest, requant_parameters
from toolchain.ir import Graph, Value
from toolchain.ir.ops import Function, Linear


def linear_uses(graph: Graph, value: Value) -> set[str]:
    """Names of `uses.USES`, beside the width of the weights."""
    width = linear_constants(graph, value).codes.shape[1]
    return uses.of_linear(width, linear_requant(graph, value), value.type, lowest(value.type, relu=has_relu(value)))


def linear_requant(graph: Graph, value: Value) -> Requant:
    """How a Linear's accumulators become codes."""
    return requant_parameters(linear_ratio(graph, value), linear_constants(graph, value).bound)


def has_relu(value: Value) -> bool:
    """Whether a ReLU is fused into a Linear."""
    return isinstance(value.op, Linear) and value.op.activation is Function.RELU
