"""The ONNX exporter on integer graphs: kernels, bytes, codes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest

from runtimes.onnxruntime import open_session
from tests.every_op import random_inputs
from tests.trained_models import MODES, quantized, trained
from toolchain.exporters.onnx import emit
from toolchain.feeds import build_feeds
from toolchain.inputs import GraphInputs
from toolchain.ir import DType, Graph, GraphBuilder, QParams, interpret, ops
from toolchain.ir.integer import weight_codes
from toolchain.ir.ops import Input, Role
from toolchain.ir.types import TensorType, node


def run(graph: Graph, inputs: GraphInputs, **options: object) -> np.ndarray:
    emission = emit(graph, **options)  # type: ignore[arg-type]
    feeds = build_feeds(emission.inputs, inputs.prepare(graph.topologies))
    return open_session(emission.model, 1).run(None, feeds)[0]


def kernels(model: bytes, folder: Path) -> Counter[str]:
    """The nodes that onnxruntime really runs, after its fusions."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return Counter(n.op_type for n in onnx.load(options.optimized_model_filepath).graph.node)


@pytest.mark.parametrize("kind", ["gcn", "gin"])
@pytest.mark.parametrize("method", ["dynamic", *MODES])
@pytest.mark.parametrize("nodes", [9, 60], ids=["dense", "scatter"])
def test_outputs_are_close_to_the_integer_reference(kind: str, method: str, nodes: int) -> None:
    graph, inputs = quantized(kind, method), random_inputs(nodes, 3 * nodes, seed=5)
    expected = interpret(graph, inputs)[0]
    actual = run(graph, inputs, dense_up_to_nodes=30)
    assert np.abs(actual - expected).max() <= 0.02 * np.abs(expected).max()


@pytest.mark.parametrize("kind", ["gcn", "gin"])
@pytest.mark.parametrize("method", ["dynamic", *MODES])
def test_every_linear_runs_in_an_int8_kernel(kind: str, method: str, tmp_path: Path) -> None:
    graph = quantized(kind, method)
    linears = [v for v in graph.values if isinstance(v.op, ops.Linear)]
    wide = [v for v in linears if graph.values[v.inputs[0]].type.dtype is DType.I16]
    found = kernels(emit(graph, lowering="scatter").model, tmp_path)
    coded = [v for v in linears if graph.values[v.inputs[1]].type.dtype is DType.I8]
    if method == "dynamic":
        assert len(coded) >= len(linears) - 1  # the small one that reads the features stays float
        assert found["DynamicQuantizeMatMul"] == len(coded)
    else:
        assert found["QGemm"] == len(linears) + len(wide)  # two digits where x has 16 bits
    assert found["Gemm"] + found["FusedGemm"] == len(linears) - len(coded)
    assert found["MatMul"] == 1  # the pool


@pytest.mark.parametrize(("method", "share"), [("dynamic", 0.38), *((mode, 0.45) for mode in MODES)])
def test_the_gin_file_shrinks(method: str, share: float) -> None:
    assert len(emit(quantized("gin", method)).model) <= share * len(emit(trained("gin")).model)


@pytest.mark.parametrize("method", ["dynamic", *MODES])
def test_the_file_satisfies_the_onnx_checker(method: str) -> None:
    onnx.checker.check_model(onnx.load_from_string(emit(quantized("gcn", method)).model), full_check=True)


@pytest.mark.parametrize("method", ["dynamic", *MODES])
def test_the_same_graph_gives_the_same_bytes(method: str) -> None:
    assert emit(quantized("gcn", method)).model == emit(quantized("gcn", method)).model


def integer_linear(x: TensorType, weight: np.ndarray, bias: np.ndarray) -> Graph:
    """x quantized to a type, one Linear to int32 accumulators, float again."""
    builder = GraphBuilder()
    assert x.qparams is not None
    scale = x.qparams.scale[0]
    codes, qparams = weight_codes(weight, None, scale)
    bias_scales = tuple(float(np.float32(scale * s)) for s in qparams.scale)
    bias_type = TensorType(ops.Domain.CONST, bias.shape, DType.I32, QParams(bias_scales, 0, 32, 0))
    value = builder.add(Input(Role.X, node(x.channels)))
    value = builder.add(ops.Quantize(x.dtype, x.qparams), value, type=x)
    w = builder.const("w", codes, type=TensorType(ops.Domain.CONST, codes.shape, DType.I8, qparams))
    b = builder.const("b", bias.astype(np.int32), type=bias_type)
    accumulators = node(len(bias)).with_dtype(DType.I32, QParams(bias_scales, 0, 32, 0))
    value = builder.add(ops.Linear(), value, w, b, type=accumulators)
    return builder.finish([builder.add(ops.Dequantize(), value)])


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_products_do_not_saturate(sign: int) -> None:
    """255 * 127 + 255 * 127 exceeds 16 bits, in which some kernels of x86 add pairs of products."""
    x = node(64).with_dtype(DType.I8, QParams((1.0,), -128))
    graph = integer_linear(x, np.full((3, 64), sign * 127.0), np.zeros(3))
    inputs = GraphInputs(np.full((5, 64), 255.0), np.zeros((2, 0)))
    np.testing.assert_allclose(run(graph, inputs), np.full((5, 3), sign * 64 * 255 * 127.0), rtol=1e-6)


def test_two_digits_keep_sixteen_bits() -> None:
    codes = np.arange(-32766, 32767, 11, dtype=np.float32)[:5957].reshape(-1, 7)
    x = node(7).with_dtype(DType.I16, QParams((1.0,), 0, 16))
    graph = integer_linear(x, np.eye(7) * 127, np.arange(7) * 1000)
    inputs = GraphInputs(codes, np.zeros((2, 0)))
    assert np.abs(run(graph, inputs) - interpret(graph, inputs)[0]).max() <= 127 + 1  # one code of x
