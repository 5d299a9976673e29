"""Integer ops agree with the float op on the dequantized operands, within one code of the output, on random graphs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from toolchain.errors import TypeMismatch
from toolchain.inputs import GraphInputs
from toolchain.ir import integer, ops
from toolchain.ir.attributes import FLOAT_ONLY, PROPAGATED
from toolchain.ir.graph import Graph, GraphBuilder
from toolchain.ir.ops import End, Function, Op, Reduce, Role, RowFactor
from toolchain.ir.reference import interpret
from toolchain.ir.reference_integer import product
from toolchain.ir.types import DType, QParams, TensorType, const, node
from toolchain.ir.verify import verify
from toolchain.topology import Normalization, SelfLoops, TopologySpec

PLAIN = TopologySpec()
NORMALIZED = TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC)
CHANNELS = 6
I8, I16 = DType.I8, DType.I16


def random_inputs(seed: int) -> GraphInputs:
    """30 nodes in 3 graphs, with isolated nodes, self-loops and repeated edges."""
    random = np.random.default_rng(seed)
    edges = random.integers(0, 28, (2, 90))
    return GraphInputs(
        random.normal(size=(30, CHANNELS)), edges, batch=np.sort(random.integers(0, 3, 30)), num_graphs=3
    )


@dataclass
class Twin:
    """A float op on dequantized codes, and its integer form on the same codes."""

    seed: int
    input_type: DType
    output_type: DType

    def __post_init__(self) -> None:
        self.inputs = random_inputs(self.seed)
        self.random = np.random.default_rng(self.seed + 1000)
        self.x_qparams = integer.activation_qparams(
            float(self.inputs.x.min()), float(self.inputs.x.max()), self.input_type
        )

    def compare(
        self,
        build: Callable[[GraphBuilder, int, bool], tuple[Op, Sequence[int]]],
        specs: tuple[TopologySpec, ...] = (PLAIN,),
        codes: float = 1.0,
        factor: RowFactor | None = None,
    ) -> None:
        """Check |integer - float| <= `codes` output steps.

        Args:
            build: called with the builder, the id of x and whether it is the integer graph; gives the op and operands.
            factor: row factor that the integer graph multiplies into x where the float op does it itself.
        """
        float_graph = self._graph(build, specs, None, None)
        (expected,) = interpret(float_graph, self.inputs)
        qparams = integer.activation_qparams(float(expected.min()), float(expected.max()), self.output_type)
        graph = self._graph(build, specs, qparams, factor)
        (actual,) = interpret(graph, self.inputs)
        assert np.abs(actual - expected).max() <= codes * qparams.scale[0] * 1.0001

    def _graph(
        self,
        build: Callable[[GraphBuilder, int, bool], tuple[Op, Sequence[int]]],
        specs: tuple[TopologySpec, ...],
        qparams: QParams | None,
        factor: RowFactor | None,
    ) -> Graph:
        b = GraphBuilder(specs)
        x = b.add(ops.Input(Role.X, node(CHANNELS)))
        is_integer = qparams is not None
        x_type = node(CHANNELS).with_dtype(self.input_type, self.x_qparams)
        codes = b.add(ops.Quantize(self.input_type, self.x_qparams), x, type=x_type)
        source = codes if is_integer else b.add(ops.Dequantize(), codes)
        if is_integer and factor is not None:
            fine = integer.activation_qparams(-4, 4, I16)
            source = b.add(ops.Quantize(I16, fine, factor), codes, type=node(CHANNELS).with_dtype(I16, fine))
        op, operands = build(b, source, is_integer)
        inferred = op.infer(tuple(b.type(i) for i in operands))
        stated = inferred.with_dtype(self.output_type, qparams) if is_integer else None
        y = b.add(op, *operands, type=stated)
        return verify(b.finish([b.add(ops.Dequantize(), y) if is_integer else y]))


TYPES = pytest.mark.parametrize(("input_type", "output_type"), [(I8, I8), (I16, I8), (I8, I16), (I16, I16)])
SEEDS = pytest.mark.parametrize("seed", range(3))


@SEEDS
@TYPES
@pytest.mark.parametrize("activation", [None, Function.RELU])
def test_linear(seed: int, input_type: DType, output_type: DType, activation: Function | None) -> None:
    """Weights and bias are the codes on both sides, so only the output is rounded."""
    twin = Twin(seed, input_type, output_type)
    weight = twin.random.normal(size=(5, CHANNELS)).astype(np.float32)
    bias = twin.random.normal(size=5).astype(np.float32)
    scale = twin.x_qparams.scale[0]
    codes, w_qparams = integer.weight_codes(weight, bias, scale)
    b_codes, b_qparams = integer.bias_codes(bias, scale, w_qparams)
    real = codes * np.asarray(w_qparams.scale)[:, None]
    real_bias = b_codes * (np.float64(scale) * np.asarray(w_qparams.scale))

    def build(b: GraphBuilder, x: int, is_integer: bool) -> tuple[Op, list[int]]:
        if is_integer:
            w = b.const("w", codes, type=const(5, CHANNELS).with_dtype(I8, w_qparams))
            return ops.Linear(activation), [x, w, b.const("b", b_codes, type=const(5).with_dtype(DType.I32, b_qparams))]
        return ops.Linear(activation), [x, b.const("w", real), b.const("b", real_bias)]

    twin.compare(build, codes=0.51 if output_type is I8 else 1.0)


@SEEDS
@TYPES
@pytest.mark.parametrize("reduce", PROPAGATED)
def test_propagate(seed: int, input_type: DType, output_type: DType, reduce: Reduce) -> None:
    Twin(seed, input_type, output_type).compare(lambda b, x, is_integer: (ops.Propagate(0, reduce), [x]))


@SEEDS
@pytest.mark.parametrize("output_type", [I8, I16])
def test_normalized_propagate_takes_rows_that_their_producer_scaled(seed: int, output_type: DType) -> None:
    def build(b: GraphBuilder, x: int, is_integer: bool) -> tuple[Op, list[int]]:
        return ops.Propagate(0, source_scaled=is_integer), [x]

    codes = 1.0 if output_type is I8 else 16.0  # x is rounded once more, to 16 bits of [-4, 4], before it is summed
    Twin(seed, I8, output_type).compare(build, (NORMALIZED,), codes, RowFactor(0, End.SOURCE))


@SEEDS
@TYPES
def test_propagate_with_bias_and_relu(seed: int, input_type: DType, output_type: DType) -> None:
    twin = Twin(seed, input_type, output_type)
    bias = twin.random.normal(size=CHANNELS)
    op = ops.Propagate(0, operands=("bias",), activation=Function.RELU)
    twin.compare(lambda b, x, is_integer: (op, [x, b.const("bias", bias)]))


@SEEDS
@TYPES
def test_propagate_with_self_term(seed: int, input_type: DType, output_type: DType) -> None:
    """1 + eps is a code at 2^-8, the same real number on both sides."""
    unit, code = 2.0**-8, 333

    def build(b: GraphBuilder, x: int, is_integer: bool) -> tuple[Op, list[int]]:
        op = ops.Propagate(0, operands=("self_scale",))
        if is_integer:
            stored = const(1).with_dtype(DType.I32, QParams((unit,), 0, 32))
            return op, [x, b.const("self_scale", np.array([code], np.int32), type=stored)]
        return op, [x, b.const("self_scale", np.array([code * unit]))]

    Twin(seed, input_type, output_type).compare(build)


@SEEDS
@TYPES
@pytest.mark.parametrize("reduce", PROPAGATED)
def test_pool(seed: int, input_type: DType, output_type: DType, reduce: Reduce) -> None:
    Twin(seed, input_type, output_type).compare(lambda b, x, is_integer: (ops.Pool(reduce), [x]))


@SEEDS
@TYPES
@pytest.mark.parametrize("op", [ops.Add(), ops.Add(Function.RELU), ops.Sub(), ops.Maximum(), ops.Concat()], ids=repr)
def test_two_operands_of_different_scales(seed: int, input_type: DType, output_type: DType, op: Op) -> None:
    """The second operand is x with its channels turned, on a scale of its own."""
    twin = Twin(seed, input_type, output_type)
    other = integer.activation_qparams(-6, 5, input_type)

    def build(b: GraphBuilder, x: int, is_integer: bool) -> tuple[Op, list[int]]:
        codes = x if is_integer else b.values[x].inputs[0]
        halves = [b.add(ops.Slice(i, i + 3), codes, type=b.type(codes).with_channels(3)) for i in (3, 0)]
        turned = b.add(ops.Concat(), *halves, type=b.type(codes))
        again = b.add(ops.Quantize(input_type, other), turned, type=b.type(codes).with_dtype(input_type, other))
        return op, [x, again if is_integer else b.add(ops.Dequantize(), again)]

    # The factors of both scales are rounded: at 2^-14 for 16-bit operands, which is some steps of a 16-bit result.
    twin.compare(build, codes=1.0 if output_type is I8 else 4.0)


@SEEDS
@pytest.mark.parametrize("function", [function for function in Function if function not in FLOAT_ONLY])
def test_activation_table(seed: int, function: Function) -> None:
    Twin(seed, I8, I8).compare(lambda b, x, is_integer: (ops.Activation(function), [x]), codes=0.51)


@SEEDS
@TYPES
def test_relu(seed: int, input_type: DType, output_type: DType) -> None:
    Twin(seed, input_type, output_type).compare(lambda b, x, is_integer: (ops.Activation(Function.RELU), [x]))


@SEEDS
def test_dynamic_linear_agrees_within_the_rounding_of_its_input(seed: int) -> None:
    """x is rounded to 255 steps of its own range: each output is off by at most half a step per unit of weight."""
    inputs, random = random_inputs(seed), np.random.default_rng(seed)
    weight = random.normal(size=(5, CHANNELS)).astype(np.float32)
    codes, qparams = integer.weight_codes(weight, None, 1.0)
    real = codes * np.asarray(qparams.scale)[:, None]
    b = GraphBuilder()
    x = b.add(ops.Input(Role.X, node(CHANNELS)))
    w = b.const("w", codes, type=const(5, CHANNELS).with_dtype(I8, qparams))
    (actual,) = interpret(verify(b.finish([b.add(ops.Linear(), x, w)])), inputs)
    step = (inputs.x.max() - inputs.x.min()) / 255
    assert (np.abs(actual - inputs.x @ real.T).max(axis=0) <= 1.01 * step * np.abs(real).sum(axis=1)).all()


def integer_op(op: Op, operands: Sequence[TensorType], result: TensorType, specs: tuple[TopologySpec, ...]) -> Graph:
    """One op on quantized copies of x."""
    b = GraphBuilder(specs)
    x = b.add(ops.Input(Role.X, node(CHANNELS)))
    codes = [b.add(ops.Quantize(t.dtype, t.qparams), x, type=t) for t in operands if t.qparams is not None]
    return b.finish([b.add(ops.Dequantize(), b.add(op, *codes, type=result))])


N8 = node(CHANNELS).with_dtype(I8, QParams((0.0625,)))
REFUSED: dict[str, tuple[Op, tuple[TensorType, ...], TopologySpec, str]] = {
    "weighted aggregation": (ops.Propagate(0), (N8,), TopologySpec(weighted=True), "edge weights have no integer aggregation"),
    "rows that nobody scaled": (ops.Propagate(0), (N8,), NORMALIZED, "its producer already scaled"),
    "quotient": (ops.Div(), (N8, N8), PLAIN, "Div has no integer form"),
    "fused table": (ops.Propagate(0, activation=Function.ELU), (N8,), PLAIN, "only ReLU is a clamp"),
    "table of 16 bits": (
        ops.Activation(Function.TANH), (node(CHANNELS).with_dtype(I16, QParams((0.5,), 0, 16)),), PLAIN, "only int8 codes"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_op_without_integer_form_is_refused(name: str) -> None:
    op, operands, spec, message = REFUSED[name]
    inputs = random_inputs(0)
    weighted = GraphInputs(inputs.x, inputs.edge_index, edge_weight=np.ones(inputs.num_edges))
    with pytest.raises(TypeMismatch, match=message):
        interpret(integer_op(op, operands, N8, (spec,)), weighted)


def test_sums_of_products_are_exact_at_their_largest() -> None:
    """All terms 65534 * -127: 2^23 each, and no rounding in any order."""
    codes, weight = np.full((2, 5000), 65534, np.int64), np.full((3, 5000), -127, np.int8)
    assert np.array_equal(product(codes, weight), np.full((2, 3), -65534 * 127 * 5000, np.int64))
    rng = np.random.default_rng(0)
    codes, weight = rng.integers(-65535, 65535, (9, 3000)), rng.integers(-127, 128, (7, 3000)).astype(np.int8)
    assert np.array_equal(product(codes, weight), codes @ weight.astype(np.int64).T)
