"""What the attributes of ops can be: reductions, functions, ends of an edge, row factors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Reduce(Enum):
    SUM = "sum"
    MEAN = "mean"
    MAX = "max"
    MIN = "min"
    PRODUCT = "product"

    @property
    def of_nothing(self) -> float:
        """What rows are reduced to where there are none, as in PyTorch Geometric."""
        return 1.0 if self is Reduce.PRODUCT else 0.0


# What Propagate reduces with, and what has an integer form. A product is one of edge values or of nodes by graph, in float32.
PROPAGATED = (Reduce.SUM, Reduce.MEAN, Reduce.MAX, Reduce.MIN)


class Function(Enum):
    """Elementwise activation functions. LEAKY_RELU uses `Activation.alpha` as its slope, ELU as its alpha."""

    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    ELU = "elu"
    GELU = "gelu"  # erf form
    GELU_TANH = "gelu_tanh"
    SIGMOID = "sigmoid"
    TANH = "tanh"
    EXP = "exp"
    LOG = "log"  # of positive numbers
    SQRT = "sqrt"  # of numbers that are not negative
    ABS = "abs"
    STEP = "step"  # 1 where x > 0, else 0: what comparisons and masks are made of


# Functions without an integer form: their range or slope is unbounded, or one code decides between two values.
FLOAT_ONLY = frozenset({Function.EXP, Function.LOG, Function.SQRT, Function.ABS, Function.STEP})


class End(Enum):
    """Which end of an edge a node value is read at. Messages flow from SOURCE to TARGET."""

    SOURCE = "source"
    TARGET = "target"


class Role(Enum):
    """Which array of the runtime graph an Input reads."""

    X = "x"
    EDGE_WEIGHT = "edge_weight"  # raw, in topology order; coefficients of Propagate come from the topology instead
    EDGE_ATTR = "edge_attr"


@dataclass(frozen=True, slots=True)
class RowFactor:
    """A per-node factor of a topology's normalization, multiplied into each row: r (SOURCE) or l (TARGET)."""

    topology: int
    end: End


class Order(Enum):
    """The side of a Linear on which `passes.order_propagate` puts an aggregation."""

    AGGREGATE_FIRST = "aggregate-first"  # (A X) W
    TRANSFORM_FIRST = "transform-first"  # A (X W)


class Extent(Enum):
    """What a LayerNorm averages over."""

    ROW = "row"  # the channels of each row: torch.nn.LayerNorm, PyG LayerNorm(mode="node")
    GRAPH = "graph"  # all nodes and channels of each graph: PyG LayerNorm(mode="graph")
