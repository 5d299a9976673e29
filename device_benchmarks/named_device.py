"""NamedDevice: something that -d names, whatever it is; artifacts are verified and timed on it."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from device_benchmarks.board_connection import BoardConnection
from device_benchmarks.device_facts import Cores
from device_benchmarks.device_result import DeviceResult
from device_benchmarks.device_session import EMULATED, DeviceParity, Progress, bench_on, verify_on
from device_benchmarks.emulated_benchmark import EMULATORS, default_engine, emulator_connection
from device_benchmarks.firmware import build_firmware
from device_benchmarks.protocol import BOARD, DEFAULT, QUICK, QUICK_BOARD
from device_benchmarks.serial_benchmark import bench_board
from device_benchmarks.serial_session import verify_board
from device_benchmarks.target import load_target
from device_benchmarks.transports import Transport
from device_benchmarks.transports.serial_port import SerialPort
from toolchain.artifact import Artifact
from toolchain.errors import DeviceError
from toolchain.inputs import GraphInputs


@dataclass(frozen=True, slots=True)
class Timed:
    """What is to be timed, and how.

    Attributes:
        is_quick: fewer samples in less time.
        source: where the graph is from; command: what the user typed; seed: of the data; all for the record.
    """

    graph: GraphInputs
    is_quick: bool = False
    cores: Cores = "any"
    source: str = ""
    command: str = ""
    seed: int | None = None


class NamedDevice(ABC):
    """A device by name; every call reaches it anew.

    Attributes:
        has_cores: whether it may have several, of which some can be chosen.
    """

    has_cores = False

    @abstractmethod
    def verify(self, artifact: Artifact, graphs: Sequence[GraphInputs], progress: Progress) -> DeviceParity:
        """Compute graphs there and compare every output with the host's.

        Raises:
            DeviceError: the device cannot be reached, or fails.
            InvalidInput: no graphs are given, or the artifact takes none of them.
        """

    @abstractmethod
    def bench(self, artifact: Artifact, timed: Timed, progress: Progress) -> DeviceResult:
        """Time a graph there, after its outputs were compared with the host's.

        Raises:
            DeviceError: the device cannot be reached, fails, or is emulated.
            InvalidInput: it refuses the graph.
        """


@dataclass(frozen=True, slots=True)
class ShellDevice(NamedDevice):
    """This machine, or one with a shell that ssh or adb reaches; `transport` makes a new way to it."""

    transport: Callable[[], Transport]
    has_cores = True

    def verify(self, artifact: Artifact, graphs: Sequence[GraphInputs], progress: Progress) -> DeviceParity:
        return verify_on(self.transport(), artifact, graphs, progress)

    def bench(self, artifact: Artifact, timed: Timed, progress: Progress) -> DeviceResult:
        return bench_on(
            self.transport(), artifact, timed.graph, protocol=QUICK if timed.is_quick else DEFAULT, cores=timed.cores,
            source=timed.source, command=timed.command, seed=timed.seed, progress=progress,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class BoardDevice(NamedDevice):
    """A board on a serial port; `port` opens it."""

    name: str
    port: Callable[[], SerialPort]

    def verify(self, artifact: Artifact, graphs: Sequence[GraphInputs], progress: Progress) -> DeviceParity:
        with self.port() as port, BoardConnection(port, self.name) as board:
            return verify_board(board, artifact, graphs, progress).parity

    def bench(self, artifact: Artifact, timed: Timed, progress: Progress) -> DeviceResult:
        with self.port() as port, BoardConnection(port, self.name) as board:
            return bench_board(
                board, artifact, timed.graph, protocol=QUICK_BOARD if timed.is_quick else BOARD, source=timed.source,
                command=timed.command, seed=timed.seed, progress=progress,
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class EmulatedDevice(NamedDevice):
    """A microcontroller that is not there: its firmware is built and executed by an emulator, which is never timed."""

    name: str
    target: str

    def verify(self, artifact: Artifact, graphs: Sequence[GraphInputs], progress: Progress) -> DeviceParity:
        target = load_target(self.target)
        with tempfile.TemporaryDirectory(prefix="pocketgnn-firmware-") as folder:
            progress(f"{self.name}: building")
            image = build_firmware(artifact, target, Path(folder))
            with (
                closing(EMULATORS[default_engine(target)](image)) as emulator,
                emulator_connection(emulator, image, self.name) as board,
            ):
                return verify_board(board, artifact, graphs, progress).parity

    def bench(self, artifact: Artifact, timed: Timed, progress: Progress) -> DeviceResult:
        raise DeviceError(f"{self.name}: {EMULATED}. Use verify -d, or bench --target.")
