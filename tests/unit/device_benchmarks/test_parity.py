"""Parity: each step's error on its own, gates, node classifiers, batches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import toolchain
from device_benchmarks.parity import BACKEND, DEPLOYMENT, TOTAL, Gates, ParityCheck, ParityReport, StageParity
from toolchain.errors import GateFailed, InvalidInput
from toolchain.models import NodeGCN


@pytest.fixture(scope="module")
def check(exported: Any) -> ParityCheck:
    return ParityCheck(exported.model, exported.parts.train)


def test_a_float_artifact_agrees_with_the_model_everywhere(check: ParityCheck, exported: Any) -> None:
    report = check.report(exported.float_artifact, [("lowering", exported.lowered)])

    assert [stage.stage for stage in report.stages] == ["lowering", BACKEND, DEPLOYMENT, TOTAL]
    assert report.total.agreement == 1.0
    assert report.total.max_relative < 1e-5
    assert report.total.accuracy_before == report.total.accuracy_after


def test_the_steps_of_an_int8_artifact_are_told_apart(check: ParityCheck, exported: Any) -> None:
    history = [("lowering", exported.lowered), ("quantization", exported.quantized)]

    report = check.report(exported.int8_artifact, history)

    assert [stage.stage for stage in report.steps] == ["lowering", "quantization", BACKEND]
    errors = {stage.stage: stage.max_abs for stage in report.steps}
    assert errors["lowering"] < 1e-5 < errors["quantization"]
    assert report.total.max_abs == pytest.approx(errors["quantization"], rel=0.5)


def test_the_deployment_starts_at_the_last_float_graph(check: ParityCheck, exported: Any) -> None:
    pruned = toolchain.prune(exported.lowered, toolchain.L1Unstructured(0.5))
    quantized = toolchain.quantize(pruned, toolchain.DynamicInt8())
    history = [("lowering", exported.lowered), ("compression", pruned), ("quantization", quantized)]

    deployment = check.report(exported.int8_artifact, history).stage(DEPLOYMENT)

    assert deployment is not None
    assert deployment.reference == "Graph after compression"


def test_without_graphs_only_the_total_is_known(check: ParityCheck, exported: Any) -> None:
    assert [stage.stage for stage in check.report(exported.int8_artifact).stages] == [TOTAL]


def test_the_worst_graph_is_named_by_its_position(exported: Any) -> None:
    graphs = list(exported.parts.train)
    large = graphs[7].clone()
    large.x = large.x * 1000
    graphs[7] = large

    report = ParityCheck(exported.model, graphs).report(exported.int8_artifact)

    assert report.total.worst == 7
    assert report.total.errors.shape == (len(graphs),)


def test_graphs_side_by_side_give_the_same_report_as_one_by_one(check: ParityCheck, exported: Any) -> None:
    batched = ParityCheck(exported.model, exported.parts.train, batch_size=7).report(exported.float_artifact)
    single = check.report(exported.float_artifact)

    assert batched.total.rows == single.total.rows
    assert batched.total.accuracy_after == single.total.accuracy_after
    assert batched.total.errors.shape == single.total.errors.shape
    assert batched.total.max_abs == pytest.approx(single.total.max_abs, abs=1e-5)


def test_a_node_classifier_is_judged_on_its_test_nodes(tmp_path: Any) -> None:
    torch.manual_seed(0)
    model = NodeGCN(4, 3).eval()
    data = Data(x=torch.randn(20, 4), edge_index=torch.randint(0, 20, (2, 50)), y=torch.randint(0, 3, (20,)))
    data.test_mask = torch.arange(20) >= 15
    artifact = toolchain.export(toolchain.lower(model, data), "torchscript", tmp_path / "node")

    total = ParityCheck(model, [data]).report(artifact).total

    expected = float((model(data.x, data.edge_index).argmax(1) == data.y)[15:].float().mean())
    assert total.rows == 5
    assert total.accuracy_after == pytest.approx(expected)


def test_a_regression_has_no_agreement_and_no_accuracy(exported: Any) -> None:
    class OneChannel(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = exported.model

        def forward(self, x: torch.Tensor, edge_index: torch.Tensor, batch: torch.Tensor | None = None) -> torch.Tensor:
            return self.inner(x, edge_index, batch)[:, :1]

    check = ParityCheck(OneChannel().eval(), exported.parts.test)
    answers = check._model_answers()

    stage = check._compare(TOTAL, ("a", "a", answers), ("b", "b", answers))

    assert (stage.agreement, stage.accuracy_before, stage.max_abs) == (None, None, 0.0)


def test_an_output_that_is_not_finite_agrees_with_no_class(check: ParityCheck) -> None:
    answers = check._model_answers()
    broken = [tuple(np.full_like(array, np.nan) for array in answer) for answer in answers]

    report = ParityReport("broken", len(answers), (check._compare(TOTAL, ("a", "a", answers), ("b", "b", broken)),))

    assert report.total.agreement == 0.0
    assert report.failures(Gates(max_abs=1e9))
    assert report.summary()["max_abs"] is None


def total_of(
    agreement: float | None, before: float | None = None, after: float | None = None, max_abs: float = 0.0
) -> ParityReport:
    stage = StageParity(
        TOTAL, "a", "b", 10, max_abs, 0.0, agreement, before, after, np.array([max_abs]), np.array([1.0])
    )
    return ParityReport("artifact", 1, (stage,))


@pytest.mark.parametrize(
    ("report", "gates", "failures"),
    [
        (total_of(0.98), Gates(min_agreement=0.98), 0),
        (total_of(0.979), Gates(min_agreement=0.98), 1),
        (total_of(1.0, 0.9, 0.88), Gates(max_accuracy_drop=0.01), 1),
        (total_of(1.0, 0.9, 0.95), Gates(max_accuracy_drop=0.0), 0),
        (total_of(1.0, max_abs=0.2), Gates(max_abs=0.1), 1),
        (total_of(0.5, 0.9, 0.1, 7.0), Gates(0.9, 0.1, 1.0), 3),
        (total_of(None), Gates(min_agreement=0.5), 1),
        (total_of(1.0), Gates(max_accuracy_drop=0.5), 1),
        (total_of(0.0), Gates(), 0),
    ],
)
def test_gates(report: ParityReport, gates: Gates, failures: int) -> None:
    assert len(report.failures(gates)) == failures
    if failures:
        with pytest.raises(GateFailed, match="artifact: "):
            report.check(gates)
    else:
        report.check(gates)


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no graphs"):
        ParityCheck(SimpleNamespace(), [])


def test_outputs_that_are_numbers_have_errors_and_no_classes(exported: Any) -> None:
    """Two channels, as the classifier has, but y are real numbers: the larger channel means nothing."""
    graphs = [data.clone() for data in exported.parts.train[:5]]
    for data in graphs:
        data.y = torch.tensor([[0.5, -1.0]])
    report = ParityCheck(exported.model, graphs).report(exported.int8_artifact)

    assert report.total.agreement is None and report.total.accuracy_after is None
    assert report.total.max_abs > 0
    assert report.failures(Gates(max_abs=10.0)) == []
    assert report.failures(Gates(min_agreement=0.5)) == [
        "agreement is undefined for outputs that are no classes; --max-abs bounds their error"
    ]
