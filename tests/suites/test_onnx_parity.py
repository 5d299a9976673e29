"""Every model of the zoo on every graph of the zoo, through an ONNX artifact: the file means what the Graph means."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import cases
from tests.zoo_parity import check_file, lowered, zoo
from toolchain.compression.dynamic_int8 import DynamicInt8
from toolchain.compression.quantization import quantize
from toolchain.compression.static_int8 import StaticInt8
from toolchain.ir import Graph
from toolchain.passes import deployable

DENSE_UP_TO = 8  # some graphs of the zoo are smaller and some larger, so that both lowerings run


def check(graph: Graph, folder: Path, tolerance: float) -> None:
    check_file(graph, "onnx", folder, tolerance, dense_up_to_nodes=DENSE_UP_TO)


@pytest.mark.parametrize("model", cases.MODELS)
def test_float_files_equal_the_reference(model: str, tmp_path: Path) -> None:
    check(deployable(lowered(model)), tmp_path / "model", 1e-5)


@pytest.mark.parametrize("model", cases.MODELS)
def test_dynamic_int8_files_equal_the_reference(model: str, tmp_path: Path) -> None:
    check(quantize(lowered(model), DynamicInt8()), tmp_path / "model", 1e-3)


@pytest.mark.parametrize("mode", ["int8", "sums-int16"])
@pytest.mark.parametrize("model", cases.MODELS)
def test_static_int8_files_are_close_to_the_reference(model: str, mode: str, tmp_path: Path) -> None:
    """Within a few codes of 8 bits: requantization rounds once in float here, once in integers there."""
    method = StaticInt8(list(zoo(model).values()), mode=mode, min_agreement=0.01)  # type: ignore[arg-type]
    check(quantize(lowered(model), method), tmp_path / "model", 3e-2)
