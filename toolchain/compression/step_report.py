"""StepReport: what one compression step did to size, widths, operations and accuracy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolchain.compression.evaluation import as_inputs, evaluate, several
from toolchain.ir import Graph
from toolchain.ir.operation_counts import (
    GraphSizes,
    OperationCounts,
    operation_counts,
    short,
    value_bits,
    weight_bits,
)
from toolchain.ir.ops import Const, Linear
from toolchain.passes import deployable

logger = logging.getLogger("pocketgnn")


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a Graph takes and how well it does.

    Attributes:
        bytes: all constants as stored (`Graph.weight_bytes`).
        sparsity: share of zeros among the weights of all Linear ops.
        weight_bits, value_bits: mean width of weights, and of the values between the ops.
        operations: of an average validation graph, in each accounting; None where no graphs were given.
        accuracy: on the validation graphs, or None.
    """

    bytes: int
    sparsity: float
    weight_bits: float
    value_bits: float
    operations: OperationCounts | None = None
    accuracy: float | None = None

    @classmethod
    def of(cls, graph: Graph, validation: Sequence[Any] | None = None) -> Footprint:
        """Measure a Graph; operations are those of its deployable form.

        Args:
            validation: PyG graphs with labels.
        """
        ready = deployable(graph)
        operations = accuracy = None
        if validation:
            operations = operation_counts(ready, GraphSizes.mean_of(ready.topologies, as_inputs(validation)))
            accuracy = evaluate(graph, validation)
        return cls(
            graph.weight_bytes, sparsity(graph), weight_bits(ready), value_bits(ready), operations, accuracy
        )  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Footprint:
        """Read what dataclasses.asdict gave."""
        operations = None if data["operations"] is None else OperationCounts(**data["operations"])
        return cls(**{**data, "operations": operations})


@dataclass(frozen=True, slots=True)
class StepReport:
    """A Graph before and after one step.

    Attributes:
        name: what was done, such as "prune 20 %".
        seconds: duration of the step, evaluation excluded.
    """

    name: str
    before: Footprint
    after: Footprint
    seconds: float

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepReport:
        """Read what dataclasses.asdict gave."""
        before, after = (Footprint.from_json(data[name]) for name in ("before", "after"))
        return cls(data["name"], before, after, data["seconds"])

    def __str__(self) -> str:
        before, after = self.before, self.after
        parts = [
            _change(f"{before.bytes:,}", f"{after.bytes:,}") + " B",
            "sparsity " + _change(f"{before.sparsity:.1%}", f"{after.sparsity:.1%}"),
            "weight/value bits " + _change(_bits(before), _bits(after)),
        ]
        if before.operations is not None and after.operations is not None:
            first, second = before.operations, after.operations
            parts.append("operations " + _change(short(first.operations), short(second.operations)))
            parts.append("bit operations " + _change(short(first.bit_operations), short(second.bit_operations)))
        if before.accuracy is not None and after.accuracy is not None:
            parts.append("accuracy " + _change(f"{before.accuracy:.2%}", f"{after.accuracy:.2%}"))
        return f"{self.name}: {', '.join(parts)} ({self.seconds:.1f} s)"


Log = Callable[[StepReport], None]


def sparsity(graph: Graph) -> float:
    """Share of zeros among the weights of all Linear ops; a weight that two ops share counts once."""
    weights = [graph.values[v.inputs[1]].op for v in graph.values if isinstance(v.op, Linear)]
    arrays = [
        graph.constants[name]
        for name in sorted({op.name for op in weights if isinstance(op, Const) and not op.is_table})
    ]
    total = sum(array.size for array in arrays)
    return sum(int(np.count_nonzero(array == 0)) for array in arrays) / total if total else 0.0


def reported(
    name: str, before: Graph, step: Callable[[], Graph], validation: Iterable[Any] | None, log: Log | None
) -> Graph:
    """Run a step, and send its StepReport to logging and to `log`.

    Args:
        validation: PyG graphs with labels; accuracy and operations are measured on them before and after.
    """
    graphs = None if validation is None else list(several(validation))
    start = time.perf_counter()
    after = step()
    seconds = time.perf_counter() - start
    report = StepReport(name, Footprint.of(before, graphs), Footprint.of(after, graphs), seconds)
    logger.info("%s", report)
    if log is not None:
        log(report)
    return after


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} -> {after}"


def _bits(footprint: Footprint) -> str:
    return f"{footprint.weight_bits:.3g}/{footprint.value_bits:.3g}"
