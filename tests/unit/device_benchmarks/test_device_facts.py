"""What devices print about themselves, as facts: Raspberry Pi, Android, PC, and everything that only plays one."""

from __future__ import annotations

import hashlib
import json

import pytest

from device_benchmarks.device_facts import is_throttled, parse_facts, parse_state, read_facts, read_state
from device_benchmarks.device_target import load_device_target
from device_benchmarks.transports import LocalTransport
from toolchain.errors import DeviceError

PI = """
machine=aarch64
system=Linux
kernel=6.6.31+rpt-rpi-v8
model=Raspberry Pi 4 Model B Rev 1.4
os="Debian GNU/Linux 12 (bookworm)"
cores=4
memory=3884268
cpu=
parts=0xd08 0xd08 0xd08 0xd08
max_khz=0:1800000 1:1800000 2:1800000 3:1800000
"""
PHONE = """
machine=aarch64
kernel=6.1.57-android14-11
maker=Google
product=Pixel 8
soc=Tensor G3
android=14
cores=9
memory=7853928
parts=0xd46 0xd46 0xd46 0xd46 0xd4d 0xd4d 0xd4d 0xd4d 0xd4e
max_khz=0:1704000 1:1704000 10:2914000 4:2367000 8:2914000
"""


def test_a_raspberry_pi_is_known_by_its_model():
    facts = parse_facts(PI)

    assert (facts.model, facts.target, facts.cores) == ("Raspberry Pi 4 Model B Rev 1.4", "raspberry-pi-4", 4)
    assert (facts.cpu, facts.os, facts.emulated) == ("Arm part 0xd08", "Debian GNU/Linux 12 (bookworm)", "")
    assert facts.ram_bytes == 3884268 * 1024
    assert facts.zig_flags(load_device_target(facts.target))[-1] == "-mcpu=cortex_a72"


SERIAL = "10000000abcdef01"


@pytest.mark.parametrize(
    "text",
    [
        f"{PI}serial={SERIAL}\ninstallation=0123456789abcdef0123456789abcdef\n",
        f"{PHONE}serialno={SERIAL}\n",
        f"{PI}serial=0000000000000000\ninstallation={SERIAL}\n",
        f"{PHONE}serialno=unknown\ninstallation={SERIAL}\n",
    ],
)
def test_devices_of_one_model_are_told_apart_by_a_hash_and_their_serial_number_is_kept_nowhere(text):
    facts = parse_facts(text)

    assert facts.serial_hash == hashlib.sha256(SERIAL.encode()).hexdigest()[:16]
    assert SERIAL not in json.dumps(facts.to_json())


def test_a_device_without_a_serial_number_has_no_hash():
    assert parse_facts(PI).serial_hash is None


@pytest.mark.parametrize(
    ("text", "manufacturer"),
    [
        (PHONE, "Google"),
        (f"{PI}compatible=raspberrypi,4-model-bbrcm,bcm2711\n", "raspberrypi"),
        ("vendor=LENOVO", "LENOVO"),
        (PI, ""),
    ],
)
def test_a_manufacturer_is_what_the_device_says(text, manufacturer):
    assert parse_facts(text).manufacturer == manufacturer


def test_a_known_board_with_a_32_bit_system_gets_a_program_for_it():
    facts = parse_facts(PI.replace("aarch64", "armv7l"))

    assert facts.zig_flags(load_device_target(facts.target)) == ("-target", "arm-linux-musleabihf")


def test_a_phone_is_called_by_maker_and_product_and_its_cores_are_told_apart_by_clock():
    facts = parse_facts(PHONE)

    assert (facts.model, facts.soc, facts.os, facts.emulated) == ("Google Pixel 8", "Tensor G3", "Android 14", "")
    assert facts.core_mask("little") == 0b11
    assert facts.core_mask("big") == 1 << 8 | 1 << 10
    assert facts.core_mask("any") == 0


def test_cores_cannot_be_chosen_where_the_system_does_not_tell_their_clocks():
    with pytest.raises(DeviceError, match="--cores big: the device does not tell the clocks of its cores"):
        parse_facts("machine=x86_64").core_mask("big")


