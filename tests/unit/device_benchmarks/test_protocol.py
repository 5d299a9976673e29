"""Protocols: both lower bounds hold, and every call is timed."""

from __future__ import annotations

import time

import pytest

from device_benchmarks.protocol import DEFAULT, QUICK, Protocol, Window, time_window
from toolchain.errors import MeasurementError


def test_a_window_goes_on_until_it_has_enough_samples() -> None:
    calls = []

    samples = time_window(lambda: calls.append(1), Window(samples=25, seconds=0.0))

    assert len(samples) == len(calls) == 25


def test_a_window_goes_on_until_enough_time_has_passed() -> None:
    start = time.perf_counter()

    samples = time_window(lambda: None, Window(samples=1, seconds=0.05))

    assert time.perf_counter() - start >= 0.05
    assert len(samples) > 100


def test_a_sample_is_the_duration_of_one_call() -> None:
    samples = time_window(lambda: time.sleep(0.002), Window(samples=3, seconds=0.0))

    assert all(2e6 <= sample < 1e9 for sample in samples)


def test_the_windows_of_all_rounds_fill_the_protocol() -> None:
    for protocol in (DEFAULT, QUICK, Protocol("odd", 65, 1.0, rounds=4)):
        assert protocol.window.samples * protocol.rounds >= protocol.samples
        assert protocol.window.seconds * protocol.rounds == pytest.approx(protocol.seconds)


def test_the_stated_defaults() -> None:
    assert (DEFAULT.samples, DEFAULT.seconds, QUICK.samples, QUICK.seconds) == (1024, 10.0, 64, 2.0)
    assert (DEFAULT.warmup_samples, DEFAULT.warmup_seconds) == (10, 1.0)


def test_a_protocol_without_samples_is_refused() -> None:
    with pytest.raises(MeasurementError, match="empty"):
        Protocol("empty", 0, 1.0)
