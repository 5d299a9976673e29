"""Kernels that only move rows: exact, whatever the type of their elements."""

from __future__ import annotations

import ctypes
import itertools

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tests.c_kernels import ENUMS, assert_guards, guarded, kernels, struct
from tests.graph_zoo import GRAPHS
from tests.unit.runtimes.c.prepared import prepare
from toolchain.inputs import GraphInputs
from toolchain.topology import LoopAttributes, SelfLoops, TopologySpec, build_topology

TYPES = (np.int8, np.int16, np.int32, np.float32)
QUICK = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure


@pytest.fixture(scope="module")
def library():
    return kernels()


def codes(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(sum(shape)).integers(-100, 100, shape).astype(dtype)


@pytest.mark.parametrize("dtype", TYPES)
def test_columns_are_copied_between_rows_of_any_width(library, dtype):
    size = np.dtype(dtype).itemsize
    for channels, start, wide in itertools.product((1, 3, 8), (0, 2), (0, 5)):
        x, y = codes(6, channels + start, dtype=dtype), guarded((6, channels + wide), dtype)
        before = y.copy()

        library.gnn_copy_rows(x.reshape(-1)[start:], x.shape[1] * size, channels * size, 6, y, y.shape[1] * size)

        assert_guards(y)
        assert np.array_equal(y[:, :channels], x[:, start:])
        assert np.array_equal(y[:, channels:].view(np.uint8), before[:, channels:].view(np.uint8))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 3, 16])
def test_gather_takes_the_rows_that_are_named(library, dtype, channels):
    x = codes(9, channels, dtype=dtype)
    index = np.array([8, 0, 0, 3, 7, 8], np.uint16)
    y = guarded((6, channels), dtype)

    library.gnn_gather(x, index, channels * x.itemsize, 6, y)

    assert_guards(y)
    assert np.array_equal(y, x[index])


@settings(QUICK, max_examples=80)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=20).map(sorted), st.integers(1, 5), st.sampled_from(TYPES))
def test_broadcast_gives_each_node_the_row_of_its_graph(batch, block, dtype):
    library = kernels()
    pointer = np.concatenate([[0], np.cumsum(np.bincount(batch, minlength=8))]).astype(np.uint32)
    x, y = codes(8, 3, dtype=dtype), guarded((len(batch), 3), dtype)

    for first in range(0, len(batch), block):
        rows = min(block, len(batch) - first)
        library.gnn_broadcast(x, pointer, 8, 3 * x.itemsize, first, rows, y[first : first + rows])

    assert_guards(y)
    assert np.array_equal(y, x[batch])


@settings(QUICK, max_examples=80)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=12).filter(any), st.integers(1, 6))
def test_targets_name_the_row_of_each_edge(degrees, block):
    """Also over nodes without in-edges, and when a call starts in the middle of a row."""
    library = kernels()
    pointer = np.concatenate([[0], np.cumsum(degrees)]).astype(np.uint32)
    count, row = int(pointer[-1]), 0
    target = guarded(count, np.uint16)

    for first in range(0, count, block):
        rows = min(block, count - first)
        row = library.gnn_targets(pointer, row, first, rows, target[first : first + rows])
        assert row == target[first + rows - 1]

    assert_guards(target)
    assert np.array_equal(target, np.repeat(np.arange(len(degrees)), degrees))


def test_outputs_go_to_their_array(library):
    results = [guarded((5, 3), np.float32), guarded((4, 2), np.float32)]
    pointers = (ctypes.c_void_p * 2)(*(r.ctypes.data for r in results))
    outputs = struct("gnn_outputs", values=ctypes.addressof(pointers))
    before = results[0].copy()
    x = codes(2, 2)

    library.gnn_output(outputs, 1, 2, 2, 2, x)

    assert_guards(*results)
    assert np.array_equal(results[1][2:], x)
    assert np.array_equal(results[0].view(np.uint8), before.view(np.uint8))


def test_outputs_go_to_the_sink_where_there_is_no_array(library):
    calls = []
    signature = ctypes.CFUNCTYPE(
        None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.POINTER(ctypes.c_float)
    )
    sink = signature(
        lambda context, output, first, rows, x: calls.append((context, output, first, rows, x[: rows * 2]))
    )
    outputs = struct("gnn_outputs", sink=ctypes.cast(sink, ctypes.c_void_p).value, context=77)

    library.gnn_output(outputs, 1, 4, 2, 2, np.array([[1, 2], [3, 4]], np.float32))

    assert calls == [(77, 1, 4, 2, [1, 2, 3, 4])]


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("loops", SelfLoops)
@pytest.mark.parametrize("block", [1, 4, 1000])
def test_edge_attributes_come_in_the_order_of_the_topology(library, name, loops, block):
    """Those of an added self-loop are the mean over the other in-edges, summed in their order as the reference does."""
    inputs = GraphInputs.from_pyg(GRAPHS[name](3))
    spec = TopologySpec(loops, loop_attributes=LoopAttributes.MEAN)
    expected = build_topology(spec, inputs.num_nodes, inputs.edge_index, None)
    wanted = ("row_pointer", "source", "origin")
    prepared = prepare(library, spec, inputs.num_nodes, inputs.edge_index, wanted=wanted)
    assert prepared.status == ENUMS["GNN_OK"]
    attr, target = inputs.edge_attr, expected.target.astype(np.uint16)
    y = guarded((expected.num_edges, attr.shape[1]), np.float32)

    for first in range(0, expected.num_edges, block):
        part = y[first : first + block]
        library.gnn_edge_attr_f32(
            attr, attr.shape[1], prepared.topology, target[first : first + block], first, part.shape[0], part
        )

    assert_guards(y)
    assert np.array_equal(y, expected.edge_values(attr))
