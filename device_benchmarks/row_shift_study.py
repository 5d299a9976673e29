"""Nodes of thousands of edges: 16-bit values against 8-bit values with a shift per row, in accuracy and in instructions.

    python -m device_benchmarks.row_shift_study --data-root DATA

trains GIN 5x64 on REDDIT-BINARY, then runs the test graphs with node values (a) as the exporters quantize them with 16 bits
everywhere, (b) rounded to 8 bits and a shift per row (ARITHMETIC 1.8, E = 10, one bit of head-room), weights with 8 bits in both.
The instructions are those of prototypes/row_shift.c, compiled for a Cortex-M4 and executed in unicorn; every result is compared
with numpy.
"""

from __future__ import annotations

import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from device_benchmarks.firmware import COMMON_FLAGS, COMPILER_FLAGS, compiler_command, default_compiler
from device_benchmarks.target import load_target
from toolchain.compression import StaticInt8, quantize
from toolchain.compression.evaluation import agreement, as_inputs, predict
from toolchain.datasets import split, tu
from toolchain.errors import MeasurementError, require
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.ir.integer import weight_codes
from toolchain.ir.ops import Const, Linear, Pool, Propagate
from toolchain.ir.reference import Call, evaluate, interpret
from toolchain.models import GIN, train
from toolchain.passes import deployable

CHANNELS, MOST_SHIFT, DEGREES = 64, 10, (5, 50, 500)
PROTOTYPE = Path(__file__).parent / "prototypes" / "row_shift.c"
CODE, STACK, DATA = 0x1000_0000, 0x2000_0000, 0x3000_0000
MEMORY_BYTES = 1 << 20


# --- accuracy ---------------------------------------------------------------------------------------------------------


