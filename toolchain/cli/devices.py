"""devices: what can be reached now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolchain.cli import options
from toolchain.cli.console import Console
from toolchain.cli.on_device import ssh_config_option

if TYPE_CHECKING:
    from device_benchmarks.device_names import ReachableDevice


@click.command()
@ssh_config_option
@options.common
def devices(console: Console, ssh_config: Path | None) -> None:
    """List the devices that verify -d and bench -d take.

    This machine, the devices of adb, the hosts of ~/.ssh/config, boards on USB serial ports, and emulators. Each is asked who
    it is. The times of emulators mean nothing; they are marked.

    \b
    pocketgnn devices
    pocketgnn bench out/model-c-static-int8 -d ssh:pi4 -d adb --model model.py
    """
    from device_benchmarks.device_names import reachable_devices

    with console.progress() as progress:
        progress("looking for devices")
        found = reachable_devices(ssh_config)
    lines = [f"{device.name:<28} {_state(device):<10} {device.description}" for device in found]
    console.result({"devices": [device.to_json() for device in found]}, *lines)


def _state(device: ReachableDevice) -> str:
    return "NOT READY" if not device.is_ready else "emulated" if device.is_emulated else "ready"
