"""Some of the Graphs of `tests.fuzz.random_graphs`, and by hand what it has found: weighted edges that no sum weighs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import runtimes
from tests.every_op import random_inputs
from tests.fuzz.random_graphs import BOUNDS, compared
from tests.parity import assert_close
from toolchain.compression import StaticInt8, quantize
from toolchain.exporters import export
from toolchain.ir import Graph, GraphBuilder, interpret, ops
from toolchain.ir.attributes import End, Role, RowFactor
from toolchain.ir.types import DType, node
from toolchain.topology import Normalization, SelfLoops, TopologySpec

WEIGHTED = TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC, weighted=True)
IMPROVED = TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC, loop_weight=2.0)


def linears(topology: TopologySpec, factor: RowFactor | None) -> Graph:
    """x through two Linears, the second of which multiplies its rows, and both ends of every edge; no sum over neighbours."""
    numbers, b = np.random.default_rng(0), GraphBuilder((topology,))
    first, second = (b.const(name, numbers.normal(size=(4, 4))) for name in ("first", "second"))
    x = b.add(ops.Linear(ops.Function.RELU), b.add(ops.Input(Role.X, node(4))), first)
    x = b.add(ops.Linear(None, factor), x, second)
    return b.finish([x, b.add(ops.Gather(0, End.SOURCE), x)])


@pytest.mark.parametrize("precision", ["float32", "static-int8"])
@pytest.mark.parametrize("seed", range(12))
def test_formats_mean_what_the_interpreter_says(seed: int, precision: str, tmp_path: Path) -> None:
    findings = list(compared(seed, precision, ("onnx", "litert", "torchscript"), tmp_path))
    assert [(f.format, f.verdict) for f in findings] == [(f.format, "equal") for f in findings], findings


@pytest.mark.parametrize("seed", range(3))
def test_c_means_what_the_interpreter_says(seed: int, tmp_path: Path) -> None:
    assert [f.verdict for f in compared(seed, "static-int8", ("c",), tmp_path)] == ["equal"]


@pytest.mark.parametrize("factor", [None, RowFactor(0, End.SOURCE)], ids=["gather", "row factor"])
def test_c_takes_weighted_edges_that_no_sum_weighs(factor: RowFactor | None, tmp_path: Path) -> None:
    graph = linears(WEIGHTED, factor)
    runtime = runtimes.load(export(graph, "c", tmp_path / "model", bounds=BOUNDS))
    for inputs in (random_inputs(9, 24), random_inputs(40, 90)):
        assert_close(runtime.run(inputs), interpret(graph, inputs))


@pytest.mark.parametrize("topology", [WEIGHTED, IMPROVED], ids=["weighted", "improved"])
def test_row_factors_that_integers_do_not_have_stay_float(topology: TopologySpec) -> None:
    """The integer factor is the inverse root of the number of in-edges."""
    graph = linears(topology, RowFactor(0, End.SOURCE))
    made = quantize(graph, StaticInt8([random_inputs(20, 60, seed=seed) for seed in range(8)], min_agreement=0.0))

    products = [value for value in made.values if isinstance(value.op, ops.Linear)]
    assert [made.values[value.inputs[1]].type.dtype for value in products] == [DType.I8, DType.F32]
    inputs = random_inputs(20, 60, seed=3)
    for actual, expected in zip(interpret(made, inputs), interpret(graph, inputs), strict=True):
        assert np.abs(actual - expected).max() < 0.02 * np.abs(expected).max()
