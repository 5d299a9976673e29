"""Values of fewer and of more than 8 bits: C gives the bits of the interpreter, the other formats stay close."""

from __future__ import annotations

import ctypes
import functools
import itertools
import random
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
from toolchain.compression import Learned, StaticInt8, quantize
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.ir import Graph, interpret

BITS = (1, 2, 4)
MIXED = ("mixed1", "mixed2", "mixed3")  # widths drawn with this seed
NAMES = ("gcn", "gin", "sage", "node_gcn")


@functools.cache
def quantized(name: str, bits: int | str) -> Graph:
    """A model of hand_built after three steps of training with learned scales, of MIXED values and weights of 8 bits too."""
    make, features = MAKERS[name]
    quantizers = {"*": Learned(8 if bits in MIXED else int(bits))}
    if bits in MIXED:
        widths = random.Random(bits)
        slots = module_of(make(), features, quantizers).slots
        quantizers |= {slot.name: Learned(widths.randint(1, 8)) for slot in slots.values}
        quantizers |= {slot.name: Learned(widths.choice((2, 4, 8, 8))) for slot in slots.weights}
    graph = after_steps(module_of(make(), features, quantizers), features).to_integer_graph()
    return replace(graph, name=f"{name}_{bits}")


@functools.cache
def library() -> ctypes.CDLL:
    return library_of(quantized(name, bits) for name in NAMES for bits in (*BITS, *MIXED))


@pytest.mark.parametrize("bits", [*BITS, *MIXED])
@pytest.mark.parametrize("name", NAMES)
def test_c_gives_the_interpreter_s_bits(name: str, bits: int | str) -> None:
    graph, model = quantized(name, bits), Model.in_dll(library(), f"gnn_{name}_{bits}_model")
    for inputs in (*many_inputs(5, MAKERS[name][1], seed=3), random_inputs(60, 300, MAKERS[name][1], 9)):
        actual, expected = run_c(model, inputs)[0], interpret(graph, inputs)[0]
        if name in ("sage", "node_gcn"):  # log_softmax runs in float
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize("name", ["gin", "node_gcn"])
@pytest.mark.parametrize("format", ["onnx", "litert", "torchscript", "executorch"])
def test_other_formats_keep_most_codes(format: str, name: str, tmp_path: Path) -> None:
    """They round sums in float, so a code at a tie may differ; without the cut to few bits nearly all would.

    Four times as large as in training, the features reach the ends of every range.
    """
    if format == "executorch":
        pytest.importorskip("executorch", reason="executorch is not installed")
    options = {"bounds": Bounds(nodes=100, edges=400, graphs=1, degree=40), "wide_linear": "digits"}
    shares = []
    for bits in (4,) if format == "executorch" else (*BITS, *MIXED):  # its exports take long
        graph = quantized(name, bits)
        path = export(graph, format, tmp_path / f"model{bits}", **(options if format == "executorch" else {}))
        runtime = runtimes.load(path)
        for seed, factor in itertools.product(range(5), (1.0, 4.0)):
            inputs = random_inputs(60, 180, MAKERS[name][1], seed)
            inputs = replace(inputs, x=inputs.x * np.float32(factor))
            (actual,), (expected,) = runtime.run(inputs), interpret(graph, inputs)
            shares.append(np.isclose(actual, expected, atol=1e-3 * np.abs(expected).max()).mean())

    assert np.mean(shares) > 0.9, shares


@pytest.mark.parametrize("format", ["onnx", "litert", "torchscript", "executorch"])
def test_values_of_16_bits_end_where_their_range_does(format: str, tmp_path: Path) -> None:
    """Features far beyond those of the calibration saturate in every format as they do on integers."""
    if format == "executorch":
        pytest.importorskip("executorch", reason="executorch is not installed")
    make, features = MAKERS["gin"]
    graph = quantize(make(), StaticInt8(many_inputs(8, features, seed=1), mode="all-int16", min_agreement=0))
    inputs = random_inputs(60, 180, features, 9)
    inputs = replace(inputs, x=inputs.x * np.float32(100))
    options = {"bounds": Bounds(nodes=100, edges=400, graphs=1, degree=40)} if format == "executorch" else {}
    (actual,) = runtimes.load(export(graph, format, tmp_path / "model", **options)).run(inputs)

    (expected,) = interpret(graph, inputs)
    assert np.abs(actual - expected).max() < 0.03 * np.abs(expected).max()
