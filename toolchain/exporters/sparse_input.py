"""Features that a model file takes as their entries other than 0: in which form, and which graphs can read them so.

A Linear on such features is a sum of rows of its transposed weights: those of the columns in which a row of x has entries, times
the entries. So layer one costs as many multiply-adds as x has entries: in Cora 18 columns of 1433.
"""

from __future__ import annotations

from enum import Enum

from toolchain.errors import ExportError
from toolchain.ir import DType, Graph, QParams, Value
from toolchain.ir.ops import Const, Linear, Quantize

BINARY_CODES = QParams((1.0,), 0, 8)  # what static int8 gives a binary input: codes 0 and 1
EXACT_IN_FLOAT = 2**24  # integers up to here are float32 numbers


class Features(Enum):
    """How a model file takes the features of nodes."""

    DENSE = "dense"  # [N, F] numbers
    BINARY = "binary"  # the columns of ones
    VALUES = "values"  # the columns of entries other than 0, and the entries


def chosen_features(option: bool | str) -> Features:
    """The form that an exporter's option `sparse_features` asks for: False, True, "binary" (as True) or "values".

    Raises:
        ExportError: the option is none of these.
    """
    if isinstance(option, bool):
        return Features.BINARY if option else Features.DENSE
    try:
        return Features(option)
    except ValueError as error:
        known = ", ".join(repr(form.value) for form in Features)
        raise ExportError(f"sparse_features {option!r} is unknown. Expected True, False, {known}.") from error


def features_fact(features: Features) -> dict[str, str]:
    """What provenance records of sparse features."""
    return {} if features is Features.DENSE else {"sparse_features": features.value}


def stands_for_features(graph: Graph, value: Value) -> bool:
    """Whether a value is x of the model, or x as the codes 0 and 1."""
    if isinstance(value.op, Quantize) and value.op.row_factor is None and value.type.qparams == BINARY_CODES:
        value = graph.values[value.inputs[0]]
    return value.is_features


def reads_features(graph: Graph, value: Value) -> bool:
    """Whether a value is a Linear on the features."""
    return isinstance(value.op, Linear) and stands_for_features(graph, graph.values[value.inputs[0]])


def check_features(graph: Graph, features: Features) -> None:
    """Every reader of x is a Linear, directly or behind a quantization that keeps 0 and 1 as codes 0 and 1.

    Raises:
        ExportError: names the reader that needs the whole row, or integers that are not sums of weights.
    """
    if features is Features.DENSE:
        return
    users = graph.users()
    for value in graph.values:
        if not stands_for_features(graph, value):
            continue
        if value.id in graph.outputs:
            raise ExportError("sparse features: x is an output of the model. Export it with dense features.")
        for reader in (graph.values[number] for number in users[value.id]):
            if stands_for_features(graph, reader):
                continue
            if not reads_features(graph, reader):
                raise ExportError(
                    f"sparse features: {type(reader.op).__name__} ({reader.scope or 'the input'}) reads x as rows of numbers, "
                    "not as its entries. Put a linear layer first (transform before aggregating), or export with dense "
                    "features."
                )
            _check_weights(graph, reader, features)


def _check_weights(graph: Graph, linear: Value, features: Features) -> None:
    weight = graph.values[linear.inputs[1]]
    assert isinstance(weight.op, Const)
    if weight.type.dtype is DType.F32:
        return
    if features is not Features.BINARY:
        raise ExportError(
            f"sparse features: {linear.scope} has integer weights, which are summed as integers for features of 0 and 1 only. "
            "Use sparse_features='binary', float weights, or dense features."
        )
    largest = 128 * weight.type.channels
    if largest > EXACT_IN_FLOAT:
        raise ExportError(
            f"sparse features: {linear.scope} sums up to {weight.type.channels} weights of 8 bits, more than float32 holds "
            f"exactly ({EXACT_IN_FLOAT // 128}). Use float weights or dense features."
        )
