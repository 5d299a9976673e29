"""One exported model for the tests of measuring and comparing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

import toolchain
from tests.small_model import write_model_file
from toolchain.artifact import Artifact
from toolchain.ir import Graph
from toolchain.model_source import GraphParts, ModelSource, parts_of


@dataclass(frozen=True)
class Exported:
    """A model file, its model and graphs, and its float32 and dynamic int8 artifacts with the Graphs they were made of."""

    source: ModelSource
    model: Any
    parts: GraphParts
    lowered: Graph
    quantized: Graph
    float_artifact: Artifact
    int8_artifact: Artifact


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    folder = tmp_path_factory.mktemp("exported")
    source = ModelSource(str(write_model_file(folder)))
    model, parts = source.model(), parts_of(source.graphs())
    lowered = toolchain.lower(model, parts.train[0])
    quantized = toolchain.quantize(lowered, toolchain.DynamicInt8())
    return Exported(
        source, model, parts, lowered, quantized,
        toolchain.export(lowered, "torchscript", folder / "small-float32"),
        toolchain.export(quantized, "torchscript", folder / "small-int8"),
    )  # fmt: skip
