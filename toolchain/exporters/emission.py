"""What an exporter hands back: the bytes of the model file and the facts that only it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toolchain.artifact import Output, Signature
from toolchain.feeds import Feed
from toolchain.ir import Graph


@dataclass(frozen=True, slots=True)
class Bounds:
    """Largest graph that a file must take; formats that plan memory ahead need them, others ignore them.

    Attributes:
        edges: prepared edges (added self-loops included) of the largest topology.
        degree: edges at one node, added self-loops included.

    None in the bounds of an Emission: the file takes any number.
    """

    nodes: int | None = 1024
    edges: int | None = 8192
    graphs: int | None = 64
    degree: int | None = 64


@dataclass(frozen=True, slots=True)
class Emission:
    """One emitted model.

    Attributes:
        model: bytes of the model file.
        file_name: such as "model.onnx"; in a package of several files, its path.
        inputs: the file's inputs in order, and how the host computes each.
        bounds: the bounds built into the file, or None where it takes any size.
        facts: what provenance should record: opset, lowering, delegate, engine.
        extra_files: further files of the artifact by path.
        precision: of the file, where an option made it another than the Graph's.
    """

    model: bytes
    file_name: str
    inputs: tuple[Feed, ...]
    bounds: Bounds | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    extra_files: Mapping[str, bytes] = field(default_factory=dict)
    precision: str | None = None


def outputs_of(graph: Graph) -> tuple[Output, ...]:
    """The outputs of a graph as a signature lists them: "output" for one, "output_0", "output_1", ... for several."""
    single = len(graph.outputs) == 1
    return tuple(
        Output("output" if single else f"output_{i}", graph.values[o].type.domain.value, graph.values[o].type.channels)
        for i, o in enumerate(graph.outputs)
    )


def signature_of(graph: Graph, emission: Emission) -> Signature:
    """Inputs as the exporter chose them, outputs as the graph has them."""
    return Signature(emission.inputs, outputs_of(graph))
