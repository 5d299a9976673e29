"""The gnn_linear_layer of an integer Linear: how its weights, biases and requantization are stored."""

from __future__ import annotations

import numpy as np

from toolchain.exporters.c.layers import (
    linear_constants,
    linear_ratio,
    pack_weights,
    packed_terms,
    requant_fields,
)
from toolchain.exporters.c.linear_uses import has_relu, linear_requant, linear_uses
from toolchain.exporters.c.packed_linear import packed_form
from toolchain.exporters.c.program import Program
from toolchain.exporters.c.ready_linear import narrow_channels, reads_sparse
from toolchain.ir import DType, Graph, Value
from toolchain.ir.ops import Linear


def linear_layer(program: Program, value: Value) -> str:
    """Store the layer and note what it uses; returns its address."""
    graph, number = program.graph, str(value.id)
    constants = linear_constants(graph, value)
    codes = constants.codes
    weight = program.constant(f"weight_{number}", pack_weights(codes, constants.bits))
    sizes = f".in = {codes.shape[1]}, .out = {codes.shape[0]}, .weight_bits = {constants.bits}"
    program.uses.add(f"WEIGHTS_OF_{constants.bits}_BITS")
    terms, fields = None, []
    if value.type.dtype is not DType.I32:
        terms = _terms(graph, value) if _all_have_terms(program) else None
        program.uses |= linear_uses(graph, value)
        if constants.bits == 4:
            program.uses.add("NO_TERMS" if terms is None else "TERMS")
        requant = requant_fields(
            program, number, linear_ratio(graph, value), constants.bound, value.type, relu=has_relu(value),
            has_terms=terms is not None,
        )  # fmt: skip
        fields = [f".requant = {requant}"]
    bias = (
        f".bias = {program.constant(f'bias_{number}', constants.bias)}"
        if terms is None
        else f".terms = {program.constant(f'terms_{number}', terms)}"
    )
    return program.struct("gnn_linear_layer", f"linear_{number}", [f".weight = {weight}", bias, sizes, *fields])


def _terms(graph: Graph, value: Value) -> np.ndarray | None:
    """Bias and shift of each channel as one number, where they fit and a loop in assembly takes them."""
    constants = linear_constants(graph, value)
    if constants.bits != 4 or linear_uses(graph, value) & {"RARE", "LONG_ROWS", "ONE_MULTIPLIER"}:
        return None
    return packed_terms(constants.bias, linear_requant(graph, value).shift)


def _all_have_terms(program: Program) -> bool:
    """Whether all Linears with weights of 4 bits have terms: loops for some of them would take more room than the terms spare."""
    graph = program.graph
    linears = [
        v for v in graph.values if isinstance(v.op, Linear) and v.type.dtype in (DType.I8, DType.I16)
        and not reads_sparse(program, v) and narrow_channels(graph, v) is None and linear_constants(graph, v).bits == 4
        and packed_form(program, v) is None
    ]  # fmt: skip
    return all(_terms(graph, v) is not None for v in linears)
