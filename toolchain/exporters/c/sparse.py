"""Sparse binary features: which graphs can read the positions of ones instead of rows of zeros."""

from __future__ import annotations

from toolchain.errors import ExportError
from toolchain.ir import Graph, QParams
from toolchain.ir.ops import Input, Linear, Quantize, Role

BINARY = QParams((1.0,), 0, 8)  # what static int8 gives a binary input: codes 0 and 1


def check_sparse(graph: Graph) -> None:
    """Every reader of x is a Linear, directly or behind a quantization that keeps 0 and 1 as codes 0 and 1.

    Raises:
        ExportError: names the reader that needs the whole row.
    """
    users = graph.users()
    pending = [v.id for v in graph.values if isinstance(v.op, Input) and v.op.role is Role.X]
    while pending:
        value = graph.values[pending.pop()]
        for number in users[value.id]:
            reader = graph.values[number]
            if isinstance(reader.op, Quantize) and reader.op.row_factor is None and reader.type.qparams == BINARY:
                pending.append(reader.id)
            elif not isinstance(reader.op, Linear) or reader.inputs[0] != value.id:
                raise ExportError(
                    f"sparse features: {type(reader.op).__name__} ({reader.scope or 'the input'}) reads x as rows of numbers, "
                    "not as the positions of ones. Put a linear layer first (transform before aggregating), or export with "
                    "dense features."
                )
