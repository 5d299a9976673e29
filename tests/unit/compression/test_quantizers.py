"""Widths and scales per value and weight: what training computes is what the integer graph computes, and scales learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.unit.compression.hand_built import gcn_graph, many_inputs, node_gcn_graph, random_inputs
from tests.unit.compression.test_qat import MAKERS, differing_codes
from toolchain.compression import QAT, Fixed, L1Unstructured, Learned, Observed, StaticInt8, prune
from toolchain.compression.calibration import ValueStatistics
from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.quantizers import FixedValue, Quantizer, ValueQuantizer
from toolchain.compression.scale_search import GRID, best_value_qparams, best_weight_scales
from toolchain.compression.static_int8 import select
from toolchain.errors import OutsideContract, RecipeError
from toolchain.ir import DType, Graph, QParams, interpret
from toolchain.ir.integer import activation_qparams, weight_codes
from toolchain.ir.ops import Const
from toolchain.torch_module import TorchGraph


def module_of(graph: Graph, features: int, quantizers: dict[str, Quantizer], mode: str = "int8") -> CodeDomainModule:
    static = StaticInt8(many_inputs(20, features), mode=mode, equalization=None)
    chosen = select(graph, static, accept_best=True)
    return CodeDomainModule(chosen.source, chosen.plan, quantizers)


def after_steps(module: CodeDomainModule, features: int, steps: int = 3) -> CodeDomainModule:
    """The module after some steps of training with a large learning rate."""
    batch = TorchGraph.of(random_inputs(80, 240, features, 4).prepare(module.graph.topologies))
    optimizer = torch.optim.Adam(module.groups(scale_lr=0.05), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        output = module(batch)[0]
        (output.square().mean() + output[:, 0].sum()).backward()
        optimizer.step()
        module.apply_masks()
    return module


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("name", MAKERS)
def test_learned_scales_train_the_codes_of_the_integer_graph(name, bits):
    make, features = MAKERS[name]
    module = after_steps(module_of(make(), features, {"*": Learned(bits)}), features)
    differing, total = differing_codes(module, random_inputs(150, 500, features, 8))

    assert differing == 0
    assert total > 5000


@pytest.mark.parametrize("mode", ["sums-int16", "all-int16"])
def test_learned_scales_of_sixteen_bits_train_the_codes_of_the_integer_graph(mode):
    module = after_steps(module_of(gcn_graph(), 7, {"*": Learned(start="range")}, mode), 7)

    assert differing_codes(module, random_inputs(150, 500, 7, 8))[0] == 0


def test_every_value_and_weight_can_have_its_own_width():
    quantizers = {"*": Learned(8), "x": Learned(2), "conv1.*": Learned(4), "conv2.lin.weight": Learned(1)}
    module = after_steps(module_of(node_gcn_graph(), 30, quantizers), 30)
    made = module.to_integer_graph()

    assert differing_codes(module, random_inputs(150, 500, 30, 8))[0] == 0
    widths = {slot.name: module.quantizers[slot.name].qparams().bits for slot in module.slots.values}
    assert widths == {
        "x": 2, "conv1.lin.linear": 4, "conv1.propagate": 4, "conv2.lin.linear": 8, "conv2.propagate": 8,
    }  # fmt: skip
    assert set(np.unique(made.constants["conv2.lin.weight"])) == {-1, 1}
    assert np.abs(made.constants["conv1.lin.weight"]).max() == 7


def test_values_of_few_bits_stay_in_their_codes():
    made = module_of(gcn_graph(), 7, {"*": Fixed(3)}).to_integer_graph()
    seen: dict[int, np.ndarray] = {}
    interpret(made, random_inputs(150, 500, 7, 8), lambda value, array: seen.__setitem__(value.id, array))
    narrow = [v for v in made.values if v.type.qparams is not None and v.type.qparams.bits == 3 and v.id in seen]

    assert len(narrow) > 5
    for value in narrow:
        assert seen[value.id].min() >= -4 and seen[value.id].max() <= 3
        assert value.type.dtype is DType.I8


def test_the_gradient_of_a_scale_is_that_of_the_rounded_value():
    """LSQ: d(s q)/ds is q - v inside the range and the last code outside it."""
    module = module_of(node_gcn_graph(), 30, {"conv2.propagate": Learned(4)})
    quantizer = module.quantizers["conv2.propagate"]
    with torch.no_grad():
        quantizer.log_step -= 0.7  # so that some values are cut
    batch = TorchGraph.of(random_inputs(60, 200, 30, 3).prepare(module.graph.topologies))
    real: list[torch.Tensor] = []
    quantizer.observes, quantizer.observe = True, real.append
    module.train()
    codes: list[torch.Tensor] = []
    output = next(v for v in module.graph.values if v.scope == "conv2" and v.type.dtype is DType.I8)
    module(batch, lambda value, tensor: codes.append(tensor) if value.id == output.id else None)
    (quantizer.step() * codes[0]).sum().backward()
    step, zero = quantizer.step().item(), quantizer.qparams().zero_point
    v, q = real[0] / step, codes[0].detach()
    rounded = torch.floor(v + 0.5)
    inside = (rounded >= -8 - zero) & (rounded <= 7 - zero)
    expected = torch.where(inside, q - v, q).sum() * step  # d s / d log s = s

    assert 0 < int((~inside).sum()) < inside.numel()
    assert quantizer.log_step.grad.item() == pytest.approx(expected.item(), rel=1e-3)


def test_gradients_of_all_scales_match_finite_differences_of_the_smooth_function():
    """With 16 bits the rounding is small beside the difference, so both are the slope of the function without rounding."""
    module = module_of(gcn_graph(), 7, {"*": Learned(start="range"), "*.weight": Fixed()}, "all-int16")
    batch = TorchGraph.of(random_inputs(60, 200, 7, 3).prepare(module.graph.topologies))
    names = [name for name in module.quantizers if "propagate" in name or "linear" in name]
    slopes, differences = [], []
    for name in names:
        log_step = module.quantizers[name].log_step
        with torch.no_grad():
            log_step -= 3.0  # most values are cut: what comes out moves with the scale
        module.zero_grad()
        module(batch)[0].sum().backward()
        slopes.append(log_step.grad.item())
        outputs = []
        for sign in (1, -1):
            with torch.no_grad():
                log_step += sign * 0.02
                outputs.append(module(batch)[0].sum().item())
                log_step -= sign * 0.02
        with torch.no_grad():
            log_step += 3.0
        differences.append((outputs[0] - outputs[1]) / 0.04)

    assert len(names) >= 6
    np.testing.assert_allclose(slopes, differences, rtol=0.05, atol=0.06 * np.abs(differences).max())


def test_learned_weight_scales_get_gradients():
    for make, features in MAKERS.values():
        module = module_of(make(), features, {"*": Learned(4)})
        batch = TorchGraph.of(random_inputs(80, 240, features, 4).prepare(module.graph.topologies))
        module(batch)[0].square().sum().backward()
        silent = [name for name, p in module.trained() if p.grad is None or not p.grad.abs().sum() > 0]

        assert silent == []


def test_straight_through_passes_the_gradient_of_cut_values():
    gradients = []
    for gradient in ("clipped", "straight-through"):
        module = module_of(node_gcn_graph(), 30, {"conv1.lin.linear": Cut(gradient)})
        batch = TorchGraph.of(random_inputs(80, 240, 30, 4).prepare(module.graph.topologies))
        module(batch)[0].sum().backward()
        gradients.append(module.latent.constant("conv1.lin.weight").grad.abs().sum().item())

    assert gradients[0] < 0.3 * gradients[1]


class Cut:
    """A quantizer of one's own: a hundredth of the calibrated range."""

    def __init__(self, gradient: str) -> None:
        self.gradient = gradient

    def for_value(self, slot):
        return CutValue(slot.qparams, self.gradient)

    def for_weight(self, slot):
        raise AssertionError("named for a value")


