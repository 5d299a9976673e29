"""Images in QEMU's machines, through their serial ports: the same outputs and the same counts as in unicorn."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from device_benchmarks.board_identity import counts_of
from device_benchmarks.fault_status import explain_fault
from device_benchmarks.qemu_emulator import QemuEmulator
from device_benchmarks.serial_protocol import Board, BoardFault
from device_benchmarks.unicorn_emulator import UnicornEmulator
from tests.firmware_artifact import expected_outputs, random_graph
from toolchain.errors import MissingDependency

pytestmark = pytest.mark.qemu
TARGETS = ("cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "riscv32", "aarch64")


def _counted(emulator, graph):
    board = Board(emulator)
    board.load(graph)
    board.prepare(*counts_of(graph))
    prepare = emulator.counts(2)
    inference = board.infer()
    return prepare.by_function, emulator.counts(2 + 2 * inference.result.lines).by_function, inference.outputs


@pytest.mark.parametrize(
    ("target", "compiler"),
    [(target, "zig") for target in TARGETS] + [(target, "gcc") for target in TARGETS if target != "riscv32"],
)
def test_outputs_are_those_of_the_formula_on_every_machine(firmware, target, compiler):
    with closing(QemuEmulator(firmware(target, compiler))) as emulator:
        board = Board(emulator)
        for seed in range(4):
            graph = random_graph(seed)
            board.load(graph)
            assert board.prepare(*counts_of(graph)).status == 0
            for found, expected in zip(board.infer().outputs, expected_outputs(graph), strict=True):
                np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("target", [target for target in TARGETS if target != "cortex-m55"])
def test_qemu_and_unicorn_count_the_same_instructions(firmware, target):
    graph = random_graph(4)
    with closing(QemuEmulator(firmware(target), counting=True)) as emulator:
        in_qemu = _counted(emulator, graph)

    in_unicorn = _counted(UnicornEmulator(firmware(target), counting=True), graph)

    assert in_qemu[:2] == in_unicorn[:2]


def test_instructions_of_a_processor_that_only_qemu_has_are_counted(firmware):
    with closing(QemuEmulator(firmware("cortex-m55"), counting=True)) as emulator:
        prepare, run, outputs = _counted(emulator, random_graph(4))

    assert prepare["gnn_tiny_prepare"] > 100
    assert next(iter(run)) == "gnn_tiny_run"
    np.testing.assert_array_equal(outputs[0], expected_outputs(random_graph(4))[0])


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("cortex-m4", r"HardFault at 0x\w{8} in gnn_tiny_run\+0x\w+ \(data bus error, CFSR 0x00008200\)"),
        ("cortex-m33", r"HardFault at 0x\w{8} in gnn_tiny_run\+0x\w+ \(data bus error, CFSR 0x00008200\)"),
        ("cortex-m0plus", r"HardFault at 0x\w{8} in gnn_tiny_run\+0x\w+ \(this processor tells no cause\)"),
        ("riscv32", r"load access fault at 0x\w{8} in gnn_tiny_run\+0x\w+ \(mtval 0xdeadbee0\)"),
    ],
)
def test_a_fault_is_reported_by_the_firmware_itself(firmware, target, words):
    image, graph = firmware(target), random_graph(4)
    x = graph.x.copy()
    x[0, 0] = 666.0
    graph = replace(graph, x=x)
    with closing(QemuEmulator(image)) as emulator:
        board = Board(emulator, partial(explain_fault, image))
        board.load(graph)
        board.prepare(*counts_of(graph))

        with pytest.raises(BoardFault, match=f"tiny on {target}: {words}"):
            board.infer()


def test_a_qemu_that_is_not_installed_is_named(firmware):
    image = firmware("cortex-m4")
    nowhere = replace(image.target, emulator=replace(image.target.emulator, qemu=("qemu-system-nowhere",)))

    with pytest.raises(MissingDependency, match=r"qemu-system-nowhere is not installed.*--engine unicorn"):
        QemuEmulator(replace(image, target=nowhere))
