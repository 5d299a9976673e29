"""Transport: commands for a device in, their output and exit status back, whatever carries them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar

from toolchain.errors import DeviceError, DeviceTimeout

MAX_MESSAGE = 300  # characters of a tool's own words in an error


@dataclass(frozen=True, slots=True)
class Completed:
    """What a command on a device did."""

    status: int
    output: bytes
    error: str

    @property
    def first_line(self) -> str:
        """Its first words, for a message."""
        lines = [line.strip() for line in (self.error or self.output.decode(errors="replace")).splitlines()]
        return next((line for line in lines if line), "no message")[:MAX_MESSAGE]


class Transport(ABC):
    """A connection to one device, to be used in a with statement.

    Attributes:
        kind: "local", "ssh" or "adb".
        name: the device, as the user calls it.
        folders: where a folder for a run may be made, in this order of preference.
        failures: words of the tool that makes the connection, and what they mean.
    """

    kind: str
    name: str
    folders: tuple[str, ...]
    failures: ClassVar[Mapping[str, str]] = {}

    @abstractmethod
    def shell(self, script: str) -> list[str]:
        """The command of this machine that has the device's `sh` run a script, with its input and output passed on."""

    def explain(self, error: str) -> str:
        """What a tool's own words on a failed connection mean, and the way out."""
        for words, meaning in self.failures.items():
            if words in error:
                return f"{meaning} ({error})."
        return f"the connection is lost ({error})." if error else "the connection is lost."

    def open(self) -> None:  # noqa: B027 - not every transport has something to open
        """Connect.

        Raises:
            DeviceError: the device cannot be reached, or refuses.
        """

    def close(self) -> None:  # noqa: B027 - not every transport has something to close
        """Disconnect."""

    def __enter__(self) -> Transport:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, command: Sequence[str], *, seconds: float, data: bytes = b"") -> Completed:
        """Run a command and wait for it.

        Args:
            command: program and arguments; none of them is ever read as shell text.
            seconds: after which the wait ends.
            data: its standard input.

        Raises:
            DeviceError: the connection failed or was lost before the command had ended.
            DeviceTimeout: it had not ended in time.
        """
        return self.script(shlex.join(command), seconds=seconds, data=data)

    def script(self, script: str, *, seconds: float, data: bytes = b"") -> Completed:
        """Run text of a shell, of which every part that is not ours is quoted.

        The device says itself how a script ended, in a last line that no other output can have: neither ssh nor adb tells
        the status of a command from one of its own.
        """
        mark = secrets.token_hex(8)
        process = self.start(f"{script}\nprintf '\\n{mark} %d\\n' $?")
        try:
            output, error = process.communicate(data, timeout=seconds)
        except subprocess.TimeoutExpired:
            raise DeviceTimeout(f"{self.name}: no end after {seconds:g} s.") from None
        finally:
            stop(process)
        words = error.decode(errors="replace").strip()
        body, found, status = output.rpartition(f"\n{mark} ".encode())
        if not found:
            raise DeviceError(f"{self.name}: {self.explain(_last_line(words))}")
        return Completed(int(status), body, words)

    def start(self, script: str) -> subprocess.Popen[bytes]:
        """Start a script with its three streams as pipes, in a process group of its own."""
        command = self.shell(script)
        try:
            return subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
        except FileNotFoundError as error:
            raise DeviceError(
                f"{self.name}: {command[0]} is not installed here. Install it to reach devices by {self.kind}."
            ) from error


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that `start` started, with all that it started here, and close its pipes."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:MAX_MESSAGE].rstrip(".") if lines else ""
