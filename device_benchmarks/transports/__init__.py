"""Ways to a device: this machine, ssh, adb."""

from device_benchmarks.transports.adb import AdbTransport
from device_benchmarks.transports.connection import Connection
from device_benchmarks.transports.local import LocalTransport
from device_benchmarks.transports.run_folder import RunFolder
from device_benchmarks.transports.ssh import SshTransport
from device_benchmarks.transports.transport import Completed, Transport

__all__ = ["AdbTransport", "Completed", "Connection", "LocalTransport", "RunFolder", "SshTransport", "Transport"]
