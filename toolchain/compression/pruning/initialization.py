"""A Graph with new weights, as before any training."""

from __future__ import annotations

import numpy as np

from toolchain.ir import Graph
from toolchain.ir.ops import Add, BatchNorm, Const, HeadDot, LayerNorm, Linear


def initialized(graph: Graph, seed: int = 0) -> Graph:
    """The same architecture with newly drawn weights.

    Linear weights are Kaiming normal for ReLU (variance 2 / inputs), attention vectors Xavier normal (variance
    2 / (heads + channels)), biases 0; norms start as the identity. Other constants, such as the self-loop factor of a GIN
    layer, keep their values. What is pruned stays pruned.

    Source: He et al. 2015 (arXiv:1502.01852), Glorot & Bengio 2010.
    """
    rng = np.random.default_rng(seed)
    changed: dict[str, np.ndarray] = {}
    neutral = {"weight": 1.0, "bias": 0.0, "mean": 0.0, "variance": 1.0}
    for value in graph.values:
        if not isinstance(value.op, Linear | HeadDot | BatchNorm | LayerNorm):
            continue
        for slot in value.op.operand_names(len(value.inputs))[1:]:
            operand = graph.operand(value, slot)
            if operand is None or not isinstance(operand.op, Const) or operand.op.name in changed:
                continue
            array = graph.constants[operand.op.name]
            if array.ndim == 2:
                variance = 2 / array.shape[1] if isinstance(value.op, Linear) else 2 / sum(array.shape)
                drawn = rng.normal(0, np.sqrt(variance), array.shape)
                changed[operand.op.name] = np.where(array == 0, 0, drawn) if operand.op.pruned else drawn
            else:
                changed[operand.op.name] = np.full_like(array, neutral[slot])
    for value in graph.values:  # the bias of a Propagate, and that of a layer that adds it in an op of its own
        for operand in graph.operands(value) if isinstance(value.op, Add) else (graph.operand(value, "bias"),):
            if operand is not None and isinstance(operand.op, Const) and operand.op.trainable:
                changed.setdefault(operand.op.name, np.zeros_like(graph.constants[operand.op.name]))
    return graph.with_constants(changed)
