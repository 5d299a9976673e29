"""Values and weights of fewer than 8 bits: C gives the bits of the interpreter, ONNX and TorchScript stay close."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import runtimes
from runtimes.c_interface import Model
from tests.c_zoo import library_of, run_c
from tests.unit.compression.hand_built import many_inputs, random_inputs
from tests.unit.compression.test_qat import MAKERS
from tests.unit.compression.test_quantizers import after_steps, module_of
from toolchain.compression import Learned
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.ir import Graph, interpret

BITS = (1, 2, 4)
NAMES = ("gcn", "gin", "sage", "node_gcn")


@functools.cache
def quantized(name: str, bits: int) -> Graph:
    """A model of hand_built after three steps of training with learned scales."""
    make, features = MAKERS[name]
    graph = after_steps(module_of(make(), features, {"*": Learned(bits)}), features).to_integer_graph()
    return replace(graph, name=f"{name}_{bits}")


@functools.cache
def library() -> ctypes.CDLL:
    return library_of(quantized(name, bits) for name in NAMES for bits in BITS)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("name", NAMES)
def test_c_gives_the_interpreter_s_bits(name: str, bits: int) -> None:
    graph, model = quantized(name, bits), Model.in_dll(library(), f"gnn_{name}_{bits}_model")
    for inputs in (*many_inputs(5, MAKERS[name][1], seed=3), random_inputs(60, 300, MAKERS[name][1], 9)):
        actual, expected = run_c(model, inputs)[0], interpret(graph, inputs)[0]
        if name in ("sage", "node_gcn"):  # log_softmax runs in float
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("format", ["onnx", "torchscript", "executorch"])
def test_other_formats_keep_most_codes(format: str, bits: int, tmp_path: Path) -> None:
    """They round sums in float, so a code at a tie may differ; without the clamp to few bits nearly all would."""
    if format == "executorch":
        pytest.importorskip("executorch", reason="executorch is not installed")
    graph, inputs = quantized("node_gcn", bits), random_inputs(60, 180, 30, 9)
    options = {"bounds": Bounds(nodes=100, edges=400, graphs=1, degree=40), "wide_linear": "digits"}
    path = export(graph, format, tmp_path / "model", **(options if format == "executorch" else {}))
    (actual,), (expected,) = runtimes.load(path).run(inputs), interpret(graph, inputs)

    assert np.isclose(actual, expected, atol=1e-3 * np.abs(expected).max()).mean() > 0.9
