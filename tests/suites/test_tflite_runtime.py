"""Every model of the zoo in tflite_runtime 2.14, which wants numpy 1 and so an environment of its own, .ci-tflite-venv."""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests import cases
from tests.suites.test_litert_parity import lowered, zoo
from toolchain.compression.dynamic_int8 import DynamicInt8
from toolchain.compression.quantization import quantize
from toolchain.compression.static_int8 import StaticInt8
from toolchain.exporters import export
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.passes import deployable

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".ci-tflite-venv" / "bin" / "python"

pytestmark = [
    pytest.mark.tflite_runtime,
    pytest.mark.skipif(not PYTHON.exists(), reason=f"no {PYTHON.relative_to(ROOT)}; .ci/run makes it"),
]


@functools.cache
def graph_of(model: str, precision: str, bits: int = 8) -> Graph:
    if precision == "dynamic":
        return quantize(lowered(model), DynamicInt8(weight_bits=bits))
    if precision == "static":
        graphs = list(zoo(model).values())
        return quantize(lowered(model), StaticInt8(graphs, mode="int8", min_agreement=0.01, weight_bits=bits))
    return deployable(lowered(model))


def answers(folder: Path) -> dict[str, float | str]:
    """What the other environment says about the models of a folder."""
    command = [str(PYTHON), "-m", "tests.tflite_runtime_zoo", str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def write(folder: Path, graph: Graph, graphs: dict[str, GraphInputs], compat: str) -> None:
    """An artifact, and graphs with what the reference answers."""
    export(graph, "litert", folder / "artifact", compat=compat)
    for name, inputs in graphs.items():
        given = {
            "edge_weight": inputs.edge_weight,
            "edge_attr": inputs.edge_attr,
            "batch": inputs.batch,
            "edge_type": inputs.edge_type,
        }
        arrays = {key: array for key, array in given.items() if array is not None}
        outputs = {f"output_{i}": output for i, output in enumerate(interpret(graph, inputs))}
        num_graphs = np.int64(inputs.num_graphs)
        np.savez(folder / name, x=inputs.x, edge_index=inputs.edge_index, num_graphs=num_graphs, **arrays, **outputs)


@pytest.mark.parametrize(("precision", "tolerance"), [("float", 1e-5), ("dynamic", 6e-2), ("static", 3e-2)])
def test_files_for_tflite_runtime_mean_what_the_graph_means(precision: str, tolerance: float, tmp_path: Path) -> None:
    for model in cases.MODELS:
        write(tmp_path / model, graph_of(model, precision), zoo(model), "tflite-runtime")
    found = answers(tmp_path)
    assert {
        model: answer for model, answer in found.items() if not (isinstance(answer, float) and answer <= tolerance)
    } == {}
    assert set(found) == set(cases.MODELS)


def test_files_for_newer_runtimes_are_right_or_refused_before_they_run(tmp_path: Path) -> None:
    """tflite_runtime would compute wrong numbers with scales per channel, without a word, if the file let it."""
    for precision, bits in (("float", 8), ("dynamic", 8), ("static", 8), ("dynamic", 4), ("static", 4)):
        write(tmp_path / f"{precision}_{bits}", graph_of("gin_graph", precision, bits), zoo("gin_graph"), "litert")
    found = answers(tmp_path)
    for name in ("dynamic_8", "dynamic_4"):
        assert "needs FULLY_CONNECTED of version 12, which this tflite_runtime is too old for" in str(found[name])
    assert "which this tflite_runtime is too old for" in str(found["static_4"])
    assert float(found["float_8"]) <= 1e-5
    assert float(found["static_8"]) <= 3e-2
