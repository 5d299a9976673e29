"""What a pruning method is: a frozen dataclass that turns a float Graph into a pruned one, most of them by a mask."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from types import MappingProxyType
from typing import Literal

import numpy as np

from toolchain.compression.pruning.masks import Masks, masked
from toolchain.errors import RecipeError
from toolchain.ir import Graph

Scope = Literal["layer", "global"]


class PruningMethod(ABC):
    """What `prune` takes."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What the step is called in its report, such as "prune 20% (layer)"."""

    @abstractmethod
    def apply(self, graph: Graph) -> Graph:
        """The pruned Graph.

        Raises:
            RecipeError: the method does not fit the graph, such as one that is quantized.
        """


class MaskMethod(PruningMethod):
    """A method that only says which weights stay; the others become zero and stay zero in every later step."""

    @abstractmethod
    def masks(self, graph: Graph) -> Masks:
        """For every weight that is pruned, where it is kept."""

    def apply(self, graph: Graph) -> Graph:
        return masked(graph, self.masks(graph))


@dataclass(frozen=True, slots=True, eq=False)
class FixedMasks(MaskMethod):
    """Masks that the caller made.

    Attributes:
        keep: weight name → bool array of the weight's shape, True where it is kept.
    """

    keep: Mapping[str, np.ndarray]

    @property
    def name(self) -> str:
        return f"prune by {len(self.keep)} given masks"

    def masks(self, graph: Graph) -> Masks:
        return MappingProxyType(dict(self.keep))


def check_share(place: str, amount: float) -> None:
    """Refuse a share that would prune nothing or everything.

    Raises:
        RecipeError: no number in (0, 1).
    """
    if not isinstance(amount, Real):
        raise RecipeError(f"{place}: {amount!r}, expected a number in (0, 1), such as 0.5.")
    if not 0 < amount < 1:
        effect = "prunes nothing" if amount <= 0 else "prunes everything" if amount >= 1 else "is no share"
        raise RecipeError(
            f"{place}: {amount:g} {effect}; expected a share of zeros in (0, 1), such as 0.9 for a density of 0.1."
        )


def check_scope(scope: str) -> None:
    if scope not in ("layer", "global"):
        raise RecipeError(f"scope: {scope!r}, expected 'layer' or 'global'.")
