"""SshTransport: a device that runs OpenSSH or dropbear, by the system's own ssh."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from device_benchmarks.transports.transport import Transport, stop
from toolchain.errors import DeviceError

CONNECT_SECONDS = 15
ALIVE_SECONDS = 5  # a connection that says nothing is asked; three answers that do not come are its end
_POLL_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class SshLogin:
    """What of the user's configuration is to be otherwise; None leaves it as it is there."""

    user: str | None = None
    port: int | None = None
    identity_file: str | None = None

    def options(self) -> list[str]:
        """For the command line of ssh."""
        user = [] if self.user is None else ["-l", self.user]
        port = [] if self.port is None else ["-p", str(self.port)]
        key = [] if self.identity_file is None else ["-i", self.identity_file, "-o", "IdentitiesOnly=yes"]
        return [*user, *port, *key]


NO_LOGIN = SshLogin()


class SshTransport(Transport):
    """One connection to a host, which all commands share.

    Everything but what is stated here is as in the user's configuration: user, port, key, agent, jump hosts. Host keys are
    checked, and nothing is ever asked: an unknown host or a missing key is an error.

    Args:
        host: a name of ~/.ssh/config, or user@host.
        config: another configuration file.
        connect_seconds: how long a connection may take.
        login: instead of what the configuration says.
        name: how the user calls it, by default ssh:HOST.
    """

    kind = "ssh"
    folders = ("/tmp", "/var/tmp")
    failures: ClassVar[Mapping[str, str]] = {
        "REMOTE HOST IDENTIFICATION HAS CHANGED": "its host key is not the known one. Find out why, then remove the old key",
        "Host key verification failed": "its host key is not known. Log in once with ssh and compare the key that it shows",
        "Permission denied": "it accepts none of your keys. Add your public key to its authorized_keys",
        "Could not resolve": "there is no host of this name",
        "Connection refused": "it runs no ssh server on this port",
        "timed out": "it does not answer",
        "No route": "it cannot be reached from here",
    }

    def __init__(
        self, host: str, config: Path | None = None, connect_seconds: int = CONNECT_SECONDS, login: SshLogin = NO_LOGIN,
        name: str = "",
    ) -> None:  # fmt: skip
        if not host or host.startswith("-"):
            raise DeviceError(f"{host!r} is no ssh host. Name one of ~/.ssh/config, or user@host.")
        self.name, self.host = name or f"ssh:{host}", host
        self._config, self._connect_seconds, self._login = config, connect_seconds, login
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._master: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        key = self._login.identity_file
        if key is not None and not Path(key).is_file():
            raise DeviceError(f"{self.name}: identity_file {key}: no such file. Name the private key to log in with.")
        self._folder = tempfile.TemporaryDirectory(prefix="pgnn-", dir="/tmp")  # a socket's path has at most 104 bytes
        master = subprocess.Popen(
            [*self._ssh(), "-M", "-N", "--", self.host],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self._master = master
        end = time.monotonic() + 2 * self._connect_seconds
        while not self._socket.exists():
            if master.poll() is not None or time.monotonic() > end:
                reason = (
                    ""
                    if master.poll() is None or master.stderr is None
                    else master.stderr.read().decode(errors="replace")
                )
                self.close()
                raise DeviceError(f"{self.name}: {self.explain(_reason(reason))}")
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        if self._master is not None:
            stop(self._master)
            self._master = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def shell(self, script: str) -> list[str]:
        # The login shell of the other side may be any: all that it has to understand is a quoted argument of sh.
        return [*self._ssh(), "-T", "--", self.host, shlex.join(["exec", "sh", "-c", script])]

    @property
    def _socket(self) -> Path:
        assert self._folder is not None, "the transport is not open"
        return Path(self._folder.name) / "s"

    def _ssh(self) -> list[str]:
        config = [] if self._config is None else ["-F", str(self._config)]
        options = {
            "BatchMode": "yes", "StrictHostKeyChecking": "yes", "ConnectTimeout": str(self._connect_seconds), "LogLevel": "ERROR",
            "ServerAliveInterval": str(ALIVE_SECONDS), "ServerAliveCountMax": "3", "ControlMaster": "no",
            "ControlPath": str(self._socket), "ForwardX11": "no", "ClearAllForwardings": "yes",
        }  # fmt: skip
        return [
            "ssh",
            *config,
            *self._login.options(),
            *(part for name, value in options.items() for part in ("-o", f"{name}={value}")),
        ]


def _reason(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    changed = next((line for line in lines if "IDENTIFICATION HAS CHANGED" in line), None)
    return (changed or (lines[-1] if lines else "")).strip("@ .")
