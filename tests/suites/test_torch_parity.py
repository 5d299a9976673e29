"""Every model of the zoo on every graph of the zoo, through torch: the module, TorchScript and ExecuTorch files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import cases
from tests.parity import assert_close
from tests.zoo_parity import check_file, lowered, zoo
from toolchain.compression.dynamic_int8 import DynamicInt8
from toolchain.compression.quantization import quantize
from toolchain.compression.static_int8 import StaticInt8
from toolchain.exporters.emission import Bounds
from toolchain.ir import Graph, interpret
from toolchain.passes import deployable
from toolchain.torch_module import GraphModule, TorchGraph

BOUNDS = Bounds(nodes=100, edges=400, graphs=4, degree=20)
# One export to ExecuTorch takes five to ten seconds. These models have what static int8 treats differently: row factors
# (GCN), maxima and concatenation, additions between normalizations.
INT8_MODELS = ("gcn_graph", "sage_max", "residual_layernorm")
# Left out are models whose layers are among these in the same roles.
EXECUTORCH_MODELS = tuple(
    name
    for name in cases.MODELS
    if name not in ("gcn_graph", "gcn_node", "gat_concat", "pyg_gin", "pyg_gat", "sequential")
)


def static_int8(model: str, mode: str) -> Graph:
    return quantize(lowered(model), StaticInt8(list(zoo(model).values()), mode=mode, min_agreement=0.01))  # type: ignore[arg-type]


@pytest.mark.parametrize("model", cases.MODELS)
def test_the_torch_module_equals_the_reference(model: str) -> None:
    graph = lowered(model)
    module = GraphModule(graph).eval()

    for inputs in zoo(model).values():
        outputs = module(TorchGraph.of(inputs.prepare(graph.topologies)))
        assert_close(tuple(output.detach().numpy() for output in outputs), interpret(graph, inputs), 1e-5)


@pytest.mark.parametrize("lowering", ["auto", "edges"])
@pytest.mark.parametrize("model", cases.MODELS)
def test_torchscript_files_equal_the_reference(model: str, lowering: str, tmp_path: Path) -> None:
    check_file(deployable(lowered(model)), "torchscript", tmp_path / "model", 1e-5, lowering=lowering)


@pytest.mark.parametrize("model", cases.MODELS)
def test_dynamic_int8_torchscript_files_equal_the_reference(model: str, tmp_path: Path) -> None:
    check_file(quantize(lowered(model), DynamicInt8()), "torchscript", tmp_path / "model", 1e-2)


@pytest.mark.parametrize("mode", ["int8", "sums-int16"])
@pytest.mark.parametrize("model", cases.MODELS)
def test_static_int8_torchscript_files_are_close_to_the_reference(model: str, mode: str, tmp_path: Path) -> None:
    """Within a few codes of 8 bits: requantization rounds once in float here, once in integers there."""
    check_file(static_int8(model, mode), "torchscript", tmp_path / "model", 3e-2)


@pytest.mark.parametrize("model", EXECUTORCH_MODELS)
def test_executorch_files_equal_the_reference(model: str, tmp_path: Path) -> None:
    pytest.importorskip("executorch", reason="executorch is not installed")
    check_file(deployable(lowered(model)), "executorch", tmp_path / "model", 1e-5, bounds=BOUNDS)


@pytest.mark.parametrize("model", INT8_MODELS)
def test_static_int8_executorch_files_are_close_to_the_reference(model: str, tmp_path: Path) -> None:
    """With 16-bit values read as two digits, what differs from the reference are single roundings, as in TorchScript."""
    pytest.importorskip("executorch", reason="executorch is not installed")
    graph = static_int8(model, "sums-int16")
    check_file(graph, "executorch", tmp_path / "model", 3e-2, bounds=BOUNDS, wide_linear="digits")
