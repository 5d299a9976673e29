"""DeviceNames: the name of a device in, a way to it out; reachable_devices: all that can be named now."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from glob import glob
from pathlib import Path
from typing import Any

from device_benchmarks.board_connection import BoardConnection
from device_benchmarks.device_facts import read_facts
from device_benchmarks.emulated_benchmark import default_engine
from device_benchmarks.named_device import BoardDevice, EmulatedDevice, NamedDevice, ShellDevice
from device_benchmarks.target import load_target, target_names
from device_benchmarks.transports import AdbTransport, LocalTransport, SshTransport, Transport
from device_benchmarks.transports.adb import adb_devices
from device_benchmarks.transports.serial_port import SerialPort
from device_benchmarks.transports.ssh import CONNECT_SECONDS, SshLogin
from toolchain.errors import DeviceError, MissingDependency, RecipeError
from toolchain.recipe_devices import AdbDevice, Device, SerialDevice, SshDevice

WAYS = "local, ssh:HOST, adb or adb:SERIAL, serial:PORT, emulator:TARGET, or as in a recipe (--recipe)"
SSH_CONFIG = Path("~/.ssh/config")
SSH_INCLUDES = 16  # files one within another, as ssh has it
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


@dataclass(frozen=True, slots=True)
class DeviceNames:
    """What the names of devices mean.

    Attributes:
        ssh_config: instead of ~/.ssh/config.
        known: the devices of a recipe by name.
    """

    ssh_config: Path | None = None
    known: Mapping[str, Device] = field(default_factory=dict)

    def is_board(self, name: str) -> bool:
        """Whether it is on a serial port."""
        return name.startswith("serial:") or isinstance(self.known.get(name), SerialDevice)

    def port(self, name: str) -> SerialPort:
        """The serial port of a board, opened.

        Raises:
            DeviceError: it cannot be opened.
        """
        device = self.known.get(name)
        if isinstance(device, SerialDevice):
            return SerialPort(device.serial, device.baud, name)
        return SerialPort(name.removeprefix("serial:"))

    def transport(self, name: str, connect_seconds: int = CONNECT_SECONDS) -> Transport:
        """The way to a device that is no board; it is not connected yet.

        Raises:
            RecipeError: a name of another form.
        """
        device = self.known.get(name)
        if isinstance(device, SshDevice):
            login = SshLogin(device.user, device.port, device.identity_file)
            return SshTransport(device.ssh, self.ssh_config, connect_seconds, login, name)
        if isinstance(device, AdbDevice):
            return AdbTransport(device.adb, name)
        kind, _, rest = name.partition(":")
        if name == "local":
            return LocalTransport()
        if kind == "adb":
            return AdbTransport(rest)
        if kind == "ssh" and rest:
            return SshTransport(rest, self.ssh_config, connect_seconds)
        known = f" Of the recipe: {', '.join(sorted(self.known))}." if self.known else ""
        raise RecipeError(
            f"device {name!r} is unknown. Devices are called {WAYS}; pocketgnn devices lists them.{known}"
        )

    def device(self, name: str) -> NamedDevice:
        """What a name means; it is not reached yet.

        Raises:
            RecipeError: a name of another form, or of an unknown target.
        """
        kind, _, rest = name.partition(":")
        if self.is_board(name):
            return BoardDevice(name, partial(self.port, name))
        if kind == "emulator" and name not in self.known:
            load_target(rest)
            return EmulatedDevice(name, rest)
        self.transport(name)
        return ShellDevice(partial(self.transport, name))


def reachable_devices(names: DeviceNames) -> list[ReachableDevice]:
    """Every device that can be named now: this machine, the recipe's, adb, the hosts of the ssh configuration, serial ports, and
    emulators.

    Every one of them is asked who it is, all at the same time.
    """
    transports = [
        LocalTransport(),
        *(names.transport(name, PROBE_SECONDS) for name in names.known if not names.is_board(name)),
    ]
    boards = [name for name in names.known if names.is_board(name)]
    listed: list[ReachableDevice] = []
    if shutil.which("adb") is not None:
        stated = {device.adb for device in names.known.values() if isinstance(device, AdbDevice)}
        for serial, state in adb_devices().items():
            if serial in stated:
                continue
            if state == "device":
                transports.append(AdbTransport(serial))
            else:
                words = AdbTransport(serial).explain(state)
                listed.append(ReachableDevice(f"adb:{serial}", "adb", words, False))
    for host in ssh_hosts((names.ssh_config or SSH_CONFIG).expanduser()):
        transports.append(SshTransport(host, names.ssh_config, PROBE_SECONDS))
    with ThreadPoolExecutor(len(transports) + len(boards)) as pool:
        probed = [pool.submit(_probe, transport) for transport in transports]
        probed += [pool.submit(_probe_board, names, name) for name in boards]
        found = [probe.result() for probe in probed]
    return [*found, *listed, *_serial_ports(), *_emulators()]


def ssh_hosts(config: Path, depth: int = 0) -> list[str]:
    """Hosts that a configuration and the files that it includes name, without patterns; none where there is no such file."""
    try:
        text = config.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    hosts: list[str] = []
    for line in text.splitlines():
        keyword, *words = (word.strip('"') for word in re.split(r"[\s=]+", line.strip()))
        if keyword.lower() == "host":
            hosts += [word for word in words if word and not re.search(r"[*?!]", word)]
        elif keyword.lower() == "include" and depth < SSH_INCLUDES:
            for word in filter(None, words):
                pattern = str(SSH_CONFIG.parent.expanduser() / Path(word).expanduser())  # as ssh reads relative ones
                hosts += (host for file in sorted(glob(pattern)) for host in ssh_hosts(Path(file), depth + 1))
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


def _probe_board(names: DeviceNames, name: str) -> ReachableDevice:
    try:
        with names.port(name) as port, BoardConnection(port, name, answer_seconds=1.0, attempts=2) as board:
            who = board.identity
    except DeviceError as error:
        return ReachableDevice(name, "serial", str(error).removeprefix(f"{name}: "), False)
    counter = (
        f"counter of {who.cycles_per_second:,} Hz" if who.cycles_per_second else "no counter, so nothing can be timed"
    )
    return ReachableDevice(name, "serial", f"{who.board} with the model {who.model}, {counter}", True)


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
