"""A constant that is added goes where the value is made, through means over heads and residual additions."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.passes.test_passes import assert_same_function, count
from toolchain.ir import Graph, GraphBuilder, ops
from toolchain.ir.types import node
from toolchain.passes import deployable
from toolchain.topology import SelfLoops, TopologySpec

RNG = np.random.default_rng(11)
RELU = ops.Activation(ops.Function.RELU)


class Attention:
    """One attention layer with two heads of three channels, as the frontend lowers it."""

    def __init__(self) -> None:
        self.b = GraphBuilder()
        self.topology = self.b.topology(TopologySpec(SelfLoops.REPLACE))
        self.x = self.b.add(ops.Input(ops.Role.X, node(4)))

    def linear(self, out: int, name: str, *, bias: bool = False) -> int:
        operands = [self.x, self.b.const(f"{name}.weight", RNG.normal(size=(out, 4)))]
        operands += [self.b.const(f"{name}.bias", RNG.normal(size=out))] if bias else []
        return self.b.add(ops.Linear(), *operands, scope=name)

    def heads(self) -> int:
        """[N, 6]: the weighted sum, without bias."""
        h, b = self.linear(6, "lin"), self.b
        scores = [b.add(ops.HeadDot(), h, b.const(f"att_{end.value}", RNG.normal(size=(2, 3)))) for end in ops.End]
        ends = [b.add(ops.Gather(self.topology, end), s) for s, end in zip(scores, ops.End, strict=True)]
        weights = b.add(ops.EdgeSoftmax(), b.add(ops.Add(), *ends))
        return b.add(ops.Propagate(self.topology, operands=("weight",)), h, weights, scope="conv")

    def plus_bias(self, value: int) -> int:
        return self.b.add(ops.Add(), value, self.b.const("conv.bias", RNG.normal(size=self.b.type(value).channels)))


def check(graph: Graph, adds: int) -> Graph:
    """The same function, with this many Adds left of those that are not between the ends of edges."""
    ready = deployable(graph)
    assert_same_function(graph, ready)
    assert str(deployable(ready)) == str(ready)
    assert count(ready, ops.Add) == adds + 1
    return ready


def test_a_bias_behind_a_mean_over_heads_goes_into_the_sum_once_per_head() -> None:
    a = Attention()
    ready = check(a.b.finish([a.plus_bias(a.b.add(ops.HeadMean(2), a.heads()))]), adds=0)
    (sum_,) = (v for v in ready.values if isinstance(v.op, ops.Propagate))

    assert sum_.op.operands == ("weight", "bias")
    bias = ready.constants["conv.bias"]
    assert bias.shape == (6,)
    np.testing.assert_array_equal(bias[:3], bias[3:])


@pytest.mark.parametrize("residual_first", [False, True])
def test_a_bias_behind_a_residual_goes_into_one_of_its_sides(residual_first: bool) -> None:
    a = Attention()
    sides = [a.b.add(ops.HeadMean(2), a.heads()), a.linear(3, "res")]
    total = a.b.add(ops.Add(), *(reversed(sides) if residual_first else sides))
    ready = check(a.b.finish([a.b.add(RELU, a.plus_bias(total))]), adds=1)

    assert count(ready, ops.Activation) == 0  # and the ReLU into the Add that is left


def test_a_bias_joins_the_one_that_is_there() -> None:
    a = Attention()
    ready = check(a.b.finish([a.plus_bias(a.b.add(ops.Add(), a.linear(6, "res", bias=True), a.heads()))]), adds=1)

    assert [name for name in ready.constants if name.endswith("bias")] == ["res.bias"]


def test_a_bias_stays_where_others_read_the_value_without_it() -> None:
    a = Attention()
    mean = a.b.add(ops.HeadMean(2), a.heads())
    check(a.b.finish([a.plus_bias(mean), mean]), adds=1)


def test_a_bias_stays_behind_an_activation() -> None:
    a = Attention()
    h = a.b.add(ops.Activation(ops.Function.RELU), a.linear(6, "lin2"))
    check(a.b.finish([a.plus_bias(a.b.add(ops.Add(), h, a.b.add(RELU, a.heads())))]), adds=2)


def test_two_constants_in_a_row_become_one_bias() -> None:
    a = Attention()
    ready = check(a.b.finish([a.plus_bias(a.plus_bias(a.heads()))]), adds=0)

    assert sum(name.startswith("conv.bias") for name in ready.constants) == 1


def test_a_value_added_to_itself_takes_no_bias() -> None:
    a = Attention()
    h = a.heads()
    check(a.b.finish([a.plus_bias(a.b.add(ops.Add(), h, h))]), adds=2)
