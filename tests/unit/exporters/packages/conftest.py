"""Artifacts to make packages of, each with a recorded run; libraries are built in a cache of the tests alone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import runtimes
import toolchain
from tests.c_tools import private_cache
from tests.cases import example
from tests.fuzz.models import BOUNDS, fuzzed_graph
from tests.tiny_c_model import tiny_graph, write_tiny
from toolchain.artifact import Artifact
from toolchain.exporters.packages import Sample, synthetic_graph
from toolchain.inputs import GraphInputs


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        private_cache(patch, tmp_path_factory.mktemp("cache"))
        yield


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return write_tiny(tmp_path_factory.mktemp("packages") / "tiny")


@pytest.fixture(scope="module")
def sample(artifact: Artifact) -> Sample:
    graph = tiny_graph()
    return Sample(graph, runtimes.load(artifact).run(graph))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Artifact, Sample]]:
    """A float model, an integer model with sparse features, and one with a fixed graph, each with a recorded run."""
    folder, made = tmp_path_factory.mktemp("exported"), {}
    for name in ("attributed", "sparse", "fixed"):
        graph, sparse = fuzzed_graph("weighted" if name == "fixed" else name)
        fixed = GraphInputs.from_pyg(example("gcn_weighted")) if name == "fixed" else None
        artifact = toolchain.export(graph, "c", folder / name, bounds=BOUNDS, sparse_features=sparse, fixed_graph=fixed)
        runtime, given = runtimes.load(artifact), synthetic_graph(artifact)
        inputs = runtime.checked(given.x if fixed is not None else given)
        made[name] = artifact, Sample(inputs, runtime.run(inputs))
    return made
