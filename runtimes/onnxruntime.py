"""ONNX artifacts in onnxruntime, on the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from runtimes.operators import onnxruntime_operators
from runtimes.runtime import Array, Runtime
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError, MissingDependency, require

_ELEMENT_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)", "int32": "tensor(int32)"}


class OnnxRuntime(Runtime):
    """One inference session; `run_feeds` is `session.run` and nothing else."""

    name = "onnxruntime"

    def __init__(self, artifact: Artifact, *, threads: int = 1) -> None:
        super().__init__(artifact, threads=threads)
        try:
            self._session = open_session(artifact.model_path.read_bytes(), threads, _operators(artifact))
        except MissingDependency:
            raise
        except Exception as error:  # onnxruntime raises its own types, which share no root below Exception
            raise ArtifactError(
                f"{artifact.model_path}: onnxruntime cannot load it ({error}). Export the model again."
            ) from error
        self._outputs = _check_signature(artifact, self._session)

    def run_feeds(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        return tuple(self._session.run(self._outputs, feeds))

    def close(self) -> None:
        del self._session


def open_session(model: bytes, threads: int, operators: Path | None = None) -> Any:
    """An InferenceSession on the CPU: all graph optimizations, one node at a time, `threads` threads inside a node.

    Args:
        operators: a library of operators that the model needs beside onnxruntime's.
    """
    ort = _library()
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # fatal: errors arrive as exceptions, and need no second copy on the terminal
    # Weights are in the model itself. A file that asks for weights outside it finds none in a folder that is no folder.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    if operators is not None:
        options.register_custom_ops_library(str(operators))
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def _operators(artifact: Artifact) -> Path | None:
    """The library of operators that a file needs."""
    return onnxruntime_operators() if artifact.provenance.get("lowering") == "spmm" else None


@cache
def _library() -> Any:
    """onnxruntime, its telemetry switched off: it reads the variable when it loads."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    return require("onnxruntime", "onnx")


def _check_signature(artifact: Artifact, session: Any) -> list[str]:
    """Compare the file's inputs and outputs with the manifest's; returns the output names."""
    stated = [(feed.name, _ELEMENT_TYPES[feed.dtype], len(feed.dims)) for feed in artifact.signature.inputs]
    given = (*session.get_inputs(), *session.get_overridable_initializers())
    found = [(i.name, i.type, len(i.shape)) for i in given]
    _compare(artifact, "inputs", sorted(stated), sorted(found))
    outputs = [(output.name, "tensor(float)", 2) for output in artifact.signature.outputs]
    _compare(artifact, "outputs", outputs, [(o.name, o.type, len(o.shape)) for o in session.get_outputs()])
    return [output.name for output in artifact.signature.outputs]


def _compare(artifact: Artifact, what: str, stated: list[Any], found: list[Any]) -> None:
    if stated != found:
        wrong = [entry for entry in (*stated, *found) if entry not in stated or entry not in found] or found
        raise ArtifactError(
            f"{artifact.model_path}: its {what} differ from the manifest's at {wrong[0]} (name, type, rank). "
            "The file does not belong to this manifest; export the model again."
        )
