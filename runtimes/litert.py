"""LiteRT artifacts (.tflite) in ai_edge_litert or, where that is not installed, in its predecessor tflite_runtime."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np

from runtimes.runtime import Array, Runtime
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError, MissingDependency

LIBRARIES = ("ai_edge_litert", "tflite_runtime")


class LiteRtRuntime(Runtime):
    """One interpreter. A graph of other sizes than the one before it is laid out anew, which takes 0.05 to 0.5 ms.

    Args:
        library: "ai_edge_litert" or "tflite_runtime"; by default the first of them that is installed.

    Raises:
        ArtifactError: the library cannot load the file, or it disagrees with the manifest.
        MissingDependency: the library is not installed.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 1, library: str | None = None) -> None:
        super().__init__(artifact, threads=threads)
        self.name = _installed() if library is None else library
        self._model = artifact.model_path.read_bytes()
        self._interpreter = self._open()
        self._inputs = _check_inputs(artifact, self._interpreter.get_input_details())
        self._outputs = _check_outputs(artifact, self._interpreter.get_output_details())
        self._shapes: tuple[tuple[int, ...], ...] = ()  # of the last run
        self._can_resize = not _has_sizes_of_its_own(artifact)

    def _open(self) -> Any:
        """A new interpreter, laid out for one row of everything: operands that its kernels do not take are found here."""
        path = self.artifact.model_path
        try:
            interpreter = _library(self.name).Interpreter(model_content=self._model, num_threads=self.threads)
            interpreter.allocate_tensors()
            return interpreter
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())
            missing = re.search(r"builtin opcode '(\w+)' version '(\d+)'", reason)
            if missing is not None:
                raise ArtifactError(
                    f"{path}: needs {missing[1]} of version {missing[2]}, which this {self.name} is too old for. Install a "
                    "newer ai-edge-litert, or export the model with compat='tflite-runtime' (--set compat=tflite-runtime)."
                ) from error
            raise ArtifactError(f"{path}: {self.name} cannot load it ({reason}). Export the model again.") from error

    def run_feeds(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        shapes = tuple(feeds[name].shape for name in self._inputs)
        if shapes != self._shapes:
            self._lay_out(shapes)
        interpreter = self._interpreter
        for name, index in self._inputs.items():
            interpreter.set_tensor(index, feeds[name])
        interpreter.invoke()
        return tuple(interpreter.get_tensor(index) for index in self._outputs)

    def _lay_out(self, shapes: tuple[tuple[int, ...], ...]) -> None:
        if self._shapes and not self._can_resize:
            self._interpreter = self._open()
        for index, shape in zip(self._inputs.values(), shapes, strict=True):
            self._interpreter.resize_tensor_input(index, shape)
        self._interpreter.allocate_tensors()
        self._shapes = shapes

    def close(self) -> None:
        del self._interpreter


def _has_sizes_of_its_own(artifact: Artifact) -> bool:
    """Whether an operator decides the size of its result while it runs.

    Behind such an operator XNNPACK now and then computes on stale memory once inputs have grown (ai-edge-litert 2.3: a GATv2
    was wrong in 1 of 4 interpreters that had run smaller graphs before). An interpreter of their own for every size is right.
    """
    operators = artifact.provenance.get("operators", ())
    return any(str(kind).startswith("UNSORTED_SEGMENT") for kind in operators)


def _installed() -> str:
    for library in LIBRARIES:
        try:
            _library(library)
        except MissingDependency:
            continue
        return library
    raise MissingDependency(
        "ai_edge_litert is not installed, nor is tflite_runtime; running a .tflite needs one of them. "
        "Install it with: pip install 'pocketgnn[litert]'."
    )


@cache
def _library(name: str) -> Any:
    """The interpreter module of a library."""
    try:
        return import_module(f"{name}.interpreter")
    except ModuleNotFoundError as error:
        package = {"ai_edge_litert": "'pocketgnn[litert]'", "tflite_runtime": "tflite-runtime 'numpy<2'"}[name]
        raise MissingDependency(f"{name} is not installed. Install it with: pip install {package}.") from error


def _check_inputs(artifact: Artifact, details: list[dict[str, Any]]) -> dict[str, int]:
    """Compare the file's inputs with the manifest's; returns name → tensor, in the manifest's order."""
    stated = {feed.name: (feed.dtype, len(feed.dims)) for feed in artifact.signature.inputs}
    found = {d["name"]: (np.dtype(d["dtype"]).name, len(d["shape"])) for d in details}
    _compare(artifact, "inputs", stated, found)
    index = {d["name"]: int(d["index"]) for d in details}
    return {name: index[name] for name in stated}


def _check_outputs(artifact: Artifact, details: list[dict[str, Any]]) -> list[int]:
    stated = {output.name: ("float32", 2) for output in artifact.signature.outputs}
    found = {d["name"]: (np.dtype(d["dtype"]).name, len(d["shape"])) for d in details}
    _compare(artifact, "outputs", stated, found)
    index = {d["name"]: int(d["index"]) for d in details}
    return [index[name] for name in stated]


def _compare(artifact: Artifact, what: str, stated: dict[str, Any], found: dict[str, Any]) -> None:
    if stated != found:
        wrong = sorted(stated.items() ^ found.items())
        raise ArtifactError(
            f"{artifact.model_path}: its {what} differ from the manifest's at {wrong[0]} (name, (type, rank)). "
            "The file does not belong to this manifest; export the model again."
        )
