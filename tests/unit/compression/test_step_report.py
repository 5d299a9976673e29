"""The report of a step: what it measures before and after, and how it reads."""

from __future__ import annotations

import pytest

from tests.cases import MODELS, example
from tests.unit.compression.hand_built import gcn_graph
from tests.unit.compression.labelled_graphs import labelled
from toolchain.compression import (
    DynamicInt8,
    L1Unstructured,
    StaticInt8,
    StepReport,
    StructuredChannels,
    prune,
    quantize,
)
from toolchain.compression.evaluation import as_inputs
from toolchain.compression.step_report import Footprint
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir.operation_counts import GraphSizes, OperationCounts, operation_counts
from toolchain.passes import deployable


def test_operations_are_those_of_the_deployable_graph_on_an_average_validation_graph() -> None:
    data, ready = labelled(6), deployable(gcn_graph())
    each = [operation_counts(ready, GraphSizes.mean_of(ready.topologies, [g])) for g in as_inputs(data)]

    operations = Footprint.of(gcn_graph(), data).operations

    assert operations is not None
    assert operations.macs * len(data) == sum(counts.macs for counts in each)
    assert operations.bit_operations == 32 * operations.operations


def test_without_validation_graphs_there_are_no_operations_and_no_accuracy() -> None:
    footprint = Footprint.of(gcn_graph())

    assert (footprint.operations, footprint.accuracy, footprint.weight_bits) == (None, None, 32)


def test_each_kind_of_step_moves_its_own_figure() -> None:
    data, reports = labelled(40), list[StepReport]()
    graph = gcn_graph(classes=2)
    prune(graph, L1Unstructured(0.5), validation=data, log=reports.append)
    prune(graph, StructuredChannels(0.5), validation=data, log=reports.append)
    quantize(graph, StaticInt8(data, "int8", min_agreement=0), validation=data, log=reports.append)
    unstructured, channels, int8 = (_operations(report) for report in reports)

    assert unstructured[0].operations == unstructured[1].operations
    assert unstructured[0].bops_sparse > unstructured[1].bops_sparse
    assert channels[0].operations > channels[1].operations
    assert int8[0].operations == int8[1].operations
    assert int8[0].bit_operations > 2 * int8[1].bit_operations
    assert reports[2].after.weight_bits == 8


def test_a_report_names_what_changed_and_states_the_rest_once() -> None:
    before = Footprint(35080, 0, 32, 32, OperationCounts(operations=1_500_000, bit_operations=48e6), 0.7)
    after = Footprint(9352, 0, 8, 10.5, OperationCounts(operations=1_500_000, bit_operations=13.5e6), 0.6875)

    assert str(StepReport("static int8", before, after, 2.04)) == (
        "static int8: 35,080 -> 9,352 B, sparsity 0.0%, weight/value bits 32/32 -> 8/10.5, operations 1.5 M, "
        "bit operations 48 M -> 13.5 M, accuracy 70.00% -> 68.75% (2.0 s)"
    )


@pytest.mark.parametrize("name", MODELS)
def test_every_model_of_the_zoo_is_counted_in_every_accounting(name: str) -> None:
    graph = deployable(lower(MODELS[name](), example(name), name=name))
    sizes = GraphSizes.mean_of(graph.topologies, [GraphInputs.from_pyg(example(name))])
    before, after = (operation_counts(g, sizes) for g in (graph, quantize(graph, DynamicInt8(float_input_share=0))))

    assert before.macs >= before.macs_sparse > 0
    assert (before.bit_operations, before.bops) == (32 * before.operations, 32 * 32 * before.macs)
    assert (after.macs, after.operations) == (before.macs, before.operations)
    assert after.bit_operations < before.bit_operations
    assert after.bops < before.bops


def _operations(report: StepReport) -> tuple[OperationCounts, OperationCounts]:
    assert report.before.operations is not None and report.after.operations is not None
    return report.before.operations, report.after.operations
