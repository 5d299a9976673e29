"""quantize: a float Graph in, an integer Graph out, by the method that its options name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from toolchain.compression.bit_search.mixed_precision import MixedPrecision, mixed_precision
from toolchain.compression.dynamic_int8 import DynamicInt8, dynamic_int8
from toolchain.compression.half_weights import Float16, half_weights
from toolchain.compression.qat import QAT, quantization_aware
from toolchain.compression.static_int8 import StaticInt8, select
from toolchain.compression.step_report import Log, reported
from toolchain.errors import RecipeError
from toolchain.ir import Graph, check_graph

Method = Float16 | DynamicInt8 | StaticInt8 | QAT | MixedPrecision


def quantize(graph: Graph, method: Method, *, validation: Iterable[Any] | None = None, log: Log | None = None) -> Graph:
    """Give the weights, and with all but DynamicInt8 the values, integer types; Float16 makes halves of the weights.

    Args:
        graph: a float Graph; Dropout, BatchNorm and the like are folded here.
        validation: PyG graphs with labels, for the accuracy in the StepReport.
        log: called with the StepReport.

    Raises:
        QuantizationRefused: static int8 does not reach its `min_agreement`.
        RecipeError: the graph is quantized already.
    """
    check_graph(graph)
    if any(v.type.dtype.is_integer for v in graph.values) or graph.has_halves:
        raise RecipeError(f"{graph.name}: is quantized already. Quantize the float graph.")
    if isinstance(method, Float16):
        return reported("float16 weights", graph, lambda: half_weights(graph, method), validation, log)
    if isinstance(method, DynamicInt8):
        return reported(f"dynamic int{method.weight_bits}", graph, lambda: dynamic_int8(graph, method), validation, log)
    if isinstance(method, StaticInt8):
        return reported(f"static int{method.weight_bits}", graph, lambda: select(graph, method).graph, validation, log)
    if isinstance(method, QAT):
        kind = "QAT" if method.quantizers else f"QAT int{method.static.weight_bits}"
        name = f"{kind}, {method.epochs} epochs"
        return reported(name, graph, lambda: quantization_aware(graph, method), validation, log)
    if isinstance(method, MixedPrecision):
        name = f"mixed precision by {method.search}, {method.qat.epochs} epochs"
        return reported(name, graph, lambda: mixed_precision(graph, method), validation, log)
    raise RecipeError(
        f"method: {method!r}, expected Float16(), DynamicInt8(), StaticInt8(graphs), QAT(loader, epochs) or MixedPrecision(...)."
    )
