"""read_device: an entry of a recipe's `devices`, the ways to a device of one's own, as data. Unknown keys are errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from toolchain.schema import STRICT, problem

Word = Annotated[
    str, Field(pattern=r"^[^\s-]\S*$")
]  # no option, and one word: it goes to other programs as an argument
Port = Annotated[int, Field(ge=1, le=65535)]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_TAKEN = ("local", "adb")  # what -d calls other devices


class SshDevice(BaseModel):
    """A host that ssh reaches. What is not stated is as in the user's ssh configuration; a password has no place here.

    Attributes:
        ssh: the host, by its address or its name in the ssh configuration.
        identity_file: the private key to log in with, relative to the recipe file; `~` is the user's home.
    """

    model_config = STRICT

    ssh: Word
    user: Word | None = None
    port: Port | None = None
    identity_file: str | None = None


class AdbDevice(BaseModel):
    """A device that adb lists under a serial number."""

    model_config = STRICT

    adb: Word


class SerialDevice(BaseModel):
    """A board on a serial port."""

    model_config = STRICT

    serial: Word
    baud: Annotated[int, Field(ge=300)] = 115_200


Device = SshDevice | AdbDevice | SerialDevice
KINDS: dict[str, type[SshDevice] | type[AdbDevice] | type[SerialDevice]] = {
    "ssh": SshDevice, "adb": AdbDevice, "serial": SerialDevice,
}  # fmt: skip


def read_device(name: Any, entry: Any) -> Device:
    """Check one entry.

    Raises:
        ValueError: every problem with its place.
    """
    place = f"devices.{name}"
    if not isinstance(name, str) or _NAME.fullmatch(name) is None or name in _TAKEN:
        raise ValueError(
            f"{place}: is no name for a device. Names are of letters, digits and _.-, and not {' or '.join(_TAKEN)}"
        )
    if isinstance(entry, BaseModel):
        return entry  # type: ignore[return-value]  # only the classes above reach this point
    kinds = [kind for kind in KINDS if isinstance(entry, dict) and kind in entry]
    if len(kinds) != 1:
        raise ValueError(f"{place}: {entry!r} says not how to reach it, expected one of {', '.join(KINDS)}")
    try:
        return KINDS[kinds[0]].model_validate(entry)
    except ValidationError as error:
        raise ValueError("; ".join(problem(e, place) for e in error.errors())) from error


def beside(device: Device, folder: Path) -> Device:
    """The entry with its files seen from a folder, that of its recipe."""
    if not isinstance(device, SshDevice) or device.identity_file is None:
        return device
    return device.model_copy(update={"identity_file": str(folder / Path(device.identity_file).expanduser())})
