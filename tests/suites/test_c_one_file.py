"""Models of the zoo as one file for a Cortex-M4, whose kernels leave out what a model does not use: the bits of the host."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from device_benchmarks.emulated_benchmark import emulated_benchmark
from device_benchmarks.target import load_target
from tests.c_zoo import BOUNDS, zoo_graph
from tests.cases import CASES, case_inputs
from toolchain import GraphInputs, KMeans, StaticInt8, quantize, share
from toolchain.exporters import export
from toolchain.exporters.c.uses import USES


@pytest.mark.parametrize(("model", "mode"), [("gcn_graph", "int8"), ("gin_graph", "sums-int16"), ("sage_max", "int8")])
def test_a_model_of_one_file_gives_the_bits_of_the_host(model: str, mode: str, tmp_path: Path) -> None:
    artifact = export(zoo_graph(model, mode), "c", tmp_path / "model", bounds=BOUNDS)
    graphs = [GraphInputs.from_pyg(case_inputs(model, graph)) for name, graph in CASES if name == model]

    found = emulated_benchmark(artifact, load_target("cortex-m4"), graphs)

    assert found.differences == {} and found.compared > found.refused


def test_a_model_of_one_file_with_shared_weights_gives_the_bits_of_the_host(tmp_path: Path) -> None:
    """Its kernels unpack indices of a codebook; they are switched like the others."""
    graphs = [GraphInputs.from_pyg(case_inputs("gcn_graph", graph)) for name, graph in CASES if name == "gcn_graph"]
    shared = share(zoo_graph("gcn_graph", "float32"), KMeans(8))
    quantized = quantize(shared, StaticInt8(graphs, "int8", min_agreement=0))
    artifact = export(quantized, "c", tmp_path / "model", bounds=BOUNDS, packed_weights="smallest")
    assert any(path.name.startswith("gnn_linear_codebook") for path in artifact.path.iterdir())

    found = emulated_benchmark(artifact, load_target("cortex-m4"), graphs)

    assert found.differences == {} and found.compared > found.refused


def test_what_a_model_leaves_out_is_known_to_the_kernels(tmp_path: Path) -> None:
    artifact = export(zoo_graph("gcn_graph", "int8"), "c", tmp_path / "model", bounds=BOUNDS)
    texts = {path.name: path.read_text() for path in artifact.path.iterdir() if path.suffix in (".c", ".h")}
    left_out = re.findall(r"#define GNN_USES_(\w+) 0", texts["model.c"])

    assert set(re.findall(r"#define GNN_USES_(\w+) 1", texts["gnn_uses.h"])) == set(USES)
    assert {"EXTREMES", "SELF", "MEAN_ROWS"} <= set(left_out) <= set(USES) - {"WEIGHTS_OF_8_BITS"}
    for name in USES:
        assert any(
            f"GNN_USES_{name}" in text for file, text in texts.items() if file not in ("model.c", "gnn_uses.h")
        ), name
