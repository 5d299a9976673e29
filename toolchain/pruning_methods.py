"""From the prune step of a recipe or command line to the method that does it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from toolchain.compression import ECS, SNIP, BoGP, Iterative, L1Blocks, L1Unstructured, StructuredChannels
from toolchain.compression.pruning import PruningMethod
from toolchain.datasets import loader
from toolchain.model_source import GraphParts
from toolchain.prune_steps import Prune, PruneBlocks, PruneBogp, PruneChannels, PruneEcs, PruneSnip, PruneStep


def pruning(step: PruneStep, parts: Callable[[], GraphParts], seed: int) -> PruningMethod:
    """The method that a prune step names.

    Args:
        parts: gives the user's graphs; called only where the method needs some.
        seed: of everything that is drawn or shuffled.
    """
    targets = None if step.targets is None else tuple(step.targets)

    def training(step: Any) -> dict[str, Any]:
        return {"lr": step.lr, "weight_decay": step.weight_decay, "seed": seed, "batch_size": step.batch_size}

    match step:
        case Prune():
            method: Any = L1Unstructured(step.amount, step.scope, targets, step.include_head)
        case PruneBlocks():
            method = L1Blocks(step.amount, step.block, step.scope, targets, step.include_head)
        case PruneSnip():
            method = SNIP(
                loader(parts().train, step.batch_size, seed), step.amount, step.at_initialization, step.batches, step.scope,
                targets, step.include_head, seed=seed, batch_size=step.batch_size,
            )  # fmt: skip
        case PruneEcs():
            batches = loader(parts().train, step.batch_size, seed)
            return ECS(
                batches,
                step.amount,
                step.epochs,
                step.batches,
                step.scope,
                targets,
                step.include_head,
                **training(step),
            )
        case PruneBogp():
            return BoGP(
                parts().validation, tuple(step.amounts) if step.amounts else step.amount or 0.5,
                0.1 if step.alpha is None else step.alpha, step.nodes, step.database, step.trials, step.initial,
                loader(parts().train, step.batch_size, seed) if step.epochs else None, step.epochs, targets,
                step.include_head, **training(step),
            )  # fmt: skip
        case PruneChannels():
            return StructuredChannels(step.amount, step.channels, step.importance, step.heads, targets, seed)
        case _:
            raise AssertionError(f"{step.method} has a schema and no method")
    if step.rounds == 1:
        return method
    batches = loader(parts().train, step.batch_size, seed)
    return Iterative(method, batches, step.rounds, step.epochs, **training(step))
