"""check: one layer in; its error in each format and precision out, or why it has none."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

import runtimes
from device_benchmarks.layer_zoo import LayerCase, example, graphs, restricted
from toolchain.compression import DynamicInt8, Float16, StaticInt8, quantize
from toolchain.errors import PocketGnnError
from toolchain.exporters import PLANS_MEMORY, export
from toolchain.exporters.emission import Bounds
from toolchain.frontend import lower, run_model
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, interpret
from toolchain.ir.ops import Linear
from toolchain.passes import deployable
from toolchain.recipe import Precision

FORMATS = ("onnx", "litert", "torchscript", "executorch", "c")
BOUNDS = Bounds(nodes=160, edges=800, graphs=1, degree=64)
NO_WEIGHTS = "has no weights of a Linear"

# LiteRT and XNNPACK give each row of a dynamic int8 product a range of its own, the reference one to all rows.
_DYNAMIC = {"onnx": 1e-3, "c": 1e-3, "torchscript": 1e-2, "litert": 6e-2, "executorch": 6e-2}
_OTHER = {"float32": 1e-4, "float16": 1e-4, "static-int8": 3e-2}


def limit(format: str, precision: Precision) -> float:
    """Largest error with which a file of a format counts as right."""
    return _DYNAMIC[format] if precision == "dynamic-int8" else _OTHER[precision]


@dataclass(frozen=True, slots=True)
class Support:
    """One layer in one format and precision: its largest error, or why there is none."""

    layer: str
    variant: str
    format: str
    precision: Precision
    error: float | None
    cause: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.layer, self.variant, self.format, self.precision

    @property
    def is_supported(self) -> bool:
        return self.error is not None and self.error <= limit(self.format, self.precision)

    @property
    def is_equal(self) -> bool:
        """Whether every output is that of the reference, bit for bit."""
        return self.error == 0.0


def check(case: LayerCase, formats: Sequence[str], precision: Precision = "float32") -> list[Support]:
    """Lower one layer and run it in each format.

    A float32 file is compared with PyTorch Geometric; one of another precision with the quantized Graph in the interpreter,
    since what quantization costs is not the format's doing.
    """

    def found(format: str, error: float | None = None, cause: str = "") -> Support:
        return Support(case.layer, case.variant, format, precision, error, cause)

    try:
        model = case.model()
    except ImportError as error:
        return [found(format, cause=f"PyTorch Geometric cannot build it here: {error}") for format in formats]
    inputs = {name: GraphInputs.from_pyg(restricted(graph, case.fields)) for name, graph in graphs().items()}
    try:
        lowered = lower(model, restricted(example(), case.fields), name="layer")
        if precision in ("float16", "dynamic-int8") and not _has_weights(lowered):
            return [found(format, cause=NO_WEIGHTS) for format in formats]
        graph = _narrowed(lowered, case, precision)
        expected = {name: _expected(model, case, graph, precision, inputs[name], name) for name in inputs}
    except PocketGnnError as error:
        return [found(format, cause=str(error)) for format in formats]
    rows = []
    for format in formats:
        try:
            rows.append(found(format, _largest_error(graph, format, inputs, expected)))
        except PocketGnnError as error:
            rows.append(found(format, cause=str(error)))
    return rows


def _has_weights(graph: Graph) -> bool:
    return any(isinstance(value.op, Linear) for value in deployable(graph).values)


def _narrowed(graph: Graph, case: LayerCase, precision: Precision) -> Graph:
    if precision == "float16":
        return quantize(graph, Float16(least=1))
    if precision == "dynamic-int8":
        return quantize(graph, DynamicInt8())
    if precision == "static-int8":
        calibration = [GraphInputs.from_pyg(restricted(g, case.fields)) for g in (*graphs().values(), example())]
        return quantize(graph, StaticInt8(calibration, min_agreement=0.01))
    return deployable(graph)


def _expected(
    model: torch.nn.Module, case: LayerCase, graph: Graph, precision: Precision, inputs: GraphInputs, name: str
) -> tuple[np.ndarray, ...]:
    if precision == "float32":
        return run_model(model, restricted(graphs()[name], case.fields))
    return interpret(graph, inputs)


def _largest_error(
    graph: Graph, format: str, inputs: dict[str, GraphInputs], expected: dict[str, tuple[np.ndarray, ...]]
) -> float:
    options: dict[str, Any] = {"bounds": BOUNDS} if format in PLANS_MEMORY else {}
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        runtime = runtimes.load(export(graph, format, Path(folder) / "layer", **options))
        for name, given in inputs.items():
            for ours, theirs in zip(runtime.run(given), expected[name], strict=True):
                difference = float(np.abs(ours - theirs.reshape(ours.shape)).max(initial=0))
                worst = max(worst, difference / max(1.0, float(np.abs(theirs).max(initial=0))))
    return worst