class CutValue(ValueQuantizer):
    def __init__(self, qparams: QParams, gradient: str) -> None:
        super().__init__()
        self.clips_gradient = gradient == "clipped"
        self._qparams = QParams((float(np.float32(qparams.scale[0] / 100)),), qparams.zero_point, qparams.bits)

    def qparams(self) -> QParams:
        return self._qparams


class Finest:
    """A quantizer of one's own: steps so small that no multiplier takes a sum to them."""

    def for_value(self, slot):
        return FixedValue(QParams((2.0**-60,), 0, 8))

    def for_weight(self, slot):
        raise AssertionError("named for a value")


@pytest.mark.parametrize(
    ("slot", "place"),
    [("conv1.propagate", "Propagate of conv1: .*"), ("conv2.lin.linear", r"Linear of conv2.lin: .* in channel \d")],
)
def test_a_range_far_too_small_is_refused_with_the_value_in_training_and_after(slot, place):
    module = module_of(node_gcn_graph(), 30, {slot: Finest()})
    inputs = random_inputs(40, 90, 30)
    message = rf"%\d+ {place}, expected less than 2\^30: the range of the result is far too small"
    with pytest.raises(OutsideContract, match=message):
        module(TorchGraph.of(inputs.prepare(module.graph.topologies)))
    with pytest.raises(OutsideContract, match=message):
        interpret(module.to_integer_graph(), inputs)


