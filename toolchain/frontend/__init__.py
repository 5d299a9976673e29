"""From a PyG model to a Graph: `lower`, and `lowers` to register a lowering for a layer."""

from toolchain.frontend.arguments import run_model
from toolchain.frontend.lowering import lower
from toolchain.frontend.registry import lowers

__all__ = ["lower", "lowers", "run_model"]
