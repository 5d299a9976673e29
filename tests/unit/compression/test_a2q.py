"""A2Q: steps and widths of groups of nodes; what training computes is what the integer graph computes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from tests.unit.compression.hand_built import gcn_graph, many_inputs, node_gcn_graph, random_inputs
from tests.unit.compression.labelled_graphs import labelled
from tests.unit.compression.test_qat import MAKERS, differing_codes
from tests.unit.compression.test_quantizers import module_of
from toolchain.compression import A2Q, QAT, DegreeQuant, Learned, StaticInt8, quantize
from toolchain.compression.a2q import BITS_PER_UNIT, A2QValue
from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.qat import trained_module
from toolchain.errors import RecipeError
from toolchain.graph_file import load_graph, save_graph
from toolchain.inputs import GraphInputs
from toolchain.ir import DType, Graph, GraphBuilder, interpret, ops, verify
from toolchain.ir.operation_counts import GraphSizes, value_bits, value_counts
from toolchain.ir.types import node
from toolchain.topology import TopologySpec
from toolchain.torch_module import TorchGraph


def grouped(name: str, steps: int = 3, scale_lr: float = 0.05, **options: object) -> CodeDomainModule:
    """A model of hand_built with A2Q wherever a value can have it, after some steps of training with a large learning rate."""
    make, features = MAKERS[name]
    module = module_of(make(), features, {"*": A2Q(others=Learned(8), **options)})  # type: ignore[arg-type]
    module.start(many_inputs(20, features))
    batch = TorchGraph.of(random_inputs(80, 240, features, 4).prepare(module.graph.topologies))
    optimizer = torch.optim.Adam(module.groups(scale_lr), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        output = module(batch)[0]
        loss = output.square().mean() + output[:, 0].sum()
        added = module.auxiliary_loss()
        (loss if added is None else loss + added).backward()
        optimizer.step()
        module.apply_masks()
    module.eval()
    return module


def row_values(module: CodeDomainModule) -> dict[str, A2QValue]:
    return {name: q for name, q in module.quantizers.items() if isinstance(q, A2QValue)}


@pytest.mark.parametrize("options", [{}, {"mean_bits": 2.0}, {"mean_bits": 3.0, "local": True}], ids=str)
@pytest.mark.parametrize("choice", ["degree", "nearest"])
@pytest.mark.parametrize("name", MAKERS)
def test_training_computes_the_codes_of_the_integer_graph(name, choice, options):
    module = grouped(name, choice=choice, groups=4, **options)
    differing, total = differing_codes(module, random_inputs(150, 500, MAKERS[name][1], 8))

    assert row_values(module)
    assert differing == 0
    assert total > 5000


def test_only_values_that_linears_read_have_groups():
    assert list(row_values(grouped("node_gcn"))) == ["x", "conv1.propagate"]
    assert list(row_values(grouped("gin"))) == [
        "convs.0.propagate", "convs.0.nn.0.linear", "convs.1.propagate", "convs.1.nn.0.linear", "convs.2.propagate",
        "convs.2.nn.0.linear",
    ]  # fmt: skip


def test_codes_stay_in_the_width_of_their_group():
    module = grouped("node_gcn", choice="degree", groups=(1, 4), bits=3, mean_bits=3.0)
    quantizer = row_values(module)["conv1.propagate"]
    with torch.no_grad():
        quantizer.width.copy_(torch.tensor([1.0, 2.0, 4.0]) / BITS_PER_UNIT)
        quantizer.log_step -= 2.0
    graph, inputs, seen = module.to_integer_graph(), random_inputs(150, 400, 30, 8), {}
    interpret(graph, inputs, lambda value, array: seen.__setitem__(value.id, array))
    codes = next(v for v in graph.values if isinstance(v.op, ops.RowScale) and v.op.limits and v.scope == "conv1")
    groups = seen[codes.inputs[1]][:, 0]

    assert [seen[codes.id][groups == g].max() for g in range(3)] == [1, 3, 15]
    assert seen[codes.id].min() == 0  # behind a ReLU
    assert codes.type.dtype is DType.I8


def test_nodes_with_more_in_edges_than_any_before_have_the_last_group():
    module = grouped("node_gcn", groups=(1, 3))
    star = GraphInputs(np.ones((40, 30)), np.stack([np.arange(40), np.zeros(40, np.int64)]))
    graph, seen = module.to_integer_graph(), {}
    interpret(graph, star, lambda value, array: seen.__setitem__(value.id, array))
    group = next(v.id for v in graph.values if isinstance(v.op, ops.DegreeGroup))

    assert seen[group][:, 0].tolist() == [
        2,
        *[0] * 39,
    ]  # its 40 edges, one of them a self-loop; the others' own self-loop


def test_rows_take_the_pair_that_reaches_nearest_to_their_peak():
    module = grouped("node_gcn", choice="nearest", groups=5)
    rows = row_values(module)["conv1.propagate"].rows()
    reaches = np.array(rows.steps) * np.array(rows.tops)
    graph, seen = module.to_integer_graph(), {}
    interpret(graph, random_inputs(150, 400, 30, 8), lambda value, array: seen.__setitem__(value.id, array))
    group = next(v for v in graph.values if isinstance(v.op, ops.PeakGroup) and v.scope == "conv1")
    wide = graph.values[group.inputs[0]].type.qparams
    assert wide is not None
    peaks = np.abs(seen[group.inputs[0]].astype(np.int64)).max(axis=1) * wide.scale[0]
    expected = np.abs(peaks[:, None] - reaches[None, :]).argmin(axis=1)

    assert len(set(expected)) >= 3
    np.testing.assert_array_equal(seen[group.id][:, 0], expected)


def test_the_gradient_of_a_step_is_that_of_the_rounded_value():
    """LSQ: d(s q)/ds is q - v inside the range and the largest code outside it; d(s q)/db is that of the largest code."""
    module = module_of(node_gcn_graph(), 30, {"conv1.propagate": A2Q(3, groups=(2,), mean_bits=2.0)})
    quantizer = row_values(module)["conv1.propagate"]
    with torch.no_grad():
        quantizer.log_step -= 1.0  # so that some values are cut
    module.train()
    inputs = random_inputs(60, 200, 30, 3)
    seen: dict[int, torch.Tensor] = {}
    module(
        TorchGraph.of(inputs.prepare(module.graph.topologies)), lambda value, tensor: seen.__setitem__(value.id, tensor)
    )
    codes = next(v for v in module.graph.values if isinstance(v.op, ops.RowScale) and v.op.limits)
    group = seen[codes.inputs[1]][:, 0].long()
    steps = quantizer.log_step.exp()
    (steps[group][:, None] * seen[codes.id]).sum().backward()
    scale = module.graph.values[codes.inputs[0]].type.qparams.scale[0]
    v, q = (seen[codes.inputs[0]].detach() * scale) / steps.detach()[group][:, None], seen[codes.id].detach()
    inside = torch.floor(v + 0.5) <= 7
    for number in range(2):
        own, step = group == number, steps[number].item()
        error = torch.where(inside, q - v, q)[own].sum().item() * step
        assert quantizer.log_step.grad[number].item() == pytest.approx(error, rel=1e-3)
        cut = int((~inside)[own].sum())
        assert cut > 0
        expected = cut * step * np.log(2) * 8 * BITS_PER_UNIT  # d(2^b - 1)/db at b = 3
        assert quantizer.width.grad[number].item() == pytest.approx(expected, rel=1e-3)


def test_widths_fall_to_about_the_stated_mean():
    module = grouped("node_gcn", steps=60, scale_lr=5e-3, bits=6, mean_bits=3.0, penalty=100.0, groups=4)
    elements = {name: q.bits().item() * q.channels for name, q in row_values(module).items()}
    channels = sum(q.channels for q in row_values(module).values())

    assert 1.5 < sum(elements.values()) / channels < 4


def test_widths_without_a_target_stay():
    module = grouped("node_gcn", steps=10, bits=5)

    assert {bits for q in row_values(module).values() for bits in q.rows().bits} == {5}


def test_local_steps_follow_the_rounding_error_of_their_own_rows():
    module = module_of(node_gcn_graph(), 30, {"x": A2Q(4, groups=1, local=True)})
    quantizer, batch = (
        row_values(module)["x"],
        TorchGraph.of(random_inputs(80, 240, 30, 4).prepare(module.graph.topologies)),
    )
    with torch.no_grad():
        quantizer.log_step += 1.5
    optimizer = torch.optim.Adam([quantizer.log_step], lr=0.05)
    errors = []
    for _ in range(40):
        optimizer.zero_grad()
        output = module(batch)[0]
        assert not output.grad_fn or quantizer.log_step.grad is None or not quantizer.log_step.grad.any()
        error = module.auxiliary_loss()
        assert error is not None
        errors.append(error.item())
        error.backward()
        optimizer.step()

    assert errors[-1] < 0.3 * errors[0]


def test_calibration_gives_each_group_as_many_nodes_as_equal_degrees_allow():
    module = module_of(node_gcn_graph(), 30, {"x": A2Q(groups=4)})
    graphs = [random_inputs(400, 2000, 30, 1)]
    module.start(graphs)
    rows = row_values(module)["x"].rows()
    degree = graphs[0].prepare(module.graph.topologies).topologies[0].in_degree

    assert isinstance(rows.groups, ops.DegreeGroup)
    assert rows.groups.bounds == tuple(np.quantile(degree, [0.25, 0.5, 0.75], method="inverted_cdf").astype(int))
    assert min(rows.groups.shares) > 0.1
    assert sum(rows.groups.shares) == pytest.approx(1)


def test_steps_of_groups_start_where_their_own_rows_round_best():
    module = module_of(node_gcn_graph(), 30, {"x": A2Q(groups=(2,))})
    inputs = random_inputs(300, 700, 30, 1)
    degree = inputs.prepare(module.graph.topologies).topologies[0].in_degree
    x = inputs.x * np.where(degree > 2, 10.0, 1.0)[:, None]
    module.start([GraphInputs(x, inputs.edge_index)])
    small, large = row_values(module)["x"].rows().steps

    assert large / small == pytest.approx(10, rel=0.3)


def test_values_that_are_summed_over_neighbours_are_refused_before_training():
    with pytest.raises(RecipeError, match=r"conv1.lin.linear: cannot have row scales: Propagate \(conv1\) reads it"):
        module_of(node_gcn_graph(), 30, {"conv1.*": A2Q()})
    with pytest.raises(
        RecipeError, match=r"conv2.propagate: cannot have row scales: LogSoftmax reads it as real numbers"
    ):
        module_of(node_gcn_graph(), 30, {"conv2.propagate": A2Q()})
    with pytest.raises(RecipeError, match="mode='all-int16' keeps all codes in 16 bits"):
        module_of(node_gcn_graph(), 30, {"x": A2Q()}, "all-int16")
    with pytest.raises(RecipeError, match="pool: cannot have row scales: it is a value of each graph"):
        module_of(gcn_graph(), 7, {"pool": A2Q()})


def test_activation_tables_are_refused():
    b = GraphBuilder((TopologySpec(),), "elu")
    x = b.add(ops.Input(ops.Role.X, node(6)))
    h = b.add(ops.Linear(), x, b.const("a", np.ones((8, 6)) / 6), scope="a")
    h = b.add(ops.Activation(ops.Function.ELU), h, scope="elu")
    graph = b.finish([b.add(ops.Linear(), h, b.const("b", np.ones((3, 8)) / 8), scope="b")])

    with pytest.raises(
        RecipeError, match=r"elu.activation: cannot have row scales: its activation is a table of int8 codes"
    ):
        module_of(graph, 6, {"elu.activation": A2Q()})


def test_options_that_cannot_be_are_refused():
    for options, message in (
        ({"bits": 9}, "bits: 9, expected 1 to 8"), ({"choice": "random"}, 'choice: \'random\', expected "degree"'),
        ({"mean_bits": 0.5}, "mean_bits: 0.5"), ({"penalty": -1}, "penalty: -1"), ({"groups": 0}, "groups: 0"),
        ({"groups": (3, 2)}, r"groups: \(3, 2\)"), ({"choice": "nearest", "groups": (1, 2)}, "groups"),
    ):  # fmt: skip
        with pytest.raises(RecipeError, match=message):
            A2Q(**options)  # type: ignore[arg-type]


def test_protected_nodes_beside_groups_are_refused():
    with pytest.raises(RecipeError, match="degree_quant beside A2Q"):
        CodeDomainModule(*_source_and_plan(), {"x": A2Q()}, DegreeQuant())


def _source_and_plan() -> tuple[Graph, object]:
    module = module_of(node_gcn_graph(), 30, {})
    return module.latent.to_graph(), module.plan


@pytest.mark.parametrize("choice", ["degree", "nearest"])
def test_qat_with_groups_learns_and_the_graph_survives_a_file(choice, tmp_path):
    data = labelled(40)
    method = QAT(
        data, 4, StaticInt8(data, mode="int8", equalization=None), lr=5e-3, validation=data,
        quantizers={"*": A2Q(4, choice, 4, mean_bits=3.0, others=Learned(8))},
    )  # fmt: skip
    module = trained_module(gcn_graph(classes=2), method)
    graph, inputs = module.to_integer_graph(), random_inputs(40, 120)
    saved = load_graph(save_graph(graph, ["quantization"], tmp_path / "a2q.pgnn")).graph

    assert differing_codes(module, inputs)[0] == 0
    np.testing.assert_array_equal(interpret(saved, inputs)[0], interpret(graph, inputs)[0])


def test_binary_features_of_one_bit_keep_their_values():
    rng = np.random.default_rng(0)
    data = Data(
        x=torch.from_numpy((rng.random((60, 30)) < 0.2).astype(np.float32)),
        edge_index=torch.from_numpy(rng.integers(0, 60, (2, 200))), y=torch.zeros(60, dtype=torch.long),
    )  # fmt: skip
    static = StaticInt8([data], mode="int8")
    plain = quantize(node_gcn_graph(), QAT([data], 0, static, quantizers={"x": Learned(8)}))
    rows = quantize(node_gcn_graph(), QAT([data], 0, static, quantizers={"x": A2Q(1, groups=3)}))
    codes = next(v for v in rows.values if isinstance(v.op, ops.RowScale) and v.op.limits)
    seen: dict[int, np.ndarray] = {}
    interpret(rows, GraphInputs.from_pyg(data), lambda value, array: seen.__setitem__(value.id, array))

    assert set(codes.op.factors) == {1.0}  # type: ignore[attr-defined]
    np.testing.assert_array_equal(seen[codes.id], data.x.numpy())
    assert plain.values[0].op == rows.values[0].op


def test_dropout_zeroes_the_codes_of_groups_and_scales_the_others():
    module = CodeDomainModule(*_source_and_plan(), {"x": A2Q(4)}, dropout={"x": 0.5})
    seen: dict[int, torch.Tensor] = {}
    batch = TorchGraph.of(random_inputs(80, 240, 30, 4).prepare(module.graph.topologies))
    codes = next(v.id for v in module.graph.values if isinstance(v.op, ops.RowScale) and v.op.limits)
    torch.manual_seed(0)
    for training in (True, False):
        module.train(training)
        module(batch, lambda value, tensor: seen.setdefault(value.id + 1000 * (not module.training), tensor.detach()))
    dropped, whole = seen[codes], seen[codes + 1000]

    assert 0.4 < (dropped[whole != 0] == 0).float().mean() < 0.6
    assert (dropped[dropped != 0] == 2 * whole[dropped != 0]).all()


def test_bit_operations_count_the_width_of_each_group_by_its_share_of_the_nodes():
    graph = grouped("node_gcn", groups=(2, 4), steps=0).to_integer_graph()
    values = list(graph.values)
    codes = next(v for v in values if isinstance(v.op, ops.RowScale) and v.op.limits)
    group = values[codes.inputs[1]]
    assert isinstance(codes.op, ops.RowScale) and isinstance(group.op, ops.DegreeGroup)
    scale = codes.type.qparams.scale[0]  # type: ignore[union-attr]
    values[codes.id] = replace(codes, op=replace(codes.op, limits=(scale * 1, scale * 7, scale * 127)))
    values[group.id] = replace(group, op=replace(group.op, shares=(0.5, 0.25, 0.25)))
    changed = verify(replace(graph, values=tuple(values)))
    linear = next(v for v in changed.values if isinstance(v.op, ops.Linear))
    result = next(v for v in changed.values if isinstance(v.op, ops.RowScale) and v.inputs[0] == linear.id)
    counts = value_counts(changed, linear, GraphSizes(10, (20,)))

    x_bits = 0.5 * 2 + 0.25 * 4 + 0.25 * 8
    assert counts.bops == 10 * 30 * 16 * x_bits * 8
    assert counts.bit_operations == 10 * 30 * 16 * (x_bits + 8 + result.type.qparams.bits) / 3  # type: ignore[union-attr]
    assert value_bits(changed) == pytest.approx((x_bits + 8 + 4 + 8 + 8) / 5)  # x, and what both layers make of it


@pytest.mark.parametrize("choice", ["degree", "nearest"])
def test_codes_and_gradients_of_sparse_features_are_those_of_dense_ones(choice):
    rng = np.random.default_rng(0)
    x = rng.random((60, 30)) * (rng.random((60, 30)) < 0.05)
    inputs = GraphInputs(x, rng.integers(0, 60, (2, 200)))
    module = module_of(node_gcn_graph(), 30, {"x": A2Q(3, choice, 3, mean_bits=2.0, local=choice == "degree")})
    module.start([inputs])
    batch = TorchGraph.of(inputs.prepare(module.graph.topologies))
    quantizer, found = row_values(module)["x"], []
    for is_dense in (True, False, False):  # a batch is taken as sparse when it comes again
        module.zero_grad()
        quantizer.shares = torch.full((3,), 1 / 3)
        output = module(batch, (lambda value, tensor: None) if is_dense else None)[0]
        added = module.auxiliary_loss()
        assert added is not None
        (output.square().sum() + added).backward()
        found.append((output.detach(), [p.grad.clone() for _, p in module.trained() if p.grad is not None]))

    torch.testing.assert_close(found[0], found[2])


def test_a_value_that_is_zero_everywhere_has_steps_all_the_same():
    graph = gcn_graph()
    dead = graph.with_constants({n: a * np.float32(0) for n, a in graph.constants.items() if n.startswith("convs.0")})
    static = StaticInt8(many_inputs(12), mode="int8", equalization=None, min_agreement=0)
    module = trained_module(dead, QAT(labelled(12), 1, static, quantizers={"*": A2Q(others=Learned(8))}))

    assert all(step > 0 for q in row_values(module).values() for step in q.rows().steps)


def test_more_groups_by_size_than_float32_has_octaves():
    module = module_of(gcn_graph(), 7, {"*": A2Q(others=Learned(8), choice="nearest", groups=400)})

    for quantizer in row_values(module).values():
        steps = quantizer.rows().steps
        assert min(steps) > 0 and len(set(steps)) == len(steps) == 400


def test_groups_are_a_number_or_a_tuple():
    with pytest.raises(RecipeError, match=r"groups: \[2, 4\], expected a number, or .* a tuple"):
        A2Q(groups=[2, 4])  # type: ignore[arg-type]
