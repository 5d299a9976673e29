"""Limits of a search over what a model takes once it is exported: bytes of its file, bytes of memory, time of an inference."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from toolchain.artifact import Artifact
from toolchain.compression.bit_search import Budget
from toolchain.errors import RecipeError
from toolchain.exporters import PLANS_MEMORY, export
from toolchain.exporters.emission import Bounds
from toolchain.ir import Graph
from toolchain.qat_step import Limits

Read = Callable[[Artifact], float]


@dataclass(frozen=True, slots=True)
class ArtifactCost:
    """A measure for a `Budget`: exports a graph to a folder that is gone afterwards, and reads one number off the artifact.

    Attributes:
        bounds: of the graphs, for formats that plan memory.
        read: picklable where several processes search.
    """

    format: str
    bounds: Bounds
    read: Read

    def __call__(self, graph: Graph) -> float:
        options: dict[str, Any] = {"bounds": self.bounds} if self.format in PLANS_MEMORY else {}
        with TemporaryDirectory(prefix="pocketgnn-") as folder:
            return float(self.read(export(graph, self.format, Path(folder) / "candidate", **options)))


def budgets(limits: Limits, bounds: Bounds, latency: Read | None) -> tuple[Budget, ...]:
    """What a search has to stay within.

    Args:
        latency: µs of an inference of an artifact; None where nothing runs artifacts.

    Raises:
        RecipeError: a limit of latency, and no `latency`.
    """
    if limits.latency_us is not None and latency is None:
        raise RecipeError(
            "limits: latency_us runs artifacts, which build() only makes. Use `pocketgnn run`, or pass latency=..."
        )
    reads = {"size_bytes": model_bytes, "memory_bytes": arena_bytes, "latency_us": latency}
    return tuple(
        Budget(name, limit, ArtifactCost(limits.format, bounds, read))
        for name, read in reads.items()
        if (limit := getattr(limits, name)) is not None and read is not None
    )


def model_bytes(artifact: Artifact) -> float:
    """Of the model file; of C, of the constants."""
    return artifact.model_bytes


def arena_bytes(artifact: Artifact) -> float:
    """Working memory of a C model for the largest graph of its bounds."""
    return float(artifact.provenance["arena_bytes"])
