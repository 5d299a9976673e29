"""A device that a test can break: its connection, its daemon, its disk; and that can be looked at afterwards."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from device_benchmarks.transports import Transport
from tests.devices.proxy import Proxy


@dataclass(frozen=True, slots=True)
class Breakable:
    """A device behind a proxy.

    Attributes:
        name: how -d calls it; arguments: what the command line needs beside that.
        transport: makes a new way to it.
        folder: where its runs have their folders, as seen from here.
        die: kills its daemon and every connection that it serves.
        running: command lines of all that runs on it.
    """

    name: str
    arguments: tuple[str, ...]
    transport: Callable[[], Transport]
    proxy: Proxy
    folder: Path
    die: Callable[[], None]
    running: Callable[[], str]

    def assert_nothing_left(self, seconds: float = 30.0) -> None:
        """The device has no file of a run and no program of one, at once or soon: it notices a cut connection by itself."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and (list(self.folder.iterdir()) or self.ours()):
            time.sleep(0.1)
        left = [
            f"{path.name}: {list(path.iterdir()) if path.is_dir() else path.read_text()}"
            for path in self.folder.iterdir()
        ]
        assert (left, self.ours()) == ([], []), f"{left} {self.ours()}"

    def ours(self) -> list[str]:
        """What runs on it for us."""
        return [line for line in self.running().splitlines() if "pocketgnn-run" in line or "sleep 4321" in line]


def running_here() -> str:
    """Command lines of this machine, without that of the question."""
    return subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
