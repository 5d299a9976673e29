"""HostLatency: the time of an inference on this machine as one number, for a search over many candidates."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

import runtimes
from toolchain.artifact import Artifact
from toolchain.inputs import GraphInputs


@dataclass(frozen=True, slots=True, eq=False)
class HostLatency:
    """Median µs of the model on one prepared graph, in this process: good to compare candidates, no result to publish.

    Attributes:
        graph: that every candidate runs.
        samples: inferences that are timed, after a tenth as many that are not.
    """

    graph: GraphInputs
    samples: int = 200

    def __call__(self, artifact: Artifact) -> float:
        runtime = runtimes.load(artifact)
        feeds = runtime.prepare(self.graph)
        for _ in range(self.samples // 10 + 1):
            runtime.run_feeds(feeds)
        taken = []
        for _ in range(self.samples):
            started = time.perf_counter_ns()
            runtime.run_feeds(feeds)
            taken.append(time.perf_counter_ns() - started)
        return float(np.median(taken)) / 1000
