"""Fine-tuning: it learns, it repeats, and what is pruned stays pruned."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from tests.unit.compression.hand_built import gcn_graph, gin_graph, many_inputs, node_gcn_graph, random_inputs
from toolchain.compression import (
    QAT,
    Distillation,
    DynamicInt8,
    L1Unstructured,
    StaticInt8,
    StepReport,
    evaluate,
    fine_tune,
    prune,
    quantize,
    share,
)
from toolchain.compression.evaluation import as_inputs, predict
from toolchain.compression.training import Schedule, train_module
from toolchain.errors import InvalidInput, RecipeError, TrainingDiverged
from toolchain.exporters import export
from toolchain.inputs import GraphInputs
from toolchain.torch_module import GraphModule


def labelled(count: int, seed: int = 0) -> list[Data]:
    """Graphs whose class is the sign of their mean first feature."""
    return [
        Data(
            x=torch.from_numpy(g.x),
            edge_index=torch.from_numpy(g.edge_index),
            y=torch.tensor([int(g.x[:, 0].mean() > 0)]),
        )
        for g in many_inputs(count, seed=seed)
    ]


def constants_equal(a, b) -> bool:
    return all(np.array_equal(a.constants[name], b.constants[name]) for name in a.constants)


def test_fine_tuning_learns_and_reports_it():
    data, reports = labelled(100), []
    tuned = fine_tune(gin_graph(classes=2), data, epochs=15, lr=1e-2, validation=data, log=reports.append)
    report: StepReport = reports[0]

    assert report.before.accuracy < 0.7 < 0.9 < report.after.accuracy == evaluate(tuned, data)


@pytest.mark.parametrize("make_loader", [list, lambda data: DataLoader(data, 16, shuffle=True)])
def test_the_same_seed_gives_the_same_weights_and_another_seed_others(make_loader):
    data, graph = labelled(40), gin_graph(classes=2)
    first, again, other = (fine_tune(graph, make_loader(data), epochs=2, seed=s, batch_size=16) for s in (3, 3, 4))

    assert constants_equal(first, again)
    assert not constants_equal(first, other)


def test_the_callers_random_state_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fine_tune(gcn_graph(classes=2), labelled(5), epochs=1)

    assert torch.equal(expected, torch.rand(3))


def test_pruned_weights_stay_zero_and_the_others_move():
    graph = prune(gin_graph(classes=2), L1Unstructured(0.4))
    tuned = fine_tune(graph, labelled(40), epochs=3, lr=1e-2, weight_decay=1e-3)
    for name, array in graph.constants.items():
        if name.endswith("weight") and array.ndim == 2 and name != "head.weight":
            np.testing.assert_array_equal(array == 0, tuned.constants[name] == 0)
            assert not np.array_equal(array, tuned.constants[name])


def test_pruned_weights_are_zero_after_every_epoch_not_only_at_the_end():
    graph = prune(gin_graph(classes=2), L1Unstructured(0.4))
    module = GraphModule(graph)
    regrown = []

    def look(epoch: int) -> None:
        regrown.append(sum(int(module.constant(name)[~mask].count_nonzero()) for name, mask in module.masks.items()))

    train_module(module, labelled(20), Schedule(2, lr=1e-2), after_epoch=look)

    assert module.masks
    assert regrown == [0, 0]


def test_batch_norm_statistics_are_trained():
    graph = gin_graph(classes=2)
    tuned = fine_tune(graph, labelled(20), epochs=1)

    assert not np.array_equal(graph.constants["convs.0.nn.1.mean"], tuned.constants["convs.0.nn.1.mean"])


def test_node_classifiers_learn_from_the_train_mask_only():
    inputs = random_inputs(120, 300, 30)
    labels = np.random.default_rng(0).integers(0, 5, 120)
    mask = np.arange(120) < 30
    data = Data(x=torch.from_numpy(inputs.x), edge_index=torch.from_numpy(inputs.edge_index), y=torch.from_numpy(labels),
                train_mask=torch.from_numpy(mask), val_mask=torch.from_numpy(mask))  # fmt: skip
    graph = node_gcn_graph()
    tuned = fine_tune(graph, [data], epochs=60, lr=2e-2)
    other = data.clone()
    other.y[30:] = 0  # labels outside the mask change nothing

    assert evaluate(tuned, [data]) > 0.9
    assert constants_equal(tuned, fine_tune(graph, [other], epochs=60, lr=2e-2))


def test_another_loss_can_be_given():
    data = [Data(x=d.x, edge_index=d.edge_index, y=d.x.mean(0)[None, :2]) for d in labelled(30)]

    def loss(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.mse_loss(output, target)

    graph = gcn_graph(classes=2)
    assert not constants_equal(graph, fine_tune(graph, data, epochs=1, loss=loss))


class Batches:
    """A loader of one's own."""

    def __init__(self, *batches: Data) -> None:
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        ([], "loader: holds no graphs"), (Batches(), "loader: holds no graphs"),
        (iter(labelled(4)), "loader: got a list_iterator, which can be iterated only once"),
        ((data for data in labelled(4)), "loader: got a generator, which can be iterated only once"),
    ],
)  # fmt: skip
def test_what_would_train_on_nothing_is_refused(loader, message: str):
    state = torch.get_rng_state()
    with pytest.raises(InvalidInput, match=message):
        fine_tune(gcn_graph(classes=2), loader, epochs=2)
    assert torch.equal(state, torch.get_rng_state())
    with pytest.raises(InvalidInput, match=message):
        quantize(gcn_graph(classes=2), QAT(loader, 2, StaticInt8(labelled(4), min_agreement=0)))


