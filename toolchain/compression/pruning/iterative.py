"""Iterative pruning: a method in several rounds, with fine-tuning in between."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any

from toolchain.compression.pruning.magnitude import L1Blocks, L1Unstructured
from toolchain.compression.pruning.methods import PruningMethod
from toolchain.compression.pruning.sensitivity import ECS, SNIP
from toolchain.compression.training import Loss, Schedule, fine_tune
from toolchain.errors import RecipeError
from toolchain.ir import Graph

logger = logging.getLogger("pocketgnn")


@dataclass(frozen=True, slots=True, eq=False)
class Iterative(PruningMethod):
    """Prune in rounds. Every round takes the same share of what is left, and the last reaches the method's amount.

    Fine-tuning stands between the rounds, not after the last: that is a step of its own.

    Attributes:
        method: what each round does; its `amount` is that of the last round.
        loader, epochs, lr, weight_decay, loss, seed, batch_size: of the fine-tuning between two rounds, as for `fine_tune`.
    """

    method: L1Unstructured | L1Blocks | SNIP | ECS
    loader: Iterable[Any]
    rounds: int = 5
    epochs: int = 1
    lr: float = 1e-3
    weight_decay: float = 0.0
    loss: Loss | None = None
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        Schedule(
            self.epochs, self.lr, self.weight_decay, self.loss, self.seed, self.batch_size
        )  # refuses a malformed one
        if not isinstance(self.rounds, Integral) or self.rounds < 2:
            raise RecipeError(f"rounds: {self.rounds}, expected 2 or more. Pass the method itself for a single round.")
        if self.epochs < 1:
            raise RecipeError(
                f"epochs: {self.epochs} between {self.rounds} rounds; without training, many rounds do what one does. "
                "Expected 1 or more."
            )

    @property
    def name(self) -> str:
        return f"{self.method.name} in {self.rounds} rounds"

    @property
    def amounts(self) -> tuple[float, ...]:
        """Share of zeros after each round: 1 - (1 - amount)^(round / rounds)."""
        density = 1 - self.method.amount
        steps = tuple(1 - density ** (step / self.rounds) for step in range(1, self.rounds))
        return (*steps, self.method.amount)

    def apply(self, graph: Graph) -> Graph:
        for number, amount in enumerate(self.amounts, 1):
            if number > 1:
                graph = fine_tune(
                    graph, self.loader, epochs=self.epochs, lr=self.lr, weight_decay=self.weight_decay, loss=self.loss,
                    seed=self.seed + number, batch_size=self.batch_size,
                )  # fmt: skip
            logger.info("round %d of %d: %.1f%% zeros", number, self.rounds, 100 * amount)
            graph = replace(self.method, amount=amount).apply(graph)
        return graph
