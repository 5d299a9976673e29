"""Which aggregation lowering an ONNX file uses, and up to which size of graph."""

from __future__ import annotations

from enum import Enum

from toolchain.ir import Domain, Graph
from toolchain.ir.ops import Gather, Propagate, Reduce

# Largest graph that a file with both lowerings aggregates as a dense product.
DENSE_UP_TO_NODES = 112


class Lowering(Enum):
    """How Propagate becomes operations that a runtime has."""

    DENSE = "dense"  # A x with the matrix of coefficients as an input: N^2 values, for small graphs
    SCATTER = "scatter"  # gather the rows of the sources, add them at the targets: any graph
    AUTO = "auto"  # both in one file, chosen by the number of nodes; scatter alone where dense cannot express the model


def takes_dense(graph: Graph) -> bool:
    """Whether every aggregation of a graph is a product with a matrix that is known before the model runs."""
    if any(v.type.domain is Domain.EDGE or isinstance(v.op, Gather) for v in graph.values):
        return False
    propagates = [v.op for v in graph.values if isinstance(v.op, Propagate)]
    return bool(propagates) and all(op.reduce in (Reduce.SUM, Reduce.MEAN) for op in propagates)
