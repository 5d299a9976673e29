"""UnicornEmulator: an image executed in this process by the unicorn package, as a stream of bytes to talk to."""

from __future__ import annotations

import time
from typing import Any

from device_benchmarks.firmware import FirmwareImage
from device_benchmarks.instruction_counts import InstructionCounter, InstructionCounts
from toolchain.errors import DeviceError, DeviceTimeout, MeasurementError, require

PAGE = 4096
MOMENT = 0.001  # seconds; 0 would be for ever
PERIPHERALS = (0xE0000000, 0x100000)  # system registers of a Cortex-M: plain memory is enough for the start-up code


class UnicornEmulator:
    """One board with an image in it. The functions board_init, board_read and board_write are played by the host.

    Unicorn has no devices and no model of time: instructions are counted, never clock cycles.

    Args:
        counting: whether instructions are counted; it takes about ten times as long.
        seconds: how long one answer of the board may take before it counts as hung.
    """

    name = "unicorn"

    def __init__(self, image: FirmwareImage, *, counting: bool = False, seconds: float = 60.0) -> None:
        if not image.target.emulator.unicorn:
            raise MeasurementError(f"{image.target.name}: unicorn has no such processor. Use --engine qemu.")
        self._unicorn: Any = require("unicorn", "mcu")
        self._image, self._elf, self._seconds = image, image.elf, seconds
        self._architecture, _, model = image.target.emulator.unicorn.partition(" ")
        self._uc, self._registers = _processor(self._unicorn, self._architecture, model)
        self._input, self._output = bytearray(), bytearray()
        self._counter = InstructionCounter(image.elf) if counting else None
        self._blocks: dict[tuple[int, int], int] = {}
        self._is_waiting = False
        self._invalid = ""
        self._spent = 0.0  # in seconds, since it last waited for a byte
        self._pc = image.elf.entry
        self._load()
        self._hook()

    def write(self, data: bytes) -> None:
        """Send bytes to the board."""
        self._input += data

    def read(self, seconds: float) -> bytes:
        """Let the board run until it waits for a byte, for `seconds` at most; what it sent.

        Raises:
            DeviceError: the processor stopped.
            DeviceTimeout: it has computed for longer than an answer may take; with the place where it is.
        """
        if not self._output:
            self._run(seconds)
        data = bytes(self._output)
        self._output.clear()
        return data

    def counts(self, marks: int) -> InstructionCounts:
        """Instructions since the last call. `marks` is for emulators that count later than they answer."""
        if self._counter is None:
            raise MeasurementError("this emulator was not started to count instructions.")
        return self._counter.take()

    def close(self) -> None:
        """Nothing to release: the memory goes with the object."""

    # ---- the processor ---------------------------------------------------------------------------------------------

    def _load(self) -> None:
        target, ranges = self._image.target, []
        for segment in self._elf.segments:
            ranges.append((segment.address, segment.memory_bytes))
            ranges.append((segment.load_address, len(segment.content)))
        if not target.board.is_hosted:
            ranges += [(target.board.flash_origin, target.flash_bytes), (target.board.ram_origin, target.ram_bytes)]
            if self._architecture == "arm":
                ranges.append(PERIPHERALS)
        for start, end in _pages(ranges):
            self._uc.mem_map(start, end - start)
        for segment in self._elf.segments:
            self._uc.mem_write(segment.load_address, segment.content)
            if segment.address != segment.load_address and target.board.is_hosted:
                self._uc.mem_write(segment.address, segment.content)
        if self._architecture == "arm":
            vectors = self._uc.mem_read(target.board.flash_origin, 4)
            self._uc.reg_write(self._registers.sp, int.from_bytes(vectors, "little"))

    def _hook(self) -> None:
        uc, constants = self._uc, self._unicorn
        for name, play in (("board_init", self._init), ("board_read", self._read), ("board_write", self._write)):
            address = self._elf.address_of(name)
            uc.hook_add(constants.UC_HOOK_CODE, play, None, address, address)
        invalid = (
            constants.UC_HOOK_MEM_READ_UNMAPPED
            | constants.UC_HOOK_MEM_WRITE_UNMAPPED
            | constants.UC_HOOK_MEM_FETCH_UNMAPPED
        )
        uc.hook_add(invalid, self._is_invalid)
        if self._counter is not None:
            uc.hook_add(constants.UC_HOOK_BLOCK, self._block)

    def _run(self, seconds: float) -> None:
        self._is_waiting = False
        thumb, begin = self._architecture == "arm", time.monotonic()
        most = max(min(seconds, self._seconds - self._spent), MOMENT)
        try:
            self._uc.emu_start(self._pc | thumb, 0xFFFFFFFE, timeout=int(most * 1e6))
        except self._unicorn.UcError as error:
            pc = self._uc.reg_read(self._registers.pc)
            raise DeviceError(
                f"{self._image.model} on {self._image.target.name}: the emulated processor stopped at {self._elf.place(pc)}: "
                f"{self._invalid or error}."
            ) from error
        if self._is_waiting:
            self._spent = 0.0
            return
        self._pc = self._uc.reg_read(self._registers.pc)
        self._spent += time.monotonic() - begin
        if self._spent >= self._seconds:
            raise DeviceTimeout(
                f"{self._image.model} on {self._image.target.name}: no answer within {self._seconds:g} s; it is at "
                f"{self._elf.place(self._pc)}."
            )

    def _return(self, uc: Any) -> None:
        uc.reg_write(self._registers.pc, uc.reg_read(self._registers.lr))

    def _init(self, uc: Any, address: int, size: int, data: object) -> None:
        uc.reg_write(self._registers.first, 0)
        self._return(uc)

    def _read(self, uc: Any, address: int, size: int, data: object) -> None:
        if not self._input:
            self._pc, self._is_waiting = address, True
            uc.emu_stop()
            return
        uc.reg_write(self._registers.first, self._input.pop(0))
        self._return(uc)

    def _write(self, uc: Any, address: int, size: int, data: object) -> None:
        self._output.append(uc.reg_read(self._registers.first) & 0xFF)
        self._return(uc)

    def _is_invalid(self, uc: Any, access: int, address: int, size: int, value: int, data: object) -> bool:
        self._invalid = f"there is no memory at 0x{address:08x}"
        return False

    def _block(self, uc: Any, address: int, size: int, data: object) -> None:
        key = address, size
        count = self._blocks.get(key)
        if count is None:
            code = bytes(uc.mem_read(address, size))
            count = self._blocks[key] = _instructions(self._architecture, code)
        assert self._counter is not None
        self._counter.execute(address, count)


