"""Integer attention and edge ops agree with the float ops on the dequantized operands, within one code of the output."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.ir.test_integer_ops import CHANNELS, I8, I16, PLAIN, SEEDS, TYPES, Twin, random_inputs
from toolchain.errors import TypeMismatch
from toolchain.ir import integer, ops
from toolchain.ir.attributes import PROPAGATED
from toolchain.ir.graph import Graph, GraphBuilder
from toolchain.ir.integer_softmax import WEIGHT_QPARAMS
from toolchain.ir.ops import End, Function, Op, Reduce, Role
from toolchain.ir.reference import interpret
from toolchain.ir.types import DType, QParams, const, node

LOGITS = QParams((float(np.float32(2e-4)),), 0, 16)
FINE = QParams((float(np.float32(1e-3)),), 0, 16)


def gathered(b: GraphBuilder, x: int, end: End = End.SOURCE) -> int:
    """Rows of x along topology 0, with x's type."""
    op, type_ = ops.Gather(0, end), b.type(x)
    return b.add(op, x, type=op.infer((type_,)).with_dtype(type_.dtype, type_.qparams))


@SEEDS
@TYPES
@pytest.mark.parametrize("heads", [1, 2, 3])
def test_head_dot(seed: int, input_type: DType, output_type: DType, heads: int) -> None:
    twin = Twin(seed, input_type, output_type)
    weight = twin.random.normal(size=(heads, CHANNELS // heads)) * np.geomspace(1, 50, heads)[:, None]
    codes, qparams = integer.weight_codes(weight, None, 1.0)
    stored = const(*weight.shape).with_dtype(I8, qparams)

    def build(b: GraphBuilder, x: int, is_integer: bool) -> tuple[Op, list[int]]:
        real = codes * np.asarray(qparams.scale)[:, None]
        return ops.HeadDot(), [x, b.const("w", codes, type=stored) if is_integer else b.const("w", real)]

    twin.compare(build)


@SEEDS
@TYPES
def test_head_mean(seed: int, input_type: DType, output_type: DType) -> None:
    Twin(seed, input_type, output_type).compare(lambda b, x, is_integer: (ops.HeadMean(3), [x]))


@SEEDS
@TYPES
@pytest.mark.parametrize("reduce", PROPAGATED)
def test_aggregate_of_gathered_rows(seed: int, input_type: DType, output_type: DType, reduce: Reduce) -> None:
    """Aggregated along the other end than they were gathered at, so that it is not what Propagate does."""

    def build(b: GraphBuilder, x: int, is_integer: bool) -> tuple[Op, list[int]]:
        return ops.Aggregate(reduce), [gathered(b, x, End.TARGET)]

    Twin(seed, input_type, output_type).compare(build)


@SEEDS
@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.5])
@pytest.mark.parametrize(("input_type", "output_type"), [(I16, I8), (I8, I16), (I16, I16)])
def test_leaky_relu_needs_no_table(seed: int, input_type: DType, output_type: DType, alpha: float) -> None:
    op = ops.Activation(Function.LEAKY_RELU, alpha)
    Twin(seed, input_type, output_type).compare(lambda b, x, is_integer: (op, [x]))


@SEEDS
@TYPES
@pytest.mark.parametrize("slices", [((0, 3), (3, 6)), ((0, 3), (5, 6)), ((2, 3), (3, 6))], ids=str)
def test_product_of_two_values(seed: int, input_type: DType, output_type: DType, slices: tuple) -> None:
    """Of equally many channels, and of many with one."""

    def build(b: GraphBuilder, x: int, is_integer: bool) -> tuple[Op, list[int]]:
        parts = [b.add(ops.Slice(*s), x, type=b.type(x).with_channels(s[1] - s[0])) for s in slices]
        return ops.Mul(), parts

    Twin(seed, input_type, output_type).compare(build)


@SEEDS
@TYPES
@pytest.mark.parametrize("shape", [(1,), (CHANNELS,)], ids=str)
def test_product_with_a_constant_of_any_sign(seed: int, input_type: DType, output_type: DType, shape: tuple) -> None:
    twin = Twin(seed, input_type, output_type)
    scale, codes = float(np.float32(1e-4)), twin.random.integers(-32767, 32767, shape).astype(np.int16)

    def build(b: GraphBuilder, x: int, is_integer: bool) -> tuple[Op, list[int]]:
        if is_integer:
            stored = const(*shape).with_dtype(I16, QParams((scale,), 0, 16))
            return ops.Mul(), [x, b.const("factor", codes, type=stored)]
        return ops.Mul(), [x, b.const("factor", codes * np.float64(scale))]

    twin.compare(build)


@SEEDS
@TYPES
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("heads", [1, 2, 6])
def test_weighted_propagate(seed: int, input_type: DType, output_type: DType, heads: int, relu: bool) -> None:
    """The float sum has the integer weights, so only the result is rounded."""
    twin = Twin(seed, input_type, output_type)
    bias = twin.random.normal(size=CHANNELS)
    op = ops.Propagate(0, operands=("weight", "bias"), activation=Function.RELU if relu else None)

    def build(b: GraphBuilder, x: int, is_integer: bool) -> tuple[Op, list[int]]:
        codes = x if is_integer else b.values[x].inputs[0]
        part = b.add(ops.Slice(0, heads), codes, type=b.type(codes).with_channels(heads))
        logits = b.add(ops.Quantize(I16, LOGITS), part, type=b.type(part).with_dtype(I16, LOGITS))
        along = gathered(b, logits)
        weight = b.add(ops.EdgeSoftmax(), along, type=b.type(along).with_dtype(I16, WEIGHT_QPARAMS))
        return op, [x, weight if is_integer else b.add(ops.Dequantize(), weight), b.const("bias", bias)]

    twin.compare(build)


def attention(x: QParams, dtype: DType, out: QParams, out_dtype: DType, op: Op | None = None) -> Graph:
    """EdgeSoftmax of quantized, gathered x, or `op` behind it."""
    b = GraphBuilder((PLAIN,))
    codes = b.add(
        ops.Quantize(dtype, x), b.add(ops.Input(Role.X, node(CHANNELS))), type=node(CHANNELS).with_dtype(dtype, x)
    )
    along = gathered(b, codes)
    weight = b.add(ops.EdgeSoftmax(), along, type=b.type(along).with_dtype(out_dtype, out))
    if op is None:
        return b.finish([b.add(ops.Dequantize(), weight)])
    operands = [codes, weight] if isinstance(op, ops.Propagate) else [weight]
    y = b.add(op, *operands, type=node(CHANNELS).with_dtype(I16, FINE))
    return b.finish([b.add(ops.Dequantize(), y)])


REFUSED = {
    "logits of 8 bits": (attention(QParams((0.0625,)), I8, WEIGHT_QPARAMS, I16), "expected int16 logits around 0"),
    "another scale of the weights": (attention(FINE, I16, FINE, I16), "expected int16 at scale 1 / 32767"),
    "mean by weight": (
        attention(FINE, I16, WEIGHT_QPARAMS, I16, ops.Propagate(0, Reduce.MEAN, ("weight",))), "plain sum only"
    ),
    "aggregation at the source": (
        attention(FINE, I16, WEIGHT_QPARAMS, I16, ops.Aggregate(Reduce.SUM, End.SOURCE)), "at the target of an edge only"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_op_without_integer_form_is_refused(name: str) -> None:
    graph, message = REFUSED[name]
    with pytest.raises(TypeMismatch, match=message):
        interpret(graph, random_inputs(0))
