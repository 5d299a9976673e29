"""Connection: a device that is held for one run, whatever carries it: things put there, commands run, what they made fetched."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from device_benchmarks.transports.transport import Completed


class Connection(ABC):
    """A device for one run, to be used in a with statement.

    What can be put and which commands there are is the device's own: files and programs with a shell, the arrays of a graph and
    the three calls of a model with a board. What holds for all of them, and is one suite of tests for all of them:

    - what `put` has written is what was given when it returns;
    - `run` forwards the status with which the command ended, 0 where it did what it should;
    - a command that has not ended in time is a DeviceTimeout;
    - a device that is gone, refuses a name, or damages data again and again is a DeviceError;
    - every such error begins with the name of the device, since several are used side by side.

    Attributes:
        name: the device, as the user calls it; kind: "local", "ssh", "adb", "serial" or "emulator".
    """

    name: str
    kind: str

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """Write data to the device.

        Raises:
            DeviceError: there is no such place on it, no room, or the connection fails.
        """

    @abstractmethod
    def run(self, command: Sequence[str], *, seconds: float) -> Completed:
        """Have a command run and wait for its end.

        Raises:
            DeviceError: there is no such command, or the connection is lost.
            DeviceTimeout: it had not ended in time.
        """

    @abstractmethod
    def get(self, name: str) -> bytes:
        """Read what a command has made.

        Raises:
            DeviceError: there is nothing of this name, or the connection fails.
        """

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the run, and what still runs of it where the device can."""
