"""devices: what can be reached now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolchain.cli import options
from toolchain.cli.console import Console
from toolchain.cli.on_device import device_names, recipe_option, ssh_config_option

if TYPE_CHECKING:
    from device_benchmarks.device_names import ReachableDevice


@click.command()
@ssh_config_option
@recipe_option
@options.common
def devices(console: Console, ssh_config: Path | None, recipe_file: Path | None) -> None:
    """List the devices that verify -d and bench -d take.

    This machine, the devices of a recipe, those of adb, the hosts of ~/.ssh/config, boards on USB serial ports, and emulators. Each
    is asked who it is. The times of emulators mean nothing; they are marked.

    A recipe names them as in `devices: {pi: {ssh: raspberrypi.local, user: pi, identity_file: ~/.ssh/lab}, phone: {adb: SERIAL},
    nucleo: {serial: /dev/ttyACM0, baud: 115200}}`.

    \b
    pocketgnn devices --recipe lab.yaml
    pocketgnn bench out/model-c-static-int8 -d ssh:pi4 -d adb --model model.py
    """
    from device_benchmarks.device_names import reachable_devices

    with console.progress() as progress:
        progress("looking for devices")
        found = reachable_devices(device_names(ssh_config, recipe_file))
    lines = [f"{device.name:<28} {_state(device):<10} {device.description}" for device in found]
    console.result({"devices": [device.to_json() for device in found]}, *lines)


def _state(device: ReachableDevice) -> str:
    return "NOT READY" if not device.is_ready else "emulated" if device.is_emulated else "ready"
