"""Every model of the zoo on every graph of the zoo, through a LiteRT artifact: the file means what the Graph means."""

from __future__ import annotations

from pathlib import Path

import pytest

import runtimes
from tests import cases
from tests.parity import assert_close
from toolchain.compression.dynamic_int8 import DynamicInt8
from toolchain.compression.quantization import quantize
from toolchain.compression.static_int8 import StaticInt8
from toolchain.exporters import export
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.passes import deployable


def check(graph: Graph, folder: Path, tolerance: float, **options: object) -> None:
    """Export, load and run a graph on the whole graph zoo."""
    runtime = runtimes.load(export(graph, "litert", folder, **options))  # type: ignore[arg-type]
    for name, inputs in zoo(graph.name).items():
        try:
            assert_close(runtime.run(inputs), interpret(graph, inputs), tolerance)
        except AssertionError as error:
            raise AssertionError(f"{graph.name} on {name}: {error}") from error


def zoo(model: str) -> dict[str, GraphInputs]:
    return {name: GraphInputs.from_pyg(cases.case_inputs(model, name)) for name in cases.GRAPHS}


def lowered(model: str) -> Graph:
    return lower(cases.MODELS[model](), cases.example(model), name=model)


@pytest.mark.parametrize("model", cases.MODELS)
def test_float_files_equal_the_reference(model: str, tmp_path: Path) -> None:
    check(deployable(lowered(model)), tmp_path / "model", 1e-5)


@pytest.mark.parametrize("compat", ["litert", "tflite-runtime"])
@pytest.mark.parametrize("model", cases.MODELS)
def test_dynamic_int8_files_are_close_to_the_reference(model: str, compat: str, tmp_path: Path) -> None:
    """LiteRT quantizes each row of an operand over its own range, the reference all rows over one."""
    check(quantize(lowered(model), DynamicInt8()), tmp_path / "model", 6e-2, compat=compat)


@pytest.mark.parametrize("mode", ["int8", "sums-int16"])
@pytest.mark.parametrize("model", cases.MODELS)
def test_static_int8_files_are_close_to_the_reference(model: str, mode: str, tmp_path: Path) -> None:
    """Within a few codes of 8 bits: requantization rounds once in float here, once in integers there."""
    method = StaticInt8(list(zoo(model).values()), mode=mode, min_agreement=0.01)  # type: ignore[arg-type]
    check(quantize(lowered(model), method), tmp_path / "model", 3e-2)
