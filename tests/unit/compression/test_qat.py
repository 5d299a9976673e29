"""QAT: the forward pass of training and the integer graph that ships compute the same integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.unit.compression.hand_built import (
    PLAIN_EDGES,
    Layers,
    gcn_graph,
    gin_graph,
    many_inputs,
    node_gcn_graph,
    random_inputs,
    sage_graph,
)
from tests.unit.compression.test_training import labelled
from toolchain import torch_sparse
from toolchain.compression import QAT, L1Unstructured, StaticInt8, evaluate, fine_tune, prune, quantize
from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.integer_plan import MODES
from toolchain.compression.static_int8 import select
from toolchain.compression.training import Schedule, train_module
from toolchain.errors import RecipeError, TrainingDiverged
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, Value, interpret
from toolchain.ir.ops import (
    Activation,
    Broadcast,
    Concat,
    Const,
    Function,
    Maximum,
    Pool,
    Propagate,
    Reduce,
    Slice,
    Sub,
)
from toolchain.torch_module import TorchGraph


def every_op_graph() -> Graph:
    """Ops that the other models do not have: tables, Concat, Maximum, Broadcast, mean and max, several readers."""
    m = Layers("every_op")
    b = m.builder
    x = b.add(Activation(Function.GELU), m.linear(m.input(7), 16, "encoder"))
    near = b.add(Propagate(b.topology(PLAIN_EDGES), Reduce.MAX), x)
    h = b.add(Maximum(), m.linear(near, 16, "near"), m.relu(m.gcn(x, 16, "conv")))
    summary = b.add(Broadcast(), b.add(Pool(Reduce.MAX), h))
    both = b.add(Concat(), b.add(Sub(), h, summary), x, b.add(Slice(0, 5), h))
    pooled = b.add(Pool(Reduce.SUM), m.relu(m.linear(both, 16, "mix")))
    return m.finish(m.linear(pooled, 4, "head"))


MAKERS = {
    "gcn": (gcn_graph, 7), "gin": (gin_graph, 7), "sage": (sage_graph, 7), "node_gcn": (node_gcn_graph, 30),
    "every_op": (every_op_graph, 7),
}  # fmt: skip


def differing_codes(module: CodeDomainModule, inputs: GraphInputs) -> tuple[int, int]:
    """(codes and accumulators that differ, all of them) between training's forward pass and the exported integer graph."""
    seen: dict[int, np.ndarray] = {}
    batch = TorchGraph.of(inputs.prepare(module.graph.topologies))
    module(batch, lambda value, tensor: seen.__setitem__(value.id, tensor.detach().numpy()))
    counts = [0, 0]

    def compare(value: Value, array: np.ndarray) -> None:
        if value.type.dtype.is_integer and not isinstance(value.op, Const):
            assert value.type.qparams is not None
            counts[0] += int((seen[value.id] != array.astype(np.int64) - value.type.qparams.zero_point).sum())
            counts[1] += array.size

    interpret(module.to_integer_graph(), inputs, compare)
    return counts[0], counts[1]


@pytest.mark.parametrize("bits", [8, 2])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MAKERS)
def test_training_computes_the_codes_of_the_integer_graph(name, mode, bits):
    make, features = MAKERS[name]
    static = StaticInt8(many_inputs(20, features), mode=mode, weight_bits=bits)
    selection = select(prune(make(), L1Unstructured(0.3)), static, accept_best=True)
    module = CodeDomainModule(selection.source, selection.plan)
    batch = TorchGraph.of(random_inputs(80, 240, features, 4).prepare(module.graph.topologies))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        output = module(batch)[0]
        (output.square().mean() + output[:, 0].sum()).backward()
        optimizer.step()
        module.apply_masks()
    differing, total = differing_codes(module, random_inputs(150, 500, features, 8))

    assert differing == 0
    assert total > 5000


def test_every_weight_gets_a_gradient():
    for make, features in MAKERS.values():
        selection = select(make(), StaticInt8(many_inputs(20, features)), accept_best=True)
        module = CodeDomainModule(selection.source, selection.plan)
        output = module(TorchGraph.of(random_inputs(80, 240, features, 4).prepare(module.graph.topologies)))[0]
        output.square().sum().backward()
        trained = [v.op.name for v in selection.source.values if isinstance(v.op, Const) and v.op.trainable]
        gradients = {name: module.latent.constant(name).grad for name in trained}

        assert [name for name, gradient in gradients.items() if gradient is None or not gradient.abs().sum() > 0] == []


def test_gradients_are_those_of_the_float_graph_up_to_rounding():
    graph, inputs = gcn_graph(), random_inputs(80, 240)
    selection = select(graph, StaticInt8([*many_inputs(20), inputs], mode="all-int16"), accept_best=True)
    module = CodeDomainModule(selection.source, selection.plan)
    batch = TorchGraph.of(inputs.prepare(graph.topologies))
    gradients = []
    for forward in (module, module.latent):
        module.zero_grad()
        forward(batch)[0].square().sum().backward()
        gradients.append(torch.cat([p.grad.ravel() for p in module.parameters()]))

    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.99


def test_qat_repairs_four_bit_weights_and_keeps_pruned_zeros():
    data = labelled(100)
    graph = fine_tune(prune(gin_graph(classes=2), L1Unstructured(0.2)), data, epochs=15, lr=1e-2)
    static = StaticInt8(data, weight_bits=4, mode="sums-int16", min_agreement=0)
    before, after = quantize(graph, static), quantize(graph, QAT(data, 10, static, lr=1e-3, batch_size=16))

    assert evaluate(before, data) < 0.88 < 0.91 < evaluate(after, data)
    pruned = [v.op.name for v in graph.values if isinstance(v.op, Const) and v.op.pruned]
    stored = [v.op.name for v in after.values if isinstance(v.op, Const) and v.op.pruned]
    for name, code in zip(pruned, stored, strict=True):
        assert (after.constants[code][graph.constants[name] == 0] == 0).all()


