"""Target: a microcontroller or small computer as data: memory, compiler flags, and what plays it without the hardware."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_type_hints

from toolchain.errors import RecipeError

FOLDER = Path(__file__).with_name("targets")


@dataclass(frozen=True, slots=True)
class Compile:
    """Flags that select the processor.

    Attributes:
        gcc_command: the cross compiler that a system package brings.
        gcc, zig: flags for it and for `python -m ziglang cc`.
    """

    gcc_command: str
    gcc: tuple[str, ...]
    zig: tuple[str, ...]


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
        flash_bytes, ram_bytes: what an image and its data may take.
        clock_hz: for the estimate of a time.
        formats: formats of artifacts that run on it.
    """

    name: str
    description: str
    cpu: str
    isa: str
    flash_bytes: int
    ram_bytes: int
    clock_hz: int
    formats: tuple[str, ...]
    compile: Compile
    board: Board
    emulator: Emulator
    estimate: Estimate

    def estimated_us(self, instructions: float) -> float:
        """Microseconds that so many instructions might take."""
        return instructions * self.estimate.cycles_per_instruction / self.clock_hz * 1e6


def target_names() -> list[str]:
    """The targets that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_target(name: str | Path) -> Target:
    """Read a target by name, or from a file of one's own that ends in .toml.

    Raises:
        RecipeError: no such target, or a file that is no target, with the key that is wrong.
    """
    path = Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    if str(name) not in target_names() and not str(name).endswith(".toml"):
        raise RecipeError(f"target {str(name)!r} is unknown. Targets: {', '.join(target_names())}, or a .toml file.")
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: no such file. Targets: {', '.join(target_names())}, or a .toml file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not readable as TOML ({error}).") from error
    if "name" in data:
        raise RecipeError(f"{path}: unknown key name; a target is called as its file.")
    target: Target = _read(Target, {"name": path.stem, **data}, path, "")
    for key in ("flash_bytes", "ram_bytes", "clock_hz"):
        if getattr(target, key) <= 0:
            raise RecipeError(f"{path}: {key} is {getattr(target, key)}, expected a positive number.")
    return target


def _read(cls: type, data: dict[str, Any], path: Path, prefix: str) -> Any:
    """A dataclass from a table; every key must be there and none more."""
    known = {field.name for field in fields(cls)}
    for key in sorted(set(data) - known):
        raise RecipeError(
            f"{path}: unknown key {prefix}{key}. Keys: {', '.join(sorted(known - {'name'} | _named(cls)))}."
        )
    types, values = get_type_hints(cls), {}
    for field in fields(cls):
        if field.name not in data:
            raise RecipeError(f"{path}: key {prefix}{field.name} is missing, expected {_words(types[field.name])}.")
        values[field.name] = _value(types[field.name], data[field.name], path, f"{prefix}{field.name}")
    return cls(**values)


def _value(type_: Any, value: Any, path: Path, key: str) -> Any:
    wrong = RecipeError(f"{path}: {key} is {value!r}, expected {_words(type_)}.")
    if is_dataclass(type_):
        if not isinstance(value, dict):
            raise wrong
        return _read(type_, value, path, f"{key}.")  # type: ignore[arg-type]  # a class, since it comes from type hints
    if type_ is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type_ in (str, int, float):
        if not isinstance(value, type_) or isinstance(value, bool):
            raise wrong
        return value
    if not isinstance(value, list) or not all(isinstance(item, get_args(type_)[0]) for item in value):
        raise wrong
    return tuple(value)


def _words(type_: type | UnionType) -> str:
    if is_dataclass(type_):
        return "a table"
    return {str: "a text", int: "a whole number", float: "a number"}.get(type_, "a list of texts")  # type: ignore[arg-type]


def _named(cls: type) -> set[str]:
    return {"name"} if cls is Board else set()
