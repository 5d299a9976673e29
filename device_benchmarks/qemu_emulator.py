"""QemuEmulator: an image executed by an installed QEMU, as a stream of bytes to talk to."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path

from device_benchmarks.elf_image import ElfImage
from device_benchmarks.firmware import FirmwareImage
from device_benchmarks.instruction_counts import MARK, InstructionCounter, InstructionCounts
from toolchain.errors import DeviceError, MeasurementError, MissingDependency

UNWATCHED = ("board_read", "board_write", "board_init")  # they wait for the serial port, which would fill the log
# A multiplexed channel has a buffer of its own. Without one, QEMU 7.2 may never look again for input that came before the board
# switched its serial port on; with one, the next byte brings it to look.
SYSTEM_OPTIONS = (
    "-display", "none", "-monitor", "none", "-nic", "none", "-chardev", "stdio,id=host,mux=on,signal=off",
    "-serial", "chardev:host", "-kernel",
)  # fmt: skip
NUDGE, NUDGE_SECONDS = b"\n", 0.25  # an empty line means nothing to a board


class QemuEmulator:
    """One board with an image in it, its serial port connected to this process.

    Instructions are counted by QEMU's log of executed blocks, one instruction to a block. There is no model of time.

    Args:
        counting: whether instructions are counted; it takes some hundred times as long.
        seconds: how long one answer of the board may take before it counts as hung.

    Raises:
        MissingDependency: this QEMU is not installed, or does not know the machine.
    """

    name = "qemu"

    def __init__(self, image: FirmwareImage, *, counting: bool = False, seconds: float = 60.0) -> None:
        command = list(image.target.emulator.qemu)
        program = _program(image)
        self._image, self._seconds = image, seconds
        self._counter = InstructionCounter(image.elf) if counting else None
        self._log: _Log | None = None
        options = [] if image.target.board.is_hosted else list(SYSTEM_OPTIONS)
        if self._counter is not None:
            self._log = _Log(self._counter)
            options = [*_counting_options(program, image.elf), "-D", str(self._log.path), *options]
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the process
        self._process = subprocess.Popen(
            [program, *command[1:], *options, str(image.elf.path)], bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
        )  # fmt: skip
        self._end = weakref.finalize(self, _end, self._process)  # a board that waits for a byte would spin for ever

    def write(self, data: bytes) -> None:
        """Send bytes to the board."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # the next read says why it ended
            view = memoryview(data)
            while view:
                view = view[self._process.stdin.write(view) or 0 :]

    def read(self, seconds: float) -> bytes:
        """What the board sent; waits up to `seconds` for the first byte."""
        assert self._process.stdout is not None
        end = time.monotonic() + seconds
        while not select.select([self._process.stdout], [], [], max(min(end - time.monotonic(), NUDGE_SECONDS), 0))[0]:
            if time.monotonic() >= end:
                return b""
            self.write(NUDGE)
        data = self._process.stdout.read(1 << 16)
        if not data:
            raise DeviceError(f"{self._image.model} on {self._image.target.name}: {self._ended()}")
        return data

    def counts(self, marks: int) -> InstructionCounts:
        """Instructions since the last call, once `marks` more beginnings and ends of measured parts were logged."""
        if self._counter is None or self._log is None:
            raise MeasurementError("this emulator was not started to count instructions.")
        self._log.wait(marks, self._seconds)
        return self._counter.take()

    def close(self) -> None:
        """End the process."""
        self._end()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                stream.close()
        if self._log is not None:
            self._log.close()

    def _ended(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        words = " ".join(self._errors.read().decode(errors="replace").split())[-300:]
        return f"QEMU ended with status {self._process.returncode} ({words or 'without a message'})."


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


class _Log:
    """A pipe that QEMU logs every executed instruction to, read by a thread."""

    def __init__(self, counter: InstructionCounter) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pocketgnn-qemu-")
        self.path = Path(self._folder.name) / "log"
        os.mkfifo(self.path)
        self._counter, self._taken = counter, 0
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def wait(self, marks: int, seconds: float) -> None:
        """Until so many more marks have come."""
        self._taken += marks
        end = time.monotonic() + seconds
        while self._counter.marks < self._taken:
            if time.monotonic() > end or not self._thread.is_alive():
                raise MeasurementError("QEMU's log of executed instructions stopped before the inference ended.")
            time.sleep(0.002)

    def close(self) -> None:
        if self._thread.is_alive():  # QEMU may have ended before it opened the pipe
            with contextlib.suppress(OSError):
                os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))
        self._thread.join(10)
        self._folder.cleanup()

    def _read(self) -> None:
        execute: Callable[[int, int], None] = self._counter.execute
        with open(self.path, "rb") as stream:
            for line in stream:  # Trace 0: 0x7f5a6c000100 [cs_base/pc/flags/cflags] symbol
                if line.startswith(b"Trace"):
                    execute(int(line.split(b"/", 2)[1], 16), 1)


def _program(image: FirmwareImage) -> str:
    command = image.target.emulator.qemu
    if not command:
        raise MeasurementError(f"{image.target.name}: QEMU has no such machine. Use --engine unicorn.")
    program = shutil.which(command[0])
    if program is None:
        raise MissingDependency(
            f"{command[0]} is not installed. Install QEMU with your system's packages, or use --engine unicorn."
        )
    return program


def is_installed(command: tuple[str, ...]) -> bool:
    """Whether a QEMU command line can be run here."""
    return bool(command) and shutil.which(command[0]) is not None


def _counting_options(program: str, elf: ElfImage) -> list[str]:
    """Log each instruction outside of the functions that wait."""
    unwatched = sorted((s.address, s.address + s.size) for s in elf.symbols if s.is_function and s.name in UNWATCHED)
    code = [s for s in elf.symbols if s.is_function and s.size]
    ranges, start = [], min(s.address for s in code)
    for low, high in (*unwatched, (max(s.address + s.size for s in code), 0)):
        if low > start:
            ranges.append(f"{start:#x}+{low - start:#x}")
        start = high
    assert elf.address_of(MARK)
    step = ["-singlestep"] if _version(program) < (8, 1) else ["-accel", "tcg,one-insn-per-tb=on"]
    if "system" not in Path(program).name and step[0] == "-accel":
        step = ["-one-insn-per-tb"]
    return [*step, "-d", "exec,nochain", "-dfilter", ",".join(ranges)]


@cache
def _version(program: str) -> tuple[int, int]:
    result = subprocess.run([program, "--version"], capture_output=True, check=False, text=True)
    found = re.search(r"version (\d+)\.(\d+)", result.stdout)
    if found is None:
        raise MissingDependency(f"{program}: does not tell its version. Install QEMU anew, or use --engine unicorn.")
    return int(found[1]), int(found[2])