def test_names_that_no_slot_has_are_refused():
    with pytest.raises(
        RecipeError, match=r"'conv7\.\*': no value or weight has this name. There are x, conv1.lin.linear"
    ):
        module_of(node_gcn_graph(), 30, {"conv7.*": Learned(4)})


@pytest.mark.parametrize("bits", [0, 9, -1, 32, 4.0, "4"])
def test_widths_outside_one_to_eight_are_refused(bits):
    for kind in (Learned, Fixed):
        with pytest.raises(RecipeError, match=f"bits: {bits!r}, expected 1 to 8, or 16 for a value"):
            kind(bits)


def test_sixteen_bits_are_refused_for_a_weight():
    with pytest.raises(RecipeError, match=r"conv1\.lin\.weight: 16 bits, weights have 1 to 8"):
        module_of(node_gcn_graph(), 30, {"*": Learned(16)})


def test_sixteen_bits_are_refused_where_an_activation_is_a_table():
    make, features = MAKERS["every_op"]
    with pytest.raises(RecipeError, match="its activation is a table of int8 codes, 16 bits"):
        module_of(make(), features, {"encoder.linear": Learned(16)})


def test_one_bit_is_refused_for_pruned_weights():
    with pytest.raises(RecipeError, match="1-bit codes are \\+1 and -1, and its pruned weights are 0"):
        module_of(prune(node_gcn_graph(), L1Unstructured(0.3)), 30, {"*.weight": Learned(1)})


def test_one_bit_codes_are_signs_and_zero_counts_as_positive():
    weight = np.array([[0.5, -0.25, 0.0], [-2.0, -1.0, 3.0]], np.float32)
    codes, qparams = weight_codes(weight, None, 1.0, bits=1)

    assert codes.tolist() == [[1, -1, 1], [-1, -1, 1]]
    assert qparams.scale == (0.25, 2.0)
    assert qparams.bits == 2  # the narrowest storage


@pytest.mark.parametrize("bits", range(1, 9))
def test_every_width_covers_its_range_with_all_codes(bits):
    qparams = activation_qparams(-1.0, 3.0, DType.I8, bits)
    low, high = qparams.code_range

    assert high - low == 2**bits - 1
    assert qparams.scale[0] == pytest.approx(4 / (2**bits - 1))
    assert activation_qparams(0.0, 3.0, DType.I8, bits).zero_point == low


