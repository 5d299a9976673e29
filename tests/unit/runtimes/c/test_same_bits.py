"""Float kernels give the same bits from every compiler, at every optimization level and on every processor.

The program is every_float_kernel.c; processors are executed by unicorn from images that zig links.
"""

from __future__ import annotations

import ctypes
import functools
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import unicorn
from elftools.elf.elffile import ELFFile

from tests.c_kernels import INCLUDE, SOURCE, WARNINGS, cache_folder, compilers, default_compiler, load

PROGRAM = Path(__file__).with_name("every_float_kernel.c")
MEMORY_BYTES = 1 << 24
RETURN = 0x8000  # where the program returns to, which ends the run


@functools.cache
def sources() -> tuple[Path, ...]:
    """The program and the kernels that it calls."""
    called = set(re.findall(r"\b(gnn_\w+)\(", PROGRAM.read_text()))
    return (PROGRAM, *sorted(path for path in SOURCE.glob("*.c") if path.stem in called))


@functools.cache
def hashes(compiler: str, *flags: str) -> list[int]:
    """What the program records on this machine."""
    library = load(sources(), *flags, compiler=compiler)
    library.every_float_kernel()
    return records(np.ctypeslib.as_array((ctypes.c_uint32 * 65).in_dll(library, "every_float_kernel_hashes")))


def records(array: np.ndarray) -> list[int]:
    return array[1 : 1 + array[0]].tolist()


def test_the_program_runs_every_float_kernel():
    kernels = {path.stem for path in SOURCE.glob("gnn_*f32.c")} - {"gnn_check_finite_f32"}

    assert kernels <= {path.stem for path in sources()}
    assert len(hashes(default_compiler(), "-O0")) == 61


def test_the_lowest_and_the_highest_level_agree():
    assert hashes(default_compiler(), "-O3", "-march=native") == hashes(default_compiler(), "-O0")


@pytest.mark.compilers
@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("flag", ["-O0", "-O2", "-O3"])
def test_compilers_and_levels_agree(compiler, flag):
    assert hashes(compiler, flag) == hashes(default_compiler(), "-O0")


@dataclass(frozen=True)
class Processor:
    """A processor as zig and unicorn name it."""

    target: str
    cpu: str
    architecture: int
    mode: int
    model: int | None
    stack: int
    link: int
    bit: int = 0  # of the address of Thumb code

    def start(self) -> unicorn.Uc:
        emulator = unicorn.Uc(self.architecture, self.mode)
        if self.model is not None:
            emulator.ctl_set_cpu_model(self.model)
        emulator.mem_map(0, MEMORY_BYTES)
        return emulator


def _cortex_m(target: str, cpu: str, model: int) -> Processor:
    arm, mode = unicorn.arm_const, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS
    return Processor(target, cpu, unicorn.UC_ARCH_ARM, mode, model, arm.UC_ARM_REG_SP, arm.UC_ARM_REG_LR, 1)


PROCESSORS = {
    "cortex-m0plus": _cortex_m("thumb-freestanding-eabi", "cortex_m0plus", unicorn.arm_const.UC_CPU_ARM_CORTEX_M0),
    "cortex-m4": _cortex_m("thumb-freestanding-eabi", "cortex_m4", unicorn.arm_const.UC_CPU_ARM_CORTEX_M4),
    "cortex-m4f": _cortex_m("thumb-freestanding-eabihf", "cortex_m4+vfp4d16sp", unicorn.arm_const.UC_CPU_ARM_CORTEX_M4),
    "aarch64": Processor(
        "aarch64-freestanding", "generic", unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM, None,
        unicorn.arm64_const.UC_ARM64_REG_SP, unicorn.arm64_const.UC_ARM64_REG_LR,
    ),
    "rv32imac": Processor(
        "riscv32-freestanding", "generic_rv32+m+a+c", unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32, None,
        unicorn.riscv_const.UC_RISCV_REG_SP, unicorn.riscv_const.UC_RISCV_REG_RA,
    ),
}  # fmt: skip


def emulated_hashes(processor: Processor, level: str) -> list[int]:
    image = cache_folder() / f"every_float_kernel-{processor.cpu}-{processor.target}{level}.elf"
    command = [
        sys.executable, "-m", "ziglang", "cc", "-target", processor.target, f"-mcpu={processor.cpu}", *WARNINGS,
        level, "-ffp-contract=off", "-fno-sanitize=all", f"-I{INCLUDE}", *map(str, sources()),
        "-Wl,-e,every_float_kernel", "-Wl,--image-base=0x10000", "-o", str(image),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    emulator = processor.start()
    with image.open("rb") as file:
        elf = ELFFile(file)
        table = {symbol.name: symbol["st_value"] for symbol in elf.get_section_by_name(".symtab").iter_symbols()}
        for segment in elf.iter_segments("PT_LOAD"):
            emulator.mem_write(segment["p_vaddr"], segment.data())
    if processor.cpu.endswith("vfp4d16sp"):
        emulator.mem_map(0xE000E000, 0x1000)
        emulator.reg_write(unicorn.arm_const.UC_ARM_REG_FPEXC, 0x40000000)
    if processor.architecture == unicorn.UC_ARCH_ARM64:
        emulator.reg_write(unicorn.arm64_const.UC_ARM64_REG_CPACR_EL1, 0x300000)  # floating point on
    emulator.reg_write(processor.stack, MEMORY_BYTES - 64)
    emulator.reg_write(processor.link, RETURN | processor.bit)
    emulator.emu_start(table["every_float_kernel"] | processor.bit, RETURN)
    memory = emulator.mem_read(table["every_float_kernel_hashes"], 65 * 4)
    return records(np.frombuffer(bytes(memory), "<u4"))


def test_a_processor_without_float_instructions_agrees():
    assert emulated_hashes(PROCESSORS["cortex-m4"], "-O2") == hashes(default_compiler(), "-O0")


@pytest.mark.compilers
@pytest.mark.parametrize("level", ["-O0", "-O3"])
@pytest.mark.parametrize("processor", PROCESSORS)
def test_processors_agree(processor, level):
    assert emulated_hashes(PROCESSORS[processor], level) == hashes(default_compiler(), "-O0")
