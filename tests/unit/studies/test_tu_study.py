"""The study of graph classification, on made-up graphs whose class shows in their degrees."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch_geometric.data import Data

from toolchain.compression.qat import trained
from toolchain.datasets import Split, with_degrees
from toolchain.ir.ops import BatchNorm
from toolchain.passes import deployable
from toolchain.studies import tu
from toolchain.studies.tu_models import float_model, norm_place

LIMITS = {"float": 32.0, "8 static": 16.0, "mixed": 5.0, "mixed, distilled": 5.0}


def stars_and_rings(count: int) -> list[Data]:
    """Stars (class 0) and rings (class 1) of 5 to 9 nodes."""
    graphs = []
    for number in range(count):
        nodes = torch.arange(5 + number % 5)
        other = torch.zeros_like(nodes) if number % 2 == 0 else (nodes + 1) % len(nodes)
        edges = torch.stack([nodes, other])[:, 1:]
        graphs.append(
            Data(edge_index=torch.cat([edges, edges.flip(0)], 1), num_nodes=len(nodes), y=torch.tensor([number % 2]))
        )
    return graphs


@pytest.fixture(scope="module")
def parts() -> Split:
    graphs = with_degrees(stars_and_rings(40))
    return Split(tuple(graphs[:20]), tuple(graphs[20:30]), tuple(graphs[30:]))


@pytest.fixture(scope="module")
def subject(parts: Split) -> tu.Subject:
    return subject_of(parts, "PROTEINS")


def subject_of(parts: Split, name: str) -> tu.Subject:
    """The model that a data set is given, trained on other graphs."""
    model = float_model(parts, 6, 0, 10, norm=norm_place(name))
    settings = replace(tu.Settings(), epochs=2, search_epochs=8)
    return tu.Subject(model, parts, settings, 0, 10, norm_place(name))


@pytest.mark.parametrize("method", ["8 Degree-Quant", "4 Degree-Quant"])
def test_the_published_model_keeps_five_batch_norms_and_its_integers_equal_their_simulation(parts: Split, method: str):
    subject = subject_of(parts, "REDDIT-BINARY")
    row = subject.row(method)

    assert sum(isinstance(value.op, BatchNorm) for value in subject.model.graph.values) == 5
    assert row["codes_differing"] == 0 and row["simulated"] == row["integer"]


def test_at_4_bits_what_a_float_batch_norm_reads_has_16(parts: Split):
    subject = subject_of(parts, "REDDIT-BINARY")
    bits = tu.widths(trained(subject.model.graph, subject.uniform("4 Degree-Quant")).module)

    assert {bits[f"convs.{layer}.nn.2.linear"] for layer in range(5)} == {16}
    assert bits["convs.1.propagate"] == bits["convs.1.nn.2.weight"] == bits["pool"] == 4


def test_degrees_are_one_hot_and_from_a_limit_on_one_standardized_number():
    graphs = stars_and_rings(4)
    one_hot, standardized = with_degrees(graphs), with_degrees(graphs, most_one_hot=3)

    assert [graph.x.shape[1] for graph in one_hot] == [7, 7, 7, 7]  # the largest star has a node of degree 6
    assert [int(row.argmax()) for row in one_hot[0].x] == [4, 1, 1, 1, 1]
    column = torch.cat([graph.x for graph in standardized])
    assert float(column.mean()) == pytest.approx(0, abs=1e-6)
    assert float(column.std()) == pytest.approx(1)
    assert graphs[0].x is None


@pytest.mark.parametrize("method", tu.METHODS)
def test_every_way_ends_in_integers_that_equal_its_simulation(subject: tu.Subject, method: str):
    row = subject.row(method)

    assert row["codes_differing"] == 0
    assert row["simulated"] == row["integer"]
    assert set(row) | {"seconds"} == set(tu.STUDY.values)
    assert row["bits"] <= LIMITS.get(method, 8.0 if method.startswith("8") else 4.3)


def test_the_methods_that_are_named_run_in_every_fold():
    settings = replace(tu.Settings(), data="PROTEINS", methods="float+4 learned")
    keys = list(tu.wanted(tu.STUDY.scope(folds=2, data_root=Path("data")), settings))

    assert keys == [("PROTEINS", 0, fold, method) for fold in (0, 1) for method in ("float", "4 learned")]


def test_a_channel_that_no_node_activates_does_not_take_the_range_of_the_weights(subject: tu.Subject):
    """Its variance is 0, so that the folded weights are those of BatchNorm's eps."""
    parts = subject.parts
    silent = [graph.clone() for graph in (*parts.train, *parts.validation)]
    for graph in silent:
        graph.x = torch.cat([graph.x, torch.zeros(graph.num_nodes, 1)], 1)
    graph = float_model(Split(tuple(silent[:20]), tuple(silent[20:]), ()), 3, 0, 10).graph
    weight = deployable(graph).constants["convs.0.nn.1.weight"]  # [out, in]

    assert abs(weight[:, -1]).max() < 4 * abs(weight[:, :-1]).max()
