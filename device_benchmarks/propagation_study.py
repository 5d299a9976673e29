"""Message passing alone at each bit width of its values: the sum over neighbours by the C kernels, int32 accumulators.

    python -m device_benchmarks.propagation_study --data-root DATA [--channels 64] [--output out]

sums random values of every node over the edges of real graphs: of a citation graph, or of a batch of 32 graphs. The rival is
torch's index_add of gathered rows, as PyG sums; the other columns are the kernels that exported models call, on float32, int16
and int8, the integers requantized to the width that they came with. Values of fewer bits are stored in 8 and take the time of
8. Every result is checked before it is timed; columns take turns, one thread. --output keeps every sample, in
propagation_study.json of that folder.
"""

from __future__ import annotations

import ctypes
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from device_benchmarks.environment import environment
from device_benchmarks.lowering_study import Contender, measure
from runtimes.compiler import build_library, load_library
from toolchain.datasets import planetoid, tu
from toolchain.errors import MeasurementError
from toolchain.exporters.c.layers import requant_parameters
from toolchain.inputs import GraphInputs
from toolchain.ir.integer import multipliers, requantize
from toolchain.ir.types import QParams
from toolchain.topology import Topology, TopologySpec

CITATIONS = ("Cora", "CiteSeer", "PubMed")
BATCHES = ("PROTEINS", "IMDB-BINARY", "DD", "REDDIT-BINARY")
BATCH = 32  # graphs
RIVAL = "torch float32"
COLUMNS = (RIVAL, "C float32", "C int16", "C int8")
KERNELS = Path(__file__).parent.parent / "runtimes" / "c"
DRIVER = Path(__file__).parent / "prototypes" / "propagation.c"


def library() -> ctypes.CDLL:
    """The kernels behind the three functions of propagation.c, built for this machine."""
    files = [*(KERNELS / "include").glob("*.h"), *(KERNELS / "src").glob("gnn_propagate_*.c"), DRIVER]
    return load_library(build_library({file.name: file.read_bytes() for file in files}))


def graph_of(root: Path, name: str) -> GraphInputs:
    """A citation graph, or a batch of the first graphs of a set."""
    if name in CITATIONS:
        return GraphInputs.from_pyg(planetoid(root, name))
    return GraphInputs.concatenate([GraphInputs.from_pyg(graph) for graph in tu(root, name)[:BATCH]])


def contenders(kernels: ctypes.CDLL, topology: Topology, channels: int) -> list[Contender]:
    """One for each of COLUMNS, on the same values as far as its width holds them. Each was checked.

    Raises:
        MeasurementError: a result is not the sum.
    """
    rng = np.random.default_rng(0)
    shape = topology.num_nodes, channels
    codes = rng.integers(-127, 128, shape)
    exact = np.zeros(shape, np.int64)
    np.add.at(exact, topology.target, codes[topology.source])
    real = torch.from_numpy(codes.astype(np.float32))
    source, target = (torch.from_numpy(a.astype(np.int64)) for a in (topology.source, topology.target))

    def rival() -> Sequence[Any]:
        with torch.inference_mode():
            return (torch.zeros(shape).index_add_(0, target, real.index_select(0, source)),)

    row_pointer = np.concatenate([[0], np.cumsum(topology.in_degree)]).astype(np.uint32)
    edges = [row_pointer, topology.source.astype(np.uint16)]
    y, x = np.empty(shape, np.float32), real.numpy()
    made = [
        _checked(RIVAL, rival, exact),
        _checked("C float32", _call(kernels.sum_f32, [*edges, topology.num_nodes, channels, x, y], y), exact),
    ]
    ratio = np.array([1 / max(int(topology.in_degree.max()), 1)])
    for name, dtype, function in (("C int16", np.int16, kernels.sum_s16), ("C int8", np.int8, kernels.sum_s8)):
        factor = 256 if dtype is np.int16 else 1
        parameters = requant_parameters(ratio, int(np.abs(exact).max()) * factor)
        result = np.empty(shape, dtype)
        arguments = [
            *edges, topology.num_nodes, channels, (codes * factor).astype(dtype), result, parameters.multiplier, parameters.shift,
            parameters.left_shift, np.empty(channels, np.int32),
        ]  # fmt: skip
        q = QParams((1.0,), 0, 8 * np.dtype(dtype).itemsize)
        expected = requantize(exact * factor, *multipliers(ratio), q)
        made.append(_checked(name, _call(function, arguments, result), np.maximum(expected, -q.code_range[1])))
    return made


def _call(function: Any, arguments: list[Any], result: np.ndarray) -> Callable[[], Sequence[Any]]:
    """Arrays are passed by their addresses, numbers as they are; uint16 and uint8 parameters are promoted to int."""
    passed = [ctypes.c_void_p(a.ctypes.data) if isinstance(a, np.ndarray) else ctypes.c_uint32(a) for a in arguments]
    function.restype = None

    def run(kept: list[Any] = arguments) -> Sequence[Any]:  # the arrays live as long as the call can be made
        function(*passed)
        return (result,)

    return run


def _checked(name: str, run: Callable[[], Sequence[Any]], expected: np.ndarray) -> Contender:
    if not np.array_equal(np.asarray(run()[0]).astype(np.int64), expected):
        raise MeasurementError(f"{name}: does not compute the sum; a wrong kernel is not measured.")
    return Contender(name, run)


@click.command()
@click.option("--data-root", type=click.Path(path_type=Path), required=True, help="Where PyG keeps the data sets.")
@click.option("--data", "names", multiple=True, default=(*CITATIONS, *BATCHES), show_default=True)
@click.option("--channels", type=click.IntRange(1, 4096), default=64, show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="For each column of a row.")
@click.option("--output", type=click.Path(path_type=Path), help="Folder for propagation_study.json with every sample.")
def main(data_root: Path, names: tuple[str, ...], channels: int, seconds: float, output: Path | None) -> None:
    """Measure message passing at every width."""
    torch.set_num_threads(1)
    kernels, samples = library(), []
    title = f"median microseconds of a sum over neighbours, {channels} channels, one thread"
    table = Table("graph", "nodes", "edges", *COLUMNS, "int8 / C float32", "int8 / torch", box=None, title=title)
    for name in names:
        inputs = graph_of(data_root, name)
        (topology,) = inputs.prepare((TopologySpec(),)).topologies
        entered = contenders(kernels, topology, channels)
        measure(entered, seconds, time.perf_counter)
        times = {c.name: c.median_us for c in entered}
        ratios = [times["C float32"] / times["C int8"], times[RIVAL] / times["C int8"]]
        sizes = {"nodes": inputs.num_nodes, "edges": topology.num_edges}
        table.add_row(
            name, *map(str, sizes.values()), *(f"{times[c]:.0f}" for c in COLUMNS), *(f"{r:.1f}x" for r in ratios)
        )
        us = {c.name: [round(s * 1e6, 2) for s in c.seconds] for c in entered}
        samples.append({"data": name, **sizes, "channels": channels, "us": us})
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "propagation_study.json").write_text(json.dumps({"environment": environment(), "samples": samples}))
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
