"""Magnitude pruning: single weights, or blocks of four inputs that a kernel can skip."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolchain.compression.pruning.masks import Masks, keep_largest
from toolchain.compression.pruning.methods import MaskMethod, Scope, check_scope, check_share
from toolchain.compression.pruning.selection import selected_weights
from toolchain.errors import RecipeError
from toolchain.ir import Graph


@dataclass(frozen=True, slots=True)
class L1Unstructured(MaskMethod):
    """Prune the weights of smallest magnitude.

    Exactly round(amount * size) weights are zero per matrix (or over all of them). Of equal magnitudes the earlier is
    pruned, first by the order of the weights in the graph, then by position.

    Attributes:
        amount: share of the weights that is zero afterwards, in (0, 1); zeros that are there already count.
        scope: "layer" takes the share of every weight matrix, "global" of all of them together.
        targets: prune exactly the weights whose name or module path starts with one of these. None: every Linear weight of
            the convolutions (GIN's MLPs included), which is all but the head.
        include_head: without targets, prune the head as well: each Linear that reads pooled rows, or whose result is a
            model output up to a softmax.
    """

    amount: float = 0.2
    scope: Scope = "layer"
    targets: tuple[str, ...] | None = None
    include_head: bool = False

    def __post_init__(self) -> None:
        check_share("amount", self.amount)
        check_scope(self.scope)

    @property
    def name(self) -> str:
        return f"prune {self.amount:.0%} ({self.scope})"

    def masks(self, graph: Graph) -> Masks:
        names = selected_weights(graph, self.targets, self.include_head)
        return keep_largest(graph, {name: np.abs(graph.constants[name]) for name in names}, self.amount, self.scope)


@dataclass(frozen=True, slots=True)
class L1Blocks(MaskMethod):
    """Prune blocks of consecutive inputs of one output channel, those of the smallest mean magnitude.

    A row whose length is no multiple of `block` ends in a shorter block. Exactly round(amount * blocks) blocks are zero
    per matrix (or over all of them).

    Attributes:
        amount: share of the blocks that is zero afterwards, in (0, 1).
        block: inputs per block.
        scope, targets, include_head: as for L1Unstructured.
    """

    amount: float = 0.5
    block: int = 4
    scope: Scope = "layer"
    targets: tuple[str, ...] | None = None
    include_head: bool = False

    def __post_init__(self) -> None:
        check_share("amount", self.amount)
        check_scope(self.scope)
        if self.block < 2:
            raise RecipeError(f"block: {self.block}, expected 2 inputs or more. Use L1Unstructured for single weights.")

    @property
    def name(self) -> str:
        return f"prune {self.amount:.0%} of 1x{self.block} blocks ({self.scope})"

    def masks(self, graph: Graph) -> Masks:
        names = selected_weights(graph, self.targets, self.include_head)
        scores = {name: block_means(np.abs(graph.constants[name]), self.block) for name in names}
        kept = keep_largest(graph, scores, self.amount, self.scope)
        return {
            name: np.repeat(mask, self.block, axis=1)[:, : graph.constants[name].shape[1]]
            for name, mask in kept.items()
        }


def block_means(array: np.ndarray, block: int) -> np.ndarray:
    """Means over blocks of columns, [rows, ceil(columns / block)]; the last block may be shorter."""
    starts = np.arange(0, array.shape[1], block)
    sums = np.add.reduceat(array.astype(np.float64), starts, axis=1)
    return sums / np.diff(np.append(starts, array.shape[1]))
