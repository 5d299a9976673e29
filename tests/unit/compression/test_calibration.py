"""Ranges: exact extremes, percentiles within a bin, and nothing that depends on how the graphs were batched."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.compression.hand_built import gcn_graph, many_inputs, random_inputs
from toolchain.compression.calibration import HALF_BINS, ValueStatistics, observe
from toolchain.errors import OutsideContract
from toolchain.inputs import GraphInputs
from toolchain.ir import interpret


def statistics_of(*arrays: np.ndarray) -> ValueStatistics:
    statistics = ValueStatistics()
    for array in arrays:
        statistics.update(array)
    return statistics


@pytest.mark.parametrize("percentile", [99.0, 99.9, 99.99])
def test_percentiles_leave_their_share_of_all_elements_outside(percentile):
    values = np.random.default_rng(0).normal(size=(4000, 16)).astype(np.float32)
    low, high = statistics_of(*np.array_split(values, 7)).range(percentile)
    share = 1 - percentile / 100
    in_one_bin = 2 / HALF_BINS

    assert (values > high).mean() == pytest.approx(share, abs=in_one_bin)
    assert (values < low).mean() == pytest.approx(share, abs=in_one_bin)


def test_a_growing_reach_keeps_every_count():
    values = np.concatenate([np.full((1000, 1), 0.25), np.full((10, 1), -4000.0), np.full((5, 1), 1e6)]).astype(
        np.float32
    )
    statistics = statistics_of(*values[:, None])

    assert statistics._counts.sum() == len(values)
    assert statistics.range() == (-4000.0, 1e6)
    assert statistics.range(99.9) == (-4000.0, 1e6)


def test_ranges_include_zero():
    assert statistics_of(np.full((10, 2), 3.0, np.float32)).range() == (0.0, 3.0)
    assert statistics_of(np.full((10, 2), -3.0, np.float32)).range(99.9)[1] == 0.0


def test_a_value_that_is_almost_always_zero_keeps_its_tail():
    values = np.zeros((10_000, 1), np.float32)
    values[:3] = 5.0

    assert statistics_of(values).range(99.9) == (0.0, 5.0)


def test_a_value_without_rows_has_an_empty_range():
    assert statistics_of(np.zeros((0, 3), np.float32)).range() == (0.0, 0.0)


def test_binary_features_are_recognized_until_one_is_not():
    statistics = statistics_of(np.array([[0, 1], [1, 1]], np.float32))
    assert statistics.is_binary
    statistics.update(np.array([[0.5, 1]], np.float32))
    assert not statistics.is_binary


def test_the_tail_ratio_compares_the_maximum_with_percentile_99_99():
    values = np.random.default_rng(0).uniform(0, 1, (100_000, 1)).astype(np.float32)
    values[0] = 20.0

    assert statistics_of(values).tail_ratio == pytest.approx(20, rel=0.01)


def test_observed_extremes_are_those_of_single_graphs():
    graph, graphs = gcn_graph(), many_inputs(20)
    statistics = observe(graph, graphs)
    extremes: dict[int, list[float]] = {v: [] for v in statistics}
    for inputs in graphs:
        interpret(graph, inputs, lambda v, a: extremes[v.id].append(float(a.max())) if v.id in extremes else None)

    for value, peaks in extremes.items():
        assert statistics[value].high == pytest.approx(max(peaks), rel=1e-5)


def test_a_node_mask_leaves_out_the_rows_of_other_nodes():
    inputs = random_inputs(50, 100)
    mask = np.arange(50) < 20
    graph = gcn_graph()

    assert observe(graph, [inputs], node_mask=mask)[0].high == inputs.x[:20].max()


def test_a_value_that_overflows_in_calibration_is_named():
    (inputs,) = many_inputs(1)
    huge = GraphInputs(np.full_like(inputs.x, 3e38), inputs.edge_index)

    with pytest.raises(OutsideContract, match=r"%\d+ \w+ of convs\.0.*: holds numbers that are not finite"):
        observe(gcn_graph(), [huge])