class _Registers:
    """Numbers of the registers that matter, in one architecture's constants."""

    def __init__(self, constants: Any, pc: str, sp: str, lr: str, first: str) -> None:
        self.pc, self.sp, self.lr, self.first = (getattr(constants, name) for name in (pc, sp, lr, first))


def _processor(unicorn: Any, architecture: str, model: str) -> tuple[Any, _Registers]:
    if architecture == "arm":
        constants = require("unicorn.arm_const", "mcu")
        uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        uc.ctl_set_cpu_model(getattr(constants, f"UC_CPU_ARM_{model.upper()}"))
        return uc, _Registers(constants, "UC_ARM_REG_PC", "UC_ARM_REG_SP", "UC_ARM_REG_LR", "UC_ARM_REG_R0")
    if architecture == "arm64":
        constants = require("unicorn.arm64_const", "mcu")
        uc = unicorn.Uc(unicorn.UC_ARCH_ARM64, unicorn.UC_MODE_ARM)
        uc.ctl_set_cpu_model(getattr(constants, f"UC_CPU_ARM64_{model.upper()}"))
        return uc, _Registers(constants, "UC_ARM64_REG_PC", "UC_ARM64_REG_SP", "UC_ARM64_REG_LR", "UC_ARM64_REG_X0")
    if architecture == "riscv":
        constants = require("unicorn.riscv_const", "mcu")
        uc = unicorn.Uc(unicorn.UC_ARCH_RISCV, unicorn.UC_MODE_RISCV32)
        uc.ctl_set_cpu_model(getattr(constants, f"UC_CPU_RISCV32_{model.upper()}"))
        return uc, _Registers(constants, "UC_RISCV_REG_PC", "UC_RISCV_REG_SP", "UC_RISCV_REG_RA", "UC_RISCV_REG_A0")
    raise MeasurementError(f"unicorn architecture {architecture!r} is unknown. Known: arm, arm64, riscv.")


def _instructions(architecture: str, code: bytes) -> int:
    """How many instructions a straight run of code holds."""
    if architecture == "arm64":
        return len(code) // 4
    count = place = 0
    while place < len(code):
        low = int.from_bytes(code[place : place + 2], "little")
        is_wide = low & 3 == 3 if architecture == "riscv" else low >> 11 >= 0b11101
        place += 4 if is_wide else 2
        count += 1
    return count


def _pages(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Page-aligned ranges that cover the given ones (start, bytes), joined where they touch."""
    found: list[tuple[int, int]] = []
    for start, size in sorted(ranges):
        if not size:
            continue
        low, high = start // PAGE * PAGE, -(-(start + size) // PAGE) * PAGE
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(found[-1][1], high)
        else:
            found.append((low, high))
    return found
