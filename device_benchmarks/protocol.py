"""Protocol: how many inferences are timed, for how long, after which warm-up. Each inference is timed on its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np

from toolchain.errors import MeasurementError


@dataclass(frozen=True, slots=True)
class Protocol:
    """Lower bounds: sampling goes on until there are `samples` samples and `seconds` seconds have been spent on them.

    The samples are taken in `rounds` windows. The candidates of a benchmark take turns, one window each, so that a
    machine that heats up or gets busy slows all of them alike.
    """

    name: str
    samples: int
    seconds: float
    warmup_samples: int = 10
    warmup_seconds: float = 1.0
    rounds: int = 4

    def __post_init__(self) -> None:
        if min(self.samples, self.warmup_samples, self.rounds) < 1 or min(self.seconds, self.warmup_seconds) < 0:
            raise MeasurementError(
                f"protocol {self.name}: needs samples, warm-up samples and rounds >= 1 and seconds >= 0."
            )

    @property
    def window(self) -> Window:
        """One round's share of the samples."""
        return Window(-(-self.samples // self.rounds), self.seconds / self.rounds)

    @property
    def warmup(self) -> Window:
        return Window(self.warmup_samples, self.warmup_seconds)

    def to_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Window:
    """At least `samples` inferences and at least `seconds` seconds."""

    samples: int
    seconds: float


DEFAULT = Protocol("default", samples=1024, seconds=10.0)
QUICK = Protocol("quick", samples=64, seconds=2.0)
BOARD = Protocol(
    "five-windows", samples=50, seconds=50.0, rounds=5
)  # of MLPerf Tiny: five windows of 10 s, their median
QUICK_BOARD = Protocol("five-windows-quick", samples=10, seconds=1.0, warmup_samples=2, warmup_seconds=0.2, rounds=5)
DEMO = Protocol("demo", samples=64, seconds=1.0, warmup_seconds=0.5)  # two dozen candidates in a minute


def time_window(inference: Callable[[], object], window: Window) -> np.ndarray:
    """Call `inference` until the window is full; the duration of each call in nanoseconds, int64.

    The clock is the monotonic `time.perf_counter_ns`; reading it costs about 0.1 us, which every sample includes.
    """
    clock = time.perf_counter_ns
    samples: list[int] = []
    budget = round(window.seconds * 1e9)
    begin = end = clock()
    while len(samples) < window.samples or end - begin < budget:
        start = clock()
        inference()
        end = clock()
        samples.append(end - start)
    return np.array(samples, dtype=np.int64)
