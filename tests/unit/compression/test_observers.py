"""Observers: running ranges against numpy on the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.unit.compression.hand_built import gcn_graph, node_gcn_graph, random_inputs
from tests.unit.compression.test_qat import MAKERS, differing_codes
from tests.unit.compression.test_quantizers import after_steps, module_of
from toolchain.compression import ExactPercentile, Learned, MinMax, Momentum, Observed, Percentile
from toolchain.compression.calibration import ValueStatistics
from toolchain.compression.code_domain_module import CodeDomainModule
from toolchain.compression.quantizers import ObservedValue
from toolchain.errors import OutsideContract, RecipeError
from toolchain.torch_module import TorchGraph


def statistics_of(*arrays: np.ndarray) -> ValueStatistics:
    statistics = ValueStatistics()
    for array in arrays:
        statistics.update(array)
    return statistics


def steps(count: int, spread: float = 1.0) -> list[Tensor]:
    """Heavy-tailed [400, 20] of zero mean, the last ones wider."""
    rng = np.random.default_rng(0)
    return [torch.from_numpy((spread + i / 10) * rng.standard_t(3, (400, 20))).float() for i in range(count)]


def test_min_max_is_that_of_all_steps_and_of_the_calibration():
    seen = steps(5)
    observer = MinMax().start(statistics_of(np.array([[-50.0, 1.0]])), bits=8)
    for x in seen:
        observer.update(x)

    assert observer.range() == (-50.0, max(float(x.max()) for x in seen))


def test_momentum_averages_the_ranges_of_the_steps():
    seen = steps(5)
    observer = Momentum(0.1).start(statistics_of(np.array([[-2.0, 3.0]])), bits=8)
    low, high = -2.0, 3.0
    for x in seen:
        observer.update(x)
        low, high = 0.9 * low + 0.1 * float(x.min()), 0.9 * high + 0.1 * float(x.max())

    assert observer.range() == pytest.approx((low, high), rel=1e-6)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1])
def test_the_histogram_gives_the_percentiles_of_numpy(share):
    observer = Percentile(share, momentum=1.0).start(statistics_of(np.array([[-2.0, 3.0]])), bits=8)
    for x in steps(4):
        observer.update(x)
        width = 2 * 128 / 2048  # the widest bin of these numbers
        for found, place in zip(observer.range(), (share, 1 - share), strict=True):
            below, above = (np.quantile(x.numpy(), place, method=side) for side in ("lower", "higher"))
            assert below - width <= found <= above + width


def test_the_histogram_follows_a_distribution_that_moves_and_forgets_the_old_one():
    rng = np.random.default_rng(0)
    narrow, wide = (s * rng.normal(size=(2000, 8)).astype(np.float32) for s in (1.0, 8.0))
    observer = Percentile(0.01, momentum=0.05).start(statistics_of(narrow), bits=8)
    assert observer.range()[1] == pytest.approx(np.quantile(narrow, 0.99), rel=0.02)
    for _ in range(200):
        observer.update(torch.from_numpy(wide))
    assert observer.range()[1] == pytest.approx(np.quantile(wide, 0.99), rel=0.05)
    for _ in range(200):
        observer.update(torch.from_numpy(narrow))
    assert observer.range()[1] == pytest.approx(np.quantile(narrow, 0.99), rel=0.05)


def test_a_sample_gives_nearly_the_percentiles_of_all_elements():
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(5000, 64)).astype(np.float32))
    ranges = []
    for sample in (1 << 30, 1 << 14):
        observer = Percentile(0.01, momentum=1.0, sample=sample).start(statistics_of(x.numpy()), bits=8)
        observer.update(x)
        ranges.append(observer.range())

    assert ranges[0] == pytest.approx(ranges[1], rel=0.05)


@pytest.mark.parametrize("columns", [16, 30])
def test_a_sample_takes_from_all_columns(columns):
    x = torch.zeros(columns, columns)
    x[:, 1] = 5.0  # a stride that shares a factor with the columns passes it by
    observer = Percentile(0.001, momentum=1.0, sample=columns // 2).start(statistics_of(), bits=8)
    observer.update(x)

    assert observer.range()[1] == pytest.approx(5.0, rel=0.01)


def test_exact_percentiles_are_elements_and_only_grow():
    seen = steps(5)
    observer = ExactPercentile(0.01).start(statistics_of(np.array([[0.0, 0.1]])), bits=8)
    for x in seen:
        observer.update(x)
    ordered = [np.sort(x.numpy().ravel()) for x in seen]

    assert observer.range() == (min(x[79] for x in ordered), max(x[7919] for x in ordered))


def test_the_average_cuts_a_thousandth_at_every_width_and_the_growing_range_a_hundredth_at_few_bits():
    x = np.linspace(0, 1, 100_001)[:, None]
    for kind, at_four_bits in ((Percentile(), 0.999), (ExactPercentile(), 0.99)):
        assert kind.start(statistics_of(x), bits=8).range()[1] == pytest.approx(0.999, abs=1e-3)
        assert kind.start(statistics_of(x), bits=4).range()[1] == pytest.approx(at_four_bits, abs=1e-3)


def test_a_value_that_is_almost_always_zero_keeps_its_tail():
    x = np.zeros((10_000, 4), np.float32)
    x[0, 0] = 5.0
    observer = Percentile(0.01).start(statistics_of(x), bits=8)
    observer.update(torch.from_numpy(x))

    assert observer.range()[1] == pytest.approx(5.0, rel=1e-2)


@pytest.mark.parametrize("observer", [MinMax(), Momentum(0.3), Percentile(momentum=0.3), ExactPercentile()])
@pytest.mark.parametrize("name", ["gcn", "gin", "every_op"])
def test_observed_ranges_train_the_codes_of_the_integer_graph(name, observer):
    make, features = MAKERS[name]
    module = module_of(make(), features, {"*": Observed(4, observer)})
    module.train()
    before = module.quantizers["x"].qparams()
    after_steps(module, features)
    module.eval()

    assert module.quantizers["x"].qparams() != before
    assert differing_codes(module, random_inputs(150, 500, features, 8))[0] == 0


def observed(module: CodeDomainModule) -> dict[str, object]:
    return {name: quantizer.qparams() for name, quantizer in module.quantizers.items()}


def test_ranges_move_in_training_mode_only():
    module = module_of(node_gcn_graph(), 30, {"*": Observed(observer=Momentum(0.5))})
    batch = TorchGraph.of(random_inputs(80, 240, 30, 4).prepare(module.graph.topologies))
    before = observed(module)
    module.eval()
    module(batch)
    assert observed(module) == before
    module.train()
    module(batch)
    assert all(observed(module)[name] != before[name] for name in before)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Momentum, {"momentum": 0}, r"momentum: 0, expected a number in \(0, 1\]"),
        (Percentile, {"share": 0.6}, r"share: 0.6, expected a number in \(0, 0.5\]"),
        (Percentile, {"sample": 0}, "sample: 0, expected 1 or more"),
        (ExactPercentile, {"share": 0.0}, "share: 0.0"),
    ],
)
def test_malformed_options_are_refused(kind, options, message):
    with pytest.raises(RecipeError, match=message):
        kind(**options)


def test_a_snapshot_brings_back_weights_scales_and_ranges():
    quantizers = {"*": Observed(4, Percentile(momentum=0.5)), "*.linear": Learned(4)}
    module = module_of(node_gcn_graph(), 30, quantizers)
    module.train()
    after_steps(module, 30)
    kept, expected = module.snapshot(), module.to_integer_graph()
    after_steps(module, 30)
    moved = module.to_integer_graph()
    module.restore(kept)
    found = module.to_integer_graph()

    assert str(found) == str(expected) != str(moved)
    for name, array in expected.constants.items():
        np.testing.assert_array_equal(found.constants[name], array)


def test_a_value_that_began_as_zero_gets_no_scale_that_no_multiplier_reaches() -> None:
    observer = Momentum().start(statistics_of(np.zeros((4, 2))), bits=4)
    value = ObservedValue(observer, 4, clips_gradient=True)
    value.observe(torch.tensor([[1e-9, 0.0]]))

    assert value.qparams().scale[0] > 1e-6


def test_a_value_that_training_makes_zero_keeps_a_range_and_trains_on() -> None:
    module = module_of(gcn_graph(), 7, {"*": Observed(4, Momentum(0.9))})
    with torch.no_grad():
        for name, weight in module.trained():
            weight.mul_(1e-12 if name.endswith("weight") else 0.0)
    module.train()
    batch = TorchGraph.of(random_inputs(80, 240).prepare(module.graph.topologies))
    for _ in range(30):
        module(batch)[0].sum().backward()
    module.eval()

    assert min(q.qparams().scale[0] for q in module.quantizers.values()) > 1e-6
    assert differing_codes(module, random_inputs(150, 500, 7, 8))[0] == 0


def test_a_sample_sees_both_rows_of_pairs():
    x = torch.zeros(4096 * 4, 1)
    x[1::2] = 5.0  # an even stride passes them by
    observer = Percentile(0.001, momentum=1.0).start(statistics_of(), bits=8)
    observer.update(x)

    assert observer.range()[1] == pytest.approx(5.0, rel=0.01)


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("method", [MinMax(), Momentum(), Percentile(), ExactPercentile()], ids=str)
def test_numbers_without_a_range_are_refused(method, bad):
    observer = method.start(statistics_of(np.array([[-1.0, 1.0]])), bits=8)
    with pytest.raises(OutsideContract, match="numbers that are not finite, so that it has no range"):
        observer.update(torch.full((4, 4), bad))
