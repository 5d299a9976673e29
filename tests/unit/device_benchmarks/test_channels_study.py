"""Half the channels as C: outputs equal those of zeroed channels, and what the model takes falls."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from device_benchmarks.channels_study import figures, halved
from device_benchmarks.lowering_study import MODELS, protein_like
from device_benchmarks.subjects import as_data
from toolchain.frontend import lower


def test_the_smaller_model_equals_the_zeroed_one_and_takes_the_expected_share(tmp_path: Path) -> None:
    torch.manual_seed(0)
    graph = lower(MODELS["gcn"]().eval(), as_data(protein_like(20)), name="gcn")
    small, same_size = halved(graph)

    found = figures({"half": small, "zeroed": same_size}, protein_like(20), tmp_path, 0.01, "cpu", None)

    assert np.array_equal(found["half"].output, found["zeroed"].output)
    full, half = found["zeroed"].values, found["half"].values
    assert full["operations"] / half["operations"] > 3
    assert full["arena B"] / half["arena B"] > 1.7
    assert full["constants B"] / half["constants B"] > 3
