"""A bare program for an Arm microcontroller: compiled by zig from pip or by another compiler, run by unicorn or by QEMU."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.c_kernels import INCLUDE, cache_folder, compile_objects
from tests.c_tools import ZIG

FLASH, RAM = 0x08000000, 0x20000000
_FLAGS = (
    "-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-ffp-contract=off", "-ffreestanding",
    "-fno-unwind-tables", "-fno-asynchronous-unwind-tables", f"-I{INCLUDE}",
)  # fmt: skip
# Compilers may call these even where there is no C library. volatile keeps them from being made of themselves.
_MEMORY = """
#include <stddef.h>
void *memcpy(void *y, const void *x, size_t n);
void *memset(void *y, int value, size_t n);
void *memcpy(void *y, const void *x, size_t n)
{
    volatile unsigned char *to = (volatile unsigned char *)y;
    const unsigned char *from = (const unsigned char *)x;
    while (n-- != 0u) { *to++ = *from++; }
    return y;
}
void *memset(void *y, int value, size_t n)
{
    volatile unsigned char *to = (volatile unsigned char *)y;
    while (n-- != 0u) { *to++ = (unsigned char)value; }
    return y;
}
"""
_SCRIPT = """
ENTRY(run_calls)
SECTIONS
{{
  .text {flash:#x} : {{ *(.text*) *(.rodata*) }}
  .ARM.exidx : {{ *(.ARM.exidx*) }}
  .data {ram:#x} : {{ *(.data*) *(.bss*) *(COMMON) }}
}}
"""


@dataclass(frozen=True)
class Build:
    """A compiler, a processor and the flags of a variant.

    Attributes:
        libraries: what gives the functions that the processor has no instruction for.
    """

    command: tuple[str, ...]
    flags: tuple[str, ...] = ("-O2",)
    libraries: tuple[str, ...] = ("-lgcc",)

    @property
    def tool(self) -> str:
        return Path(self.command[0]).name


def zig(target: str, processor: str, *flags: str) -> Build:
    command = (*ZIG, "-target", target, f"-mcpu={processor}", "-fno-sanitize=all")
    return Build(command, flags or ("-O2",), ("-Os", "-g", "-lcompiler_rt"))


def gcc(processor: str, *flags: str) -> Build:
    return Build(("arm-none-eabi-gcc", "-mthumb", *processor.split()), flags or ("-O2",))


def build(built: Build, text: str, sources: tuple[Path, ...], *, script: str | None = None) -> Path:
    """An ELF file of a C text that defines run_calls, and the sources it calls."""
    command = (*built.command, *_FLAGS)
    files = []
    for name, content in (("calls", text), ("memory", _MEMORY)):
        path = cache_folder() / f"{name}-{hashlib.sha256(content.encode()).hexdigest()[:20]}.c"
        path.write_text(content)
        files.append(path)
    objects = compile_objects((*command, "-O0"), tuple(files)) + compile_objects((*command, *built.flags), sources)
    script = script or _SCRIPT.format(flash=FLASH, ram=RAM)
    key = hashlib.sha256("\0".join([script, *map(str, objects), *built.command]).encode()).hexdigest()[:20]
    elf = cache_folder() / f"program-{key}.elf"
    if not elf.exists():
        with tempfile.TemporaryDirectory(dir=cache_folder()) as folder:
            (Path(folder) / "program.ld").write_text(script)
            line = [
                *built.command,
                "-nostdlib",
                "-static",
                "-Wl,-e,run_calls",
                "-T",
                "program.ld",
                *map(str, objects),
                "-o",
                "program",
            ]
            done = subprocess.run([*line, *built.libraries], cwd=folder, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(line)}\n{done.stderr}")
            (Path(folder) / "program").rename(elf)
    return elf


def is_installed(built: Build) -> bool:
    return shutil.which(built.command[0]) is not None


# ---- unicorn -------------------------------------------------------------------------------------------------------------


class Processor:
    """A Cortex-M with a program in it, in this process."""

    def __init__(self, elf: Path, model: str) -> None:
        from elftools.elf.elffile import ELFFile
        from unicorn import UC_ARCH_ARM, UC_MODE_MCLASS, UC_MODE_THUMB, Uc, arm_const

        self._arm = arm_const
        self.uc = Uc(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS)
        self.uc.ctl_set_cpu_model(getattr(arm_const, f"UC_CPU_ARM_{model}"))
        self.uc.mem_map(FLASH, 0x400000)
        self.uc.mem_map(RAM, 0x800000)
        with elf.open("rb") as stream:
            file = ELFFile(stream)
            for segment in file.iter_segments("PT_LOAD"):
                self.uc.mem_write(segment["p_paddr"], segment.data())
            table = file.get_section_by_name(".symtab")
            self.symbols = {
                s.name: s["st_value"] & ~1 for s in table.iter_symbols() if s["st_info"]["type"] == "STT_FUNC"
            }

    def call(self, function: str, *arguments: int) -> None:
        """Run a function with up to four words; it must return."""
        arm, stop = self._arm, FLASH + 0x3FFFF0
        for register, value in zip(
            (arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2, arm.UC_ARM_REG_R3), arguments, strict=False
        ):
            self.uc.reg_write(register, value)
        self.uc.reg_write(arm.UC_ARM_REG_SP, RAM + 0x7FFF00)
        self.uc.reg_write(arm.UC_ARM_REG_LR, stop | 1)
        self.uc.emu_start(self.symbols[function] | 1, stop)
        assert self.uc.reg_read(arm.UC_ARM_REG_PC) == stop


def image_place() -> int:
    """Where run_in_unicorn puts the image."""
    return RAM + 0x100000


def run_in_unicorn(elf: Path, model: str, memory: np.ndarray) -> np.ndarray:
    """The image after run_calls."""
    processor, place = Processor(elf, model), image_place()
    processor.uc.mem_write(place, memory.tobytes())
    processor.call("run_calls", place)
    return np.frombuffer(processor.uc.mem_read(place, memory.size), np.uint8)


# ---- QEMU ----------------------------------------------------------------------------------------------------------------

# Cortex-M55 with MVE: vectors at 0, code in 512 KB of ITCM, the image in 4 MB of SRAM. The answer goes out by semihosting.
_QEMU_SCRIPT = """
ENTRY(start)
SECTIONS
{{
  .text 0 : {{ KEEP(*(.vectors)) *(.text*) *(.rodata*) }}
  .ARM.exidx : {{ *(.ARM.exidx*) }}
  .data 0x20000000 : {{ *(.data*) *(.bss*) *(COMMON) }}
}}
"""
_QEMU_START = """
void start(void);
static long semihosting(long operation, const void *block)
{{
    register long r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}}
static void fault(void)
{{
    static const unsigned long failed[2] = {{0x20026, 1}};
    (void)semihosting(0x20, failed);
    for (;;) {{ }}
}}
void start(void)
{{
    static const char name[] = "{answer}";
    const unsigned long open[3] = {{(unsigned long)name, 5, sizeof name - 1}};
    unsigned long write[3] = {{0, {place:#x}, {size}}};
    static const unsigned long done[2] = {{0x20026, 0}};
    *(volatile unsigned long *)0xE000ED88 = 0xF00000; /* the vector unit on */
    __asm__ volatile("dsb");
    __asm__ volatile("isb");
    run_calls((unsigned char *){place:#x});
    write[0] = (unsigned long)semihosting(1, open);
    (void)semihosting(5, write);
    (void)semihosting(0x20, done);
    for (;;) {{ }}
}}
__attribute__((section(".vectors"), used)) static void (*const vectors[])(void) = {{
    (void (*)(void))0x20070000, start, fault, fault, fault, fault, fault,
}};
"""


def run_in_qemu(built: Build, text: str, sources: tuple[Path, ...], memory: np.ndarray) -> np.ndarray | None:
    """The image after run_calls on a Cortex-M55; None where QEMU is not installed."""
    if shutil.which("qemu-system-arm") is None:
        return None
    place = 0x21000000
    with tempfile.TemporaryDirectory() as folder:
        answer, given = Path(folder) / "answer", Path(folder) / "given"
        given.write_bytes(memory.tobytes())
        start = _QEMU_START.format(answer="answer", place=place, size=memory.size)
        elf = build(built, text + start, sources, script=_QEMU_SCRIPT.format())
        line = [
            "qemu-system-arm", "-M", "mps3-an547", "-nographic", "-monitor", "none", "-serial", "none",
            "-semihosting-config", "enable=on,target=native", "-kernel", str(elf), "-device", f"loader,file=given,addr={place:#x}",
        ]  # fmt: skip
        done = subprocess.run(line, cwd=folder, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode or not answer.exists():
            raise RuntimeError(f"QEMU ended with {done.returncode}: {done.stderr[:1000]}")
        return np.frombuffer(answer.read_bytes(), np.uint8)
