"""NativeRunner: a C artifact on a device, as a static program that needs no library there."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path

from device_benchmarks.device_answers import DeviceAnswers, Timing
from device_benchmarks.device_facts import DeviceFacts
from device_benchmarks.device_target import load_device_target
from device_benchmarks.native_files import graphs_file, read_results
from device_benchmarks.native_program import PROGRAM, NativeProgram, build_program
from device_benchmarks.transports import RunFolder
from runtimes import Runtime
from toolchain.errors import DeviceError
from toolchain.inputs import GraphInputs

GRAPHS, RESULTS = "graphs.bin", "results.bin"
SECONDS_PER_GRAPH = 1.0
SPARE_SECONDS = 120.0
_STATUS = {
    126: "the device does not let it be run: its folder allows no programs, or it is for another processor",
    127: "the device does not find it",
    5: "no memory is left",
    6: "the device does not have these cores",
}


class NativeRunner:
    """Builds the program on this machine, pushes it with the graphs, and runs it.

    Args:
        facts: of the device that it is built for.
        local: whether that is this machine, whose own compiler then builds it.
    """

    def __init__(self, runtime: Runtime, facts: DeviceFacts, *, local: bool = False) -> None:
        self._runtime, self._facts, self._local = runtime, facts, local
        self._program: NativeProgram | None = None
        self._content = b""

    def build(self) -> None:
        """Compile the program; needs no device.

        Raises:
            DeviceError: nothing is built for its machine.
        """
        target = load_device_target(self._facts.target) if self._facts.target else None
        zig = () if self._local else self._facts.zig_flags(target)
        with tempfile.TemporaryDirectory(prefix="pocketgnn-program-") as folder:
            self._program = build_program(self._runtime.artifact, zig, Path(folder))
            self._content = self._program.path.read_bytes()

    def install(self, folder: RunFolder) -> None:
        """Push the program."""
        folder.put(PROGRAM, self._content, is_program=True)

    def run(self, folder: RunFolder, graphs: Sequence[GraphInputs], timing: Timing | None = None) -> DeviceAnswers:
        """Compute all graphs, and time one of them.

        Raises:
            DeviceError: the connection was lost, or the program failed; its results are then gone.
        """
        program, protocol = self._program, timing.protocol if timing else None
        assert program is not None, "build() comes first"
        seconds = SPARE_SECONDS + SECONDS_PER_GRAPH * len(graphs)
        command = [f"./{PROGRAM}", GRAPHS, RESULTS]
        if timing is None or protocol is None:
            command += [str(int(seconds)), "0"]
        else:
            seconds += 10 * protocol.seconds
            warm = protocol.warmup_seconds / protocol.rounds
            numbers = (
                timing.position, protocol.window.samples, protocol.window.seconds * 1e9, protocol.warmup_samples, warm * 1e9,
                protocol.rounds,
            )  # fmt: skip
            command += [str(int(seconds)), f"{timing.core_mask:x}", *(str(round(number)) for number in numbers)]
        folder.put(GRAPHS, graphs_file(self._runtime, graphs, program.build))
        done = folder.run(command, seconds=seconds + SPARE_SECONDS)
        if done.status:
            reason = _STATUS.get(done.status, f"status {done.status}")
            raise DeviceError(f"{folder.name}: the program failed: {reason} ({done.first_line}).")
        answers = read_results(folder.get(RESULTS), self._runtime, graphs, program.build)
        return replace(answers, runtime=self._described(program))

    def _described(self, program: NativeProgram) -> dict[str, object]:
        return {
            "name": "native C", "version": metadata.version("pocketgnn"), "compiler": program.compiler,
            "flags": list(program.flags), "threads": 1,
            "program_bytes": len(self._content), "program_sha256": hashlib.sha256(self._content).hexdigest(),
        }  # fmt: skip
