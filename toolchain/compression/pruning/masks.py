"""Masks: scores of weights in, masks out, and the one function that puts masks on a Graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from toolchain.errors import RecipeError
from toolchain.ir import Graph, GraphBuilder, Value, rewrite, verify
from toolchain.ir.ops import Const

logger = logging.getLogger("pocketgnn")

Masks = Mapping[str, np.ndarray]
"""Weight name → bool array of its shape, True where the weight is kept."""


def masked(graph: Graph, keep: Masks) -> Graph:
    """Set weights outside their mask to zero and mark the constants as pruned: their zeros stay zero in every later step.

    What an earlier step pruned stays pruned.

    Raises:
        RecipeError: a mask that names no float constant, or has another shape than it.
    """
    for name, mask in keep.items():
        array = graph.constants.get(name)
        if array is None or array.dtype.kind != "f":
            floats = [n for n, a in graph.constants.items() if a.dtype.kind == "f" and a.ndim == 2]
            raise RecipeError(f"masks: {name!r} names no float weight. Weights: {', '.join(floats) or 'none'}.")
        if not isinstance(mask, np.ndarray):
            raise RecipeError(
                f"masks: {name} has a {type(mask).__name__}, expected an array of bool{list(array.shape)}."
            )
        if mask.dtype != np.bool_ or mask.shape != array.shape:
            raise RecipeError(
                f"masks: {name} has a mask of {mask.dtype}{list(mask.shape)}, expected bool{list(array.shape)}."
            )

    def rule(builder: GraphBuilder, value: Value, inputs: tuple[int, ...]) -> int | None:
        op = value.op
        if not isinstance(op, Const) or op.name not in keep:
            return None
        if op.name in builder.constants:  # two values of one constant
            return builder.add(replace(op, pruned=True), scope=value.scope)
        _warn_of_zeros(op, graph.constants[op.name], keep[op.name])
        array = np.where(keep[op.name], graph.constants[op.name], np.float32(0))
        return builder.changed(replace(op, pruned=True), array, scope=value.scope)

    return verify(rewrite(graph, rule))


def _warn_of_zeros(op: Const, array: np.ndarray, keep: np.ndarray) -> None:
    """A pruned constant says by its zeros what is pruned, so that zeros of the model itself become such."""
    count = 0 if op.pruned else int(((array == 0) & keep).sum())
    if count:
        logger.warning(
            "%s: %d of %d weights are zero although the mask keeps them; they stay zero from now on, as pruned ones do",
            op.name, count, array.size,
        )  # fmt: skip


def pruned_places(graph: Graph, name: str) -> np.ndarray:
    """Where an earlier step pruned a weight: [out, in] bool."""
    is_pruned = any(isinstance(v.op, Const) and v.op.name == name and v.op.pruned for v in graph.values)
    array = graph.constants[name]
    return (array == 0) if is_pruned else np.zeros(array.shape, bool)


def keep_largest(graph: Graph, scores: Mapping[str, np.ndarray], amount: float, scope: str) -> dict[str, np.ndarray]:
    """Masks that drop the smallest scores: round(amount * size) of every weight, or of all together ("global").

    What is pruned already is dropped first and counts. Of equal scores the earlier is dropped, first by the order of the
    weights, then by position.

    Args:
        scores: weight name → non-negative scores of its shape, or of its blocks: then the masks are of blocks too.

    Raises:
        RecipeError: the share rounds to all of them. One weight matrix of several that loses all is a warning.
    """
    masks = _largest_of(graph, scores, amount, scope)
    emptied = [name for name, mask in masks.items() if not mask.any()]
    if len(emptied) == len(masks):
        size = sum(mask.size for mask in masks.values())
        raise RecipeError(
            f"amount: {amount:g} of {size} rounds to all of them, so that nothing is left. Take a smaller share."
        )
    if emptied:
        logger.warning(
            "prune %g: nothing is left of %s, which give their biases alone; leave them out with targets",
            amount,
            ", ".join(emptied),
        )
    return masks


def _largest_of(graph: Graph, scores: Mapping[str, np.ndarray], amount: float, scope: str) -> dict[str, np.ndarray]:
    ranked = {name: np.where(_gone(graph, name, score.shape), -1.0, score) for name, score in scores.items()}
    if scope == "layer":
        return {name: _largest(score, amount) for name, score in ranked.items()}
    flat = _largest(np.concatenate([score.ravel() for score in ranked.values()]), amount)
    parts = np.split(flat, np.cumsum([score.size for score in ranked.values()])[:-1])
    return {name: part.reshape(score.shape) for part, (name, score) in zip(parts, ranked.items(), strict=True)}


def _gone(graph: Graph, name: str, shape: tuple[int, ...]) -> np.ndarray:
    places = pruned_places(graph, name)
    return places if places.shape == shape else np.zeros(shape, bool)


def _largest(scores: np.ndarray, amount: float) -> np.ndarray:
    keep = np.ones(scores.size, bool)
    keep[np.argsort(scores.ravel(), kind="stable")[: round(amount * scores.size)]] = False
    return keep.reshape(scores.shape)
