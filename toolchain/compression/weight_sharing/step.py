"""share: a float Graph in, a Graph out whose weights come from codebooks of a few values."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal

import numpy as np

from toolchain.compression.pruning.selection import selected_weights
from toolchain.compression.step_report import Log, reported
from toolchain.compression.weight_sharing.one_dimensional_k_means import (
    INITIALIZATIONS,
    Initialization,
    k_means,
    nearest,
)
from toolchain.errors import RecipeError
from toolchain.ir import Graph, GraphBuilder, Value, check_graph, rewrite, verify
from toolchain.ir.ops import Const
from toolchain.passes import deployable
from toolchain.seeds import check_seed

CodebookScope = Literal["layer", "module", "global"]
SCOPES: tuple[CodebookScope, ...] = ("layer", "module", "global")


@dataclass(frozen=True, slots=True)
class KMeans:
    """Replace every weight by the nearest of k centroids.

    Attributes:
        clusters: k, the most distinct values of a codebook, 2 or more. An index takes ceil(log2 k) bits.
        scope: one codebook per weight matrix ("layer"), per module whose paths agree up to their first number ("module",
            such as the two layers of convs.0.nn), or for all of them ("global").
        init: where the centroids start, see `k_means`.
        reserve_zero: where weights are zero, zero is one of the k values and they keep it. Off, zeros are clustered like
            other values, which pruned weights refuse.
        targets: share exactly the weights whose name or module path starts with one of these. None: every Linear weight.
        include_head: without targets, take the head as well.
        seed: of the start by k-means++.
    """

    clusters: int = 16
    scope: CodebookScope = "layer"
    init: Initialization = "linear"
    reserve_zero: bool = True
    targets: tuple[str, ...] | None = None
    include_head: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_seed(self.seed)
        if not isinstance(self.clusters, Integral) or self.clusters < 2:
            raise RecipeError(
                f"clusters: {self.clusters}, expected 2 or more, a whole number such as 16 for indices of 4 bits."
            )
        for name, value, allowed in (("scope", self.scope, SCOPES), ("init", self.init, INITIALIZATIONS)):
            if value not in allowed:
                raise RecipeError(f"{name}: {value!r}, expected one of {', '.join(allowed)}.")

    @property
    def name(self) -> str:
        """What the step is called in its report."""
        return f"share {self.clusters} values ({self.scope})"

    def apply(self, graph: Graph) -> Graph:
        """The deployable form of a float Graph with its weights from codebooks."""
        ready = deployable(graph)
        changed: dict[str, np.ndarray] = {}
        codebooks: dict[str, str] = {}
        for names in self._groups(ready):
            changed |= self._shared({name: ready.constants[name] for name in names}, _pruned(ready, names))
            codebooks |= dict.fromkeys(names, names[0])

        def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
            op = value.op
            if not isinstance(op, Const) or op.name not in changed:
                return None
            shared = replace(op, codebook=codebooks[op.name])
            if op.name in builder.constants:  # two values of one constant
                return builder.add(shared, scope=value.scope)
            return builder.changed(shared, changed[op.name], scope=value.scope)

        return verify(rewrite(ready, rule))

    def _groups(self, graph: Graph) -> list[list[str]]:
        """The weights of each codebook."""
        taken = selected_weights(graph, self.targets, self.include_head, step="share")
        scopes = {v.op.name: v.scope for v in graph.values if isinstance(v.op, Const)}
        shared = {v.op.name: v.op.codebook for v in graph.values if isinstance(v.op, Const)}
        groups: dict[str, list[str]] = {}
        for name in taken:
            if shared[name] is not None:
                raise RecipeError(
                    f"share: {name} has its values from the codebook {shared[name]} already. Share the weights before they are "
                    "shared, or others with targets."
                )
            key = {"layer": name, "module": _module(scopes[name] or name), "global": ""}[self.scope]
            groups.setdefault(key, []).append(name)
        for names in groups.values():
            size = sum(graph.constants[name].size for name in names)
            if size < self.clusters:
                raise RecipeError(
                    f"share: {', '.join(names)} has {size} weights, fewer than the {self.clusters} clusters asked for. Ask for at "
                    "most as many, leave it out with targets, or take scope='global'."
                )
        return list(groups.values())

    def _shared(self, arrays: dict[str, np.ndarray], pruned: str | None) -> dict[str, np.ndarray]:
        """The arrays with every weight at the nearest centroid of all of them."""
        if pruned is not None and not self.reserve_zero:
            raise RecipeError(
                f"share: {pruned} is pruned, and reserve_zero=False would give its zeros another value. Leave reserve_zero on."
            )
        points = np.concatenate([array.ravel() for array in arrays.values()])
        keeps_zero = self.reserve_zero and bool((points == 0).any())
        others = points[points != 0] if keeps_zero else points
        if not others.size:
            return arrays
        centroids = k_means(others, self.clusters - keeps_zero, self.init, self.seed).astype(np.float32)
        return {
            name: np.where((array == 0) & keeps_zero, np.float32(0), nearest(array, centroids))
            for name, array in arrays.items()
        }


def share(
    graph: Graph,
    method: KMeans | None = None,
    *,
    validation: Iterable[Any] | None = None,
    log: Log | None = None,
) -> Graph:
    """Let the weights of a float Graph share a few values; `fine_tune` and `QAT` then train the values.

    BatchNorm and the like are folded here, since a fold afterwards would scale rows out of their codebook. Every later step
    keeps the sharing: integer weights have one scale per matrix, and C files store indices of 2 to 5 bits.

    Args:
        method: KMeans() if None.
        validation: PyG graphs with labels, for the accuracy in the StepReport.
        log: called with the StepReport.

    Raises:
        InvalidGraph: weights are not finite.
        RecipeError: the graph is quantized or shared already, or a codebook would have more values than its weights.
    """
    check_graph(graph)
    method = method or KMeans()
    if not isinstance(method, KMeans):
        raise RecipeError(f"method: {method!r}, expected KMeans(16).")
    if any(v.type.dtype.is_integer for v in graph.values) or graph.has_halves:
        raise RecipeError(f"{graph.name}: is quantized already. Share the weights of the float graph, then quantize.")
    return reported(method.name, graph, lambda: method.apply(graph), validation, log)


def _module(path: str) -> str:
    """A path up to its first number: "convs.0.nn.lins.1" → "convs.0". Without a number its first part."""
    parts = path.split(".")
    number = next((i for i, part in enumerate(parts) if re.search(r"\d", part)), 0)
    return ".".join(parts[: number + 1])


def _pruned(graph: Graph, names: list[str]) -> str | None:
    """The first of some weights that is pruned and has zeros."""
    marked = {v.op.name for v in graph.values if isinstance(v.op, Const) and v.op.pruned}
    return next((name for name in names if name in marked and (graph.constants[name] == 0).any()), None)
