"""The ONNX files that a user has today: torch.onnx.export of the PyG model as it is, with either exporter."""

from __future__ import annotations

import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.onnxruntime import open_session
from toolchain.inputs import GraphInputs

EXPORTERS = ("dynamo", "legacy")
_ROWS = {  # what the free axis counts
    "x": "N", "edge_index": "E", "edge_weight": "E", "edge_attr": "E", "edge_type": "E", "batch": "N",
}  # fmt: skip
_ROW_AXIS = {"edge_index": 1}
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class RivalFile:
    """An exported file.

    Attributes:
        inputs: the arrays of the graph that it takes, by name.
    """

    path: Path
    exporter: str
    inputs: Sequence[str]

    def session(self, threads: int) -> Any:
        """Open it in onnxruntime with the options that our own artifacts get."""
        return open_session(Path(self.path).read_bytes(), threads)

    def feeds(self, graph: GraphInputs) -> dict[str, np.ndarray]:
        """The arrays of a graph that the file takes."""
        arrays = {"batch": graph.graph_index, **{name: getattr(graph, name) for name in _ROWS if name != "batch"}}
        return {name: arrays[name] for name in self.inputs}


@dataclass(frozen=True, slots=True)
class RivalFailure:
    """An export that did not succeed, with the exporter's own words."""

    exporter: str
    error: str


def export_rival(model: Any, example: Any, *, exporter: str, path: Path) -> RivalFile | RivalFailure:
    """Export a PyG model with free numbers of nodes and edges, as its user would.

    Args:
        model: torch module in eval mode.
        example: torch_geometric Data; what it holds and the model reads becomes an input.
        exporter: "dynamo" (torch.export) or "legacy" (tracing).
        path: file to write.
    """
    import torch

    names, tensors = _inputs(model, example)
    module = _positional(model, names)
    try:
        with torch.no_grad(), _silence():
            torch.onnx.export(module, tensors, str(path), input_names=names, **_options(names, exporter))
    except Exception as error:  # exporters raise whatever their layers raise; the words are the result
        return RivalFailure(exporter, _COLOURS.sub("", f"{type(error).__name__}: {error}").strip())
    return RivalFile(path, exporter, _inputs_of_file(path))


@contextmanager
def _silence() -> Iterator[None]:
    """Keep an exporter's warnings, logs and printed graphs off the terminal; its errors still arrive as exceptions."""
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _options(names: Sequence[str], exporter: str) -> dict[str, Any]:
    import torch

    axes = {name: _ROW_AXIS.get(name, 0) for name in names}
    if exporter == "legacy":
        return {"dynamo": False, "dynamic_axes": {name: {axis: _ROWS[name]} for name, axis in axes.items()}}
    shapes = tuple({axis: torch.export.Dim.DYNAMIC} for axis in axes.values())
    return {"dynamo": True, "dynamic_shapes": {"tensors": shapes}, "external_data": False, "verbose": False}


def _inputs(model: Any, example: Any) -> tuple[list[str], tuple[Any, ...]]:
    """The tensors of the example that the model reads, in a fixed order; a sparse x dense, as neither exporter takes another."""
    from toolchain.frontend.arguments import call_arguments
    from toolchain.inputs import is_sparse

    arguments: Mapping[str, Any] = call_arguments(model, example)
    fields = example if "data" in arguments else arguments
    names = [name for name in _ROWS if fields.get(name) is not None]
    values: list[Any] = [fields.get(name) for name in names]
    return names, tuple(value.to_dense() if is_sparse(value) else value for value in values)


def _positional(model: Any, names: Sequence[str]) -> Any:
    """The model as a module that takes its tensors in order, since both exporters name inputs by position."""
    import torch

    from toolchain.frontend.arguments import FIELD_NAMES, forward_arguments

    class Positional(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *tensors: Any) -> Any:
            fields = {**dict.fromkeys(FIELD_NAMES), **dict(zip(names, tensors, strict=True))}
            return self.model(**forward_arguments(self.model, fields))

    return Positional().eval()


def _inputs_of_file(path: Path) -> tuple[str, ...]:
    """An exporter drops the inputs that it finds unused, so the file has the last word."""
    import onnx

    return tuple(value.name for value in onnx.load(str(path), load_external_data=False).graph.input)