@pytest.mark.parametrize(
    "use",
    [
        lambda graph, data: fine_tune(graph, data, epochs=1),
        lambda graph, data: fine_tune(graph, [data], epochs=1, keep_best=data),
        lambda graph, data: evaluate(graph, data),
        lambda graph, data: quantize(graph, StaticInt8(data, min_agreement=0)),
        lambda graph, data: prune(graph, L1Unstructured(0.5), validation=data),
    ],
)
def test_a_graph_that_is_in_no_list_is_refused(use):
    with pytest.raises(
        InvalidInput, match=r"graphs: got one Data, expected a list or a loader of them\. Pass it as \[data\]"
    ):
        use(gcn_graph(classes=2), labelled(1)[0])


@pytest.mark.parametrize(
    "use",
    [
        lambda graph, data: fine_tune(graph, data, epochs=1), lambda graph, data: evaluate(graph, data),
        lambda graph, data: fine_tune(graph, DataLoader(data), epochs=1),
        lambda graph, data: quantize(graph, StaticInt8(data, min_agreement=0)),
    ],
)  # fmt: skip
def test_a_graph_that_is_refused_is_named_by_its_number(use):
    data = labelled(4)
    data[2].x[1, 0] = float("nan")
    with pytest.raises(InvalidInput, match=r"graphs\[2\]: x: nan at \[1, 0\]"):
        use(gcn_graph(classes=2), data)


@pytest.mark.parametrize(
    "use",
    [
        lambda model: fine_tune(model, labelled(1), epochs=1), lambda model: evaluate(model, labelled(1)), prune, share,
        lambda model: quantize(model, DynamicInt8()), lambda model: export(model, "onnx", "out"),
    ],
)  # fmt: skip
def test_a_model_that_was_not_lowered_is_refused(use):
    with pytest.raises(InvalidInput, match=r"graph: got Linear, expected a toolchain Graph\. Lower a model first"):
        use(torch.nn.Linear(4, 2))


def test_accuracy_on_no_graphs_is_refused():
    with pytest.raises(InvalidInput, match="graphs: none given"):
        evaluate(gcn_graph(classes=2), [])


@pytest.mark.parametrize("label", [-1, 2])
def test_a_class_that_the_output_does_not_have_is_refused(label: int):
    data = labelled(4)
    data[2].y = torch.tensor([label])
    message = rf"y: class {label}, but the output has 2 channels: classes must lie in \[0, 1\]"
    with pytest.raises(InvalidInput, match=message):
        fine_tune(gcn_graph(classes=2), data, epochs=1)
    with pytest.raises(InvalidInput, match=message):
        evaluate(gcn_graph(classes=2), data)


def test_masks_that_select_nothing_are_refused():
    inputs, nothing = random_inputs(12, 30, 30), torch.zeros(12, dtype=torch.bool)
    data = Data(x=torch.from_numpy(inputs.x), edge_index=torch.from_numpy(inputs.edge_index),
                y=torch.zeros(12, dtype=torch.long), train_mask=nothing, val_mask=nothing)  # fmt: skip
    with pytest.raises(InvalidInput, match="train_mask: selects no node"):
        fine_tune(node_gcn_graph(), [data], epochs=1)
    with pytest.raises(InvalidInput, match="val_mask: selects no node"):
        evaluate(node_gcn_graph(), [data])


def test_labels_may_be_plain_numbers():
    data = labelled(4)
    as_numbers = [Data(x=d.x, edge_index=d.edge_index, y=int(d.y)) for d in data]
    ours, theirs = (fine_tune(gcn_graph(classes=2), graphs, epochs=2, lr=1e-2) for graphs in (as_numbers, data))
    assert constants_equal(ours, theirs)
    assert evaluate(ours, as_numbers) == evaluate(ours, data)


def test_missing_labels_are_refused():
    with pytest.raises(InvalidInput, match="y: missing"):
        fine_tune(gcn_graph(), [Data(x=torch.zeros(3, 7), edge_index=torch.zeros(2, 0, dtype=torch.long))], epochs=1)


def test_real_valued_labels_need_a_loss():
    data = [Data(x=d.x, edge_index=d.edge_index, y=torch.zeros(1, 4)) for d in labelled(3)]
    with pytest.raises(InvalidInput, match="loss="):
        fine_tune(gcn_graph(), data, epochs=1)


