"""The kernels that propagation_study times compute the sums, and a wrong one is not timed."""

from __future__ import annotations

import numpy as np
import pytest

from device_benchmarks import propagation_study
from toolchain.errors import MeasurementError
from toolchain.inputs import GraphInputs
from toolchain.topology import TopologySpec


def test_every_width_sums_a_graph_with_isolated_nodes_and_a_hub():
    rng = np.random.default_rng(0)
    ends = np.concatenate([rng.integers(0, 40, (2, 150)), np.stack([np.arange(50), np.zeros(50, np.int64)])], axis=1)
    (topology,) = GraphInputs(np.zeros((60, 1)), ends).prepare((TopologySpec(),)).topologies

    made = propagation_study.contenders(propagation_study.library(), topology, channels=19)

    assert [contender.name for contender in made] == list(propagation_study.COLUMNS)


def test_a_wrong_sum_is_not_measured():
    with pytest.raises(MeasurementError, match="broken: does not compute the sum"):
        propagation_study._checked("broken", lambda: (np.ones((2, 2)),), np.zeros((2, 2), np.int64))