@pytest.mark.parametrize("recalibrate", [False, True])
def test_the_same_seed_gives_the_same_integers(recalibrate):
    data, graph = labelled(40), gcn_graph(classes=2)
    method = QAT(data, 2, StaticInt8(data, mode="int8"), recalibrate=recalibrate)
    first, again = (quantize(graph, method) for _ in range(2))

    assert str(first) == str(again)
    for name, array in first.constants.items():
        np.testing.assert_array_equal(array, again.constants[name])


def test_a_step_that_leaves_a_weight_infinite_stops_with_its_name():
    data, graph = labelled(8), gcn_graph(classes=2)

    def loss(output: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return (0 * output.sum()).abs().sqrt()  # 0, with a gradient of 0 / 0

    method = QAT(data, 3, StaticInt8(data, mode="int8", min_agreement=0), lr=0.1, loss=loss)
    message = r"epoch 1 of 3, step 1, lr 0\.1: convs\.0\.lin\.weight is no longer finite after the step"
    with pytest.raises(TrainingDiverged, match=message):
        quantize(graph, method)


def test_weights_that_have_grown_beyond_the_integers_stop_with_the_step_and_the_value():
    data = labelled(8)
    method = QAT(data, 3, StaticInt8(data, mode="int8", min_agreement=0), lr=1e30)
    message = r"epoch 1 of 3, step \d+, lr 1e\+30: %\d+ Propagate of convs\.0: its self term is -?1e\+30 times"
    with pytest.raises(TrainingDiverged, match=message):
        quantize(gin_graph(classes=2), replace(method, batch_size=4))


@pytest.mark.parametrize("lr", [0.0, float("nan"), float("inf")])
def test_a_learning_rate_that_is_no_positive_number_is_refused(lr):
    with pytest.raises(RecipeError, match=f"lr: {lr}, expected a positive number"):
        fine_tune(gcn_graph(classes=2), labelled(8), epochs=1, lr=lr)


def test_a_loss_that_is_not_finite_stops_with_the_value_that_it_comes_from():
    data, graph = labelled(8), gcn_graph(classes=2)
    huge = graph.with_constants({"head.weight": np.full((2, 16), 3e38, np.float32)})
    message = r"step 1, .*the loss is \w+ \(the first value that is not finite is %\d+ Linear of head"
    with pytest.raises(TrainingDiverged, match=message):
        fine_tune(huge, data, epochs=1)


def test_a_batch_norm_that_stays_float_follows_the_batches_and_ships_as_it_was_trained():
    m = Layers("norm_after_relu")
    h = m.batch_norm(m.relu(m.linear(m.gin(m.input(7), 16, "conv"), 16, "mlp")), "norm")
    graph = m.finish(m.linear(m.builder.add(Pool(Reduce.MEAN), m.gin(h, 16, "next")), 2, "head"))
    data = labelled(60)
    selection = select(graph, StaticInt8(data, mode="int8", min_agreement=0), accept_best=True)
    module = CodeDomainModule(selection.source, selection.plan)
    start = dict(module.latent.to_graph().constants)
    train_module(module, data, Schedule(2, lr=1e-2))
    trained = module.to_integer_graph()

    for statistic in ("norm.mean", "norm.variance"):
        assert (trained.constants[statistic] != start[statistic]).all()
    assert differing_codes(module, random_inputs(150, 500, 7, 8))[0] == 0


def test_the_epoch_with_the_best_validation_accuracy_is_kept():
    data = labelled(60)
    graph = fine_tune(gcn_graph(classes=2), data, epochs=15, lr=1e-2)
    static = StaticInt8(data, mode="int8", weight_bits=2, min_agreement=0)
    best, last = (
        quantize(graph, QAT(data, 6, static, lr=0.05, batch_size=16, validation=v)) for v in (data, None)
    )  # fmt: skip

    assert evaluate(best, data) > evaluate(last, data)


def test_a_learning_rate_of_scales_that_is_not_positive_is_refused():
    with pytest.raises(RecipeError, match="scale_lr: 0"):
        QAT([], 1, StaticInt8([]), scale_lr=0)


def test_codes_of_a_sparse_input_are_kept_and_give_the_same_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training sees one graph in every step: its input is quantized once, and multiplied as a sparse matrix."""
    inputs = random_inputs(60, 200, 40, 3)
    sparse = replace(
        inputs, x=np.where(np.random.default_rng(0).random(inputs.x.shape) < 0.05, 1.0, 0.0).astype(np.float32)
    )
    selection = select(node_gcn_graph(40), StaticInt8([sparse], mode="int8"), accept_best=True)

    def trained() -> tuple[CodeDomainModule, Graph]:
        module = CodeDomainModule(selection.source, selection.plan)
        batch = TorchGraph.of(sparse.prepare(module.graph.topologies))
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
        for _ in range(4):
            optimizer.zero_grad()
            module(batch)[0][:, 0].square().sum().backward()
            optimizer.step()
        return module, module.to_integer_graph()

    module, kept = trained()
    assert [codes.sparse is not None for codes in module._kept] == [True]
    monkeypatch.setattr(torch_sparse, "SPARSE", 0.0)
    dense_module, dense = trained()
    assert dense_module._kept[0].sparse is None
    assert all(np.array_equal(kept.constants[name], dense.constants[name]) for name in kept.constants)
    assert differing_codes(module, sparse)[0] == 0
