"""SerialPort: a board on a serial port as a stream of bytes, for the line protocol of firmware images."""

from __future__ import annotations

import contextlib
from types import TracebackType

from toolchain.errors import DeviceError, require

BAUD = 115_200


class SerialPort:
    """An open port, to be used in a with statement.

    Args:
        port: such as /dev/ttyACM0 or COM3.
        name: how the user calls it, by default serial:PORT.

    Raises:
        DeviceError: the port is not there or is in use.
        MissingDependency: pyserial is not installed.
    """

    def __init__(self, port: str, baud: int = BAUD, name: str = "") -> None:
        serial = require("serial", "devices")
        self.name = name or f"serial:{port}"
        try:
            self._port = serial.Serial(port, baud, timeout=0, write_timeout=30, exclusive=True)
        except (serial.SerialException, ValueError, OSError) as error:
            raise DeviceError(
                f"{self.name}: cannot be opened ({error}). Connect the board, and see pocketgnn devices."
            ) from error
        self._port.reset_input_buffer()  # what the board said to nobody

    def __enter__(self) -> SerialPort:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._port.close()

    def write(self, data: bytes) -> None:
        """Send bytes.

        Raises:
            DeviceError: the board is gone.
        """
        try:
            self._port.write(data)
        except OSError as error:  # SerialException is one
            raise DeviceError(f"{self.name}: the board is gone ({error}).") from error

    def read(self, seconds: float) -> bytes:
        """The bytes that have come; waits up to `seconds` for the first one, and returns b"" if none comes."""
        try:
            self._port.timeout = seconds
            first: bytes = self._port.read(1)
            self._port.timeout = 0
            return first + self._port.read(1 << 14) if first else b""
        except OSError as error:
            raise DeviceError(f"{self.name}: the board is gone ({error}).") from error
