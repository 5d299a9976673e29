"""Every model of the zoo on every graph of the zoo, through a Core ML package that an interpreter of its operations reads back.

No Apple device runs here: this proves the written file, not Core ML.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import cases
from tests.coreml_files import coremltools, mil_model, run
from tests.zoo_parity import check_zoo, lowered
from toolchain.exporters import export
from toolchain.ir import Graph
from toolchain.passes import deployable


@pytest.fixture(scope="module", autouse=True)
def library() -> Iterator[None]:
    with coremltools():
        yield


def check(graph: Graph, folder: Path, tolerance: float, **options: str) -> None:
    """Export a graph, and compute the file's operations on the whole graph zoo."""
    artifact = export(graph, "coreml", folder, **options)
    model = mil_model(artifact)
    check_zoo(graph, lambda inputs: run(model, artifact, inputs), tolerance)


@pytest.mark.parametrize("model", cases.MODELS)
def test_float_files_equal_the_reference(model: str, tmp_path: Path) -> None:
    check(deployable(lowered(model)), tmp_path / "model", 1e-5)


@pytest.mark.parametrize("model", ["gcn_graph", "gin_graph", "gat_mean_edge"])
def test_half_precision_files_are_close_to_the_reference(model: str, tmp_path: Path) -> None:
    check(deployable(lowered(model)), tmp_path / "model", 1e-2, precision="float16")
