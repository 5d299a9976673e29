"""Meter: artifacts in, times on a target out: this machine, or a device that -d names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from device_benchmarks.device_facts import read_facts
from device_benchmarks.device_names import DeviceNames
from device_benchmarks.device_python import LIBRARIES
from device_benchmarks.device_session import EMULATED, bench_on
from device_benchmarks.environment import cpu_model
from device_benchmarks.measurement import Scope
from device_benchmarks.named_device import ShellDevice
from device_benchmarks.planner.plan import FORMATS
from device_benchmarks.planner.stopwatch import LONG, SHORT, Rounds, Stopwatch
from device_benchmarks.protocol import Protocol as Sampling
from toolchain.artifact import Artifact
from toolchain.errors import DeviceError, PocketGnnError, RecipeError
from toolchain.inputs import GraphInputs

LOCAL = "local"
ON_DEVICE = {
    False: Sampling("tune", samples=64, seconds=0.4, warmup_seconds=0.2),
    True: Sampling("tune-final", samples=256, seconds=2.0, warmup_seconds=0.2, rounds=16),
}


class Meter(Protocol):
    """Times prepared inferences of artifacts by name, on the graphs that it was made for.

    Attributes:
        description: of the target, for people and for the record.
        formats: that run there.
    """

    description: str
    formats: tuple[str, ...]

    def measure(
        self, artifacts: Mapping[str, Artifact], is_final: bool
    ) -> tuple[dict[str, list[Rounds]], dict[str, str]]:
        """Rounds of inferences in microseconds for each graph, and why an artifact has none."""


@dataclass(slots=True)
class HostMeter:
    """This machine: processes that take turns. `stopwatch` is to be entered."""

    stopwatch: Stopwatch
    description: str = field(default_factory=lambda: f"this machine ({cpu_model() or 'unknown processor'})")
    formats: tuple[str, ...] = FORMATS

    def measure(
        self, artifacts: Mapping[str, Artifact], is_final: bool
    ) -> tuple[dict[str, list[Rounds]], dict[str, str]]:
        return self.stopwatch.measure(artifacts, LONG if is_final else SHORT)


@dataclass(slots=True)
class DeviceMeter:
    """A device: one session for each artifact and graph, whose outputs are also compared with the host's.

    Raises:
        RecipeError: a name of another form, or of a board or an emulator.
        DeviceError: the device cannot be reached, or is emulated.
    """

    names: DeviceNames
    name: str
    graphs: Sequence[GraphInputs]
    progress: Callable[[str], None] = lambda line: None
    description: str = field(default="", init=False)
    formats: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        device = self.names.device(self.name)
        if not isinstance(device, ShellDevice):
            raise RecipeError(
                f"device {self.name!r}: tune runs artifacts that it makes, and measures time; a board runs the one that it was "
                "flashed with, and an emulator has no time. Use bench -d, or bench --target, with --to c."
            )
        transport = device.transport()
        self.progress(f"{self.name}: connecting")
        with transport:
            facts = read_facts(transport)
        if facts.emulated:
            raise DeviceError(f"{self.name}: {facts.emulated}: {EMULATED}. Tune on the device itself.")
        self.description = f"{self.name} ({facts.model})"
        self.formats = tuple(
            format for format in FORMATS if format == "c" or (format in LIBRARIES and transport.kind != "adb")
        )

    def measure(
        self, artifacts: Mapping[str, Artifact], is_final: bool
    ) -> tuple[dict[str, list[Rounds]], dict[str, str]]:
        """As Meter has it.

        Raises:
            DeviceError: the device can no longer be reached.
        """
        found: dict[str, list[Rounds]] = {}
        failed: dict[str, str] = {}
        for name, artifact in artifacts.items():
            try:
                found[name] = [self._timed(name, artifact, graph, is_final) for graph in self.graphs]
            except PocketGnnError as error:
                with self.names.transport(self.name) as transport:
                    read_facts(transport)  # raises where it is the device that has failed, and not this artifact on it
                failed[name] = str(error)
        return found, failed

    def _timed(self, name: str, artifact: Artifact, graph: GraphInputs, is_final: bool) -> Rounds:
        self.progress(f"{self.name}: measuring {name}, {graph.num_nodes} nodes")
        result = bench_on(self.names.transport(self.name), artifact, graph, protocol=ON_DEVICE[is_final])
        if not result.is_valid:
            raise DeviceError(f"{self.name}: {', '.join(result.reasons)}")
        return [window.samples_ns / 1e3 for window in result.answers.windows if window.scope is Scope.MODEL]
