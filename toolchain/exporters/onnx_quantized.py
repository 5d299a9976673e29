"""Integer values in ONNX: every Linear on codes runs in an int8 kernel, everything else on the real values of the codes.

Static int8 is written as QuantizeLinear / DequantizeLinear around Gemm, which onnxruntime fuses into QGemm; dynamic int8 as
DynamicQuantizeLinear and MatMulInteger, which it fuses into DynamicQuantizeMatMul. Other runtimes read the same file.

Weights are stored as uint8 around 128. With int8 weights, x86 processors without VNNI add two products of uint8 and int8 in
saturating 16 bits (255 * 127 * 2 is cut to 32,767) and give wrong sums without a word; the remedy of onnxruntime, the option
session.x64quantprecision, does not reach into branches (1.31) and not into other hosts. uint8 times uint8 is exact on every
processor; where VNNI is there, the whole model takes 2 to 27 % longer than with int8 weights.
"""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from toolchain.errors import ExportError
from toolchain.exporters.constants import qparams_of, weight_scales
from toolchain.exporters.onnx_ops import Site, activated, emit, row_scaled
from toolchain.exporters.onnx_sparse import sparse_linear
from toolchain.exporters.sparse_input import Features, reads_features, stands_for_features
from toolchain.ir import DType, Value
from toolchain.ir.ops import Const, Dequantize, Function, Linear, Quantize

# A 16-bit value q enters an int8 kernel as two 8-bit digits, q = DIGIT * high + low. With 257 the digits reach every
# code: 127 * 257 + 127 = 32,766. A remainder of 128 is cut to 127, one code of 65,535.
DIGIT = 257


def emit_value(site: Site) -> None:
    """Write one value of any type and keep its result under the value's id."""
    value, op = site.value, site.value.op
    is_sparse = site.feeds.features is not Features.DENSE
    if isinstance(op, Const) or (is_sparse and stands_for_features(site.graph, value)):
        return  # stored by the value that reads it, as floats or as codes; sparse features are fed
    if isinstance(op, Linear) and is_sparse and reads_features(site.graph, value):
        raw = sparse_linear(op, site)
    elif isinstance(op, Linear) and _weight(site).type.dtype.is_integer:
        raw = _static(op, site) if _is_integer(site) else _dynamic(op, site)
    elif isinstance(op, Quantize):
        raw = row_scaled(site, site.x, op.row_factor)
    elif isinstance(op, Dequantize):
        raw = site.x
    else:
        raw = emit(op, site)
    site.values.store(value.id, raw)


def _is_integer(site: Site) -> bool:
    return site.graph.values[site.value.inputs[0]].type.dtype.is_integer


def _weight(site: Site) -> Value:
    return site.graph.values[site.value.inputs[1]]


def _unsigned(codes: np.ndarray) -> np.ndarray:
    """int8 codes as uint8 codes around 128."""
    return (codes.astype(np.int16) + 128).astype(np.uint8)


def _dynamic(op: Linear, site: Site) -> str:
    """x in uint8 over its own range, times 8-bit weights."""
    writer, weight = site.writer, _weight(site)
    codes, scale, zero = writer.ops("DynamicQuantizeLinear", site.x, outputs=3)
    weights = writer.constant(_unsigned(site.array("weight").T)), writer.constant(np.array(128, np.uint8))
    product = writer.op("MatMulInteger", codes, weights[0], zero, weights[1])  # [N, out] int32
    scales = writer.op("Mul", scale, writer.constant(weight_scales(weight)))
    y = writer.op("Mul", writer.op("Cast", product, to=TensorProto.FLOAT), scales)
    bias = site.operand("bias")
    y = y if bias is None else writer.op("Add", y, bias)
    return row_scaled(site, activated(writer, y, op.activation), op.row_factor)


def _static(op: Linear, site: Site) -> str:
    """Codes times 8-bit weights, with the ReLU and the row factor where rounding to the result's codes does not do it."""
    type, writer = site.value.type, site.writer
    if op.activation not in (None, Function.RELU):
        raise ExportError(
            f"%{site.value.id} ({site.value.scope}): {op.activation} of codes; only ReLU can be fused there."
        )
    y = row_scaled(site, _product(site), op.row_factor)
    out = qparams_of(site.value)
    rounding_clamps = type.dtype is DType.I8 and out.zero_point == out.code_range[0]
    if op.activation is None or rounding_clamps:  # row factors are not negative: ReLU may come after them
        return y
    # Max, because onnxruntime would make Gemm and Relu one float kernel before it looks for 8-bit ones.
    return writer.op("Max", y, writer.constant(0.0))


def _product(site: Site) -> str:
    """x W^T + b: 8-bit x in one product, 16-bit x in one for each of its digits."""
    x = site.graph.values[site.value.inputs[0]]
    if x.type.dtype is DType.I8:
        return _gemm(site, site.values.real(x.id), with_bias=True)
    writer, scale = site.writer, np.float32(qparams_of(x).scale[0])
    real = site.values.real(x.id)
    high = _rounded(site, real, np.float32(DIGIT) * scale)
    low = _rounded(site, writer.op("Sub", real, high), scale)
    # The int8 kernel takes the bias at scale_x * scale_w whatever its own DequantizeLinear says: it belongs to `low`.
    return writer.op("Add", _gemm(site, high, with_bias=False), _gemm(site, low, with_bias=True))


def _rounded(site: Site, x: str, scale: np.float32) -> str:
    """x at 8 bits around 0."""
    writer = site.writer
    parameters = writer.constant(scale), writer.constant(np.uint8(128))
    return writer.op("DequantizeLinear", writer.op("QuantizeLinear", x, *parameters), *parameters)


def _gemm(site: Site, x: str, *, with_bias: bool) -> str:
    """x W^T + b on the real values of codes, each constant dequantized directly before it, as the fusion wants it."""
    weight, bias = _weight(site), site.graph.operand(site.value, "bias")
    operands = [x, _dequantized(site, _unsigned(site.graph.constant(weight).T), weight, axis=1)]
    if with_bias and bias is not None:
        operands.append(_dequantized(site, site.graph.constant(bias), bias, axis=0))
    return site.writer.op("Gemm", *operands)


def _dequantized(site: Site, codes: np.ndarray, constant: Value, *, axis: int) -> str:
    """Stored codes as real values, with one scale for each index of `axis` or one for all."""
    writer, scales = site.writer, weight_scales(constant)
    # onnxruntime fuses only nodes that state their zero points.
    zero = 128 if codes.dtype == np.uint8 else 0
    parameters = writer.constant(scales), writer.constant(np.full(scales.shape, zero, codes.dtype))
    if not scales.ndim:
        return writer.op("DequantizeLinear", writer.constant(codes), *parameters)
    return writer.op("DequantizeLinear", writer.constant(codes), *parameters, axis=axis)
