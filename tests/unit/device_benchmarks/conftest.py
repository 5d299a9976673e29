"""One exported model for the tests of measuring and comparing, and images of the hand-written C model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest

import toolchain
from device_benchmarks.firmware import FirmwareImage, build_firmware
from device_benchmarks.target import load_target
from tests.firmware_artifact import firmware_artifact
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


@pytest.fixture(scope="session")
def c_artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The hand-written model of tests/firmware_model."""
    return firmware_artifact(tmp_path_factory.mktemp("firmware") / "tiny")


@pytest.fixture(scope="session")
def firmware(c_artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., FirmwareImage]:
    """Its image for a target, built once by the compiler that comes from pip, unless another is named."""

    @cache
    def build(target: str, compiler: str = "zig") -> FirmwareImage:
        folder = tmp_path_factory.mktemp(f"{target}-{compiler}")
        return build_firmware(c_artifact, load_target(target), folder, compiler=compiler)  # type: ignore[arg-type]  # a test's own word

    return build
