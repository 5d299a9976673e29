"""Packed weights: what is stored gives the weights back, the smallest form is taken, and only where it is worth it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.compression.hand_built import Layers, gin_graph, many_inputs
from toolchain.compression import KMeans, L1Blocks, L1Unstructured, StaticInt8, prune, quantize, share
from toolchain.errors import ExportError
from toolchain.exporters.c.emitter import emit
from toolchain.exporters.c.packing import GROUP, index_bits, pack_rows, packed_codes, packed_floats
from toolchain.exporters.emission import Bounds
from toolchain.ir import Graph
from toolchain.ir.ops import Const
from toolchain.ir.types import const
from toolchain.passes import deployable

BOUNDS = Bounds(64, 512, 1)
SHARED, PRUNED = Const("w", const(1), codebook="w"), Const("w", const(1), pruned=True)


def unpacked(packed: np.ndarray, count: int, bits: int) -> np.ndarray:
    """`count` numbers of each row of bytes."""
    fields = np.unpackbits(packed, axis=1, bitorder="little")[:, : count * bits].reshape(len(packed), count, bits)
    return (fields.astype(np.int64) << np.arange(bits)).sum(axis=2)


@pytest.mark.parametrize(
    ("clusters", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (8, 3), (9, 4), (16, 4), (17, 5), (32, 5), (33, 6)]
)
def test_an_index_takes_as_many_bits_as_the_clusters_need(clusters: int, bits: int):
    assert index_bits(clusters) == bits


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("width", [1, 4, 12, 17])
def test_numbers_are_packed_without_gaps_in_rows_of_whole_bytes(bits: int, width: int):
    numbers = np.random.default_rng(bits).integers(0, 2**bits, (5, width))
    packed = pack_rows(numbers, bits)

    assert packed.size == 5 * -(-width * bits // 8)
    np.testing.assert_array_equal(unpacked(packed.reshape(5, -1), width, bits), numbers)


@pytest.mark.parametrize("clusters", [2, 5, 16, 32])
def test_codes_come_back_from_their_codebook(clusters: int):
    rng = np.random.default_rng(clusters)
    codes = rng.choice(rng.choice(np.arange(-127, 128), clusters, replace=False), (24, 20)).astype(np.int8)
    packed = packed_codes(SHARED, codes, codes.size, "smallest")

    assert packed is not None and (packed.storage, packed.bits) == ("codebook", index_bits(clusters))
    book, indices = np.split(packed.bytes, [2**packed.bits])
    np.testing.assert_array_equal(book.view(np.int8)[unpacked(indices.reshape(24, -1), 20, packed.bits)], codes)


@pytest.mark.parametrize("unit", [1, 4])
def test_codes_come_back_from_their_bitmap(unit: int):
    rng = np.random.default_rng(unit)
    kept = np.repeat(rng.random((16, 32 // unit)) < 0.4, unit, axis=1)
    codes = np.where(kept, rng.integers(1, 128, (16, 32)), 0).astype(np.int8)
    packed = packed_codes(PRUNED, codes, codes.size, "smallest")

    assert packed is not None and (packed.storage, packed.bits) == ("bitmap", 8 * unit)
    at, map_bytes = 0, 32 // unit // 8
    for row in codes:
        is_kept = np.unpackbits(packed.bytes[at : at + map_bytes], bitorder="little").astype(bool)
        at += map_bytes
        count = unit * int(is_kept.sum())
        made = np.zeros((32 // unit, unit), np.int8)
        made[is_kept] = packed.bytes[at : at + count].view(np.int8).reshape(-1, unit)
        at += count
        np.testing.assert_array_equal(made.reshape(-1), row)
    assert at == packed.bytes.size


@pytest.mark.parametrize(("op", "storage"), [(SHARED, "codebook"), (PRUNED, "bitmap")])
def test_floats_come_back_group_by_group(op: Const, storage: str):
    rng = np.random.default_rng(0)
    weight = np.where(rng.random((21, 30)) < 0.5, 0, rng.choice(rng.normal(size=11), (21, 30))).astype(np.float32)
    packed = packed_floats(op, weight, "smallest")

    assert packed is not None and packed.storage == storage
    fields = unpacked(packed.index.reshape(3 * 30, -1), GROUP, packed.bits)
    made = np.zeros((90, GROUP), np.float32)
    if storage == "codebook":
        made = packed.values[fields]
    else:
        made[fields.astype(bool)] = packed.values
    np.testing.assert_array_equal(made.reshape(3, 30, GROUP).transpose(0, 2, 1).reshape(24, 30)[:21], weight)


def test_of_two_forms_the_smaller_is_taken():
    both = Const("w", const(1), pruned=True, codebook="w")
    rng = np.random.default_rng(0)
    few = np.where(rng.random((64, 64)) < 0.02, rng.integers(-9, 10, (64, 64)), 0).astype(np.int8)
    many = np.where(rng.random((64, 64)) < 0.8, rng.integers(-3, 4, (64, 64)), 0).astype(np.int8)

    storages = [packed_codes(both, codes, codes.size, "auto") for codes in (few, many)]

    assert [packed.storage if packed else None for packed in storages] == ["bitmap", "codebook"]


def test_weights_that_are_neither_pruned_nor_shared_stay_plain():
    codes = np.zeros((64, 64), np.int8)

    assert packed_codes(Const("w", const(1)), codes, codes.size, "smallest") is None
    assert packed_floats(Const("w", const(1)), codes.astype(np.float32), "smallest") is None


def test_automatic_packing_leaves_what_saves_less_than_a_quarter():
    rng = np.random.default_rng(0)
    codes = np.where(rng.random((64, 64)) < 0.8, rng.integers(1, 128, (64, 64)), 0).astype(np.int8)  # 20 % pruned

    smallest = packed_codes(PRUNED, codes, codes.size, "smallest")
    assert smallest is not None and smallest.bytes.size < codes.size
    assert packed_codes(PRUNED, codes, codes.size, "auto") is None
    assert packed_codes(PRUNED, codes, codes.size, "plain") is None


def wide(width: int = 64) -> Graph:
    layers = Layers("wide")
    x = layers.relu(layers.linear(layers.input(5), width, "first"))
    return layers.finish(layers.linear(layers.relu(layers.linear(x, width, "second")), 3, "last"))


@pytest.mark.parametrize("width", [12, 64])
def test_automatic_packing_saves_more_than_the_code_that_unpacks(width: int):
    graph = share(wide(width), KMeans(8))
    sizes = {p: emit(graph, BOUNDS, packed_weights=p).facts["constant_bytes"] for p in ("auto", "smallest", "plain")}

    assert sizes["smallest"] < sizes["plain"]
    assert sizes["auto"] == sizes["smallest" if sizes["smallest"] + 1024 < sizes["plain"] else "plain"]
    assert (sizes["auto"] < sizes["plain"]) == (width == 64)


def kernels(graph: Graph, packing: str = "smallest") -> set[str]:
    return {name for name in emit(graph, BOUNDS, packed_weights=packing).extra_files if name.startswith("gnn_linear_")}


def test_a_model_ships_the_kernels_of_its_weights_only():
    plain = deployable(gin_graph())
    names = {"gnn_linear_codebook_f32.c", "gnn_linear_bitmap_f32.c"}

    assert not kernels(plain) & names
    assert kernels(share(plain, KMeans(8))) & names == {"gnn_linear_codebook_f32.c"}
    assert kernels(prune(plain, L1Unstructured(0.5))) & names == {"gnn_linear_bitmap_f32.c"}
    blocks = quantize(prune(plain, L1Blocks(0.7)), StaticInt8(many_inputs(8), min_agreement=0))
    assert {"gnn_linear_bitmap_s8.c", "gnn_linear_bitmap_s16.c"} & kernels(blocks)


def test_sixteen_clusters_take_four_bits_and_a_codebook():
    graph = share(wide(), KMeans(16, targets=("second",)))
    plain, packed = (emit(graph, BOUNDS, packed_weights=p).facts["constant_bytes"] for p in ("plain", "auto"))

    assert plain - packed == 64 * 64 * 4 - (64 * 64 // 2 + 16 * 4)


def test_an_unknown_packing_is_refused():
    with pytest.raises(ExportError, match=r"packed_weights .sparse. is unknown\. Expected one of auto, smallest"):
        emit(deployable(gin_graph()), BOUNDS, packed_weights="sparse")


@pytest.mark.parametrize("out", [60, 64])
def test_filling_up_the_last_tile_costs_no_index_bit(out: int):
    values = np.linspace(0.5, 2, 16, dtype=np.float32)
    weight = np.random.default_rng(0).choice(values, (out, 64))

    packed = packed_floats(SHARED, weight, "smallest")

    assert packed is not None and (packed.storage, packed.bits) == ("codebook", 4)
    assert packed.values.tolist() == values.tolist()