def test_a_machine_that_nothing_is_built_for_is_refused():
    with pytest.raises(DeviceError, match="machine 'mips': programs are built for aarch64"):
        parse_facts("machine=mips").zig_flags(None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("machine=aarch64\nmodel=linux,dummy-virt\nparts=0xd08", "QEMU's virt machine"),
        ("machine=aarch64\ncpu=AMD EPYC AMD EPYC\nparts=", "QEMU's user mode"),
        ("machine=x86_64\ncpu=QEMU Virtual CPU version 2.5+", "a processor that QEMU plays"),
        ("machine=x86_64\nvirtual=1\nandroid=14", "an Android emulator"),
        ("machine=aarch64\nvirtual=0 1\nandroid=14", "an Android emulator"),
        ("machine=aarch64\nvendor=QEMU\nparts=0xd08", "QEMU"),
        ("machine=x86_64\nvendor=QEMU\ncpu=AMD EPYC AMD EPYC", ""),  # a machine of a cloud, whose processor is real
        (PI, ""),
    ],
)
def test_what_only_plays_a_device_is_told(text, words):
    assert parse_facts(text).emulated == words


HOT = "zones=cpu-thermal:61350 gpu:not-there\nlimit_khz=0:1800000\nkhz=0:1500000\ngovernor=0:ondemand\nload=0.50 0.1 0.2 1/99 7\n"


def test_a_state_has_temperatures_clocks_and_load():
    state = parse_state(HOT + "battery=312\nfirmware=throttled=0x50000\nthermal=0\n")

    assert state.celsius == {"cpu-thermal": 61.35, "battery": 31.2}
    assert (state.governor, state.limit_khz, state.khz) == ({0: "ondemand"}, {0: 1800000}, {0: 1500000})
    assert (state.load_average, state.firmware, state.thermal) == (0.5, 0x50000, 0)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("", "", None),
        ("firmware=throttled=0x50000", "firmware=throttled=0x50000", False),  # it was so, before
        ("firmware=throttled=0x0", "firmware=throttled=0x40000", True),  # it was so meanwhile
        ("firmware=throttled=0x4", "firmware=throttled=0x0", True),
        ("thermal=0", "thermal=2", True),
        ("thermal=0", "thermal=0", False),
        ("limit_khz=0:1800000", "limit_khz=0:1200000", True),
        ("limit_khz=0:1800000", "limit_khz=0:1800000", False),
    ],
)
def test_throttling_is_told_by_firmware_by_android_and_by_the_limit_of_the_clock(before, after, expected):
    assert is_throttled(parse_facts(PI), parse_state(before), parse_state(after)) is expected


def test_the_commands_of_android_and_of_a_raspberry_pi_are_asked_where_they_are_there(tmp_path, monkeypatch):
    """What they print is that of real devices; only who prints it is not."""
    said = {
        "getprop": "case $1 in ro.product.manufacturer) echo Xiaomi;; ro.product.model) echo 2201116SG;; "
        "ro.soc.model) echo SM6375;; ro.build.version.release) echo 13;; ro.boot.qemu) echo 1;; *) echo;; esac",
        "dumpsys": "echo 'IsStatusOverride: false'; echo 'Thermal Status: 3'; echo 'Cached temperatures:'",
        "vcgencmd": "echo throttled=0x50005",
    }
    for name, line in said.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{line}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    with LocalTransport() as transport:
        facts, state = read_facts(transport), read_state(transport)

    assert (facts.soc, facts.os, facts.target) == ("SM6375", "Android 13", "android-mid-range")
    assert (facts.emulated, state.thermal, state.firmware) == ("an Android emulator", 3, 0x50005)


def test_this_machine_tells_its_machine_word_its_cores_and_its_memory():
    with LocalTransport() as transport:
        facts, state = read_facts(transport), read_state(transport)

    assert facts.machine and facts.cores >= 1 and facts.ram_bytes > 2**20
    assert state.load_average is not None and state.load_average >= 0
