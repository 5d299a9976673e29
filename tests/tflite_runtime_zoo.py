"""Runs a folder of exported models in tflite_runtime: what `tests/suites/test_tflite_runtime.py` starts in its environment.

    python -m tests.tflite_runtime_zoo FOLDER

FOLDER/MODEL/artifact is an artifact, and FOLDER/MODEL/GRAPH.npz holds the arrays of a graph and the expected outputs. Prints one
JSON object: for each model the largest relative error over its graphs, or what the runtime said. Needs numpy and
tflite_runtime only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from runtimes.litert import LiteRtRuntime
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError
from toolchain.inputs import GraphInputs


def main(folder: Path) -> None:
    answers: dict[str, float | str] = {}
    for model in sorted(folder.iterdir()):
        try:
            runtime = LiteRtRuntime(Artifact.load(model / "artifact"), library="tflite_runtime")
            answers[model.name] = max(error(runtime, np.load(graph)) for graph in sorted(model.glob("*.npz")))
        except ArtifactError as refusal:
            answers[model.name] = str(refusal)
    print(json.dumps(answers))


def error(runtime: LiteRtRuntime, stored: dict[str, np.ndarray]) -> float:
    """Largest difference of an output over the largest magnitude of the expected one."""
    arrays = {name: stored[name] for name in ("edge_weight", "edge_attr", "batch", "edge_type") if name in stored}
    graph = GraphInputs(stored["x"], stored["edge_index"], **arrays, num_graphs=int(stored["num_graphs"]))
    worst = 0.0
    for i, output in enumerate(runtime.run(graph)):
        expected = stored[f"output_{i}"]
        assert output.shape == expected.shape
        assert np.isfinite(output).all()
        worst = max(worst, float(np.abs(output - expected).max(initial=0) / max(np.abs(expected).max(initial=0), 1e-6)))
    return worst


if __name__ == "__main__":
    main(Path(sys.argv[1]))
