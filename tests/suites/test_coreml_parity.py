"""Every model of the zoo on every graph of the zoo, through a Core ML package that an interpreter of its operations reads back.

No Apple device runs here: this proves the written file, not Core ML.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import cases
from tests.coreml_files import coremltools, mil_model, run
from tests.parity import assert_close
from toolchain.exporters import export
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.passes import deployable


@pytest.fixture(scope="module", autouse=True)
def library() -> Iterator[None]:
    with coremltools():
        yield


def check(graph: Graph, folder: Path, tolerance: float, **options: str) -> None:
    """Export a graph, and compute the file's operations on the whole graph zoo."""
    artifact = export(graph, "coreml", folder, **options)
    model = mil_model(artifact)
    for name in cases.GRAPHS:
        inputs = GraphInputs.from_pyg(cases.case_inputs(graph.name, name))
        try:
            assert_close(run(model, artifact, inputs), interpret(graph, inputs), tolerance)
        except AssertionError as error:
            raise AssertionError(f"{graph.name} on {name}: {error}") from error


def lowered(model: str) -> Graph:
    return deployable(lower(cases.MODELS[model](), cases.example(model), name=model))


@pytest.mark.parametrize("model", cases.MODELS)
def test_float_files_equal_the_reference(model: str, tmp_path: Path) -> None:
    check(lowered(model), tmp_path / "model", 1e-5)


@pytest.mark.parametrize("model", ["gcn_graph", "gin_graph", "gat_mean_edge"])
def test_half_precision_files_are_close_to_the_reference(model: str, tmp_path: Path) -> None:
    check(lowered(model), tmp_path / "model", 1e-2, precision="float16")
