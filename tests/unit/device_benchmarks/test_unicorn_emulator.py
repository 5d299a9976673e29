"""Images in unicorn: what they compute, what is counted, and what is said when one goes wrong."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from device_benchmarks.board_identity import counts_of
from device_benchmarks.serial_protocol import Board
from device_benchmarks.unicorn_emulator import UnicornEmulator
from tests.firmware_artifact import expected_outputs, random_graph
from toolchain.errors import DeviceError, DeviceTimeout, MeasurementError
from toolchain.inputs import GraphInputs

FAULT, HANG = 666.0, 667.0  # values of x[0][0], see tests/firmware_model/model.c


def _with_first_feature(graph: GraphInputs, value: float) -> GraphInputs:
    x = graph.x.copy()
    x[0, 0] = value
    return replace(graph, x=x)


def _count(image, graph):
    emulator = UnicornEmulator(image, counting=True)
    board = Board(emulator)
    board.load(graph)
    board.prepare(*counts_of(graph))
    prepare = emulator.counts(2)
    inference = board.infer()
    return prepare, emulator.counts(2 + 2 * inference.result.lines), inference


@pytest.mark.parametrize("target", ["cortex-m0plus", "cortex-m4", "cortex-m33", "riscv32", "aarch64"])
def test_outputs_are_those_of_the_formula_on_every_architecture(firmware, target):
    board = Board(UnicornEmulator(firmware(target)))

    for seed in range(6):
        graph = random_graph(seed)
        board.load(graph)
        assert board.prepare(*counts_of(graph)).status == 0
        for found, expected in zip(board.infer().outputs, expected_outputs(graph), strict=True):
            np.testing.assert_array_equal(found, expected)


def test_instruction_counts_repeat_exactly(firmware):
    graph = random_graph(4)

    first, second = (_count(firmware("cortex-m4"), graph) for _ in range(2))

    assert [counts.by_function for counts in first[:2]] == [counts.by_function for counts in second[:2]]


def test_instructions_are_those_of_the_model_and_not_of_the_protocol(firmware):
    prepare, run, _ = _count(firmware("cortex-m4"), random_graph(4))

    assert next(iter(run.by_function)) == "gnn_tiny_run"
    assert not {"send", "checksum", "board_write", "board_read", "receive"} & set(run.by_function)
    assert prepare.by_function["gnn_tiny_prepare"] < prepare.total
    assert (prepare + run).total == prepare.total + run.total


def test_instructions_grow_with_the_graph(firmware):
    small, large = GraphInputs(np.ones((1, 3)), np.zeros((2, 0)), np.zeros(0), np.zeros((0, 2))), random_graph(4)

    assert _count(firmware("cortex-m4"), small)[1].total < _count(firmware("cortex-m4"), large)[1].total


def test_stack_is_read_from_the_paint_that_is_gone(firmware):
    image = firmware("cortex-m4")
    _, _, inference = _count(image, random_graph(4))

    assert 100 < inference.result.since_start < 600
    assert image.stack_room_bytes == image.target.ram_bytes - image.elf.ram_bytes


def test_a_fault_is_told_with_address_and_function(firmware):
    graph = _with_first_feature(random_graph(4), FAULT)
    board = Board(UnicornEmulator(firmware("cortex-m33")))
    board.load(graph)
    board.prepare(*counts_of(graph))

    with pytest.raises(
        DeviceError,
        match=r"tiny on cortex-m33: .* at 0x1000\w{4} in gnn_tiny_run\+0x\w+: there is no memory at 0xdeadbee0",
    ):
        board.infer()


def test_an_image_that_hangs_is_given_up_with_its_place(firmware):
    graph = _with_first_feature(random_graph(4), HANG)
    board = Board(UnicornEmulator(firmware("cortex-m4"), seconds=0.2))
    board.load(graph)
    board.prepare(*counts_of(graph))

    with pytest.raises(DeviceTimeout, match=r"no answer within 0.2 s; it is at 0x\w+ in gnn_tiny_run"):
        board.infer()


def test_a_processor_that_unicorn_does_not_have_is_refused(firmware):
    with pytest.raises(MeasurementError, match=r"cortex-m55: unicorn has no such processor. Use --engine qemu"):
        UnicornEmulator(firmware("cortex-m55"))


def test_counts_need_an_emulator_that_counts(firmware):
    with pytest.raises(MeasurementError, match="not started to count"):
        UnicornEmulator(firmware("cortex-m4")).counts(2)
