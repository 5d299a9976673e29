"""Integer values in LiteRT: what of a quantized Graph runs in int8 kernels, and what on the real values of codes.

A Linear from int8 to int8 codes is an integer FULLY_CONNECTED. One that reads float (dynamic int8) is a FULLY_CONNECTED with
int8 weights, which quantizes every row of its operand over that row's own range; the reference takes one range for all rows.
Any other Linear on codes reads and gives real values, and its weights, int8 in the file, are made float when it is loaded: that
costs no time against float weights (ai-edge-litert 2.3), where the int16 kernels cost two conversions and a second rounding.
Everything else runs on real values, which are rounded to codes wherever the Graph has an int8 value.

Codes of at most 4 bits are stored in 4, except for tflite-runtime 2.14, which refuses them. Products with them are as fast as with
8 bits; weights that are made float are so in every run, which takes 6 us for 64 x 64 (8 bits: once, when the file is loaded).
"""

from __future__ import annotations

import numpy as np

from toolchain.errors import ExportError
from toolchain.exporters.constants import qparams_of
from toolchain.exporters.litert_ops import activated, emit
from toolchain.exporters.litert_serializer import Quantization
from toolchain.exporters.litert_site import NONE, RELU, Compat, Site
from toolchain.exporters.litert_sparse import sparse_linear
from toolchain.exporters.sparse_input import Features, reads_features, stands_for_features
from toolchain.ir import DType, Value
from toolchain.ir.ops import Const, Dequantize, Function, Linear, Quantize

# Versions of operators that have the meaning used here. An older runtime refuses a file with newer ones when it loads it:
# tflite-runtime 2.14 knows FULLY_CONNECTED up to 10 and DEQUANTIZE up to 5. For the operands of version 12 it computes
# something else without a word if the file says 9, and int4 weights, of version 10, it takes with float operands only.
INT8_PRODUCT, INT4_PRODUCT = 4, 12
FLOAT_TIMES_INT8_PER_TENSOR, FLOAT_TIMES_INT8_PER_CHANNEL = 9, 12
DEQUANTIZE_PER_CHANNEL, DEQUANTIZE_INT4 = 5, 6


def emit_value(site: Site) -> None:
    """Write one value of any type and keep its result under the value's id."""
    value, op = site.value, site.value.op
    is_sparse = site.feeds.features is not Features.DENSE
    if isinstance(op, Const) or (is_sparse and stands_for_features(site.graph, value)):
        return  # stored by the value that reads it, as floats or as codes; sparse features are fed
    if isinstance(op, Linear) and is_sparse and reads_features(site.graph, value):
        site.values.store(value.id, sparse_linear(op, site))
    elif isinstance(op, Linear) and _weight(site).type.dtype.is_integer:
        x = _x(site)
        if not x.type.dtype.is_integer:
            site.values.store(value.id, _dynamic(op, site))
        elif _has_integer_kernel(op, site):
            site.values.store_codes(value.id, _integer(op, site))
        else:
            site.values.store(value.id, _on_real_values(op, site))
    elif isinstance(op, Quantize):
        site.values.store(value.id, site.scaled(site.x, op.row_factor))
    elif isinstance(op, Dequantize):
        site.values.store(value.id, site.x)
    else:
        site.values.store(value.id, emit(op, site))


def _x(site: Site) -> Value:
    return site.graph.values[site.value.inputs[0]]


def _weight(site: Site) -> Value:
    return site.graph.values[site.value.inputs[1]]


def _has_integer_kernel(op: Linear, site: Site) -> bool:
    """int8 in and out; a row factor has no place in the kernel's rescaling, and its result saturates at 8 bits only."""
    is_int8 = _x(site).type.dtype is site.value.type.dtype is DType.I8
    return is_int8 and qparams_of(site.value).bits == 8 and op.row_factor is None


