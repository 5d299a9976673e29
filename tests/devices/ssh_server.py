"""A private OpenSSH server on the loopback interface, with keys, known hosts and a client configuration of its own."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True, slots=True)
class SshServer:
    """A running server.

    Attributes:
        config: of the client; the host in it is called "board".
        folder: with keys, known_hosts, authorized_keys and the log.
    """

    port: int
    config: Path
    folder: Path
    process: subprocess.Popen[bytes]

    def sessions(self) -> list[int]:
        """Processes that serve a connection each."""
        found = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(self.process.pid)], capture_output=True, text=True, check=False
        )
        return [int(line) for line in found.stdout.split()]

    def cut_connections(self) -> None:
        """Cut every connection as if somebody had pulled the cable, with all processes that serve it."""
        for session in self.sessions():
            children = subprocess.run(
                ["ps", "-o", "pid=", "--ppid", str(session)], capture_output=True, text=True, check=False
            )
            for pid in [*children.stdout.split(), str(session)]:
                subprocess.run(["kill", "-9", pid], capture_output=True, check=False)


@contextmanager
def ssh_server(folder: Path, *, extra: str = "", host_alias: str = "board") -> Iterator[SshServer]:
    """Start one; `extra` are lines of its configuration."""
    assert SSHD is not None
    for key in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    (folder / "authorized_keys").write_bytes((folder / "user.pub").read_bytes())
    port = free_port()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        f"PidFile {folder}/pid\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        f"PermitRootLogin yes\nMaxStartups 100\n{extra}\n"
    )
    config = folder / "ssh_config"
    config.write_text(
        f"Host {host_alias}\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n  IdentityFile {folder}/user\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd confines the process that has no rights
    with open(folder / "log", "wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=log)
        try:
            wait_for_port(port)
            yield SshServer(port, config, folder, process)
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def wait_for_port(port: int, seconds: float = 20.0) -> None:
    """Until somebody listens."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"nobody listens on port {port}")
