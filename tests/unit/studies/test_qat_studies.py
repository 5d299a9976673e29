"""The studies of quantization-aware training, on graphs of a few nodes."""

from __future__ import annotations

from pathlib import Path

import torch

from tests.unit.compression.hand_built import gin_graph
from tests.unit.compression.labelled_graphs import labelled
from toolchain.compression import StaticInt8
from toolchain.compression.static_int8 import select
from toolchain.inputs import GraphInputs
from toolchain.studies import qat_step_cost
from toolchain.studies.row_file import RowFile
from toolchain.torch_module import TorchGraph


def test_every_variant_takes_a_step_and_moves_the_weights() -> None:
    selection = select(gin_graph(), StaticInt8(labelled(20), mode="int8", min_agreement=0), accept_best=True)
    inputs = GraphInputs.concatenate([GraphInputs.from_pyg(data) for data in labelled(6)])
    batch, labels = TorchGraph.of(inputs.prepare(selection.source.topologies)), torch.arange(6) % 4
    variants = qat_step_cost.steps(selection, 4, 0.1)
    for step in variants.values():
        step(batch, labels)

    assert list(variants) == ["float", "plain QAT", "Degree-Quant", "Degree-Quant, exact"]


def test_the_report_compares_medians_with_the_plain_step_of_the_same_run(tmp_path: Path) -> None:
    rows = RowFile(
        tmp_path / "rows.csv", ("data", "bits", "variant", "round"), ("milliseconds",), "command", "settings"
    )
    for variant, times in (("plain QAT", (9.0, 10.0, 50.0)), ("Degree-Quant", (11.0, 12.0, 70.0))):
        for number, time in enumerate(times):
            rows.add(data="SET", bits=8, variant=variant, round=number, milliseconds=time)

    plain, masked = qat_step_cost.report(rows).splitlines()
    assert "10.0 ms  x1.00" in plain
    assert "12.0 ms  x1.20" in masked
