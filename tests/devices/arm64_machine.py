"""A 64-bit Arm computer with a kernel of its own, in QEMU: Debian with dropbear and the adbd of Android's sources.

It stands for a Raspberry Pi or a phone in everything but time: its processor is emulated.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.devices.ssh_server import free_port
from tests.devices.user_mode import EXTRACT

SUITE = "trixie"  # the first Debian with an adbd
CPU = "cortex-a76"  # that of a Raspberry Pi 5; torch runs on no older one
MIRROR = "http://deb.debian.org/debian"
PACKAGES = (
    "dash", "coreutils", "grep", "sed", "util-linux", "mount", "kmod", "procps", "iproute2", "adbd", "dropbear-bin", "python3-venv",
    "linux-image-arm64",
)  # fmt: skip
TOOLS = ("mmdebstrap", "qemu-system-aarch64", "cpio", "ssh", "ssh-keygen", "adb")
MODULES = ("net/core/failover", "drivers/net/net_failover", "drivers/net/virtio_net")
UNUSED = (
    "boot",
    "usr/lib/modules",
    "usr/share/doc",
    "usr/share/locale",
    "usr/share/man",
    "usr/lib/udev",
    "usr/lib/systemd",
)
READY = "the machine is ready"
INIT = f"""#!/bin/sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /data/local/tmp
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /tmp
mount -t tmpfs tmpfs /data/local/tmp
for module in failover net_failover virtio_net; do insmod /modules/$module.ko.xz; done
ip link set lo up
ip link set eth0 up
ip address add 10.0.2.15/24 dev eth0
ip route add default via 10.0.2.2
hostname board
mkdir -p /etc/dropbear
dropbear -R -s -p 22
adbd >/dev/console 2>&1 &
echo '{READY}' >/dev/console
while :; do sleep 3600; done
"""


@dataclass(frozen=True, slots=True)
class Machine:
    """A running machine.

    Attributes:
        ssh_config: in it the machine is called "pi".
        serial: of its adbd, for `adb -s`, once adb is connected to it.
        folder: of this run; console: what its kernel and init print.
    """

    ssh_config: Path
    ssh_port: int
    serial: str
    folder: Path
    console: Path
    process: subprocess.Popen[bytes]


def missing() -> str:
    """What keeps this machine from being built and run here; empty if nothing does."""
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if os.geteuid() == 0 else "not root: mmdebstrap unpacks a foreign system as root only"


def build(folder: Path) -> None:
    """Make folder/kernel and folder/root, once."""
    if (folder / "kernel").exists():
        return
    root, staged = folder / "root", folder / "staged"
    shutil.rmtree(root, ignore_errors=True)
    command = [*EXTRACT, "--architectures=arm64"]
    subprocess.run([*command, f"--include={','.join(PACKAGES)}", SUITE, str(root), MIRROR], check=True)
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    (drivers,) = (root / "usr/lib/modules").glob("*/kernel")
    (root / "modules").mkdir()
    for module in MODULES:
        shutil.copy(drivers / f"{module}.ko.xz", root / "modules")
    shutil.copy(kernel, staged)
    for unused in (*UNUSED, *(path.relative_to(root) for path in (root / "usr/lib").glob("linux-image-*"))):
        shutil.rmtree(root / unused, ignore_errors=True)
    for name in ("bin", "sbin", "lib"):  # as a package that is not taken would make them
        (root / name).symlink_to(f"usr/{name}")
    for name in ("proc", "sys", "run", "root"):
        (root / name).mkdir()
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\nshell:x:2000:2000:shell:/:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nshell:x:2000:\n")
    (root / "etc/shells").write_text("/bin/sh\n")
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    staged.rename(folder / "kernel")


@contextmanager
def arm64_machine(built: Path, folder: Path, gigabytes: int = 3) -> Iterator[Machine]:
    """Start a machine with a user's key in it; `built` is what `build` made. Its files lie in half of its memory."""
    for key in ("user", "host"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / key)], check=True)
    _pack(built / "root", folder)
    ssh_port, adb_port, console = free_port(), free_port(), folder / "console"
    network = f"user,id=net,hostfwd=tcp:127.0.0.1:{ssh_port}-:22,hostfwd=tcp:127.0.0.1:{adb_port}-:5555"
    config = folder / "ssh_config"
    config.write_text(
        f"Host pi\n  HostName 127.0.0.1\n  Port {ssh_port}\n  User root\n  IdentityFile {folder}/user\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {folder}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
    )
    command = [
        "qemu-system-aarch64", "-M", "virt", "-cpu", CPU, "-smp", "2", "-m", f"{gigabytes}G", "-accel", "tcg,thread=multi",
        "-kernel", str(built / "kernel"), "-initrd", str(folder / "root.cpio"), "-append", "console=ttyAMA0 quiet rdinit=/init",
        "-display", "none", "-monitor", "none", "-serial", f"file:{console}",
        "-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=",
    ]  # fmt: skip
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        _wait_for(console, process)
        _trust(ssh_port, folder / "known_hosts")
        yield Machine(config, ssh_port, f"127.0.0.1:{adb_port}", folder, console, process)
    finally:
        process.kill()
        process.wait()


def _pack(root: Path, folder: Path) -> None:
    """The root and this run's key as the archive that the kernel unpacks."""
    keys = folder / "keys" / "root" / ".ssh"
    keys.mkdir(parents=True)
    (keys / "authorized_keys").write_bytes((folder / "user.pub").read_bytes())
    for path in (keys, keys.parent, keys / "authorized_keys"):
        path.chmod(0o700)
    with open(folder / "root.cpio", "wb") as archive:
        for place in (root, folder / "keys"):  # the kernel takes one archive after another
            listed = subprocess.run(["find", ".", "-mindepth", "1"], cwd=place, capture_output=True, check=True)
            packed = subprocess.run(
                ["cpio", "--quiet", "-o", "-H", "newc", "-R", "0:0"],
                cwd=place,
                input=listed.stdout,
                capture_output=True,
                check=True,
            )
            archive.write(packed.stdout)


def _wait_for(console: Path, process: subprocess.Popen[bytes], seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and process.poll() is None:
        if console.exists() and READY in console.read_text(errors="replace"):
            return
        time.sleep(0.1)
    words = console.read_text(errors="replace")[-2000:] if console.exists() else "nothing"
    raise TimeoutError(f"the machine did not start; its console says: {words}")


def _trust(port: int, known_hosts: Path, seconds: float = 60.0) -> None:
    """Take the host key that the machine made at its first connection, as a user does who sees its screen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = subprocess.run(
            ["ssh-keyscan", "-T", "20", "-p", str(port), "127.0.0.1"], capture_output=True, check=False
        )
        if found.stdout.strip():
            known_hosts.write_bytes(found.stdout)
            return
        time.sleep(0.5)
    raise TimeoutError("the machine shows no host key")


def main() -> None:
    """Build and start one, for a look around: python -m tests.devices.arm64_machine FOLDER."""
    folder = Path(sys.argv[1])
    build(folder)
    run = folder / f"run-{os.getpid()}"
    run.mkdir()
    with arm64_machine(folder, run) as machine:
        print(f"{getpass.getuser()}: ssh -F {machine.ssh_config} pi, or adb connect {machine.serial}; ends with Enter")
        input()


if __name__ == "__main__":
    main()
