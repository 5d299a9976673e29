"""Distillation: a teacher's probabilities beside the labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from tests.unit.compression.hand_built import gcn_graph, node_gcn_graph, random_inputs
from tests.unit.compression.labelled_graphs import labelled
from toolchain.compression import QAT, Distillation, Learned, StaticInt8, evaluate, quantize
from toolchain.compression.distillation import Teacher
from toolchain.compression.evaluation import predict
from toolchain.errors import RecipeError
from toolchain.torch_module import TorchGraph


def test_the_term_is_the_cross_entropy_of_softened_probabilities():
    graph, inputs = node_gcn_graph(), random_inputs(40, 100, 30)
    student = torch.randn(40, 5, generator=torch.Generator().manual_seed(0))
    teacher = Teacher(Distillation(graph, weight=3.0, temperature=2.0))
    found = teacher.loss(student, TorchGraph.of(inputs.prepare(graph.topologies)))
    targets = torch.softmax(torch.from_numpy(predict(graph, [inputs])) / 2, dim=1)
    expected = -3 * 4 * (targets * torch.log_softmax(student / 2, dim=1)).sum(dim=1).mean()

    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_student_follows_its_teacher_on_nodes_without_labels():
    inputs, graph = random_inputs(200, 500, 30), node_gcn_graph()
    answers = predict(graph, [inputs]).argmax(axis=1)
    data = Data(x=torch.from_numpy(inputs.x), edge_index=torch.from_numpy(inputs.edge_index), y=torch.from_numpy(answers),
                train_mask=torch.arange(200) < 10, val_mask=torch.arange(200) >= 10)  # fmt: skip
    static = StaticInt8([data], mode="int8", min_agreement=0, equalization=None)
    shares = []
    for distillation in (None, Distillation(None)):
        method = QAT([data], 30, static, lr=1e-2, quantizers={"*": Learned(3)}, distillation=distillation)
        shares.append(evaluate(quantize(graph, method), [data]))

    assert shares[1] > shares[0] + 0.05


def test_graphs_can_be_distilled_in_batches():
    data, graph = labelled(40), gcn_graph(classes=2)
    method = QAT(data, 2, StaticInt8(data, mode="int8"), lr=1e-3, batch_size=16, distillation=Distillation(graph))
    plain = QAT(data, 2, StaticInt8(data, mode="int8"), lr=1e-3, batch_size=16)

    first, second = (quantize(graph, m) for m in (method, plain))
    assert any(not np.array_equal(first.constants[n], second.constants[n]) for n in first.constants)


def test_a_teacher_of_other_classes_is_refused():
    data = labelled(10)
    method = QAT(data, 1, StaticInt8(data, mode="int8"), distillation=Distillation(gcn_graph(classes=3)))
    with pytest.raises(RecipeError, match=r"teacher: gives \[10, 3\], the student \[10, 2\]"):
        quantize(gcn_graph(classes=2), method)


@pytest.mark.parametrize(
    ("options", "message"), [({"weight": 0}, "weight: 0"), ({"temperature": -1}, "temperature: -1")]
)
def test_malformed_options_are_refused(options, message):
    with pytest.raises(RecipeError, match=message):
        Distillation(gcn_graph(), **options)


def test_a_quantized_teacher_is_refused():
    with pytest.raises(RecipeError, match="teacher: gcn is quantized"):
        Distillation(quantize(gcn_graph(), StaticInt8(labelled(20), min_agreement=0)))
