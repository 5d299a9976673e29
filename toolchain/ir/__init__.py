"""The one representation between a PyG model and an artifact: small, typed, executable."""

from toolchain.ir.graph import Graph, GraphBuilder, Value, check_graph, rewrite
from toolchain.ir.reference import interpret
from toolchain.ir.text import to_text
from toolchain.ir.types import Domain, DType, QParams, TensorType
from toolchain.ir.verify import verify

__all__ = [
    "DType", "Domain", "Graph", "GraphBuilder", "QParams", "TensorType", "Value", "check_graph", "interpret", "rewrite", "to_text",
    "verify",
]  # fmt: skip
