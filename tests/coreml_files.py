"""Core ML packages for tests: written by the exporter, computed by the interpreter of `tests.mil_interpreter`."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest

from toolchain.artifact import Artifact
from toolchain.feeds import build_feeds
from toolchain.inputs import GraphInputs

if TYPE_CHECKING:
    from tests.mil_interpreter import MilModel


@contextmanager
def coremltools() -> Iterator[None]:
    """Skip without coremltools; inside, its converter, which collects garbage, need not look at all that the tests have loaded."""
    pytest.importorskip("coremltools", reason="coremltools is not installed")
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def mil_model(artifact: Artifact) -> MilModel:
    """The package of an artifact, read back from its bytes."""
    from tests.mil_interpreter import MilModel  # imports coremltools

    return MilModel(Artifact.load(artifact.path).model_path.parents[2])


def run(model: MilModel, artifact: Artifact, inputs: GraphInputs) -> tuple[np.ndarray, ...]:
    """The outputs for a graph; of an output with rows per edge those that a graph without edges does not have are cut off."""
    artifact.contract.check(inputs)
    prepared = inputs.prepare(artifact.contract.topologies)
    artifact.contract.check_edges(max((t.num_edges for t in prepared.topologies), default=0))
    return model.run(build_feeds(artifact.signature.inputs, prepared))
