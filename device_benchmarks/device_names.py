"""open_transport: the name of a device in, a way to it out; reachable_devices: all that can be named now."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from device_benchmarks.device_facts import read_facts
from device_benchmarks.emulated_benchmark import default_engine
from device_benchmarks.target import load_target, target_names
from device_benchmarks.transports import AdbTransport, LocalTransport, SshTransport, Transport
from device_benchmarks.transports.adb import adb_devices
from toolchain.errors import DeviceError, MissingDependency, RecipeError

WAYS = "local, ssh:HOST, adb or adb:SERIAL, serial:PORT, emulator:TARGET"
SSH_CONFIG = Path("~/.ssh/config")
PROBE_SECONDS = 5


@dataclass(frozen=True, slots=True)
class ReachableDevice:
    """A device that -d takes.

    Attributes:
        kind: "local", "ssh", "adb", "serial" or "emulator".
        description: what it says of itself, or why it cannot be used now.
        is_ready: whether it answered.
        is_emulated: whether its times mean nothing.
    """

    name: str
    kind: str
    description: str
    is_ready: bool
    is_emulated: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def open_transport(name: str, ssh_config: Path | None = None) -> Transport:
    """The way to a device; it is not connected yet.

    Raises:
        RecipeError: a name of another form.
    """
    kind, _, rest = name.partition(":")
    if name == "local":
        return LocalTransport()
    if kind == "adb":
        return AdbTransport(rest)
    if kind == "ssh" and rest:
        return SshTransport(rest, ssh_config)
    if kind in ("serial", "emulator") and rest:
        verb = "verify -d" if kind == "serial" else "bench -d"
        raise RecipeError(f"device {name!r}: only {verb} takes it.")
    raise RecipeError(f"device {name!r} is unknown. Devices are called {WAYS}; pocketgnn devices lists them.")


def reachable_devices(ssh_config: Path | None = None) -> list[ReachableDevice]:
    """Every device that can be named now: this machine, adb, the hosts of the ssh configuration, serial ports, emulators.

    Every one of them is asked who it is, all at the same time.
    """
    probes: list[Callable[[], ReachableDevice]] = [lambda: _probe(LocalTransport())]
    listed: list[ReachableDevice] = []
    if shutil.which("adb") is not None:
        for serial, state in adb_devices().items():
            if state == "device":
                probes.append(lambda serial=serial: _probe(AdbTransport(serial)))  # type: ignore[misc]  # a default argument
            else:
                words = AdbTransport(serial).explain(state)
                listed.append(ReachableDevice(f"adb:{serial}", "adb", words, False))
    for host in ssh_hosts((ssh_config or SSH_CONFIG).expanduser()):
        probes.append(lambda host=host: _probe(SshTransport(host, ssh_config, PROBE_SECONDS)))  # type: ignore[misc]  # likewise
    with ThreadPoolExecutor(len(probes)) as pool:
        found = list(pool.map(lambda probe: probe(), probes))
    return [*found, *listed, *_serial_ports(), *_emulators()]


def ssh_hosts(config: Path) -> list[str]:
    """Hosts that a configuration names, without patterns; none where there is no such file."""
    try:
        text = config.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    hosts: list[str] = []
    for line in text.splitlines():
        words = re.split(r"[\s=]+", line.strip())
        if words[0].lower() == "host":
            hosts += [word for word in words[1:] if word and not re.search(r"[*?!]", word)]
    return list(dict.fromkeys(hosts))


def _probe(transport: Transport) -> ReachableDevice:
    try:
        with transport:
            facts = read_facts(transport)
    except DeviceError as error:
        return ReachableDevice(transport.name, transport.kind, str(error).removeprefix(f"{transport.name}: "), False)
    description = f"{facts.model}, {facts.cores} cores, {facts.ram_bytes / 2**30:.1f} GB, {facts.os or facts.kernel}"
    known = f" [{facts.target}]" if facts.target else ""
    note = f"; {facts.emulated}" if facts.emulated else ""
    return ReachableDevice(transport.name, transport.kind, f"{description}{known}{note}", True, bool(facts.emulated))


def _serial_ports() -> Sequence[ReachableDevice]:
    """USB serial ports; those without USB are the machine's own, where no board was plugged in."""
    if importlib.util.find_spec("serial") is None:
        return []
    from serial.tools import list_ports

    return [
        ReachableDevice(f"serial:{port.device}", "serial", f"{port.vid:04x}:{port.pid:04x} {port.description}", True)
        for port in list_ports.comports()
        if port.vid is not None
    ]


def _emulators() -> Sequence[ReachableDevice]:
    found = []
    for name in target_names():
        target = load_target(name)
        try:
            engine = default_engine(target)
        except MissingDependency as error:
            found.append(ReachableDevice(f"emulator:{name}", "emulator", str(error), False, True))
        else:
            found.append(ReachableDevice(f"emulator:{name}", "emulator", f"{target.cpu} in {engine}", True, True))
    return found
