"""SNIP and ECS: pruning by the gradient of the loss, of a few batches or after an epoch of training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolchain.compression.pruning.gradients import weight_gradients
from toolchain.compression.pruning.initialization import initialized
from toolchain.compression.pruning.masks import Masks, keep_largest, masked
from toolchain.compression.pruning.methods import MaskMethod, PruningMethod, Scope, check_scope, check_share
from toolchain.compression.pruning.selection import selected_weights
from toolchain.compression.training import Loss, fine_tune
from toolchain.errors import RecipeError
from toolchain.ir import Graph
from toolchain.seeds import check_seed


@dataclass(frozen=True, slots=True, eq=False)
class SNIP(MaskMethod):
    """Prune the weights whose removal changes the loss least, to first order: |gradient * weight| is the smallest.

    Source: Lee et al. 2019, eq. 6 (arXiv:1810.02340).

    Attributes:
        loader: training graphs with labels, as for `fine_tune`.
        amount: share of zeros afterwards, in (0, 1); a density of 10 % is 0.9.
        at_initialization: measure the sensitivities of newly drawn weights (`initialized`, by `seed`) instead of the
            Graph's own. The masks go onto the Graph's own weights in both cases.
        batches: batches of `batch_size` graphs that the gradient is the mean of.
        scope: "global" ranks the weights of all layers together, "layer" each layer alone.
        targets, include_head: as for L1Unstructured.
    """

    loader: Iterable[Any]
    amount: float = 0.9
    at_initialization: bool = False
    batches: int = 1
    scope: Scope = "global"
    targets: tuple[str, ...] | None = None
    include_head: bool = False
    loss: Loss | None = None
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_share("amount", self.amount)
        check_scope(self.scope)
        if self.batches < 1:
            raise RecipeError(f"batches: {self.batches}, expected at least 1.")
        check_seed(self.seed)

    @property
    def name(self) -> str:
        return f"SNIP {self.amount:.0%} ({self.scope})"

    def masks(self, graph: Graph) -> Masks:
        names = selected_weights(graph, self.targets, self.include_head)
        scores = self.sensitivities(graph, names)
        if not any(score.any() for score in scores.values()):
            raise RecipeError(
                "SNIP: no weight changes the loss to first order, expected gradients that are not all zero. Take more "
                "batches, or check that the model is not constant."
            )
        return keep_largest(graph, scores, self.amount, self.scope)

    def sensitivities(self, graph: Graph, names: list[str]) -> dict[str, np.ndarray]:
        """|gradient * weight| of each weight."""
        measured = initialized(graph, self.seed) if self.at_initialization else graph
        gradients = weight_gradients(
            measured, names, self.loader, batches=self.batches, batch_size=self.batch_size, loss=self.loss,
            seed=self.seed,
        )  # fmt: skip
        return {name: np.abs(gradients[name] * measured.constants[name]) for name in names}


@dataclass(frozen=True, slots=True, eq=False)
class ECS(PruningMethod):
    """Train shortly, then keep the weights that are large or have a large gradient; together they have the stated density.

    The thresholds on |weight| and on |gradient| lie at the same rank, as deep as it takes for the union of what passes
    either of them to hold 1 - amount of all weights. (At a threshold of x % each, the union holds between x and 2x %.)

    Attributes:
        loader: training graphs with labels, as for `fine_tune`.
        amount: share of zeros afterwards, in (0, 1); a density of 10 % is 0.9.
        epochs: of training before the weights and gradients are taken; the trained weights are kept.
        batches: batches that the gradient is the mean of.
        scope: "global" ranks the weights of all layers together, "layer" each layer alone.
        targets, include_head: as for L1Unstructured.
        lr, weight_decay, loss, seed, batch_size: as for `fine_tune`.
    """

    loader: Iterable[Any]
    amount: float = 0.9
    epochs: int = 1
    batches: int = 1
    scope: Scope = "global"
    targets: tuple[str, ...] | None = None
    include_head: bool = False
    lr: float = 1e-3
    weight_decay: float = 0.0
    loss: Loss | None = None
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        check_share("amount", self.amount)
        check_scope(self.scope)
        for place in ("epochs", "batches"):
            if getattr(self, place) < 1:
                raise RecipeError(f"{place}: {getattr(self, place)}, expected at least 1.")

    @property
    def name(self) -> str:
        return f"ECS {self.amount:.0%} ({self.scope}) after {self.epochs} epoch{'s' if self.epochs > 1 else ''}"

    def apply(self, graph: Graph) -> Graph:
        names = selected_weights(graph, self.targets, self.include_head)
        trained = fine_tune(
            graph, self.loader, epochs=self.epochs, lr=self.lr, weight_decay=self.weight_decay, loss=self.loss,
            seed=self.seed, batch_size=self.batch_size,
        )  # fmt: skip
        gradients = weight_gradients(
            trained, names, self.loader, batches=self.batches, batch_size=self.batch_size, loss=self.loss,
            seed=self.seed,
        )  # fmt: skip
        weights = {name: np.abs(trained.constants[name]) for name in names}
        scores = union_ranks(weights, {name: np.abs(gradient) for name, gradient in gradients.items()}, self.scope)
        return masked(trained, keep_largest(trained, scores, self.amount, self.scope))


def union_ranks(
    first: dict[str, np.ndarray], second: dict[str, np.ndarray], scope: str = "global"
) -> dict[str, np.ndarray]:
    """Scores whose k largest are the union of the largest of two measures, taken from both to the same depth.

    A place's score is the better of its two ranks; of two places that have their better rank in common, the one that has it
    in `first` scores higher.

    Args:
        first, second: name → non-negative array, of the same shapes.
        scope: "global" ranks all arrays together, "layer" each alone.
    """
    if scope == "layer":
        return {name: union_ranks({name: first[name]}, {name: second[name]})[name] for name in first}
    one, two = (_ranks(np.concatenate([array.ravel() for array in measure.values()])) for measure in (first, second))
    scores = np.maximum(2 * one + 1, 2 * two)  # all different, except where one place holds both
    parts = np.split(scores, np.cumsum([array.size for array in first.values()])[:-1])
    return {name: part.reshape(array.shape) for part, (name, array) in zip(parts, first.items(), strict=True)}


def _ranks(values: np.ndarray) -> np.ndarray:
    """0 for the smallest; of equal values the earlier is the smaller."""
    ranks = np.empty(values.size, np.int64)
    ranks[np.argsort(values, kind="stable")] = np.arange(values.size)
    return ranks
