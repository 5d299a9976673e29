"""Scales of groups of nodes: C gives the bits of the interpreter, as one file for a Cortex-M4 too; other formats stay close."""

from __future__ import annotations

import ctypes
import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import runtimes
from device_benchmarks.emulated_benchmark import emulated_benchmark
from device_benchmarks.target import load_target
from runtimes.c_interface import Model
from tests.c_zoo import BOUNDS, library_of, run_c
from tests.unit.compression.hand_built import many_inputs, random_inputs
from tests.unit.compression.test_a2q import grouped
from tests.unit.compression.test_qat import MAKERS
from toolchain.exporters import export
from toolchain.exporters.emission import Bounds
from toolchain.ir import Graph, interpret
from toolchain.ir.ops import RowScale

CHOICES = ("degree", "nearest")
NAMES = ("gcn", "gin", "sage", "node_gcn")


@functools.cache
def quantized(name: str, choice: str) -> Graph:
    """A model of hand_built after three steps of training with steps and widths of four groups."""
    graph = grouped(name, choice=choice, groups=4, mean_bits=3.0).to_integer_graph()
    return replace(graph, name=f"{name}_{choice}")


@functools.cache
def library() -> ctypes.CDLL:
    return library_of(quantized(name, choice) for name in NAMES for choice in CHOICES)


@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("name", NAMES)
def test_c_gives_the_interpreter_s_bits(name: str, choice: str) -> None:
    graph, model = quantized(name, choice), Model.in_dll(library(), f"gnn_{name}_{choice}_model")
    for inputs in (*many_inputs(5, MAKERS[name][1], seed=3), random_inputs(60, 300, MAKERS[name][1], 9)):
        actual, expected = run_c(model, inputs)[0], interpret(graph, inputs)[0]
        if name in ("sage", "node_gcn"):  # log_softmax runs in float
            np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(actual, expected)


def test_biases_relus_and_row_factors_are_among_them() -> None:
    ops = [v for name in NAMES for v in quantized(name, "degree").values if isinstance(v.op, RowScale)]

    assert any(len(v.inputs) == 3 and v.op.activation is not None for v in ops)  # type: ignore[attr-defined]
    assert any(v.op.row_factor is not None for v in ops)  # type: ignore[attr-defined]


@pytest.mark.parametrize("choice", CHOICES)
def test_a_model_of_one_file_gives_the_bits_of_the_host(choice: str, tmp_path: Path) -> None:
    artifact = export(quantized("gin", choice), "c", tmp_path / "model", bounds=BOUNDS)

    found = emulated_benchmark(artifact, load_target("cortex-m4"), many_inputs(3, 7, seed=5))

    assert found.differences == {} and found.compared > found.refused


@pytest.mark.parametrize(
    ("format", "name", "choice"),
    [
        *((f, n, c) for f in ("onnx", "torchscript", "litert") for n in ("sage", "node_gcn") for c in CHOICES),
        ("executorch", "node_gcn", "degree"),
    ],
)  # fmt: skip
def test_other_formats_keep_nearly_all_codes(format: str, name: str, choice: str, tmp_path: Path) -> None:
    """They round sums in float: a code at a tie may be its neighbour, and a row at the bound of two groups be in the other one."""
    if format in ("executorch", "litert"):
        pytest.importorskip({"litert": "ai_edge_litert"}.get(format, format), reason=f"{format} is not installed")
    graph = quantized(name, choice)
    options = {"bounds": Bounds(nodes=100, edges=400, graphs=1, degree=40)} if format == "executorch" else {}
    path = export(graph, format, tmp_path / name, **options)
    runtime, close = runtimes.load(path), []
    for inputs in (random_inputs(60, 180, MAKERS[name][1], seed) for seed in range(20, 25)):
        (actual,), (expected,) = runtime.run(inputs), interpret(graph, inputs)
        close.append(np.isclose(actual, expected, rtol=0, atol=1.5 * last_step(graph)))

    assert np.mean(close) > 0.97


def last_step(graph: Graph) -> float:
    """The scale of the last codes."""
    return next(v.type.qparams.scale[0] for v in reversed(graph.values) if v.type.qparams is not None)
