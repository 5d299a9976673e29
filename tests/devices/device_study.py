"""The figures of devices that can be had without any: parity on a 64-bit Arm computer, overhead of a run, size of a program.

    python -m tests.devices.device_study --data-root DATA --output out/devices

trains GCN 3x64 and GIN 5x64 on PROTEINS, boots a virtual 64-bit Arm computer, runs the whole test split there over ssh and adb,
and compares each output with the host's. What a benchmark takes beside its measuring is timed against an sshd and an adbd on this
machine, since a virtual one has no time worth telling. With --executorch the virtual machine also gets torch and ExecuTorch, in
wheels that unpack to some 600 MB, which takes its emulated processor many minutes. What each run gave is a line of devices.jsonl as
soon as it ends, so that an interrupted study loses nothing; the table is in devices.csv at the end. Needs root and what .ci/run
installs.
"""

from __future__ import annotations

import csv
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

from device_benchmarks.device_result import DeviceResult
from device_benchmarks.device_session import TOLERANCE, DeviceParity, bench_on, verify_on
from device_benchmarks.device_target import MACHINES
from device_benchmarks.microcontroller_study import bounds_of, exported, trained
from device_benchmarks.native_program import build_program
from device_benchmarks.protocol import QUICK
from device_benchmarks.transports import AdbTransport, SshTransport, Transport
from tests.devices import adb_device, arm64_machine, ssh_server
from toolchain.artifact import Artifact
from toolchain.compression import StaticInt8, quantize
from toolchain.compression.evaluation import as_inputs
from toolchain.datasets import split, tu
from toolchain.exporters import export
from toolchain.frontend import lower
from toolchain.inputs import GraphInputs

MODELS = ("gcn", "gin")
PYTHON_FORMATS = ("onnx", "litert")
GIGABYTES, GIGABYTES_FOR_TORCH = 3, 6  # of the virtual machine, half of them for files
MOST_SECONDS = {"ssh": 3.0, "adb": 2.0}
MOST_BYTES = {"gcn": 100_000}  # what is promised of a program with GCN 3x64 inside; the others are told


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        wanted: what it has to be; is_met: whether it is.
    """

    what: str
    found: str
    wanted: str
    is_met: bool


def artifacts_of(parts: Any, output: Path, seed: int, executorch: bool, say: Any) -> dict[tuple[str, str], Artifact]:
    """Model and format → artifact: int8 in C, float32 otherwise."""
    graphs, found = as_inputs([*parts.train, *parts.validation, *parts.test]), {}
    for name in MODELS:
        say(f"{name}: training")
        graph = lower(trained(name, parts, seed), parts.train[0], name=name)
        quantized = quantize(graph, StaticInt8(parts.train, min_agreement=0.5, seed=seed))
        found[name, "c"] = exported(quantized, graphs, output / f"{name}-c")
        for format in PYTHON_FORMATS:
            found[name, format] = export(graph, format, output / f"{name}-{format}", overwrite=True)
        if executorch:
            path, bounds = output / f"{name}-executorch", bounds_of(graph, graphs)
            found[name, "executorch"] = export(graph, "executorch", path, overwrite=True, bounds=bounds)
    return found


@dataclass(frozen=True, slots=True)
class RawResults:
    """A file of the results of single runs, a line each, which is complete after every one."""

    path: Path

    def start(self) -> None:
        """Begin an empty file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text("")

    def keep(self, part: str, result: dict[str, Any]) -> None:
        """Append one result."""
        with open(self.path, "a") as file:
            file.write(json.dumps({"part": part, **result}) + "\n")
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def private_adb() -> Iterator[None]:
    """An adb server of this study alone."""
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pocketgnn-adb-")))
        before = dict(os.environ)
        os.environ.update(stack.enter_context(adb_device.adb_server(home)))
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)


def on_arm(
    artifacts: dict[tuple[str, str], Artifact], graphs: Sequence[GraphInputs], systems: Path, raw: RawResults, say: Any
) -> list[tuple[DeviceParity, float]]:
    """Every artifact on the virtual machine, with the seconds that it took."""
    found = []
    with tempfile.TemporaryDirectory(prefix="pocketgnn-arm64-") as run:
        say("booting the arm64 machine")
        needs_torch = any(format == "executorch" for _, format in artifacts)
        gigabytes = GIGABYTES_FOR_TORCH if needs_torch else GIGABYTES
        with arm64_machine.arm64_machine(systems / "arm64", Path(run), gigabytes) as machine:
            adb_device.connect(machine.serial)
            for (name, format), artifact in artifacts.items():
                ways: list[Transport] = [SshTransport("pi", machine.ssh_config)]
                ways += [AdbTransport(machine.serial)] if format == "c" else []
                for transport in ways:
                    begin = time.monotonic()
                    say(f"{name}, {format}, {transport.kind}: {len(graphs)} graphs on arm64")
                    parity = verify_on(transport, artifact, graphs)
                    found.append((parity, time.monotonic() - begin))
                    raw.keep("parity", {**parity.to_json(), "seconds": found[-1][1]})
    return found


