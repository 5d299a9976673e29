"""Measurements: nearest-rank percentiles of raw samples, and quantities that a target does not have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_benchmarks.measurement import TRIMMED, Measurement, Quantity, nearest_rank
from toolchain.errors import MeasurementError


def measurement(samples: list[float], unavailable: str = "") -> Measurement:
    return Measurement("gin", "host", Quantity.LATENCY, "us", np.array(samples), {}, unavailable)


def test_percentiles_are_samples_that_occurred() -> None:
    samples = [15.0, 20.0, 35.0, 40.0, 50.0]

    assert [nearest_rank(np.array(samples), p) for p in (5, 30, 40, 50, 100)] == [15.0, 20.0, 20.0, 35.0, 50.0]


def test_percentile_ranks_do_not_suffer_from_binary_fractions() -> None:
    assert nearest_rank(np.arange(1.0, 101.0), 7) == 7.0  # 0.07 * 100 is a little more than 7 in binary


def test_median_of_an_even_count_is_the_lower_middle_sample() -> None:
    assert measurement([4.0, 1.0, 3.0, 2.0]).median == 2.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=200), st.integers(1, 100))
def test_nearest_rank_is_the_smallest_sample_that_enough_samples_do_not_exceed(samples: list[float], p: int) -> None:
    value = nearest_rank(np.array(samples), p)
    needed = math.ceil(p * len(samples) / 100)

    assert sum(s <= value for s in samples) >= needed
    assert sum(s < value for s in samples) < needed


def test_statistics_keep_every_sample_and_its_extremes() -> None:
    statistics = measurement([3.0, 1.0, 2.0]).statistics()

    assert (statistics["n"], statistics["min"], statistics["max"], statistics["mean"]) == (3, 1.0, 3.0, 2.0)


@pytest.mark.parametrize("count", [1, 9, 10, 11, 19, 20, 257])
def test_the_trimmed_mean_is_that_of_scipy(count: int) -> None:
    samples = np.random.default_rng(count).exponential(100, count)
    expected = pytest.importorskip("scipy.stats").trim_mean(samples, TRIMMED)

    np.testing.assert_allclose(measurement(list(samples)).statistics()["trimmed_mean"], expected, rtol=1e-12)


def test_one_outlier_moves_the_mean_and_not_the_trimmed_mean() -> None:
    statistics = measurement([1.0] * 9 + [1000.0]).statistics()

    assert (statistics["mean"], statistics["trimmed_mean"]) == (100.9, 1.0)


def test_raw_samples_keep_their_order() -> None:
    assert measurement([3.0, 1.0, 2.0]).samples.tolist() == [3.0, 1.0, 2.0]


def test_an_unavailable_quantity_has_no_median_instead_of_zero() -> None:
    missing = measurement([], "no /proc")

    assert missing.statistics() == {}
    with pytest.raises(MeasurementError, match="not available"):
        _ = missing.median


@pytest.mark.parametrize(("samples", "reason"), [([], ""), ([1.0], "no /proc"), ([float("nan")], "")])
def test_samples_and_the_reason_for_none_exclude_each_other(samples: list[float], reason: str) -> None:
    with pytest.raises(MeasurementError):
        measurement(samples, reason)
