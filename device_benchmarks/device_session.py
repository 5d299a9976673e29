"""verify_on and bench_on: an artifact on a device: its outputs compared with the host's, its inferences timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from typing import Protocol as Interface

import numpy as np

import runtimes
from device_benchmarks.device_answers import Computed, DeviceAnswers, Timing
from device_benchmarks.device_facts import Cores, DeviceFacts, is_throttled, read_facts, read_state
from device_benchmarks.device_python import LIBRARIES
from device_benchmarks.device_result import DeviceResult, artifact_facts, graph_sha256
from device_benchmarks.native_runner import NativeRunner
from device_benchmarks.output_difference import Answer, largest_difference, output_difference
from device_benchmarks.protocol import DEFAULT, Protocol
from device_benchmarks.python_runner import PythonRunner
from device_benchmarks.transports import RunFolder, Transport
from runtimes import Runtime
from toolchain.artifact import Artifact
from toolchain.errors import DeviceError, InvalidInput, PocketGnnError
from toolchain.inputs import GraphInputs

Progress = Callable[[str], None]
TOLERANCE = 1e-5  # of the largest magnitude, for floats of another library; C gives the same bits
EMULATED = "emulated: correctness and instruction counts only"


class Runner(Interface):
    """What makes a format run on a device."""

    def build(self) -> None:
        """Make what goes to the device."""

    def install(self, folder: RunFolder) -> None:
        """Bring it there."""

    def run(self, folder: RunFolder, graphs: Sequence[GraphInputs], timing: Timing | None = None) -> DeviceAnswers:
        """Compute all graphs, and time one of them."""


@dataclass(frozen=True, slots=True)
class DeviceParity:
    """Outputs of a device beside those of the host's runtime.

    Attributes:
        graphs: that were computed; refused: of them, those that both refused; identical: with the same bits in every output.
        max_abs, max_relative: largest difference, and it over the largest magnitude of the host's outputs.
        is_exact: whether the same bits are asked for.
        differences: what differs beyond what is allowed, by the position of the graph.
        memory: of the process on the device, as in DeviceAnswers; of an emulated one too, since its system keeps the account.
    """

    device: str
    artifact: str
    graphs: int
    refused: int
    identical: int
    max_abs: float
    max_relative: float
    is_exact: bool
    differences: Mapping[int, str]
    memory: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "device": self.device, "artifact": self.artifact, "graphs": self.graphs, "refused_graphs": self.refused,
            "identical_graphs": self.identical, "max_abs": self.max_abs, "max_relative": self.max_relative,
            "allowed_relative": 0.0 if self.is_exact else TOLERANCE,
            "differences": {str(position): words for position, words in self.differences.items()}, "memory": dict(self.memory),
        }  # fmt: skip


def verify_on(
    transport: Transport, artifact: Artifact, graphs: Sequence[GraphInputs], progress: Progress = lambda line: None
) -> DeviceParity:
    """Run every graph on a device and compare each output with the host's.

    Raises:
        DeviceError: the device cannot be reached or fails.
        InvalidInput: no graphs are given, or the artifact takes none of them.
    """
    runtime = runtimes.load(artifact)
    if not graphs:
        raise InvalidInput("no graphs to compare on. Pass --model MODEL, the file with get_graphs().")
    taken, refused = _within_contract(runtime, graphs)
    with _on_device(transport, runtime, progress) as (folder, _, runner):
        progress(f"{transport.name}: computing {len(taken)} graphs")
        answers = runner.run(folder, [graph for _, graph in taken])
    parity = _compared(transport, runtime, taken, answers.computed, len(graphs), refused)
    return replace(parity, memory=answers.memory)


def bench_on(
    transport: Transport, artifact: Artifact, graph: GraphInputs, *, protocol: Protocol = DEFAULT, cores: Cores = "any",
    source: str = "", command: str = "", seed: int | None = None, progress: Progress = lambda line: None,
) -> DeviceResult:  # fmt: skip
    """Time one graph on a device, after its outputs were compared with the host's.

    Args:
        cores: which of the device's cores to run on.
        source: where the graph is from; command: what the user typed; seed: of the data; all for the record.

    Raises:
        DeviceError: the device cannot be reached, fails, or is an emulator.
    """
    runtime = runtimes.load(artifact)
    _within_contract(runtime, [graph])
    started, begin = datetime.now(UTC).isoformat(timespec="seconds"), time.monotonic()
    with _on_device(transport, runtime, progress, timed=True) as (folder, facts, runner):
        ready = time.monotonic()
        before = read_state(transport)
        progress(f"{transport.name}: measuring")
        answers = runner.run(folder, [graph], Timing(0, protocol, facts.core_mask(cores)))
        after = read_state(transport)
    parity = _compared(transport, runtime, [(0, graph)], answers.computed, 1, 0)
    return DeviceResult(
        device=transport.name, transport=transport.kind, facts=facts, before=before, after=after,
        throttled=is_throttled(facts, before, after), artifact=artifact_facts(artifact), answers=answers,
        parity=parity.to_json(), protocol=protocol, cores=cores,
        inputs={
            "source": source, "sha256": graph_sha256(graph), "nodes": graph.num_nodes, "edges": graph.num_edges,
            "graphs": graph.num_graphs,
        },
        command=command, started_at=started, build_seconds=ready - begin, wall_seconds=time.monotonic() - begin,
        seed=seed,
    )  # fmt: skip


@contextmanager
def _on_device(
    transport: Transport, runtime: Runtime, progress: Progress, timed: bool = False
) -> Iterator[tuple[RunFolder, DeviceFacts, Runner]]:
    """Who the device is, and a folder on it with a runner installed; nothing of it stays."""
    progress(f"{transport.name}: connecting")
    with transport:
        facts = read_facts(transport)
        if timed and facts.emulated:
            raise DeviceError(f"{transport.name}: {facts.emulated}: {EMULATED}. Use verify -d, or bench --target.")
        runner = _runner(transport, runtime, facts)
        progress(f"{transport.name}: building for {facts.model}; the first time for a processor takes a minute")
        runner.build()
        with RunFolder(transport) as folder:
            runner.install(folder)
            yield folder, facts, runner


def _runner(transport: Transport, runtime: Runtime, facts: DeviceFacts) -> Runner:
    format = runtime.artifact.format
    if format == "c":
        return NativeRunner(runtime, facts, local=transport.kind == "local")
    if format not in LIBRARIES:
        raise DeviceError(
            f"{transport.name}: no runner for format {format!r} on this device. Export the model with --to c."
        )
    if transport.kind == "adb":
        raise DeviceError(
            f"{transport.name}: format {format!r} would need Python, which Android has not. Its way is the Gradle benchmark app "
            f"that pocketgnn package C_ARTIFACT --for android --with {runtime.artifact.path.name} writes (gradle "
            ":benchmark:connectedAndroidTest there); or export the model with --to c."
        )
    return PythonRunner(runtime, transport)


def _within_contract(runtime: Runtime, graphs: Sequence[GraphInputs]) -> tuple[list[tuple[int, GraphInputs]], int]:
    """The graphs that the host takes, with their positions, and how many it refuses: those need not go to a device.

    Raises:
        InvalidInput: it takes none, with the reason of the first.
    """
    taken, refusals = [], []
    for position, graph in enumerate(graphs):
        try:
            runtime.prepare(graph)
        except InvalidInput as error:
            refusals.append(error)
        else:
            taken.append((position, graph))
    if not taken:
        raise refusals[0]
    return taken, len(refusals)


def _compared(
    transport: Transport, runtime: Runtime, taken: Sequence[tuple[int, GraphInputs]], computed: Sequence[Computed], graphs: int,
    refused: int,
) -> DeviceParity:  # fmt: skip
    is_exact = runtime.artifact.format == "c"
    differences: dict[int, str] = {}
    identical, largest, top = 0, 0.0, 0.0
    pairs: list[tuple[int, Answer, Answer]] = []
    for (position, graph), answer in zip(taken, computed, strict=True):
        found: Answer = answer.refusal or answer.outputs
        pairs.append((position, _host_answer(runtime, graph), found))
    for position, expected, found in pairs:
        words = output_difference(expected, found, "the device")
        identical += not words
        if words and (is_exact or isinstance(expected, str) or isinstance(found, str) or "shapes" in words):
            differences[position] = words
        if isinstance(expected, tuple) and isinstance(found, tuple) and "shapes" not in words:
            top = max(top, *(float(np.abs(array).max(initial=0.0)) for array in expected))
            largest = max(largest, largest_difference(expected, found))
    if not is_exact:
        for position, expected, found in pairs:
            if position not in differences and isinstance(expected, tuple) and isinstance(found, tuple):
                difference = largest_difference(expected, found)
                if not difference <= TOLERANCE * top:
                    differences[position] = (
                        f"differs from the host's by {difference:.3g}, {TOLERANCE * top:.3g} is allowed"
                    )
    return DeviceParity(
        transport.name, Path(runtime.artifact.path).name, graphs, refused, identical, largest, largest / top if top else 0.0,
        is_exact, dict(sorted(differences.items())),
    )  # fmt: skip


def _host_answer(runtime: Runtime, graph: GraphInputs) -> Answer:
    try:
        return runtime.run(graph)
    except PocketGnnError as error:
        return str(error)