def overheads(
    artifact: Artifact, graph: GraphInputs, systems: Path, repetitions: int, raw: RawResults, say: Any
) -> list[DeviceResult]:
    """Benchmarks over ssh and over adb on this machine; one before them builds the program."""
    found = []
    with tempfile.TemporaryDirectory(prefix="pocketgnn-sshd-") as folder, ExitStack() as stack:
        server = stack.enter_context(ssh_server.ssh_server(Path(folder)))
        device = stack.enter_context(adb_device.adb_device(systems / "adb"))
        for transport in (SshTransport("board", server.config), AdbTransport(device.serial)):
            say(f"{transport.kind}: {repetitions} benchmarks on this machine")
            verify_on(transport, artifact, [graph])
            for _ in range(repetitions):
                found.append(bench_on(transport, artifact, graph, protocol=QUICK))
                raw.keep("benchmark", found[-1].to_json())
    return found


def figures(
    parities: Sequence[DeviceParity], runs: Sequence[DeviceResult], program_bytes: dict[str, int]
) -> list[Figure]:
    """What was found, beside what is wanted."""
    rows = []
    for parity in parities:
        way = parity.device.partition(":")[0]
        peak = parity.memory.get("peak_rss_bytes", 0)
        share = (
            f"{parity.identical} of {parity.graphs} graphs identical, largest difference {parity.max_relative:.2g} of the top, "
            f"VmHWM {peak:,} B"
        )
        wanted = "every bit" if parity.is_exact else f"{TOLERANCE:g} of the top"
        rows.append(Figure(f"{parity.artifact} on arm64 over {way}", share, wanted, not parity.differences))
    for way, most in MOST_SECONDS.items():
        seconds = sorted(run.wall_seconds - run.measuring_seconds for run in runs if run.transport == way)
        middle = seconds[len(seconds) // 2]
        words = f"{middle:.2f} s (median of {len(seconds)}; {seconds[0]:.2f} to {seconds[-1]:.2f})"
        rows.append(Figure(f"a benchmark over {way} beside its measuring", words, f"<= {most:g} s", middle <= most))
    for name, size in program_bytes.items():
        limit = MOST_BYTES.get(name)
        wanted = "" if limit is None else f"<= {limit:,} B"
        rows.append(
            Figure(f"static aarch64 program, {name} int8", f"{size:,} B", wanted, limit is None or size <= limit)
        )
    return rows


@click.command(help=__doc__)
@click.option("--data-root", type=click.Path(path_type=Path), required=True, help="Where PyG keeps PROTEINS.")
@click.option("--output", type=click.Path(path_type=Path), default=Path("out/devices"), show_default=True)
@click.option(
    "--systems", type=click.Path(path_type=Path), help="Where systems are built once; by default in the output."
)
@click.option("--repetitions", type=click.IntRange(1), default=5, show_default=True, help="Benchmarks over each way.")
@click.option("--executorch", is_flag=True, help="Also ExecuTorch on the virtual machine.")
@click.option("--seed", type=int, default=0, show_default=True)
def main(data_root: Path, output: Path, systems: Path | None, repetitions: int, executorch: bool, seed: int) -> None:
    torch.set_num_threads(1)
    say = Console(stderr=True).print
    for words in (arm64_machine.missing(), adb_device.missing(), "" if ssh_server.SSHD else "not installed: sshd"):
        if words:
            raise click.ClickException(words)
    systems = (systems or output / "systems").resolve()
    for name, build in (("arm64", arm64_machine.build), ("adb", adb_device.build)):
        (systems / name).mkdir(parents=True, exist_ok=True)
        build(systems / name)
    parts = split(tu(data_root, "PROTEINS"), seed=seed)
    artifacts, test = artifacts_of(parts, output, seed, executorch, say), as_inputs(parts.test)
    load, raw = os.getloadavg()[0], RawResults(output / "devices.jsonl")
    raw.start()
    with private_adb():
        parities = on_arm(artifacts, test, systems, raw, say)
        runs = overheads(artifacts["gcn", "c"], test[0], systems, repetitions, raw, say)
    sizes = {}
    for name in MODELS:
        with tempfile.TemporaryDirectory(prefix="pocketgnn-program-") as folder:
            sizes[name] = build_program(artifacts[name, "c"], MACHINES["aarch64"], Path(folder)).path.stat().st_size
        raw.keep("program", {"model": name, "bytes": sizes[name]})
    rows = figures([parity for parity, _ in parities], runs, sizes)
    (output / "devices.json").write_text(
        json.dumps(
            {
                "load_average_before": load, "figures": [asdict(row) for row in rows],
                "parity": [{**parity.to_json(), "seconds": seconds} for parity, seconds in parities],
                "benchmarks": [run.to_json() for run in runs], "program_bytes": sizes,
            },
            indent=1,
        )
    )  # fmt: skip
    with open(output / "devices.csv", "w", newline="") as file:
        csv.writer(file).writerows(
            [("what", "found", "wanted", "met"), *((r.what, r.found, r.wanted, r.is_met) for r in rows)]
        )
    table = Table(title=f"Load average {load:.1f} on {os.cpu_count()} cores")
    for column in ("", "found", "wanted", "met"):
        table.add_column(column)
    for row in rows:
        table.add_row(row.what, row.found, row.wanted, "yes" if row.is_met else "NO")
    Console(width=160).print(table)


if __name__ == "__main__":
    main()
