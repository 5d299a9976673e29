"""LocalTransport: this machine as a device."""

from __future__ import annotations

import tempfile

from device_benchmarks.transports.transport import Transport


class LocalTransport(Transport):
    """Commands run here, as they do on a device, in the folder for temporary files."""

    kind = "local"
    name = "local"

    def __init__(self) -> None:
        self.folders = (tempfile.gettempdir(),)

    def shell(self, script: str) -> list[str]:
        return ["sh", "-c", script]
