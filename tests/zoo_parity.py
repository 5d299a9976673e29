"""The model zoo lowered, and an exported Graph compared with the interpreter on the whole graph zoo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

import runtimes
from tests import cases
from tests.parity import assert_close
from toolchain.exporters import export
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret


def lowered(model: str) -> Graph:
    """A model of the zoo as it comes from the frontend."""
    return lower(cases.MODELS[model](), cases.example(model), name=model)


def zoo(model: str) -> dict[str, GraphInputs]:
    """Every graph of the zoo with what a model reads, by name."""
    return {name: GraphInputs.from_pyg(cases.case_inputs(model, name)) for name in cases.GRAPHS}


def check_file(graph: Graph, format: str, folder: Path, tolerance: float, **options: object) -> None:
    """Export a Graph that has the name of its model, load it and run it on the whole graph zoo."""
    check_zoo(graph, runtimes.load(export(graph, format, folder, **options)).run, tolerance)


def check_zoo(graph: Graph, run: Callable[[GraphInputs], tuple[np.ndarray, ...]], tolerance: float) -> None:
    """Compare with the interpreter on every graph; a failure names the graph."""
    for name, inputs in zoo(graph.name).items():
        try:
            assert_close(run(inputs), interpret(graph, inputs), tolerance)
        except AssertionError as error:
            raise AssertionError(f"{graph.name} on {name}: {error}") from error
