"""What a measuring process runs: an artifact in its runtime, the PyG model, or the file of a default ONNX export."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

from toolchain.errors import MeasurementError
from toolchain.inputs import GraphInputs
from toolchain.model_source import ModelSource


class Subject(Protocol):
    """Opened once, then run many times."""

    def import_libraries(self) -> None:
        """Import what the runtime needs, so that `open` times and weighs the model alone."""

    def open(self) -> None:
        """Load the model."""

    def prepare(self, graph: GraphInputs) -> Any:
        """From x and edge_index to what `run` takes."""

    def run(self, prepared: Any) -> Any:
        """One inference."""


@dataclass(slots=True)
class ArtifactSubject:
    """An artifact in its own runtime."""

    path: str
    threads: int
    _runtime: Any = field(default=None, init=False)

    def import_libraries(self) -> None:
        from runtimes.loading import RUNTIMES
        from toolchain.artifact import Artifact

        format = Artifact.load(self.path).format
        if format in RUNTIMES:  # an unknown one is refused by load, with its message
            import_module(RUNTIMES[format][0])
        for library in {
            "torchscript": ("torch",),
            "onnx": ("onnxruntime",),
            "litert": _litert_libraries(),
            "executorch": ("torch", "executorch.extension.pybindings._portable_lib"),
        }.get(format, ()):
            import_module(library)

    def open(self) -> None:
        import runtimes

        self._runtime = runtimes.load(self.path, threads=self.threads)

    def prepare(self, graph: GraphInputs) -> Any:
        return self._runtime.prepare(_anew(graph))

    def run(self, prepared: Any) -> Any:
        return self._runtime.run_feeds(prepared)


def _litert_libraries() -> tuple[str, ...]:
    """The library that runs a .tflite here: none where loading the artifact will say that none is installed."""
    from runtimes.litert import LIBRARIES

    return tuple(f"{library}.interpreter" for library in LIBRARIES if find_spec(library) is not None)[:1]


@dataclass(slots=True)
class EagerSubject:
    """The PyG model in eager mode: what a user has before any export."""

    source: ModelSource
    threads: int
    _model: Any = field(default=None, init=False)
    _inference_mode: Any = field(default=None, init=False)

    def import_libraries(self) -> None:
        import torch

        import toolchain.frontend  # noqa: F401  # imported for its cost, so that `open` does not pay it

        torch.set_num_threads(self.threads)
        self._inference_mode = torch.inference_mode
        self.source.import_module()

    def open(self) -> None:
        self._model = self.source.model()

    def prepare(self, graph: GraphInputs) -> Any:
        from toolchain.frontend.arguments import call_arguments

        return call_arguments(self._model, as_data(graph))

    def run(self, prepared: Any) -> Any:
        with self._inference_mode():
            return self._model(**prepared)


@dataclass(slots=True)
class OnnxRivalSubject:
    """The file that torch.onnx.export made of the PyG model, in onnxruntime."""

    file: Mapping[str, Any]
    threads: int
    _rival: Any = field(default=None, init=False)
    _session: Any = field(default=None, init=False)

    def import_libraries(self) -> None:
        import onnxruntime  # noqa: F401  # imported for its cost, so that `open` does not pay it

        from device_benchmarks.rivals import RivalFile

        self._rival = RivalFile(**{**self.file, "path": Path(self.file["path"])})

    def open(self) -> None:
        self._session = self._rival.session(self.threads)

    def prepare(self, graph: GraphInputs) -> Any:
        return self._rival.feeds(_anew(graph))

    def run(self, prepared: Any) -> Any:
        return self._session.run(None, prepared)


def as_data(graph: GraphInputs) -> Any:
    """A checked graph as torch_geometric Data, for code that takes PyG's own type."""
    import torch
    from torch_geometric.data import Data

    names = ("x", "edge_index", "edge_weight", "edge_attr", "batch", "edge_type")
    arrays = {name: getattr(graph, name) for name in names if getattr(graph, name) is not None}
    return Data(**{name: torch.from_numpy(array.copy()) for name, array in arrays.items()})


def _anew(graph: GraphInputs) -> GraphInputs:
    """The same graph built and checked anew, as from bare arrays: the checks belong to the scope with the graph."""
    return replace(graph)


_KINDS: dict[str, Callable[[Mapping[str, Any], int], Subject]] = {
    "artifact": lambda spec, threads: ArtifactSubject(spec["path"], threads),
    "eager": lambda spec, threads: EagerSubject(ModelSource.from_json(spec["source"]), threads),
    "onnx_rival": lambda spec, threads: OnnxRivalSubject(spec["file"], threads),
}


def subject(spec: Mapping[str, Any], threads: int) -> Subject:
    """The subject that a candidate's JSON describes."""
    if spec.get("kind") not in _KINDS:
        raise MeasurementError(f"subject {spec.get('kind')!r} is unknown; expected one of {', '.join(sorted(_KINDS))}.")
    return _KINDS[spec["kind"]](spec, threads)
