"""StepReport: what one compression step did to size, sparsity and accuracy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolchain.compression.evaluation import evaluate
from toolchain.ir import Graph
from toolchain.ir.ops import Const, Linear

logger = logging.getLogger("pocketgnn")


@dataclass(frozen=True, slots=True)
class StepReport:
    """Size, sparsity and accuracy before and after one step.

    Attributes:
        name: what was done, such as "prune 20 %".
        bytes_before, bytes_after: all constants as stored (`Graph.weight_bytes`).
        sparsity_before, sparsity_after: share of zeros among the weights of all Linear ops.
        accuracy_before, accuracy_after: on the validation graphs, or None where none were given.
        seconds: duration of the step, evaluation excluded.
    """

    name: str
    bytes_before: int
    bytes_after: int
    sparsity_before: float
    sparsity_after: float
    accuracy_before: float | None
    accuracy_after: float | None
    seconds: float

    def __str__(self) -> str:
        text = f"{self.name}: {self.bytes_before:,} -> {self.bytes_after:,} B"
        text += f", sparsity {self.sparsity_before:.1%} -> {self.sparsity_after:.1%}"
        if self.accuracy_before is not None and self.accuracy_after is not None:
            text += f", accuracy {self.accuracy_before:.2%} -> {self.accuracy_after:.2%}"
        return f"{text} ({self.seconds:.1f} s)"


Log = Callable[[StepReport], None]


def sparsity(graph: Graph) -> float:
    """Share of zeros among the weights of all Linear ops; a weight that two ops share counts once."""
    weights = [graph.values[v.inputs[1]].op for v in graph.values if isinstance(v.op, Linear)]
    arrays = [graph.constants[name] for name in sorted({op.name for op in weights if isinstance(op, Const)})]
    total = sum(array.size for array in arrays)
    return sum(int(np.count_nonzero(array == 0)) for array in arrays) / total if total else 0.0


def reported(
    name: str, before: Graph, step: Callable[[], Graph], validation: Iterable[Any] | None, log: Log | None
) -> Graph:
    """Run a step, and send its StepReport to logging and to `log`.

    Args:
        validation: PyG graphs with labels; accuracy is measured on them before and after.
    """
    graphs = None if validation is None else list(validation)
    start = time.perf_counter()
    after = step()
    seconds = time.perf_counter() - start
    accuracy_before, accuracy_after = (None if graphs is None else evaluate(g, graphs) for g in (before, after))
    report = StepReport(
        name, before.weight_bytes, after.weight_bytes, sparsity(before), sparsity(after), accuracy_before, accuracy_after,
        seconds,
    )  # fmt: skip
    logger.info("%s", report)
    if log is not None:
        log(report)
    return after
