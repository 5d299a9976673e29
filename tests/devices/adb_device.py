"""The adbd of Android's sources, as Debian builds it, in a system of its own on this machine, reached by the real adb."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.devices.arm64_machine import MIRROR, SUITE
from tests.devices.proxy import Proxy
from tests.devices.ssh_server import free_port

PACKAGES = ("dash", "coreutils", "grep", "sed", "procps", "mount", "adbd")
TOOLS = ("mmdebstrap", "adb", "unshare", "ip", "chroot")
BUILT = "built-with-strict"
NEW_NETWORK = 0x40000000  # CLONE_NEWNET
PORT = 5555  # adbd takes no other
START = (
    "ip link set lo up && mount -t proc proc {root}/proc && mount -t tmpfs -o size=8m tmpfs {root}/data/local/tmp && "
    "mount -t tmpfs tmpfs {root}/data/misc/adb && cp {keys} {root}/data/misc/adb/adb_keys && "
    "exec chroot {root} {adbd} >/dev/null 2>&1"
)
TRUSTING, STRICT = "/usr/sbin/adbd", "/usr/sbin/adbd-strict"
# `auth_required = false`, which Debian's build says before it starts to listen: lea rax, auth_required; movb [rax], 0; lea rdi, ...
SWITCH_OFF = re.compile(rb"(\x48\x8d\x05....)\xc6\x00\x00(\x48\x8d\x3d)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class AdbDevice:
    """A running device.

    Attributes:
        serial: for `adb -s`.
        proxy: that its connection goes through, and that can be cut.
        folder: its /data/local/tmp, by way of the mounts of the process that runs it.
    """

    serial: str
    proxy: Proxy
    folder: Path
    process: subprocess.Popen[bytes]

    def die(self) -> None:
        """End it and everything that runs on it."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def processes(self) -> str:
        """Command lines of everything that runs on it; nothing once it is dead."""
        if self.process.poll() is not None:
            return ""
        namespace = os.readlink(f"/proc/{_child(self.process.pid)}/ns/pid")
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "ns/pid") == namespace:
                    found.append((entry / "cmdline").read_text(errors="replace").replace("\0", " "))
            except OSError:
                continue
        return "\n".join(found)


def missing() -> str:
    """What keeps this device from running here; empty if nothing does."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "not root: adbd needs it"


def build(folder: Path) -> None:
    """Make folder/root, once."""
    if (folder / BUILT).exists():
        return
    root = folder / "root"
    shutil.rmtree(root, ignore_errors=True)
    subprocess.run(
        ["mmdebstrap", "--mode=root", "--variant=extract", "--quiet", f"--include={','.join(PACKAGES)}", SUITE, str(root), MIRROR],
        check=True,
    )  # fmt: skip
    for name in ("bin", "sbin", "lib", "lib64"):
        if not (root / name).exists():
            (root / name).symlink_to(f"usr/{name}")
    for name in ("proc", "data/local/tmp", "data/misc/adb"):
        (root / name).mkdir(parents=True)
    (root / "etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\nshell:x:2000:2000:shell:/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nshell:x:2000:\n")
    program = bytearray((root / TRUSTING[1:]).read_bytes())
    places = [match.end(1) + 2 for match in SWITCH_OFF.finditer(program)]
    if len(places) == 1:  # else this is another build, and no device asks for a key
        program[places[0]] = 1
        (root / STRICT[1:]).write_bytes(program)
        (root / STRICT[1:]).chmod(0o755)
    (folder / BUILT).touch()


@contextmanager
def adb_server(folder: Path) -> Iterator[dict[str, str]]:
    """What leads clients to an adb server of its own: keys, port and devices are not those of the user."""
    environment = {"ANDROID_ADB_SERVER_PORT": str(free_port())}
    private = {**os.environ, **environment, "HOME": str(folder)}  # the server keeps the keys; its clients need no home
    subprocess.run(["adb", "start-server"], env=private, capture_output=True, check=True, timeout=60)
    try:
        yield environment
    finally:
        subprocess.run(["adb", "kill-server"], env=private, capture_output=True, check=False, timeout=60)


def is_strict(built: Path) -> bool:
    """Whether a device can be started that asks for a key."""
    return (built / "root" / STRICT[1:]).exists()


@contextmanager
def adb_device(built: Path, keys: Path | None = None, state: str = "device") -> Iterator[AdbDevice]:
    """Start one and connect adb to it; `built` is what `build` made.

    Args:
        keys: file of public keys; then it lets nobody in without one of them, and as Android does refuses all others.
        state: that adb is to see it in.
    """
    adbd = TRUSTING if keys is None else STRICT
    script = START.format(root=built / "root", adbd=adbd, keys=shlex.quote(str(keys or "/dev/null")))
    process = subprocess.Popen(
        ["unshare", "-n", "-m", "-p", "-f", "--kill-child", "sh", "-c", script], start_new_session=True
    )
    proxy = Proxy(lambda: _connect_inside(process.pid))
    serial = f"127.0.0.1:{proxy.port}"
    try:
        _wait_for(process.pid)
        connect(serial, state)
        inside = f"/proc/{_child(process.pid)}/root"
        holder = os.open(inside, os.O_RDONLY)  # keeps the mounts when the device has died
        device = AdbDevice(serial, proxy, Path(f"/proc/self/fd/{holder}/data/local/tmp"), process)
        yield device
        os.close(holder)
    finally:
        subprocess.run(["adb", "disconnect", serial], capture_output=True, check=False, timeout=60)
        proxy.cut()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def connect(serial: str, wanted: str = "device", seconds: float = 60.0) -> None:
    """Have adb connect to a device, and wait until it is in a state."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        subprocess.run(["adb", "connect", serial], capture_output=True, check=False, timeout=60)
        listed = subprocess.run(["adb", "devices"], capture_output=True, text=True, check=False, timeout=60)
        if f"{serial}\t{wanted}" in listed.stdout.splitlines():
            return
        subprocess.run(["adb", "disconnect", serial], capture_output=True, check=False, timeout=60)
        time.sleep(0.2)
    raise TimeoutError(f"{serial} does not answer")


def _wait_for(pid: int, seconds: float = 60.0) -> None:
    """Until adbd listens."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with contextlib.suppress(OSError, IndexError):
            _connect_inside(pid).close()
            return
        time.sleep(0.05)
    raise TimeoutError("adbd does not listen")


def _child(pid: int) -> int:
    """The process that unshare started: the first of its own system."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def _connect_inside(pid: int) -> socket.socket:
    """A connection to adbd, from inside its network; a thread enters it and ends."""
    made: list[socket.socket] = []

    def enter() -> None:
        with contextlib.suppress(OSError, IndexError):  # it does not run or listen yet, or is dead
            with open(f"/proc/{_child(pid)}/ns/net") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), NEW_NETWORK) != 0:
                    return
            made.append(socket.create_connection(("127.0.0.1", PORT), timeout=10))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if not made:
        raise OSError("adbd does not listen yet")
    made[0].settimeout(None)
    return made[0]