def shifted_codes(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N, C] integers as int8 codes and [N] shifts: the smallest shift with which the largest of the row fits 127."""
    bounded = np.clip(y, -(127 << MOST_SHIFT), 127 << MOST_SHIFT).astype(np.int64)
    largest = np.abs(bounded).max(axis=1)
    shifts = np.zeros(len(y), np.int64)
    for e in range(MOST_SHIFT):
        rounding = (1 << e) >> 1
        shifts[((largest + rounding) >> e) > 127] = e + 1
    half = (np.int64(1) << shifts) >> 1
    return np.clip((bounded + half[:, None]) >> shifts[:, None], -127, 127), shifts


def with_rounded_weights(graph: Graph) -> Graph:
    """The float graph with every Linear weight on its 8-bit grid."""
    changed = {}
    for value in graph.values:
        weight = graph.operand(value, "weight") if isinstance(value.op, Linear) else None
        if weight is not None and isinstance(weight.op, Const):
            codes, q = weight_codes(graph.constant(weight), None, 1.0)
            changed[weight.op.name] = codes * np.broadcast_to(np.array(q.scale, np.float32), (len(codes),))[:, None]
    return graph.with_constants(changed)


def shifted_scores(graph: Graph, calibration: list[GraphInputs], test: list[GraphInputs]) -> np.ndarray:
    """Logits with the node values of every Linear and Propagate rounded to 8 bits and a shift per row."""
    largest: dict[int, float] = {}

    def watch(value: Any, array: np.ndarray) -> None:
        if isinstance(value.op, Linear | Propagate) and not isinstance(value.op, Pool):
            largest[value.id] = max(largest.get(value.id, 0.0), float(np.abs(array).max(initial=0)))

    for inputs in calibration:
        interpret(graph, inputs, watch)
    return np.concatenate([_shifted_run(graph, inputs, largest) for inputs in test])


def _shifted_run(graph: Graph, inputs: GraphInputs, largest: dict[int, float]) -> np.ndarray:
    prepared = inputs.prepare(graph.topologies)
    arrays: list[np.ndarray] = []
    for value in graph.values:
        operands, types = tuple(arrays[i] for i in value.inputs), tuple(graph.values[i].type for i in value.inputs)
        result = evaluate(value.op, Call(value, operands, types, prepared, dict(graph.constants)))
        if value.id in largest and value.type.domain.value == "node":
            scale = largest[value.id] / (127 * 2 ** (MOST_SHIFT - 1)) or 1.0
            codes, shifts = shifted_codes(np.rint(result / scale))
            result = (codes * (2.0 ** shifts[:, None]) * scale).astype(np.float32)
        arrays.append(result)
    return arrays[graph.outputs[0]]


# --- instructions -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Prototype:
    """The functions of row_shift.c on an emulated Cortex-M4."""

    emulator: Any
    symbols: dict[str, int]
    count: int = 0

    def call(self, name: str, *arguments: np.ndarray | int) -> tuple[int, list[np.ndarray]]:
        """Instructions of one call, and the arrays as it left them."""
        place, registers, arrays = DATA, [], []
        for argument in arguments:
            if isinstance(argument, int):
                registers.append(argument)
                continue
            self.emulator.mem_write(place, argument.tobytes())
            registers.append(place)
            arrays.append((place, argument))
            place += -(-argument.nbytes // 16) * 16
        arm = require("unicorn.arm_const", "mcu")
        stack = STACK + MEMORY_BYTES - 64
        for extra in registers[4:]:
            self.emulator.mem_write(stack, int(extra).to_bytes(4, "little"))
        for number, content in enumerate(registers[:4]):
            self.emulator.reg_write(getattr(arm, f"UC_ARM_REG_R{number}"), content)
        self.emulator.reg_write(arm.UC_ARM_REG_SP, stack)
        self.emulator.reg_write(arm.UC_ARM_REG_LR, (CODE + MEMORY_BYTES - 16) | 1)
        self.count = 0
        self.emulator.emu_start(self.symbols[name] | 1, CODE + MEMORY_BYTES - 16)
        left = [np.frombuffer(bytes(self.emulator.mem_read(p, a.nbytes)), a.dtype).reshape(a.shape) for p, a in arrays]
        return self.count, left


def prototype() -> Prototype:
    """Compile row_shift.c for a Cortex-M4 and load it into unicorn."""
    unicorn, arm = require("unicorn", "mcu"), require("unicorn.arm_const", "mcu")
    elf_file = require("elftools.elf.elffile", "mcu")
    target = load_target("cortex-m4")
    compiler = default_compiler(target)
    emulator = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    emulator.ctl_set_cpu_model(arm.UC_CPU_ARM_CORTEX_M4)
    for base in (CODE, STACK, DATA):
        emulator.mem_map(base, MEMORY_BYTES)
    with tempfile.TemporaryDirectory(prefix="pocketgnn-prototype-") as folder:
        made = Path(folder) / "row_shift.o"
        linked = Path(folder) / "row_shift.elf"
        command = [*compiler_command(compiler, target), *getattr(target.compile, compiler)]
        common = [*COMMON_FLAGS, *COMPILER_FLAGS[compiler], "-O2"]
        subprocess.run([*command, *common, "-c", str(PROTOTYPE), "-o", str(made)], check=True, capture_output=True)
        link = ["-nostdlib", f"-Wl,-Ttext=0x{CODE:x}", "-Wl,--entry=sum_s16"]
        subprocess.run([*command, *link, str(made), "-o", str(linked)], check=True, capture_output=True)
        with linked.open("rb") as stream:
            elf = elf_file.ELFFile(stream)
            for segment in elf.iter_segments("PT_LOAD"):
                if segment["p_vaddr"] >= CODE:
                    emulator.mem_write(segment["p_vaddr"], segment.data())
            table = elf.get_section_by_name(".symtab")
            symbols = {s.name: s["st_value"] & ~1 for s in table.iter_symbols() if s["st_value"]}
    made_prototype = Prototype(emulator, symbols)

    def count(*_: Any) -> None:
        made_prototype.count += 1

    emulator.hook_add(unicorn.UC_HOOK_CODE, count)
    return made_prototype


def instructions(seed: int) -> list[tuple[str, int, float, float]]:
    """(what, degree, 16 bits, 8 bits with shift): instructions per edge and feature, or per stored feature.

    Raises:
        MeasurementError: C and numpy differ.
    """
    functions, random = prototype(), np.random.default_rng(seed)
    nodes = 512
    y = (random.standard_normal((nodes, CHANNELS)) * 10 ** random.uniform(1, 4.5, (nodes, 1))).astype(np.int32)
    codes, shifts = shifted_codes(y)
    narrow, shift = codes.astype(np.int8), shifts.astype(np.uint8)
    wide = np.clip(y, -32767, 32767).astype(np.int16)
    rows: list[tuple[str, int, float, float]] = []
    for degree in DEGREES:
        index = random.integers(0, nodes, degree).astype(np.uint16)
        out = np.zeros(CHANNELS, np.int32)
        plain, left = functions.call("sum_s16", wide, shift, index, degree, out)
        _same(left[-1], wide[index].astype(np.int32).sum(axis=0))
        shifted, left = functions.call("sum_shifted", narrow, shift, index, degree, out)
        _same(left[-1], (codes << shifts[:, None])[index].sum(axis=0))
        rows.append(("sum, per edge and feature", degree, plain / degree / CHANNELS, shifted / degree / CHANNELS))
    plain_total = shifted_total = 0
    for row in range(64):
        count, left = functions.call("store_s16", y[row], np.zeros(CHANNELS, np.int16), np.zeros(1, np.uint8))
        _same(left[1], wide[row])
        plain_total += count
        count, left = functions.call("store_shifted", y[row], np.zeros(CHANNELS, np.int8), np.zeros(1, np.uint8))
        _same(left[1], narrow[row])
        _same(left[2], shift[row : row + 1])
        shifted_total += count
    rows.append(("store, per feature", 1, plain_total / 64 / CHANNELS, shifted_total / 64 / CHANNELS))
    return rows


def _same(made: np.ndarray, expected: np.ndarray) -> None:
    if not np.array_equal(made, expected):
        raise MeasurementError("row_shift.c and numpy differ; the prototype is wrong.")


@click.command(help=__doc__)
@click.option(
    "--data-root", type=click.Path(path_type=Path), help="Where PyG keeps REDDIT-BINARY; without it, only instructions."
)
@click.option("--seed", "seeds", type=int, multiple=True, default=(0,), show_default=True, help="Repeatable.")
@click.option("--epochs", type=int, default=20, show_default=True)
def main(data_root: Path | None, seeds: tuple[int, ...], epochs: int) -> None:
    torch.set_num_threads(1)
    print("Cortex-M4, instructions, 64 channels; C equals numpy in every value")
    for what, degree, plain, shifted in instructions(seeds[0]):
        print(
            f"  {what:26} degree {degree:4}: 16 bits {plain:6.2f}, 8 bits and shift {shifted:6.2f} ({shifted / plain:.2f}x)"
        )
    if data_root is None:
        return
    graphs = tu(data_root, "REDDIT-BINARY")
    for seed in seeds:
        parts = split(graphs, seed=seed)
        torch.manual_seed(seed)
        model = GIN(parts.features, parts.classes, 64, 5, pool="mean")
        train(model, parts.train, parts.validation, epochs=epochs, seed=seed)
        graph = deployable(lower(model, parts.train[0], name="reddit"))
        test, labels = as_inputs(parts.test), np.array([int(g.y) for g in parts.test])
        reference = predict(graph, test)
        wide = quantize(graph, StaticInt8(parts.train, mode="all-int16", min_agreement=0.5, seed=seed))
        scores = {
            "16 bits": predict(wide, test),
            "8 bits and shift": shifted_scores(with_rounded_weights(graph), as_inputs(parts.train), test),
        }
        for name, made in scores.items():
            print(
                f"  seed {seed}, {name:17}: agreement {agreement(reference, made):.2%}, accuracy "
                f"{(made.argmax(1) == labels).mean():.2%} (float {(reference.argmax(1) == labels).mean():.2%}), "
                f"mean error {np.abs(made - reference).mean():.3f}, largest {np.abs(made - reference).max():.2f}"
            )


if __name__ == "__main__":
    main()
