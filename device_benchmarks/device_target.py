"""DeviceTarget: a device with an operating system as data: what it is, what it runs, and how code is compiled for it."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from device_benchmarks.target import FOLDER
from device_benchmarks.target_file import read_table, read_toml
from toolchain.errors import RecipeError

TRANSPORTS = ("local", "ssh", "adb", "package")

# The word of `uname -m` → compiler flags for a device of which nothing else is known
MACHINES = {
    "x86_64": ("-target", "x86_64-linux-musl"),
    "aarch64": ("-target", "aarch64-linux-musl"),
    "armv8l": ("-target", "arm-linux-musleabihf"),
    "armv7l": ("-target", "arm-linux-musleabihf"),
}


@dataclass(frozen=True, slots=True)
class DeviceTarget:
    """One file of targets/ that has no board, by the name of the file.

    Attributes:
        description: one line for people.
        cpu, isa: the processor and its instruction set, in the words of their makers.
        cores, clock_hz, ram_bytes: of a device that is sold under this name; 0 where only the device can tell.
        formats: formats of artifacts that run on it.
        transport: "local", "ssh" or "adb"; "package" where files are made and nothing is run.
        models: how the names begin that such devices give themselves, in the device tree or as system on chip.
        zig: flags of `python -m ziglang cc` for it; none where its machine word decides.
    """

    name: str
    description: str
    cpu: str
    isa: str
    cores: int
    clock_hz: int
    ram_bytes: int
    formats: tuple[str, ...]
    transport: str
    models: tuple[str, ...]
    zig: tuple[str, ...]


def device_target_names() -> list[str]:
    """The devices that come with the package."""
    return sorted(
        path.stem for path in FOLDER.glob("*.toml") if "board" not in tomllib.loads(path.read_text(encoding="utf-8"))
    )


def load_device_target(name: str) -> DeviceTarget:
    """Read a device by name.

    Raises:
        RecipeError: no such device, or a file that is none, with the key that is wrong.
    """
    if name not in device_target_names():
        raise RecipeError(f"device {name!r} is unknown. Devices: {', '.join(device_target_names())}.")
    path = FOLDER / f"{name}.toml"
    target = read_table(DeviceTarget, read_toml(path, ""), path)
    if target.transport not in TRANSPORTS:
        raise RecipeError(f"{path}: transport is {target.transport!r}, expected one of {', '.join(TRANSPORTS)}.")
    return target


def target_of(model: str) -> DeviceTarget | None:
    """The target whose devices call themselves so; None where nobody knows this one."""
    for name in device_target_names():
        target = load_device_target(name)
        if any(model.startswith(begin) for begin in target.models):
            return target
    return None