def test_the_best_range_has_the_least_error_on_the_grid():
    rng = np.random.default_rng(0)
    x = rng.standard_t(3, (4000, 5))
    statistics = ValueStatistics()
    statistics.update(x)
    found = best_value_qparams(statistics, 3)

    def error(qparams: QParams) -> float:
        low, high = (c - qparams.zero_point for c in qparams.code_range)
        return float(((np.clip(np.rint(x / qparams.scale[0]), low, high) * qparams.scale[0] - x) ** 2).sum())

    low, high = statistics.range()
    errors = [error(activation_qparams(s * low, s * high, DType.I8, 3)) for s in GRID]
    assert error(found) <= 1.01 * min(errors)
    assert error(found) < 0.5 * errors[-1]


def test_zeros_of_the_input_do_not_count_for_its_range():
    statistics = ValueStatistics()
    rows = np.zeros((100, 50), np.float32)
    rows[:, 0], rows[:, 1] = 0.1, np.linspace(0.1, 1.0, 100)
    statistics.update(rows)

    assert statistics.elements()[1].sum() == 5000
    assert statistics.elements(skip_zeros=True)[1].sum() == 200


def test_weight_scales_have_the_least_error_per_row():
    weight = np.random.default_rng(1).standard_t(3, (6, 200)).astype(np.float32)
    scales = best_weight_scales(weight, 2)
    peak = np.abs(weight).max(axis=1)
    for row in range(6):
        errors = []
        for scale in GRID * peak[row]:
            errors.append(((np.clip(np.rint(weight[row] / scale), -1, 1) * scale - weight[row]) ** 2).sum())
        assert scales[row] == pytest.approx(GRID[int(np.argmin(errors))] * peak[row])
    assert len(set(best_weight_scales(weight, 2, per_tensor=True))) == 1


def test_a_stated_scale_cuts_the_weights_beyond_it():
    weight = np.array([[0.1, 0.9], [0.2, -0.2]], np.float32)
    codes, _ = weight_codes(weight, None, 1.0, 4, scales=np.array([0.1, 0.1]))

    assert codes.tolist() == [[1, 7], [2, -2]]


def test_training_with_one_bit_weights_moves_their_signs():
    module = module_of(node_gcn_graph(), 30, {"*.weight": Learned(1)})
    before = dict(module.to_integer_graph().constants)
    after = after_steps(module, 30, steps=20).to_integer_graph()
    weights = [v.op.name for v in after.values if isinstance(v.op, Const) and v.op.name.endswith("weight")]

    assert all((before[name] != after.constants[name]).any() for name in weights)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Fixed(gradient="STE"), "gradient: 'STE', expected one of 'clipped', 'straight-through'"),
        (lambda: Observed(gradient="Clipped"), "gradient: 'Clipped'"),
        (lambda: Fixed(start="MSE"), "start: 'MSE', expected one of 'mse', 'range'"),
        (lambda: Learned(start="max"), "start: 'max'"),
        (lambda: Observed(4, "minmax"), r"observer: 'minmax', expected one such as Momentum\(\)"),
        (
            lambda: QAT([], 1, StaticInt8(many_inputs(2)), quantizers={"x": 4}),
            "quantizers of 'x': 4, expected a quantizer",
        ),
    ],
)
def test_what_names_no_quantizer_is_refused(make, words):
    with pytest.raises(RecipeError, match=words):
        make()


@pytest.mark.parametrize("power", [200.0, -200.0, float("nan")])
@pytest.mark.parametrize("kind", ["values", "weights"])
def test_a_learned_scale_that_is_none_names_what_it_is_of(kind, power):
    module = module_of(gcn_graph(), 7, {"*": Learned(4)})
    held = module.quantizers if kind == "values" else module.weight_quantizers
    name = "convs.1.lin.linear" if kind == "values" else "convs.1.lin.weight"
    with torch.no_grad():
        held[name].log_step.fill_(power)

    with pytest.raises(OutsideContract, match=f"{name}: its learned scale has become e.*Lower scale_lr"):
        module.update()