def test_a_quantized_graph_is_refused():
    with pytest.raises(RecipeError, match="QAT"):
        fine_tune(quantize(gcn_graph(), DynamicInt8()), [], epochs=1)


@pytest.mark.parametrize("options", [{"epochs": -1}, {"epochs": 1, "lr": 0.0}, {"epochs": 1, "batch_size": 0}])
def test_malformed_options_are_refused(options):
    with pytest.raises(RecipeError, match=list(options)[-1]):
        fine_tune(gcn_graph(), [], **options)


def test_accuracy_counts_top_classes_of_the_rows_that_the_mask_selects():
    inputs = random_inputs(40, 80, 30)
    graph = node_gcn_graph()
    from toolchain.compression.evaluation import predict

    labels = predict(graph, [inputs]).argmax(axis=1)
    labels[:10] = (labels[:10] + 1) % 5
    data = SimpleNamespace(x=inputs.x, edge_index=inputs.edge_index, y=labels)
    assert evaluate(graph, [data]) == 0.75
    data.val_mask = np.arange(40) < 20
    assert evaluate(graph, [data]) == 0.5


def test_labels_that_do_not_fit_the_output_are_refused():
    inputs = random_inputs(40, 80)
    with pytest.raises(InvalidInput, match="40 labels for 1 predictions"):
        evaluate(gcn_graph(), [SimpleNamespace(x=inputs.x, edge_index=inputs.edge_index, y=np.zeros(40))])


def test_a_batch_of_graphs_gives_what_the_graphs_give():
    from toolchain.compression.evaluation import predict
    from toolchain.ir import interpret

    graphs = many_inputs(12)
    one_by_one = np.concatenate([interpret(gin_graph(), g)[0] for g in graphs])

    np.testing.assert_allclose(one_by_one, predict(gin_graph(), graphs), rtol=1e-5, atol=1e-6)


def test_graphs_with_different_fields_make_no_batch():
    a, b = many_inputs(2)
    with pytest.raises(InvalidInput, match="edge_weight: the graphs of a batch must all have it"):
        GraphInputs.concatenate([a, GraphInputs(b.x, b.edge_index, edge_weight=np.ones(b.num_edges))])


def test_the_best_epoch_of_a_model_of_numbers_is_that_of_its_own_loss():
    """At this learning rate later epochs are worse, and cross entropy knows no real-valued labels."""
    graphs = [with_numbers(data) for data in labelled(12)]

    def error(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target).abs().mean()

    def kept(**how) -> float:
        made = fine_tune(gcn_graph(classes=3), graphs, epochs=6, lr=0.3, loss=error, seed=1, **how)
        outputs = predict(made, as_inputs(graphs))
        return float(error(torch.from_numpy(outputs), torch.cat([g.y for g in graphs])))

    assert kept(keep_best=graphs, criterion="loss") < kept()


def with_numbers(data: Data) -> Data:
    """The same graph with three real numbers as its label."""
    copy = data.clone()
    copy.y = torch.tensor([[1.0, -2.0, 0.5]]) * (1 + data.x.mean())
    return copy


def test_accuracy_of_real_valued_rows_is_refused():
    graphs = [with_numbers(data) for data in labelled(4)]
    with pytest.raises(InvalidInput, match="12 labels for 4 predictions"):
        evaluate(gcn_graph(classes=3), graphs)


def test_a_last_step_that_leaves_no_numbers_is_not_passed_on():
    with pytest.raises(
        TrainingDiverged, match=r"after the last step, lr 1e\+30: the first value that is not finite is"
    ):
        fine_tune(gcn_graph(), labelled(8), epochs=1, lr=1e30, batch_size=64)


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        (lambda output, labels: (output**2).sum(1), r"loss: gave \[8\], expected one number"),
        (lambda output, labels: 0.5, "loss: gave float, expected one number"),
        (lambda output, labels: output.detach().sum(), "loss: does not depend on any weight that trains"),
    ],
)
def test_a_loss_that_cannot_be_followed_is_refused(loss, words):
    with pytest.raises(InvalidInput, match=words):
        fine_tune(gcn_graph(), labelled(8), epochs=1, loss=loss)


def test_what_is_refused_leaves_the_random_numbers_of_the_caller_alone():
    torch.manual_seed(5)
    before = torch.get_rng_state()

    with pytest.raises(RecipeError, match="teacher: none given"):
        fine_tune(gcn_graph(), labelled(4), epochs=1, distillation=Distillation(None))

    assert torch.equal(torch.get_rng_state(), before)


def test_half_an_epoch_is_refused():
    with pytest.raises(RecipeError, match=r"epochs: 2\.5, expected 0 or more"):
        fine_tune(gcn_graph(), labelled(4), epochs=2.5)  # type: ignore[arg-type]
