"""Float16: weights of Linears become halves where halves can hold them, and nothing else changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.unit.compression.hand_built import gcn_graph, gin_graph
from tests.unit.compression.test_training import labelled
from toolchain.compression import DynamicInt8, Float16, fine_tune, quantize
from toolchain.errors import InvalidGraph, QuantizationRefused, RecipeError
from toolchain.graph_file import load_graph, save_graph
from toolchain.ir import Graph, verify
from toolchain.ir.ops import Const, Linear
from toolchain.passes import deployable


def weights(graph: Graph) -> list[Const]:
    found = [graph.operand(v, "weight") for v in graph.values if isinstance(v.op, Linear)]
    return [v.op for v in found if v is not None and isinstance(v.op, Const)]


def with_largest(graph: Graph, largest: float) -> Graph:
    """The graph with its first weight scaled."""
    name = weights(graph)[0].name
    array = graph.constants[name]
    return graph.with_constants({name: array / np.abs(array).max() * np.float32(largest)})


def test_weights_are_halves_and_count_two_bytes_a_number() -> None:
    graph = gin_graph(layers=2)
    made = quantize(graph, Float16(least=1))

    assert all(const.is_half for const in weights(made))
    for const in weights(made):
        array = made.constants[const.name]
        np.testing.assert_array_equal(array, array.astype(np.float16))
    numbers = sum(made.constants[const.name].size for const in weights(made))
    assert made.weight_bytes == sum(a.nbytes for a in made.constants.values()) - 2 * numbers
    assert "half" in str(made) and not any(v.op.is_half for v in graph.values if isinstance(v.op, Const))


@pytest.mark.parametrize("largest", [65_505.0, 1e6, 6e-5, 1e-30])
def test_a_weight_that_halves_cannot_hold_stays_float32(largest: float) -> None:
    """Beyond 65,504 they are infinite, below 2^-14 they lose digits."""
    graph = with_largest(deployable(gin_graph(layers=2)), largest)
    name = weights(graph)[0].name
    made = quantize(graph, Float16(least=1))

    assert [const.is_half for const in weights(made)] == [const.name != name for const in weights(made)]
    np.testing.assert_array_equal(made.constants[name], graph.constants[name])


@pytest.mark.parametrize("largest", [65_504.0, 2.0**-14])
def test_the_largest_and_the_least_that_halves_can_hold_are_converted(largest: float) -> None:
    assert weights(quantize(with_largest(deployable(gin_graph(layers=2)), largest), Float16(least=1)))[0].is_half


def test_small_weights_stay_float32() -> None:
    graph = deployable(gin_graph(layers=2))
    sizes = {const.name: graph.constants[const.name].size for const in weights(graph)}
    made = quantize(graph, Float16(least=max(sizes.values())))
    assert {const.name for const in weights(made) if const.is_half} == {
        n for n, s in sizes.items() if s == max(sizes.values())
    }
    with pytest.raises(QuantizationRefused, match="no weight of 1000000 numbers or more that halves can hold"):
        quantize(graph, Float16(least=10**6))
    with pytest.raises(RecipeError, match="least: 0, expected at least 1"):
        Float16(least=0)


def test_graph_files_keep_the_mark(tmp_path: Path) -> None:
    made = quantize(gcn_graph(), Float16(least=1))
    save_graph(made, ("quantization",), tmp_path / "half.pgnn")

    assert str(load_graph(tmp_path / "half.pgnn").graph) == str(made)


def test_halves_are_neither_trained_nor_quantized_again() -> None:
    made = quantize(gcn_graph(), Float16(least=1))

    with pytest.raises(RecipeError, match="is quantized already"):
        quantize(made, DynamicInt8())
    with pytest.raises(RecipeError, match="is quantized; its codes cannot be trained"):
        fine_tune(made, labelled(4), epochs=1)


def test_a_mark_on_numbers_that_are_no_halves_is_found() -> None:
    made = quantize(gcn_graph(), Float16(least=1))
    name = weights(made)[0].name

    with pytest.raises(InvalidGraph, match="marked as halves, but not all of its float32 numbers are such"):
        verify(made.with_constants({name: made.constants[name] * np.float32(1.0001)}))