def _relu_or_none(op: Linear, site: Site) -> int:
    if op.activation not in (None, Function.RELU):
        where = f"%{site.value.id} ({site.value.scope})"
        raise ExportError(f"{where}: {op.activation} of codes; only ReLU can be fused there.")
    return NONE if op.activation is None else RELU


def _integer(op: Linear, site: Site) -> int:
    """Codes to codes."""
    bias = site.graph.operand(site.value, "bias")
    operands = (site.values.codes(_x(site).id), _codes(site), -1 if bias is None else _stored(site, bias))
    return site.writer.op(
        "FULLY_CONNECTED", *operands, shape=(-1, site.channels), dtype="int8",
        quantization=quantization_of(site.value), version=INT4_PRODUCT if _is_narrow(site) else INT8_PRODUCT,
        FusedActivationFunction=_relu_or_none(op, site),
    )  # fmt: skip


def _on_real_values(op: Linear, site: Site) -> int:
    """Real values of codes times the real values of the weights' codes."""
    version = DEQUANTIZE_INT4 if _is_narrow(site) else DEQUANTIZE_PER_CHANNEL
    weight = site.writer.once("DEQUANTIZE", _codes(site), shape=_weight(site).type.shape, version=version)
    activation = _relu_or_none(op, site)
    y = site.linear(site.x, weight, site.operand("bias"), channels=site.channels, activation=activation)
    return site.scaled(y, op.row_factor)


def _dynamic(op: Linear, site: Site) -> int:
    """Float times int8 or int4 weights."""
    bias = site.operand("bias")
    fused = RELU if op.activation is Function.RELU else NONE
    if site.compat is Compat.LITERT:
        version = FLOAT_TIMES_INT8_PER_CHANNEL
        y = _times_codes(site, _codes(site), -1 if bias is None else bias, version, fused)
    else:
        # Per-channel scales are wrong there, so the codes get the scale 1, and the scales multiply the result.
        weight = _weight(site)
        codes = site.writer.constant(site.graph.constant(weight), Quantization((1.0,)))
        y = _times_codes(site, codes, -1, FLOAT_TIMES_INT8_PER_TENSOR, NONE)
        scales = site.writer.constant(np.array(qparams_of(weight).scale, np.float32))
        is_last = bias is None
        y = site.rowwise("MUL", y, scales, FusedActivationFunction=fused if is_last else NONE)
        y = y if bias is None else site.rowwise("ADD", y, bias, FusedActivationFunction=fused)
    return site.scaled(y if fused else activated(site, y, op.activation), op.row_factor)


def _times_codes(site: Site, codes: int, bias: int, version: int, fused: int) -> int:
    return site.rowwise(
        "FULLY_CONNECTED", site.x, codes, bias, version=version, FusedActivationFunction=fused,
        AsymmetricQuantizeInputs=True,
    )  # fmt: skip


def _is_narrow(site: Site) -> bool:
    """Whether the weights are stored in 4 bits."""
    return site.compat is Compat.LITERT and qparams_of(_weight(site)).bits <= 4


def _codes(site: Site) -> int:
    """The weights as stored codes."""
    if not _is_narrow(site):
        return _stored(site, _weight(site))
    weight = _weight(site)
    return site.writer.stored(packed(site.graph.constant(weight)), weight.type.shape, "int4", quantization_of(weight))


def _stored(site: Site, constant: Value) -> int:
    return site.writer.constant(site.graph.constant(constant), quantization_of(constant))


def packed(codes: np.ndarray) -> bytes:
    """Codes in [-8, 7] as two a byte, the first in the low half, row after row without a gap."""
    flat = codes.astype(np.uint8).ravel() & 15
    flat = np.pad(flat, (0, flat.size % 2))
    return (flat[0::2] | flat[1::2] << 4).astype(np.uint8).tobytes()


def quantization_of(value: Value) -> Quantization:
    """Quantization parameters of an integer value as a file states them."""
    qparams = qparams_of(value)
    return Quantization(qparams.scale, qparams.zero_point, qparams.axis or 0)
