"""bench -d and verify -d: artifacts on devices, several devices side by side."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from toolchain.cli.console import Console

if TYPE_CHECKING:
    from device_benchmarks.device_names import DeviceNames
    from device_benchmarks.device_result import DeviceResult
    from device_benchmarks.device_session import DeviceParity

Found = TypeVar("Found")
CORES = ("any", "big", "little")

device_option = click.option(
    "-d", "--device", "devices", multiple=True, metavar="NAME",
    help="Run on a device: local, ssh:HOST, adb, adb:SERIAL, serial:PORT, emulator:TARGET, or a name of --recipe. Repeatable; "
    "pocketgnn devices lists them.",
)  # fmt: skip
ssh_config_option = click.option(
    "--ssh-config", type=click.Path(path_type=Path, exists=True), help="Instead of ~/.ssh/config, for ssh devices."
)
recipe_option = click.option(
    "--recipe",
    "recipe_file",
    metavar="RECIPE",
    type=click.Path(path_type=Path),
    help="A recipe whose devices have names.",
)
cores_option = click.option(
    "--cores",
    type=click.Choice(CORES),
    default="any",
    show_default=True,
    help="Cores of a device to run on, by their clock.",
)


def device_names(ssh_config: Path | None, recipe_file: Path | None) -> DeviceNames:
    """What names of devices mean, by the options of the command line.

    Raises:
        RecipeError: the recipe cannot be read.
    """
    from device_benchmarks.device_names import DeviceNames
    from toolchain.recipe import Recipe
    from toolchain.recipe_devices import beside

    known = Recipe.load(recipe_file).devices if recipe_file else {}
    folder = recipe_file.parent if recipe_file else Path()
    return DeviceNames(ssh_config, {name: beside(device, folder) for name, device in known.items()})


def verify_devices(
    console: Console, artifacts: Sequence[str], model_file: str | None, devices: Sequence[str], part: str, seed: int,
    names: DeviceNames,
) -> None:  # fmt: skip
    """Compare artifacts on devices with the host, print what was found, and fail where an output differs.

    Raises:
        MeasurementError: an output differs, after everything was printed; DeviceError where a device failed.
    """
    from toolchain.artifact import Artifact
    from toolchain.errors import MeasurementError

    named = {name: names.device(name) for name in devices}
    graphs, _ = _graphs(model_file, part, seed)
    loaded = [Artifact.load(folder(argument)) for argument in artifacts]
    with console.progress() as progress:

        def verify(name: str) -> list[DeviceParity]:
            return [named[name].verify(artifact, graphs, progress) for artifact in loaded]

        found, failures = _side_by_side(devices, verify)
    texts = [_parity_text(report) for report in found]
    console.result(
        {"parity": [report.to_json() for report in found], "failures": {n: str(e) for n, e in failures.items()}}, *texts
    )
    if failures:
        raise next(iter(failures.values()))
    for report in found:
        for position, words in report.differences.items():
            raise MeasurementError(
                f"{report.artifact} on {report.device}: {len(report.differences)} of {report.graphs} graphs are not as on the "
                f"host; graph {position}: {words}."
            )


def bench_devices(
    console: Console, artifacts: Sequence[str], model_file: str | None, devices: Sequence[str], quick: bool,
    graph_index: int | None, cores: str, output: Path, seed: int, overwrite: bool, names: DeviceNames,
) -> None:  # fmt: skip
    """Time artifacts on devices; one JSON file for each artifact and device.

    Raises:
        MeasurementError: a result is not valid, after everything was printed; DeviceError where a device failed.
    """
    from device_benchmarks.made_up_graph import made_up_graph
    from device_benchmarks.named_device import Timed
    from toolchain.artifact import Artifact
    from toolchain.errors import ArtifactError, MeasurementError

    named = {name: names.device(name) for name in devices}
    if cores != "any" and not all(device.has_cores for device in named.values()):
        raise click.UsageError(f"--cores {cores}: a board on a serial port has one. Leave it out.")
    loaded = [Artifact.load(folder(argument)) for argument in artifacts]
    graphs, median = _graphs(model_file, "test", seed) if model_file else ([], 0)
    position = median if graph_index is None else graph_index
    if graphs and position >= len(graphs):
        raise click.UsageError(f"--graph-index {graph_index}: there are {len(graphs)} test graphs.")
    paths = {
        (a.path.name, name): output / f"{_plain(a.path.name)}-{_plain(name)}.json" for a in loaded for name in devices
    }
    for path in paths.values():
        if path.exists() and not overwrite:
            raise ArtifactError(f"{path}: already exists. Choose another folder with -o, or pass --overwrite.")
    command = shlex.join(["pocketgnn", *sys.argv[1:]])
    with console.progress() as progress:

        def bench(name: str) -> list[DeviceResult]:
            results = []
            for artifact in loaded:
                graph = graphs[position] if graphs else made_up_graph(artifact, seed)
                source = (
                    f"test graph {position} of {model_file}"
                    if graphs
                    else f"a made-up graph of the largest size, seed {seed}"
                )
                timed = Timed(graph, quick, cores, source, command, seed)  # type: ignore[arg-type]  # click checked the choice
                results.append(named[name].bench(artifact, timed, progress))
            return results

        found, failures = _side_by_side(devices, bench)
    texts = []
    for result in found:
        name = next(name for name in devices if _same(name, result.device))
        path = result.write(paths[result.artifact["name"], name], overwrite=overwrite)
        texts.append(_result_text(result, path))
    console.result(
        {"results": [result.to_json() for result in found], "failures": {n: str(e) for n, e in failures.items()}},
        *texts,
    )
    if failures:
        raise next(iter(failures.values()))
    invalid = next((result for result in found if not result.is_valid), None)
    if invalid is not None:
        raise MeasurementError(
            f"{invalid.artifact['name']} on {invalid.device}: not valid, since it fails: {', '.join(invalid.reasons)}."
        )


def folder(argument: str) -> Path:
    """An ARTIFACT argument as a folder."""
    if not Path(argument).is_dir():
        raise click.UsageError(f"{argument}: is no folder. On a device, ARTIFACTS are folders that export wrote.")
    return Path(argument)


def _side_by_side(
    devices: Sequence[str], work: Callable[[str], list[Found]]
) -> tuple[list[Found], dict[str, Exception]]:
    """The work on every device at the same time: what was found, in the order of the devices, and what failed."""
    from toolchain.errors import PocketGnnError

    failures: dict[str, Exception] = {}

    def one(name: str) -> list[Found]:
        try:
            return work(name)
        except PocketGnnError as error:
            failures[name] = error
            return []

    with ThreadPoolExecutor(len(devices)) as pool:
        found = [item for items in pool.map(one, devices) for item in items]
    return found, failures


def _graphs(model_file: str | None, part: str, seed: int) -> tuple[list[Any], int]:
    """The graphs of a part of the data, and the position of the one of median size."""
    from device_benchmarks.checks import median_graph
    from toolchain.inputs import GraphInputs
    from toolchain.model_source import ModelSource, parts_of

    if model_file is None:
        raise click.UsageError("the graphs are missing; pass --model MODEL, the file with get_graphs().")
    data = list(getattr(parts_of(ModelSource(model_file).graphs(), seed), part))
    median = median_graph(data)
    return [GraphInputs.from_pyg(graph) for graph in data], next(i for i, graph in enumerate(data) if graph is median)


def _parity_text(report: DeviceParity) -> str:
    from device_benchmarks.units import format_bytes

    refused = f", {report.refused} refused by the host" if report.refused else ""
    peak = report.memory.get("peak_rss_bytes")
    memory = "" if peak is None else f"; peak RSS there {format_bytes(peak)}"
    return (
        f"{report.artifact} on {report.device}: {report.identical} of {report.graphs - report.refused} graphs identical to the "
        f"host's, largest difference {report.max_abs:.3g} ({report.max_relative:.3g} of the largest value){refused}{memory}"
    )


def _result_text(result: DeviceResult, path: Path) -> str:
    """A result for people."""
    from device_benchmarks.measurement import Scope, nearest_rank
    from device_benchmarks.units import format_bytes, format_us

    facts, memory = result.facts, result.answers.memory
    known = f", target {facts.target}" if facts.target else ""
    lines = [f"{result.artifact['name']} on {result.device} ({facts.model}, {facts.os}{known})"]
    for scope, words in ((Scope.MODEL, "model"), (Scope.WITH_GRAPH, "with graph")):
        if scope not in result.scopes:
            continue
        samples = result.samples_us(scope)
        ranks = [format_us(nearest_rank(samples, p)) for p in (50, 90, 99)]
        lines.append(f"  {words:<12}  p50 {ranks[0]}, p90 {ranks[1]}, p99 {ranks[2]}, {samples.size} samples")
    if result.transport == "serial":
        middle = result.median_of_windows_us(Scope.MODEL)
        windows = [window.elapsed_ns / 1e9 for window in result.answers.windows]
        lines.append(
            f"  {'windows':<12}  median {format_us(middle)} of {len(windows)}, each {min(windows):.1f} s or more"
        )
        lines.append(f"  {'graph':<12}  {format_us(result.answers.computed[0].prepare_ns / 1e3)} to prepare, once")
    size = result.answers.runtime.get("program_bytes")
    lines += [f"  program       {format_bytes(size)}"] if isinstance(size, int) else []
    stated = [
        f"{name} {format_bytes(memory[key])}"
        for name, key in (
            ("peak RSS", "peak_rss_bytes"),
            ("PSS", "pss_bytes"),
            ("arena", "arena_bytes"),
            ("stack", "stack_bytes"),
        )
        if key in memory
    ]
    lines += [f"  memory        {', '.join(stated)}"] if stated else []
    hottest = [f"{max(state.celsius.values()):.1f} °C" for state in (result.before, result.after) if state.celsius]
    lines += [f"  temperature   {' → '.join(hottest)}"] if hottest else []
    throttled = {None: "not told by the device", True: "yes", False: "no"}[result.throttled]
    verdict = "valid" if result.is_valid else f"NOT VALID: {', '.join(result.reasons)}"
    return "\n".join([*lines, f"  throttled     {throttled}", f"  result        {verdict}; {path}"]) + "\n"


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name)


def _same(name: str, device: str) -> bool:
    return device == name or (name == "adb" and device.startswith("adb:"))
