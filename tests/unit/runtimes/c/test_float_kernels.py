"""Float kernels that work row by row against toolchain.ir.reference. Those that know edges are in test_float_graph_kernels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.c_kernels import ENUMS, assert_guards, guarded, kernels, struct
from tests.unit.runtimes.c.reference_op import assert_near, reference
from toolchain.exporters.c.packing import packed_floats
from toolchain.ir import ops
from toolchain.ir.functions import ACTIVATIONS
from toolchain.ir.ops import Extent, Function
from toolchain.ir.types import QParams, const


@pytest.fixture(scope="module")
def library():
    return kernels()


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# --- Linear -------------------------------------------------------------------------------------------------------------


def linear(library, x, weight, bias=None, relu=False, scale=None, block=4) -> np.ndarray:
    """gnn_linear_f32 on [out, in] weights, called for `block` rows at a time as generated models do."""
    layer = struct(
        "gnn_linear_f32_layer",
        **{
            "weight": np.ascontiguousarray(weight.T),
            "bias": bias,
            "in": x.shape[1],
            "out": weight.shape[0],
            "relu": relu,
        },
    )
    y = guarded((x.shape[0], weight.shape[0]), np.float32)
    for r in range(0, x.shape[0], block):
        part, out = x[r : r + block], y[r : r + block]
        library.gnn_linear_f32(layer, part, part.shape[0], None if scale is None else scale[r : r + block], out)
    assert_guards(y)
    return y


@pytest.mark.parametrize("out", [1, 2, 7, 15, 16, 17, 33, 64])
@pytest.mark.parametrize("width", [1, 3, 16, 64, 255, 256, 257, 1433])
def test_linear_equals_the_reference(library, width, out):
    x, weight, bias, scale = normal(9, width), normal(out, width, seed=1), normal(out, seed=2), normal(9, seed=3)

    assert_near(linear(library, x, weight), reference(ops.Linear(), x, weight))
    expected = reference(ops.Linear(Function.RELU), x, weight, bias) * scale[:, None]
    assert_near(linear(library, x, weight, bias, relu=True, scale=scale), expected)


@pytest.mark.parametrize(("width", "out"), [(16, 7), (19, 8), (257, 21), (600, 24), (30, 9)])
@pytest.mark.parametrize("storage", ["codebook", "bitmap", "half"])
def test_linear_on_packed_weights_gives_the_bits_of_the_dense_one(library, storage, width, out):
    rng = np.random.default_rng(width)
    values = rng.normal(size=1 + width % 70).astype(np.float16).astype(np.float32)
    weight = np.where(rng.random((out, width)) < 0.4, 0, rng.choice(values, (out, width))).astype(np.float32)
    codebook = "w" if storage == "codebook" else None
    marks = {"pruned": storage == "bitmap", "codebook": codebook, "is_half": storage == "half"}
    packed = packed_floats(ops.Const("w", const(out, width), True, **marks), weight, "smallest")
    assert packed is not None and packed.storage == storage
    x, bias, scale = normal(11, width), normal(out, seed=2), normal(11, seed=3)
    fields = {"in": width, "out": out, "index_bits": packed.bits, "relu": 1}
    layer = struct("gnn_linear_packed_f32_layer", index=packed.index, values=packed.values, bias=bias, **fields)
    y = guarded((11, out), np.float32)

    for r in range(0, 11, 4):
        part = x[r : r + 4]
        getattr(library, f"gnn_linear_{storage}_f32")(layer, part, len(part), scale[r : r + 4], y[r : r + 4])

    assert_guards(y)
    np.testing.assert_array_equal(y, linear(library, x, weight, bias, True, scale))


def test_every_finite_half_is_read_as_the_number_that_it_is(library):
    """Subnormal ones and both zeros too: one Linear with all 63,488 of them as weights, and x = 1."""
    codes = np.arange(2**16, dtype=np.uint16)
    halves = codes.view(np.float16)
    halves = halves[np.isfinite(halves)]
    weight = halves.astype(np.float32)[:, None]  # [out, 1]
    packed = packed_floats(ops.Const("w", const(*weight.shape), is_half=True), weight, "auto")
    assert packed is not None and packed.index.nbytes == 2 * len(halves)
    fields = {"in": 1, "out": len(halves), "index_bits": packed.bits, "relu": 0}
    y = np.zeros((1, len(halves)), np.float32)

    library.gnn_linear_half_f32(
        struct("gnn_linear_packed_f32_layer", index=packed.index, **fields), np.ones((1, 1), np.float32), 1, None, y
    )

    np.testing.assert_array_equal(y[0], weight[:, 0])


@pytest.mark.parametrize("out", [7, 16, 40])
def test_linear_does_not_depend_on_how_rows_are_blocked(library, out):
    x, weight, bias, scale = normal(11, 300), normal(out, 300, seed=1), normal(out, seed=2), normal(11, seed=3)

    together = linear(library, x, weight, bias, True, scale, block=11)

    assert all(
        np.array_equal(together, linear(library, x, weight, bias, True, scale, block)) for block in (1, 2, 3, 4, 5)
    )


def test_linear_of_equal_terms_is_as_exact_as_others(library):
    """A plain sum of 4,000 equal terms is off by more than the tolerance, since all of them round the same way."""
    x, weight = np.full((4, 4000), 0.7, np.float32), np.full((16, 4000), 0.3, np.float32)

    actual = linear(library, x, weight)

    assert np.abs(actual / (4000 * np.float64(x[0, 0]) * np.float64(weight[0, 0])) - 1).max() < 5e-6


def test_linear_on_sparse_features_equals_the_dense_one(library):
    generator = np.random.default_rng(0)
    x = (generator.random((13, 90)) < 0.1).astype(np.float32)
    x[5] = 0
    weight, bias, scale = normal(19, 90, seed=1), normal(19, seed=2), normal(13, seed=3)
    pointer = np.concatenate([[0], np.cumsum(x.sum(axis=1))]).astype(np.uint32)
    index = np.nonzero(x)[1].astype(np.uint16)
    fields = {"weight": np.ascontiguousarray(weight.T), "in": 90, "out": 19}
    for with_bias, relu, scaled in itertools.product((False, True), repeat=3):
        layer = struct("gnn_linear_f32_layer", **fields, bias=bias if with_bias else None, relu=relu)
        y = guarded((13, 19), np.float32)
        for first in range(0, 13, 4):
            rows = min(4, 13 - first)
            part = scale[first:] if scaled else None
            library.gnn_linear_sparse_f32(layer, pointer, index, first, rows, part, y[first : first + rows])
        assert_guards(y)
        expected = reference(ops.Linear(Function.RELU if relu else None), x, weight, *([bias] if with_bias else []))
        assert_near(y, expected * scale[:, None] if scaled else expected)


@pytest.mark.parametrize(("width", "out", "rows"), [(1, 1, 1), (5, 3, 6), (64, 17, 9), (128, 8, 4), (300, 40, 7)])
@pytest.mark.parametrize("shift", [0.0, 3.0, -3.0])
def test_dynamic_linear_equals_the_reference(library, width, out, rows, shift):
    x = normal(rows, width) + np.float32(shift)
    weight = np.random.default_rng(1).integers(-127, 128, (out, width)).astype(np.int8)
    weight_scale, bias, scale = np.abs(normal(out, seed=2)) + np.float32(0.1), normal(out, seed=3), normal(rows, seed=4)
    qparams = {1: QParams(tuple(map(float, weight_scale)), axis=0)}
    limits = np.empty(2, np.float32)
    library.gnn_range_f32(x, x.size, limits)
    for with_bias, relu, scaled in itertools.product((False, True), repeat=3):
        layer = struct(
            "gnn_linear_dynamic_layer",
            **{
                "weight": weight,
                "weight_scale": weight_scale,
                "bias": bias if with_bias else None,
                "in": width,
                "out": out,
            },
            relu=relu,
        )
        y = guarded((rows, out), np.float32)
        library.gnn_linear_dynamic(layer, limits, x, rows, scale if scaled else None, y)
        assert_guards(y)
        operands = (x, weight, *([bias] if with_bias else []))
        expected = reference(ops.Linear(Function.RELU if relu else None), *operands, qparams=qparams)
        assert_near(y, expected * scale[:, None] if scaled else expected)


def test_dynamic_linear_of_zeros_is_the_bias(library):
    bias = normal(3)
    layer = struct(
        "gnn_linear_dynamic_layer",
        **{"weight": np.ones((3, 5), np.int8), "weight_scale": np.ones(3, np.float32), "bias": bias, "in": 5, "out": 3},
    )
    y = guarded((2, 3), np.float32)

    library.gnn_linear_dynamic(layer, np.zeros(2, np.float32), np.zeros((2, 5), np.float32), 2, None, y)

    assert (y == bias).all()


@pytest.mark.parametrize("x", [[], [3, 7], [-3, -7], [-2, 5, 1], [0]])
def test_range_includes_zero(library, x):
    limits = np.full(2, np.nan, np.float32)

    library.gnn_range_f32(np.array(x, np.float32), len(x), limits)

    assert limits.tolist() == [min([0, *x]), max([0, *x])]


# --- elementwise --------------------------------------------------------------------------------------------------------

BINARY = {"ADD": ops.Add, "SUB": ops.Sub, "MUL": ops.Mul, "DIV": ops.Div, "MAXIMUM": ops.Maximum}


@pytest.mark.parametrize("kind", BINARY)
@pytest.mark.parametrize(("a_channels", "b_channels"), [(5, 5), (5, 1), (1, 5), (1, 1)])
@pytest.mark.parametrize("constant", ["", "a", "b"])
def test_binary_equals_the_reference(library, kind, a_channels, b_channels, constant):
    a = normal(1 if constant == "a" else 6, a_channels)
    b = normal(1 if constant == "b" else 6, b_channels, seed=1) + np.float32(3)
    strides = (0 if constant == "a" else a_channels, 0 if constant == "b" else b_channels)
    expected = np.broadcast_to(reference(BINARY[kind](), a, b), (6, max(a_channels, b_channels)))
    for relu in (0, 1):
        y = guarded(expected.shape, np.float32)
        library.gnn_binary_f32(
            ENUMS[f"GNN_{kind}"], a, a_channels, strides[0], b, b_channels, strides[1], 6, expected.shape[1], relu, y
        )
        assert_guards(y)
        assert_near(y, np.maximum(expected, 0) if relu else expected)


def in_domain(function, x):
    """x where a function is defined and its result is a float."""
    if function in (Function.LOG, Function.SQRT):
        return np.abs(x) + np.float32(1e-30)
    return x.clip(-87, 87) if function is Function.EXP else x


@pytest.mark.parametrize("function", Function)
@pytest.mark.parametrize(
    ("low", "high"), [(-100, 100), (-6, 6), (0, 1), (-1, 0), (-1e-3, 1e-3), (-1e-8, 0), (-5, -4), (4, 5)]
)
def test_activations_equal_the_reference_on_every_range(library, function, low, high):
    """Small ranges, because the tolerance is relative to the largest magnitude; in float64, since float32 cancels there."""
    x = in_domain(function, np.linspace(low, high, 4001).astype(np.float32))[:, None]
    y = guarded(x.shape, np.float32)

    library.gnn_activation_f32(ENUMS[f"GNN_{function.name}"], 0.3, x, x.size, y)

    assert_guards(y)
    assert_near(y, ACTIVATIONS[function](x.astype(np.float64), float(np.float32(0.3))))


def test_activations_may_be_in_place(library):
    x = normal(50)
    for function in Function:
        y, place = np.empty_like(x), x.copy()
        library.gnn_activation_f32(ENUMS[f"GNN_{function.name}"], 0.2, x, x.size, y)
        library.gnn_activation_f32(ENUMS[f"GNN_{function.name}"], 0.2, place, x.size, place)
        assert np.array_equal(y, place)


@pytest.mark.parametrize("channels", [1, 2, 7, 64])
@pytest.mark.parametrize("spread", [1e-3, 1.0, 30.0, 1000.0])
@pytest.mark.parametrize("log", [False, True])
def test_log_softmax_equals_the_reference(library, channels, spread, log):
    x = normal(9, channels) * np.float32(spread)
    y = guarded(x.shape, np.float32)

    library.gnn_log_softmax_f32(x, 9, channels, log, y)

    assert_guards(y)
    assert_near(y, reference(ops.LogSoftmax(log), x))


def test_affine_equals_batch_norm_with_folded_statistics(library):
    x, weight, bias, mean, variance = (
        normal(9, 7),
        *(normal(7, seed=s) for s in (1, 2, 3)),
        np.abs(normal(7, seed=4)) + 1,
    )
    factor = weight / np.sqrt(variance + 1e-5)
    y = guarded(x.shape, np.float32)

    library.gnn_affine_f32(x, factor.astype(np.float32), (bias - mean * factor).astype(np.float32), 9, 7, y)

    assert_guards(y)
    assert_near(y, reference(ops.BatchNorm(), x, weight, bias, mean, variance))


@pytest.mark.parametrize("channels", [1, 2, 7, 64, 1000])
@pytest.mark.parametrize("offset", [0.0, 100.0, -3000.0])
@pytest.mark.parametrize("eps_outside", [False, True])
def test_layer_norm_equals_the_reference(library, channels, offset, eps_outside):
    """With a mean far from 0 too, where a float mean alone would be too coarse."""
    x, weight, bias = normal(5, channels) + np.float32(offset), normal(channels, seed=1), normal(channels, seed=2)
    op = struct("gnn_layer_norm_op", weight=weight, bias=bias, channels=channels, eps_outside=eps_outside, eps=1e-5)
    y = guarded(x.shape, np.float32)

    library.gnn_layer_norm_f32(op, x, 5, y)

    assert_guards(y)
    assert_near(y, reference(ops.LayerNorm(1e-5, Extent.ROW, eps_outside), x, weight, bias))


@pytest.mark.parametrize(("heads", "width"), [(1, 1), (1, 16), (3, 5), (8, 8)])
def test_head_products_and_means_equal_the_reference(library, heads, width):
    x, weight = normal(9, heads * width), normal(heads, width, seed=1)
    dots, means = guarded((9, heads), np.float32), guarded((9, width), np.float32)

    library.gnn_head_dot_f32(x, weight, 9, heads, width, dots)
    library.gnn_head_mean_f32(x, 9, heads, width, means)

    assert_guards(dots, means)
    assert_near(dots, reference(ops.HeadDot(), x, weight))
    assert_near(means, reference(ops.HeadMean(heads), x))
