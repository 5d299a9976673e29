"""From a trained PyTorch Geometric model to an artifact that runs on a device.

The names below load what they need on first use, so that a board can import `runtimes` (which reads `toolchain.artifact`)
without torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "GraphInputs": "toolchain.inputs",
    "Artifact": "toolchain.artifact",
    "lower": "toolchain.frontend",
    "L1Unstructured": "toolchain.compression",
    "StaticInt8": "toolchain.compression",
    "DynamicInt8": "toolchain.compression",
    "Float16": "toolchain.compression",
    "QAT": "toolchain.compression",
    "prune": "toolchain.compression",
    "fine_tune": "toolchain.compression",
    "KMeans": "toolchain.compression",
    "share": "toolchain.compression",
    "quantize": "toolchain.compression",
    "export": "toolchain.exporters",
    "build": "toolchain.pipeline",
    "Recipe": "toolchain.pipeline",
}

if TYPE_CHECKING:
    from toolchain.artifact import Artifact
    from toolchain.compression import (
        QAT,
        DynamicInt8,
        Float16,
        KMeans,
        L1Unstructured,
        StaticInt8,
        fine_tune,
        prune,
        quantize,
        share,
    )
    from toolchain.exporters import export
    from toolchain.frontend import lower
    from toolchain.inputs import GraphInputs
    from toolchain.pipeline import Recipe, build

__all__ = [
    "QAT", "Artifact", "DynamicInt8", "Float16", "GraphInputs", "KMeans", "L1Unstructured", "Recipe", "StaticInt8", "build",
    "export", "fine_tune", "lower", "prune", "quantize", "share",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module 'toolchain' has no attribute {name!r}")
    return getattr(import_module(_EXPORTS[name]), name)
