"""Integer attention and edge values: what becomes integer, of which types, how near to float, and the same in training."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch

from tests.cases import FEATURES, GRAPHS, case_inputs
from tests.unit.compression.hand_built import Layers, many_inputs
from tests.unit.compression.test_qat import differing_codes
from tests.unit.compression.test_zoo_quantization import calibration, relative_error, zoo_graph
from toolchain.compression import StaticInt8, quantize
from toolchain.compression.calibration import ValueStatistics, observe
from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.integer_constants import factor_codes, head_codes
from toolchain.compression.integer_plan import MODES, Mode
from toolchain.compression.static_int8 import Selection, heaviest_tail, select
from toolchain.errors import QuantizationRefused, RecipeError
from toolchain.inputs import GraphInputs
from toolchain.ir import Domain, DType, Graph, interpret, ops
from toolchain.ir.ops import Const, Function, Reduce
from toolchain.ir.types import QParams, node
from toolchain.topology import SelfLoops, TopologySpec
from toolchain.torch_module import TorchGraph

MODELS = ("gat_concat", "gat_mean_edge", "gatv2", "pyg_gat", "gine_edge_attr", "scatter_functions")
EDGE_OPS = ops.Gather | ops.EdgeSoftmax | ops.HeadDot | ops.HeadMean | ops.Aggregate
LOOPS = TopologySpec(SelfLoops.REPLACE)


@functools.cache
def selection(name: str, mode: Mode) -> Selection:
    graphs = calibration()
    method = StaticInt8(graphs, mode, "minmax", min_agreement=0, edge_arithmetic="integer")
    return select(zoo_graph(name), method, accept_best=True)


def is_codes(graph: Graph, value: int) -> bool:
    return graph.values[value].type.dtype.is_integer


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MODELS)
def test_attention_and_edges_run_on_codes(name: str, mode: Mode) -> None:
    graph = selection(name, mode).graph
    for value in graph.values:
        at_source = isinstance(value.op, ops.Aggregate) and value.op.end is ops.End.SOURCE
        weighted = isinstance(value.op, ops.Propagate) and "weight" in value.op.operands
        if (isinstance(value.op, EDGE_OPS) and not at_source) or weighted:
            assert is_codes(graph, value.id), f"%{value.id} {value.op}"


@pytest.mark.parametrize("name", MODELS)
def test_nothing_changes_unless_asked_for(name: str) -> None:
    graph = quantize(zoo_graph(name), StaticInt8(calibration(), "int8", min_agreement=0))

    assert not any(is_codes(graph, v.id) for v in graph.values if isinstance(v.op, EDGE_OPS))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MODELS)
def test_the_model_is_approximated_on_every_graph(name: str, mode: Mode) -> None:
    made, inputs = selection(name, mode).graph, GraphInputs.concatenate(calibration()[:5])

    assert relative_error(zoo_graph(name), made, inputs) < (0.02 if mode == "all-int16" else 0.07)
    for kind in GRAPHS:
        outputs = interpret(made, GraphInputs.from_pyg(case_inputs(name, kind)))
        assert all(np.isfinite(array).all() for array in outputs)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MODELS)
def test_logits_and_edges_have_16_bits_and_gathered_rows_those_of_their_nodes(name: str, mode: Mode) -> None:
    graph = selection(name, mode).graph
    for value in graph.values:
        if isinstance(value.op, ops.Gather):
            assert value.type.qparams == graph.values[value.inputs[0]].type.qparams
        elif isinstance(value.op, ops.HeadDot) or (value.type.domain is Domain.EDGE and is_codes(graph, value.id)):
            assert value.type.dtype is DType.I16


def test_hidden_values_of_attention_follow_the_mode() -> None:
    for mode, dtype in zip(MODES, (DType.I8, DType.I8, DType.I16), strict=True):
        graph = selection("gatv2", mode).graph
        messages = [graph.values[v.inputs[0]].type.dtype for v in graph.values if isinstance(v.op, ops.Propagate)]

        assert set(messages) == {dtype}


@pytest.mark.parametrize("name", ["gat_mean_edge", "gatv2", "pyg_gat", "gine_edge_attr"])
def test_no_float_is_left_between_the_input_and_the_logits(name: str) -> None:
    graph = selection(name, "int8").graph
    floats = [v for v in graph.values if not is_codes(graph, v.id) and not isinstance(v.op, ops.Input | Const)]
    first = [v for v in floats if isinstance(v.op, ops.Mul)]  # the input, equalized

    assert [type(v.op) for v in floats if v not in first] == [ops.Dequantize]
    assert all(isinstance(graph.values[v.inputs[0]].op, ops.Input) for v in first)


# ---- graphs built by hand ------------------------------------------------------------------------------------------------


def attention_graph(function: Function, alpha: float = 0.2) -> Graph:
    """One attention layer whose logits go through a function, with a factor per channel in front."""
    m = Layers("attention", 3)
    b, topology = m.builder, m.builder.topology(LOOPS)
    h = b.add(ops.Mul(), m.linear(m.input(FEATURES), 6, "lin"), b.const("factor", np.linspace(-1, 2, 6)))
    scores = [b.add(ops.HeadDot(), h, b.const(f"att.{end.value}", m.rng.normal(size=(2, 3)))) for end in ops.End]
    ends = [b.add(ops.Gather(topology, end), score) for end, score in zip(ops.End, scores, strict=True)]
    logits = b.add(ops.Activation(function, alpha), b.add(ops.Add(), *ends))
    weights = b.add(ops.EdgeSoftmax(), logits)
    y = b.add(ops.Propagate(topology, operands=("weight",)), h, weights)
    return m.finish(m.linear(m.relu(y), 3, "head"))


def quantized(graph: Graph, mode: Mode = "int8", **options: object) -> Graph:
    method = StaticInt8(many_inputs(20), mode, min_agreement=0, edge_arithmetic="integer", **options)  # type: ignore[arg-type]
    return quantize(graph, method)


def kind_of(graph: Graph, op: type[ops.Op]) -> DType:
    return next(v.type.dtype for v in graph.values if isinstance(v.op, op))


def test_logits_from_a_table_are_widened_for_the_softmax() -> None:
    graph = quantized(attention_graph(Function.TANH))
    (softmax,) = (v for v in graph.values if isinstance(v.op, ops.EdgeSoftmax))
    widened = graph.values[softmax.inputs[0]]

    assert isinstance(widened.op, ops.Quantize) and widened.type.dtype is DType.I16
    assert graph.values[widened.inputs[0]].type.dtype is DType.I8
    assert relative_error(attention_graph(Function.TANH), graph, many_inputs(1, seed=5)[0]) < 0.07


@pytest.mark.parametrize(("function", "alpha"), [(Function.TANH, 0.0), (Function.LEAKY_RELU, -0.3)])
def test_attention_whose_logits_have_no_16_bit_form_stays_in_float(function: Function, alpha: float) -> None:
    graph = quantized(attention_graph(function, alpha), "all-int16")

    assert {kind_of(graph, op) for op in (ops.HeadDot, ops.Gather, ops.EdgeSoftmax)} == {DType.F32}


def test_a_factor_per_channel_is_stored_in_16_bits() -> None:
    graph = quantized(attention_graph(Function.RELU))
    (factor,) = (v for v in graph.values if isinstance(v.op, Const) and v.op.name == "factor")

    assert [v.type.dtype for v in graph.values if isinstance(v.op, ops.Mul)] == [
        DType.F32,
        DType.I8,
    ]  # the first is of x
    assert factor.type.dtype is DType.I16
    real = graph.constant(factor) * np.float64(factor.type.qparams.scale[0])  # type: ignore[union-attr]
    assert np.abs(real - np.linspace(-1, 2, 6)).max() <= 2 / 32767


def test_factors_of_zero_have_codes_of_zero() -> None:
    codes, qparams = factor_codes(np.zeros(3, np.float32))

    assert (codes == 0).all() and qparams.scale[0] > 0


def test_attention_vectors_have_a_scale_per_head_that_no_input_overflows() -> None:
    x = node(8192).with_dtype(DType.I16, QParams((0.5,), 0, 16))
    codes, qparams = head_codes(np.stack([np.ones(4096), np.full(4096, 1e-3)]).astype(np.float32), x)

    assert (np.abs(codes.astype(np.int64)).sum(axis=1) * 32767 < 2**31).all() and (codes > 0).all()
    assert qparams.scale[0] > 500 * qparams.scale[1]


def test_in_degrees_beyond_the_integer_softmax_are_refused() -> None:
    with pytest.raises(QuantizationRefused, match="integer attention takes 65536 in-edges of a node"):
        quantized(attention_graph(Function.RELU), max_degree=65537)


def test_no_degree_is_too_large_for_a_weighted_sum() -> None:
    """Weights sum to 1, so that even 16-bit codes need no bound; a plain sum of them has one at 65,538."""
    quantized(attention_graph(Function.RELU), "all-int16", max_degree=65536)


def test_sums_of_edge_values_are_bounded_by_the_degree() -> None:
    m = Layers("messages")
    b, topology, x = m.builder, m.builder.topology(TopologySpec()), m.input(FEATURES)
    difference = b.add(ops.Sub(), *(b.add(ops.Gather(topology, end), x) for end in ops.End))
    graph = m.finish(m.linear(b.add(ops.Aggregate(Reduce.SUM), difference), 3, "head"))

    quantized(graph, "int8", max_degree=65000)
    with pytest.raises(QuantizationRefused, match="sums over 70000 in-edges of 16-bit codes"):
        quantized(graph, "int8", max_degree=70000)


def test_a_heavy_tail_of_weights_does_not_call_for_wide_hidden_values() -> None:
    """Where few nodes have but one in-edge, most weights are small beside their 1. Weights have 16 bits in any case."""
    graph = attention_graph(Function.LEAKY_RELU)
    statistics = observe(graph, many_inputs(5))
    (softmax,) = (v for v in graph.values if isinstance(v.op, ops.EdgeSoftmax))
    statistics[softmax.id] = ValueStatistics()
    statistics[softmax.id].update(np.full((100_000, 2), 0.01, np.float32))
    statistics[softmax.id].update(np.ones((1, 2), np.float32))

    assert heaviest_tail(graph, statistics, "float") > 10 > heaviest_tail(graph, statistics, "integer")


def test_an_unknown_arithmetic_is_refused() -> None:
    with pytest.raises(RecipeError, match="edge_arithmetic: 'fixed', expected one of float, integer"):
        StaticInt8([], edge_arithmetic="fixed")  # type: ignore[arg-type]


# ---- training ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", MODELS)
def test_training_computes_the_codes_of_the_integer_graph(name: str, mode: Mode) -> None:
    chosen = selection(name, mode)
    module = CodeDomainModule(chosen.source, chosen.plan)
    inputs = GraphInputs.from_pyg(case_inputs(name, "random_60"))
    batch = TorchGraph.of(inputs.prepare(module.graph.topologies))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        output = module(batch)[0]
        (output.square().mean() + output[:, 0].sum()).backward()
        optimizer.step()
    gradients = {path: parameter.grad for path, parameter in module.named_parameters()}

    assert [path for path, g in gradients.items() if g is None or not g.abs().sum() > 0] == []
    for kind in ("random_60", "no_edges", "hub", "repeated_edges", "path_isolated"):
        differing, total = differing_codes(module, GraphInputs.from_pyg(case_inputs(name, kind)))
        assert differing == 0 < total


@pytest.mark.parametrize("function", [Function.RELU, Function.TANH, Function.LEAKY_RELU])
def test_training_follows_factors_and_tables_on_edges(function: Function) -> None:
    method = StaticInt8(many_inputs(20), "int8", min_agreement=0, edge_arithmetic="integer")
    chosen = select(attention_graph(function), method, accept_best=True)
    module = CodeDomainModule(chosen.source, chosen.plan)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(0.9)

    differing, total = differing_codes(module, many_inputs(1, seed=9)[0])
    assert differing == 0 < total


def test_gradients_of_attention_are_those_of_the_float_graph_up_to_rounding() -> None:
    chosen = selection("gat_mean_edge", "all-int16")
    module = CodeDomainModule(chosen.source, chosen.plan)
    batch = TorchGraph.of(calibration()[0].prepare(module.graph.topologies))
    gradients = []
    for forward in (module, module.latent):
        module.zero_grad()
        forward(batch)[0].square().sum().backward()
        gradients.append(torch.cat([p.grad.ravel() for p in module.parameters()]))

    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.98


@pytest.mark.parametrize("is_weighted", [True, False])
def test_what_stays_float_on_edges_is_said_where_integers_were_asked_for(
    is_weighted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    name = "gcn_weighted" if is_weighted else "gat_concat"

    graphs = [case_inputs(name, graph) for graph in GRAPHS]
    quantize(zoo_graph(name), StaticInt8(graphs, min_agreement=0, edge_arithmetic="integer"))

    said = [message for message in caplog.messages if "stays float32 although edge_arithmetic" in message]
    assert len(said) == is_weighted
