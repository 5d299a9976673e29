"""Graphs built without a frontend, and random graphs to run them on."""

from __future__ import annotations

import numpy as np

from toolchain.inputs import GraphInputs
from toolchain.ir import Graph, GraphBuilder, verify
from toolchain.ir.ops import (
    Activation,
    Add,
    BatchNorm,
    Function,
    Input,
    Linear,
    LogSoftmax,
    Pool,
    Propagate,
    Reduce,
    Role,
)
from toolchain.ir.types import node
from toolchain.topology import Normalization, SelfLoops, TopologySpec

GCN_EDGES = TopologySpec(SelfLoops.REMAINING, Normalization.SYMMETRIC)
PLAIN_EDGES = TopologySpec()


class Layers:
    """A GraphBuilder with seeded layers."""

    def __init__(self, name: str, seed: int = 0) -> None:
        self.builder = GraphBuilder(name=name)
        self.rng = np.random.default_rng(seed)

    def linear(self, x: int, out: int, scope: str, *, bias: bool = True) -> int:
        width = self.builder.type(x).channels
        weight = self.builder.const(f"{scope}.weight", self.rng.normal(0, 1.4 / width**0.5, (out, width)), scope=scope)
        operands = [x, weight]
        if bias:
            operands.append(self.builder.const(f"{scope}.bias", self.rng.normal(0, 0.2, out), scope=scope))
        return self.builder.add(Linear(), *operands, scope=scope)

    def batch_norm(self, x: int, scope: str) -> int:
        width = self.builder.type(x).channels
        stats = {
            "weight": self.rng.uniform(0.5, 1.5, width),
            "bias": self.rng.normal(0, 0.3, width),
            "mean": self.rng.normal(0, 0.3, width),
            "variance": self.rng.uniform(0.5, 2, width),
        }
        ids = [self.builder.const(f"{scope}.{n}", a, trainable=n in ("weight", "bias")) for n, a in stats.items()]
        return self.builder.add(BatchNorm(), x, *ids, scope=scope)

    def relu(self, x: int) -> int:
        return self.builder.add(Activation(Function.RELU), x)

    def gcn(self, x: int, out: int, scope: str) -> int:
        h = self.linear(x, out, f"{scope}.lin", bias=False)
        bias = self.builder.const(f"{scope}.bias", self.rng.normal(0, 0.2, out))
        return self.builder.add(Propagate(self.builder.topology(GCN_EDGES), operands=("bias",)), h, bias, scope=scope)

    def gin(self, x: int, out: int, scope: str, *, eps: float = 0.3) -> int:
        self_scale = self.builder.const(f"{scope}.eps", np.array([1 + eps]))
        op = Propagate(self.builder.topology(PLAIN_EDGES), operands=("self_scale",))
        h = self.builder.add(op, x, self_scale, scope=scope)
        h = self.relu(self.batch_norm(self.linear(h, out, f"{scope}.nn.0"), f"{scope}.nn.1"))
        return self.relu(self.linear(h, out, f"{scope}.nn.3"))

    def sage(self, x: int, out: int, scope: str) -> int:
        mean = self.builder.add(Propagate(self.builder.topology(PLAIN_EDGES), Reduce.MEAN), x, scope=scope)
        near, own = self.linear(mean, out, f"{scope}.lin_l"), self.linear(x, out, f"{scope}.lin_r", bias=False)
        return self.builder.add(Add(), near, own, scope=scope)

    def input(self, features: int) -> int:
        return self.builder.add(Input(Role.X, node(features)))

    def finish(self, *outputs: int) -> Graph:
        return verify(self.builder.finish(outputs))


def gcn_graph(features: int = 7, hidden: int = 16, classes: int = 4, layers: int = 3, seed: int = 0) -> Graph:
    """GCN layers, mean pool, Linear head."""
    m = Layers("gcn", seed)
    x = m.input(features)
    for i in range(layers):
        x = m.relu(m.gcn(x, hidden, f"convs.{i}"))
    pooled = m.builder.add(Pool(Reduce.MEAN), x)
    return m.finish(m.linear(pooled, classes, "head"))


def gin_graph(
    features: int = 7, hidden: int = 16, classes: int = 4, layers: int = 3, seed: int = 0, pool: Reduce = Reduce.MEAN
) -> Graph:
    """GIN layers with BatchNorm MLPs and a trained eps, a pool, Linear head."""
    m = Layers("gin", seed)
    x = m.input(features)
    for i in range(layers):
        x = m.gin(x, hidden, f"convs.{i}", eps=0.1 * (i + 1))
    pooled = m.builder.add(Pool(pool), x)
    return m.finish(m.linear(pooled, classes, "head"))


def sage_graph(features: int = 7, hidden: int = 16, classes: int = 4, seed: int = 0) -> Graph:
    """Two SAGE layers and a residual, node logits."""
    m = Layers("sage", seed)
    x = m.input(features)
    h = m.relu(m.sage(x, hidden, "convs.0"))
    h2 = m.builder.add(Add(), m.relu(m.sage(h, hidden, "convs.1")), h)
    return m.finish(m.builder.add(LogSoftmax(), m.linear(h2, classes, "head")))


def node_gcn_graph(features: int = 30, hidden: int = 16, classes: int = 5, seed: int = 0) -> Graph:
    """Two GCN layers that transform first, log_softmax per node."""
    m = Layers("node_gcn", seed)
    x = m.relu(m.gcn(m.input(features), hidden, "conv1"))
    return m.finish(m.builder.add(LogSoftmax(), m.gcn(x, classes, "conv2")))


def random_inputs(num_nodes: int, num_edges: int, features: int = 7, seed: int = 0) -> GraphInputs:
    rng = np.random.default_rng(seed)
    return GraphInputs(rng.normal(size=(num_nodes, features)), rng.integers(0, num_nodes, (2, num_edges)))


def many_inputs(count: int, features: int = 7, seed: int = 0) -> list[GraphInputs]:
    """Graphs of 5 to 30 nodes."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(5, 30, count)
    return [random_inputs(int(n), int(3 * n), features, seed * 1000 + i) for i, n in enumerate(sizes)]
