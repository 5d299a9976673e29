"""Unstructured magnitude pruning: a share of the smallest weights becomes zero and is marked to stay zero."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from toolchain.compression.step_report import Log, reported
from toolchain.errors import RecipeError
from toolchain.ir import Graph, GraphBuilder, Value, rewrite, verify
from toolchain.ir.ops import Const, Dropout, Linear, LogSoftmax
from toolchain.ir.types import Domain


@dataclass(frozen=True, slots=True)
class L1Unstructured:
    """Prune the weights of smallest magnitude.

    Attributes:
        amount: share of the weights that is zero afterwards, in [0, 1); zeros that are there already count.
        scope: "layer" takes the share of every weight matrix, "global" of all of them together.
        targets: prune exactly the weights whose name or module path starts with one of these. None: every Linear weight of
            the convolutions (GIN's MLPs included), which is all but the head.
        include_head: without targets, prune the head as well: each Linear that reads pooled rows, or whose result is a
            model output up to a softmax.
    """

    amount: float = 0.2
    scope: Literal["layer", "global"] = "layer"
    targets: tuple[str, ...] | None = None
    include_head: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.amount < 1:
            raise RecipeError(f"amount: {self.amount}, expected a share in [0, 1), such as 0.2.")
        if self.scope not in ("layer", "global"):
            raise RecipeError(f"scope: {self.scope!r}, expected 'layer' or 'global'.")


def prune(
    graph: Graph,
    method: L1Unstructured | None = None,
    *,
    validation: Iterable[Any] | None = None,
    log: Log | None = None,
) -> Graph:
    """Set the smallest convolution weights of a float Graph to zero; they stay zero in every later step.

    Exactly round(amount * size) weights are zero per matrix (or over all of them). Of equal magnitudes the earlier is
    pruned, first by the order of the weights in the graph, then by position.

    Args:
        validation: PyG graphs with labels, for the accuracy in the StepReport.
        log: called with the StepReport.

    Raises:
        RecipeError: a target that names no weight, or no weight to prune at all.
    """
    method = method or L1Unstructured()
    name = f"prune {method.amount:.0%} ({method.scope})"
    return reported(name, graph, lambda: _pruned(graph, method), validation, log)


def _pruned(graph: Graph, method: L1Unstructured) -> Graph:
    weights = _selected(graph, method)
    if method.scope == "layer":
        changed = {name: _smallest_zeroed([graph.constants[name]], method.amount)[0] for name in weights}
    else:
        arrays = _smallest_zeroed([graph.constants[name] for name in weights], method.amount)
        changed = dict(zip(weights, arrays, strict=True))

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        op = value.op
        if not isinstance(op, Const) or op.name not in changed:
            return None
        return builder.const(op.name, changed[op.name], trainable=op.trainable, pruned=True, scope=value.scope)

    return verify(rewrite(graph, rule))


def _smallest_zeroed(arrays: list[np.ndarray], amount: float) -> list[np.ndarray]:
    """Copies with the round(amount * size) smallest magnitudes of all arrays together set to 0."""
    flat = np.concatenate([array.ravel() for array in arrays])
    smallest = np.argsort(np.abs(flat), kind="stable")[: round(amount * flat.size)]
    flat[smallest] = 0.0
    parts = np.split(flat, np.cumsum([array.size for array in arrays])[:-1])
    return [part.reshape(array.shape) for part, array in zip(parts, arrays, strict=True)]


def _selected(graph: Graph, method: L1Unstructured) -> list[str]:
    """Names of the weights to prune, each once, in graph order."""
    linears = [v for v in graph.values if isinstance(v.op, Linear) and v.type.dtype.is_integer is False]
    names: dict[str, str] = {}
    for linear in linears:
        weight = graph.values[linear.inputs[1]]
        if not isinstance(weight.op, Const) or weight.type.dtype.is_integer:
            continue
        if method.targets is None and not method.include_head and is_head(graph, linear):
            continue
        names[weight.op.name] = linear.scope
    if method.targets is not None:
        for target in method.targets:
            if not any(name.startswith(target) or scope.startswith(target) for name, scope in names.items()):
                raise RecipeError(f"targets: {target!r} names no weight. Weights: {', '.join(names) or 'none'}.")
        names = {n: s for n, s in names.items() if any(n.startswith(t) or s.startswith(t) for t in method.targets)}
    if not names:
        raise RecipeError(
            "prune: the graph has no float convolution weights. Prune before quantizing, or set include_head=True."
        )
    return list(names)


def is_head(graph: Graph, linear: Value) -> bool:
    """Whether a Linear belongs to the head: it reads one row per graph, or its result is an output up to a softmax."""
    if linear.type.domain is Domain.GRAPH:
        return True
    users = graph.users()
    value = linear
    while value.id not in graph.outputs:
        following = users[value.id]
        if len(following) != 1 or not isinstance(graph.values[following[0]].op, LogSoftmax | Dropout):
            return False
        value = graph.values[following[0]]
    return True
