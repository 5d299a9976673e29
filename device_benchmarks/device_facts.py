"""What a device says of itself: processor, memory, system; and of its state: clocks, temperatures, throttling."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from device_benchmarks.device_target import MACHINES, DeviceTarget, target_of
from device_benchmarks.transports.transport import Transport
from toolchain.errors import DeviceError

SECONDS = 60.0
NO_SERIALS = (
    "unknown",
    "uninitialized",
)  # of Android for programs that may not know it; of systemd before the first start
Cores = Literal["any", "big", "little"]

# One line "key=value" each; what a system does not have stays empty.
_FACTS = r"""
k() { key=$1; shift; printf '%s=' "$key"; "$@" 2>/dev/null | tr -d '\000\r' | tr '\n' ' '; echo; }
each() { for file in /sys/devices/system/cpu/cpu[0-9]*/cpufreq/"$1"; do n=${file#*/cpu/cpu}; echo "${n%%/*}:$(cat "$file")"; done; }
k machine uname -m
k system uname -s
k kernel uname -r
k model cat /proc/device-tree/model
k maker getprop ro.product.manufacturer
k product getprop ro.product.model
k soc getprop ro.soc.model
k android getprop ro.build.version.release
k virtual sh -c 'getprop ro.kernel.qemu; getprop ro.boot.qemu'
k vendor cat /sys/class/dmi/id/sys_vendor
k compatible cat /proc/device-tree/compatible
k serialno getprop ro.serialno
k serial cat /proc/device-tree/serial-number
k installation cat /etc/machine-id
k os sed -n 's/^PRETTY_NAME=//p' /etc/os-release
k cores nproc --all
k memory sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo
k cpu sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo
k parts sed -n 's/^CPU part[^:]*: *//p' /proc/cpuinfo
k max_khz each cpuinfo_max_freq
"""
_STATE = r"""
k() { key=$1; shift; printf '%s=' "$key"; "$@" 2>/dev/null | tr -d '\000\r' | tr '\n' ' '; echo; }
each() { for file in /sys/devices/system/cpu/cpu[0-9]*/cpufreq/"$1"; do n=${file#*/cpu/cpu}; echo "${n%%/*}:$(cat "$file")"; done; }
zones() { for zone in /sys/class/thermal/thermal_zone*; do echo "$(tr ' :' '__' <"$zone/type"):$(cat "$zone/temp")"; done; }
k governor each scaling_governor
k limit_khz each scaling_max_freq
k khz each scaling_cur_freq
k zones zones
k load cat /proc/loadavg
k battery cat /sys/class/power_supply/battery/temp
k firmware vcgencmd get_throttled
k thermal sh -c 'dumpsys thermalservice | sed -n "s/^Thermal Status: //p"'
"""


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What stays the same while a device runs.

    Attributes:
        model: what the device calls itself: the maker and product of a phone, or of its device tree; its processor otherwise.
        cpu: the processor's name, or the part numbers of its cores.
        max_khz: highest clock of each core by number; empty where the system does not tell.
        emulated: why its time is not that of a device; empty where it is one.
        target: name of its file in targets/; empty where none fits.
        manufacturer: empty where the device does not tell.
        serial_hash: tells devices of one model apart: the first 16 digits of the sha256 of its serial number, or of its
            installation's machine-id; None where it has neither. Results are passed on and published, and a serial number is a
            personal datum by which its maker and others know the owner, so that it is kept nowhere.
    """

    machine: str
    model: str
    soc: str
    cpu: str
    cores: int
    ram_bytes: int
    os: str
    kernel: str
    max_khz: Mapping[int, int]
    emulated: str
    target: str
    manufacturer: str = ""
    serial_hash: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "max_khz": {str(core): khz for core, khz in self.max_khz.items()}}

    def zig_flags(self, target: DeviceTarget | None) -> tuple[str, ...]:
        """Compiler flags for a program of this device.

        Raises:
            DeviceError: nothing is built for its machine.
        """
        if target is not None and target.zig and target.zig[1] == MACHINES.get(self.machine, ("", ""))[1]:
            return target.zig
        if self.machine not in MACHINES:
            raise DeviceError(f"machine {self.machine!r}: programs are built for {', '.join(sorted(MACHINES))}.")
        return MACHINES[self.machine]

    def core_mask(self, cores: Cores) -> int:
        """Set of cores to run on; 0 leaves the choice to the system.

        Raises:
            DeviceError: the system does not tell its cores apart.
        """
        if cores == "any":
            return 0
        if not self.max_khz:
            raise DeviceError(f"--cores {cores}: the device does not tell the clocks of its cores. Use --cores any.")
        clock = max(self.max_khz.values()) if cores == "big" else min(self.max_khz.values())
        return sum(1 << core for core, khz in self.max_khz.items() if khz == clock)


@dataclass(frozen=True, slots=True)
class DeviceState:
    """What changes while a device runs; empty or None where the system does not tell.

    Attributes:
        governor: of each core; limit_khz: what heat or a user has limited its clock to; khz: its clock now.
        celsius: temperature of each zone, the battery included.
        firmware: throttling bits of a Raspberry Pi; thermal: status of Android, 0 is none.
    """

    governor: Mapping[int, str]
    limit_khz: Mapping[int, int]
    khz: Mapping[int, int]
    celsius: Mapping[str, float]
    load_average: float | None
    firmware: int | None
    thermal: int | None

    def to_json(self) -> dict[str, Any]:
        def keyed(values: Mapping[int, Any]) -> dict[str, Any]:
            return {str(core): value for core, value in values.items()}

        numbered = {"governor": keyed(self.governor), "limit_khz": keyed(self.limit_khz), "khz": keyed(self.khz)}
        return {**asdict(self), **numbered}


NO_STATE = DeviceState({}, {}, {}, {}, None, None, None)  # of a device that tells nothing


def read_facts(transport: Transport) -> DeviceFacts:
    """Ask a device who it is."""
    done = transport.script(_FACTS, seconds=SECONDS)
    return parse_facts(done.output.decode(errors="replace"))


def parse_facts(text: str) -> DeviceFacts:
    """Facts of the lines that `read_facts` has the device print."""
    found = _lines(text)
    phone = f"{found['maker']} {found['product']}".strip()
    parts = " ".join(sorted(set(found["parts"].split())))
    cpu = _first(found["cpu"]) or (f"Arm part {parts}" if parts else "")
    model = phone or found["model"] or cpu or found["machine"]
    target = target_of(model) or target_of(found["model"]) or target_of(found["soc"])
    system = f"Android {found['android']}" if found["android"] else found["os"].strip('"') or found["system"]
    return DeviceFacts(
        found["machine"], model, found["soc"], cpu, _number(found["cores"]) or 0, 1024 * (_number(found["memory"]) or 0), system,
        found["kernel"], {core: int(khz) for core, khz in _each(found["max_khz"]).items()}, _emulated(found),
        target.name if target else "", found["maker"] or found["vendor"] or found["compatible"].partition(",")[0],
        _serial_hash(found["serialno"], found["serial"], found["installation"]),
    )  # fmt: skip


def read_state(transport: Transport) -> DeviceState:
    """Ask a device how it is."""
    return parse_state(transport.script(_STATE, seconds=SECONDS).output.decode(errors="replace"))


def parse_state(text: str) -> DeviceState:
    """State of the lines that `read_state` has the device print."""
    found = _lines(text)
    celsius = {
        zone: int(value) / 1000
        for zone, _, value in (pair.rpartition(":") for pair in found["zones"].split())
        if re.fullmatch(r"-?\d+", value)
    }
    if re.fullmatch(r"-?\d+", found["battery"]):
        celsius["battery"] = int(found["battery"]) / 10
    load = found["load"].split()[:1]
    firmware = re.fullmatch(r"throttled=(0x[0-9a-fA-F]+)", found["firmware"])
    return DeviceState(
        _each(found["governor"]), {core: int(khz) for core, khz in _each(found["limit_khz"]).items()},
        {core: int(khz) for core, khz in _each(found["khz"]).items()}, celsius, float(load[0]) if load else None,
        int(firmware[1], 16) if firmware else None, _number(_first(found["thermal"])),
    )  # fmt: skip


def is_throttled(facts: DeviceFacts, before: DeviceState, after: DeviceState) -> bool | None:
    """Whether heat or power limited the clock during a run; None where the device cannot tell."""
    told = []
    if after.firmware is not None:  # bits 0 to 3: now; 16 to 19: since the start, which counts if it was not so before
        told.append(
            bool(after.firmware & 0xF or (before.firmware or 0) & 0xF or after.firmware & ~(before.firmware or 0))
        )
    if after.thermal is not None:
        told.append(max(after.thermal, before.thermal or 0) > 0)
    if after.limit_khz and facts.max_khz:
        states = (before.limit_khz, after.limit_khz)
        told.append(any(khz < facts.max_khz.get(core, 0) for limits in states for core, khz in limits.items()))
    return any(told) if told else None


def _serial_hash(*found: str) -> str | None:
    """Of the first number that is one."""
    serial = next((number for number in found if number.strip("0") and number not in NO_SERIALS), None)
    return None if serial is None else hashlib.sha256(serial.encode()).hexdigest()[:16]


def _emulated(found: Mapping[str, str]) -> str:
    """Why this is no device: what QEMU's machines and user mode leave visible."""
    if "1" in found["virtual"].split():  # the second name is that of Android 12 and newer
        return "an Android emulator"
    if found["model"] == "linux,dummy-virt":
        return "QEMU's virt machine"
    if "QEMU Virtual CPU" in found["cpu"] or "QEMU TCG" in found["cpu"]:
        return "a processor that QEMU plays"
    if found["machine"] in ("aarch64", "armv7l", "armv8l") and found["cpu"] and not found["parts"]:
        return "QEMU's user mode"  # the processor in /proc/cpuinfo is that of its host
    return "QEMU" if found["vendor"] == "QEMU" and found["machine"] not in ("x86_64", "i686") else ""


def _lines(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found.setdefault(key, value.strip())
    keys = re.findall(r"^k (\w+) ", _FACTS + _STATE, re.MULTILINE)
    return {key: found.get(key, "") for key in keys}


def _each(text: str) -> dict[int, str]:
    pairs = (pair.split(":", 1) for pair in text.split() if re.fullmatch(r"\d+:\w+", pair))
    return {int(core): value for core, value in sorted(pairs, key=lambda pair: int(pair[0]))}


def _first(text: str) -> str:
    """Of a value that every core repeats, the first."""
    half = re.match(r"^(.+?)(?: \1)*$", text.strip())
    return half[1].strip() if half else ""


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None
