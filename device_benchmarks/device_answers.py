"""DeviceAnswers: what a runner brings back from a device, whatever ran there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from device_benchmarks.measurement import Scope
from device_benchmarks.protocol import Protocol

MOST_KEPT = 4096  # samples of a window; of more, one in `stride`


@dataclass(frozen=True, slots=True, eq=False)
class Computed:
    """What the model said to one graph: outputs, or the words of its refusal; how long preparing and running took, once."""

    outputs: tuple[np.ndarray, ...]
    refusal: str
    prepare_ns: int
    run_ns: int


@dataclass(frozen=True, slots=True, eq=False)
class TimedWindow:
    """Some inferences in a row.

    Attributes:
        samples_ns: durations, one of every `stride` inferences; of a board the mean of each `stride` inferences in a row.
        warm: inferences before the first sample; inferences: all that were timed, in `elapsed_ns`.
    """

    scope: Scope
    round: int
    stride: int
    warm: int
    inferences: int
    elapsed_ns: int
    samples_ns: np.ndarray


@dataclass(frozen=True, slots=True)
class DeviceAnswers:
    """Everything that one run found.

    Attributes:
        computed: one entry for each graph, in order.
        memory: "peak_rss_bytes" (VmHWM) and "pss_bytes" of the process after the outputs of the timed graph and before it was
            timed, or after those of all graphs; without what the system does not tell.
        clock_ns: resolution of the clock.
        runtime: what computed: name, version, compiler, flags, and so on.
        load_ns: how long its library took to load the model file; None where the model is part of the program.
    """

    computed: tuple[Computed, ...]
    windows: tuple[TimedWindow, ...] = ()
    memory: Mapping[str, int] = field(default_factory=dict)
    clock_ns: int = 0
    runtime: Mapping[str, object] = field(default_factory=dict)
    load_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Timing:
    """What is to be timed, and how.

    Attributes:
        position: of the graph.
        core_mask: set of cores to run on; 0 leaves the choice to the system.
    """

    position: int
    protocol: Protocol
    core_mask: int = 0
