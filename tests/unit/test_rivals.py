"""The files of torch.onnx.export that ours are measured against."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from device_benchmarks.rivals import EXPORTERS, RivalFailure, RivalFile, export_rival
from device_benchmarks.subjects import as_data
from tests.every_op import random_inputs
from toolchain.frontend.arguments import run_model
from toolchain.inputs import GraphInputs
from toolchain.models import GIN


class Sorts(torch.nn.Module):
    """Something that neither exporter can write."""

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigh(x.T @ x)[0]


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_rival_takes_graphs_of_other_sizes(exporter: str, tmp_path: Path) -> None:
    model = GIN(4, 2, hidden=8, layers=1).eval()
    rival = export_rival(model, as_data(random_inputs(9, 20)), exporter=exporter, path=tmp_path / "rival.onnx")
    assert isinstance(rival, RivalFile)
    inputs = random_inputs(14, 40, seed=1)
    actual = rival.session(1).run(None, rival.feeds(inputs))[0]
    np.testing.assert_allclose(actual, run_model(model, as_data(inputs))[0], rtol=1e-4, atol=1e-5)


class Counts(torch.nn.Module):
    """Something that reads the relations of edges."""

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor, edge_type: torch.Tensor) -> torch.Tensor:
        return x.sum(0, keepdim=True) + edge_type.sum() + edge_index.sum()


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_a_rival_reads_the_relations_of_edges(exporter: str, tmp_path: Path) -> None:
    def typed(nodes: int, edges: int) -> GraphInputs:
        return replace(random_inputs(nodes, edges), edge_type=np.arange(edges) % 3)

    rival = export_rival(Counts(), as_data(typed(9, 20)), exporter=exporter, path=tmp_path / "rival.onnx")
    assert isinstance(rival, RivalFile)
    inputs = typed(14, 40)
    actual = rival.session(1).run(None, rival.feeds(inputs))[0]
    np.testing.assert_allclose(actual, run_model(Counts(), as_data(inputs))[0], rtol=1e-5)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_an_export_that_fails_keeps_its_words_without_colours(exporter: str, tmp_path: Path) -> None:
    rival = export_rival(Sorts(), as_data(random_inputs(9, 20)), exporter=exporter, path=tmp_path / "rival.onnx")
    assert isinstance(rival, RivalFailure)
    assert "eigh" in rival.error and "\x1b" not in rival.error
