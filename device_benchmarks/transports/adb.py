"""AdbTransport: an Android device, by the system's own adb."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import ClassVar

from device_benchmarks.transports.transport import Transport
from toolchain.errors import DeviceError

SECONDS = 30.0


class AdbTransport(Transport):
    """One device that `adb devices` lists.

    Args:
        serial: of the device; by default that of the variable ANDROID_SERIAL, or the only device there is.
        name: how the user calls it, by default adb:SERIAL.
    """

    kind = "adb"
    folders = ("/data/local/tmp", "/tmp")
    failures: ClassVar[Mapping[str, str]] = {
        "unauthorized": "it does not trust this machine. Unlock it and accept the key of this machine",
        "offline": "it does not answer. Reconnect it, or run adb reconnect",
        "not found": "adb sees no such device. Connect it, and see adb devices",
        "no permissions": "this user may not use its USB connection. See the udev rules of Android's documentation",
    }

    def __init__(self, serial: str = "", name: str = "") -> None:
        self.serial = serial or os.environ.get("ANDROID_SERIAL", "")
        if self.serial.startswith("-"):
            raise DeviceError(f"{self.serial!r} is no serial number of a device. See adb devices.")
        self.name = name or (f"adb:{self.serial}" if self.serial else "adb")

    def open(self) -> None:
        found = adb_devices()
        if not self.serial:
            if len(found) != 1:
                names = ", ".join(sorted(found)) or "none"
                raise DeviceError(
                    f"adb: one device is expected, there are: {names}. Name one with -d adb:SERIAL or ANDROID_SERIAL."
                )
            self.serial = next(iter(found))
            self.name = f"adb:{self.serial}"
        state = found.get(self.serial)
        if state != "device":
            raise DeviceError(f"{self.name}: {self.explain(state or 'not found')}")

    def shell(self, script: str) -> list[str]:
        return ["adb", "-s", self.serial, "shell", "-T", script]


def adb_devices() -> Mapping[str, str]:
    """Serial number → state ("device", "offline", "unauthorized", ...) of every device that adb sees.

    Raises:
        DeviceError: adb is not installed, or fails.
    """
    try:
        listed = subprocess.run(
            ["adb", "devices"], capture_output=True, check=False, text=True, timeout=SECONDS, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise DeviceError(
            "adb is not installed here. Install Android's platform tools to reach devices by adb."
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(f"adb does not answer within {SECONDS:g} s. Run adb kill-server and try again.") from error
    if listed.returncode != 0:
        raise DeviceError(f"adb fails ({listed.stderr.strip()[:300]}).")
    rows = [line.split("\t", 1) for line in listed.stdout.splitlines() if "\t" in line]
    return {serial: state.strip() for serial, state in rows}
