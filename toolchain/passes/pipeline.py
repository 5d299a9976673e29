"""The order of the passes, as a literal tuple."""

from __future__ import annotations

from toolchain.errors import InvalidGraph
from toolchain.ir import Graph, verify
from toolchain.passes.activation_fusion import fuse_activation
from toolchain.passes.batch_norm_folding import fold_batch_norm
from toolchain.passes.bias_fusion import fuse_bias
from toolchain.passes.dropout_removal import remove_dropout
from toolchain.passes.propagate_fusion import fuse_propagate
from toolchain.passes.propagate_ordering import order_propagate
from toolchain.passes.topology_compaction import compact_topologies

PIPELINE = (
    remove_dropout,
    fuse_propagate,
    fuse_bias,
    fold_batch_norm,
    order_propagate,
    fuse_bias,
    fuse_activation,
    compact_topologies,
)


def deployable(graph: Graph) -> Graph:
    """The same function with BatchNorm folded, propagation fused and ordered, and nothing left that only training needs.

    A graph that is already quantized is returned as it is. The passes run until none changes anything, so running it twice
    changes nothing more.
    """
    if any(v.type.dtype.is_integer for v in graph.values):
        return graph
    before = ""
    while (text := str(graph)) != before:
        before = text
        for rewrite_once in PIPELINE:
            try:
                graph = verify(rewrite_once(graph))
            except InvalidGraph as error:
                raise InvalidGraph(f"after pass {rewrite_once.__name__}: {error}") from error
    return graph
