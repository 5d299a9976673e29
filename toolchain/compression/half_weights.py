"""Half precision: the weights of products in 16 bits, everything else in float32.

Values stay float32 because no CPU runtime here computes graphs in 16 bits, or not rightly. onnxruntime 1.31 makes Cast, Gemm in
float32 and Cast of a Gemm in float16, and has no ScatterND that adds in float16. torch 2.13 adds 70,000 ones to infinity in float16
and to 70,144 in bfloat16, and one layer of 128 nodes and 64 channels takes 210 us in float16 and 63 in bfloat16, against 52 in
float32.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from toolchain.errors import QuantizationRefused, RecipeError
from toolchain.ir import Graph, GraphBuilder, Value, rewrite, verify
from toolchain.ir.ops import Const, Linear
from toolchain.passes import deployable

LARGEST = float(np.finfo(np.float16).max)  # 65504
SMALLEST_NORMAL = float(np.finfo(np.float16).smallest_normal)  # below it a half loses digits


@dataclass(frozen=True, slots=True)
class Float16:
    """Weights of Linears as IEEE halves: half the bytes, 11 significant bits. Needs no calibration graphs.

    Runtimes make float32 of them and compute in float32, so no sum can overflow that did not before. Weights stay float32
    where halves would be wrong or save nothing: the largest of them beyond 65,504 or below 2^-14, or fewer than `least` numbers,
    which take no less room than the conversion. bfloat16 is not offered: at the same size it has 8 significant bits, and its
    wider range is not needed where such weights stay float32.

    Attributes:
        least: numbers of the smallest weight that is converted.
    """

    least: int = 128

    def __post_init__(self) -> None:
        if self.least < 1:
            raise RecipeError(f"least: {self.least}, expected at least 1.")


def half_weights(graph: Graph, method: Float16) -> Graph:
    """The deployable graph with its weights rounded to halves and marked as such.

    Raises:
        QuantizationRefused: all weights would stay as they are.
    """
    ready = deployable(graph)
    users = ready.users()

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        if not isinstance(value.op, Const) or not _is_weight(ready, value, users[value.id]):
            return None
        array = ready.constant(value)
        if array.size < method.least or not SMALLEST_NORMAL <= float(np.abs(array).max()) <= LARGEST:
            return None
        half = replace(value.op, is_half=True)
        return builder.changed(half, array.astype(np.float16).astype(np.float32), scope=value.scope)

    made = verify(rewrite(ready, rule))
    if not made.has_halves:
        raise QuantizationRefused(
            f"{graph.name}: no weight of {method.least} numbers or more that halves can hold: float16 would change nothing. Export "
            "the float32 graph."
        )
    return made


def _is_weight(graph: Graph, const: Value, readers: tuple[int, ...]) -> bool:
    """Whether only Linear ops read a constant, as their weight."""
    is_read = [isinstance(graph.values[r].op, Linear) and graph.values[r].inputs[1] == const.id for r in readers]
    return bool(is_read) and all(is_read)
