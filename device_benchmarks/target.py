"""Target: a board that images are linked for, as data: memory, compiler flags, and what plays it without the hardware."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from device_benchmarks.target_file import read_table, read_toml
from toolchain.errors import RecipeError

FOLDER = Path(__file__).with_name("targets")


@dataclass(frozen=True, slots=True)
class Compile:
    """Flags of the compilers.

    Attributes:
        gcc_command: the cross compiler that a system package brings.
        gcc, zig: flags for it and for `python -m ziglang cc` that select the processor.
        optimize: how the model is compiled: for size where the kernels have their inner loops in assembly.
    """

    gcc_command: str
    gcc: tuple[str, ...]
    zig: tuple[str, ...]
    optimize: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Board:
    """The board that an image is linked for: the one that the emulators play.

    Attributes:
        name: how the image calls it.
        startup, serial: sources of runtimes/c/firmware and of its boards/, without ".c".
        serial_address: of the serial port's registers.
        flash_origin, ram_origin: where the memories begin. Both 0: a program of an operating system, which places it.
    """

    name: str
    startup: str
    serial: str
    serial_address: int
    flash_origin: int
    ram_origin: int

    @property
    def is_hosted(self) -> bool:
        """Whether an operating system loads the image."""
        return self.flash_origin == self.ram_origin


@dataclass(frozen=True, slots=True)
class Emulator:
    """What executes images for the target.

    Attributes:
        unicorn: architecture and processor model of the unicorn package, such as "arm cortex_m4"; empty where it has none.
        qemu: command line of QEMU without the image; empty where it has none.
    """

    unicorn: str
    qemu: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Estimate:
    """How a time is guessed from an instruction count; never a measurement.

    Attributes:
        cycles_per_instruction: clock cycles that an instruction takes on average.
        source: where the figure is from.
    """

    cycles_per_instruction: float
    source: str


@dataclass(frozen=True, slots=True)
class Target:
    """One file of targets/, by the name of the file.

    Attributes:
        description: one line for people.
        cpu, isa: the processor and its instruction set, in the words of their makers.
        cores: processor cores; an image uses one.
        flash_bytes, ram_bytes: what an image and its data may take.
        clock_hz: for the estimate of a time.
        formats: formats of artifacts that run on it.
        transport: how its host reaches it.
    """

    name: str
    description: str
    cpu: str
    isa: str
    cores: int
    flash_bytes: int
    ram_bytes: int
    clock_hz: int
    formats: tuple[str, ...]
    transport: str
    compile: Compile
    board: Board
    emulator: Emulator
    estimate: Estimate

    def estimated_us(self, instructions: float) -> float:
        """Microseconds that so many instructions might take."""
        return instructions * self.estimate.cycles_per_instruction / self.clock_hz * 1e6


def target_names() -> list[str]:
    """The boards that come with the package."""
    return sorted(
        path.stem for path in FOLDER.glob("*.toml") if "board" in tomllib.loads(path.read_text(encoding="utf-8"))
    )


def load_target(name: str | Path) -> Target:
    """Read a target by name, or from a file of one's own that ends in .toml.

    Raises:
        RecipeError: no such target, or a file that is no target, with the key that is wrong.
    """
    path = Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    otherwise = f"Targets: {', '.join(target_names())}, or a .toml file."
    if str(name) not in target_names() and not str(name).endswith(".toml"):
        raise RecipeError(f"target {str(name)!r} is unknown. {otherwise}")
    target = read_table(Target, read_toml(path, otherwise), path)
    for key in ("flash_bytes", "ram_bytes", "clock_hz", "cores"):
        if getattr(target, key) <= 0:
            raise RecipeError(f"{path}: {key} is {getattr(target, key)}, expected a positive number.")
    return target
