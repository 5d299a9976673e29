"""The two files of runtimes/c/benchmark: graphs that go to a device, and results that come back, with their checks."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from device_benchmarks.device_answers import Computed, DeviceAnswers, TimedWindow
from device_benchmarks.measurement import Scope
from device_benchmarks.process_memory import kilobyte_fields
from runtimes import Runtime
from runtimes.c_interface import STATUS as STATUS_WORDS
from toolchain.c_artifact import edge_types
from toolchain.errors import InvalidInput, MeasurementError
from toolchain.inputs import GraphInputs

Array = np.ndarray
GRAPHS_MAGIC, RESULTS_MAGIC = b"PGNNGRF1", b"PGNNRES1"
END, GRAPH, STATUS, MEMORY, WINDOW, CLOCK = range(6)  # kinds of records
HAS_EDGES, HAS_BATCH, HAS_WEIGHT, HAS_X, HAS_SPARSE_X, HAS_ATTR, HAS_TYPE = (1 << bit for bit in range(7))
SCOPES = (Scope.MODEL, Scope.WITH_GRAPH)


def graphs_file(runtime: Runtime, graphs: Sequence[GraphInputs], build: bytes) -> bytes:
    """The graphs as the program reads them.

    Args:
        runtime: the artifact on this machine, whose checks every graph passes first.
        build: of the program that will read them.

    Raises:
        OutsideContract: a graph that the artifact was not built for.
    """
    parts = [struct.pack("<8s8sII", GRAPHS_MAGIC, build, len(graphs), 0)]
    for graph in graphs:
        parts += _graph(runtime, graph)
    return b"".join(parts)


def _graph(runtime: Runtime, graph: GraphInputs) -> list[bytes]:
    feeds = runtime.prepare(graph)
    _, _, *rows = feeds["rows"].tolist()
    contract = runtime.artifact.contract
    edges: list[Array] = [] if contract.fixed_graph else [row.astype("<u2") for row in graph.edge_index]
    batch = None if contract.fixed_graph or graph.batch is None else graph.batch.astype("<u2")
    weight = graph.edge_weight if contract.edge_weight and not contract.fixed_graph else None
    types = None
    if graph.edge_type is not None and contract.edge_type and not contract.fixed_graph:
        types = edge_types(graph.edge_type).astype("<u2")
    sparse = "x_pointer" in feeds
    arrays = (
        (HAS_EDGES, edges), (HAS_BATCH, [batch]), (HAS_WEIGHT, [weight]), (HAS_X, [feeds.get("x")]),
        (HAS_SPARSE_X, [feeds.get("x_pointer"), feeds.get("x_index")]), (HAS_ATTR, [feeds.get("edge_attr")]),
        (HAS_TYPE, [types]),
    )  # fmt: skip
    there = [(flag, group) for flag, group in arrays if group and group[0] is not None]
    ones = feeds["x_index"].size if sparse else 0
    header = struct.pack(
        "<5I", graph.num_nodes, graph.num_edges, graph.num_graphs, ones, sum(flag for flag, _ in there)
    )
    return [header, np.array(rows, "<u4").tobytes(), *(_padded(array) for _, group in there for array in group)]


def _padded(array: Array | None) -> bytes:
    assert array is not None
    data = np.ascontiguousarray(array).tobytes()
    return data + bytes(-len(data) % 4)


def read_results(data: bytes, runtime: Runtime, graphs: Sequence[GraphInputs], build: bytes) -> DeviceAnswers:
    """The results of a program.

    Args:
        runtime, graphs, build: those of `graphs_file`.

    Raises:
        MeasurementError: the file is cut off, damaged, or not of this program.
    """
    if data[:8] != RESULTS_MAGIC or data[8:16] != build:
        raise MeasurementError("the results that came back are not of this program. Run it again.")
    if (
        len(data) < 28
        or data[-12:-4] != struct.pack("<II", END, 4)
        or struct.unpack("<I", data[-4:])[0] != zlib.crc32(data[:-4])
    ):
        raise MeasurementError("the results that came back are cut off or damaged. Run it again.")
    computed: list[Computed] = []
    reading = _Reading()
    place = 16
    while place < len(data) - 12:
        kind, size = struct.unpack_from("<II", data, place)
        body = data[place + 8 : place + 8 + size]
        place += 8 + size
        if kind == GRAPH:
            computed.append(_computed(body, runtime, graphs[len(computed)]))
        else:
            reading.take(kind, body)
    if len(computed) != len(graphs):
        raise MeasurementError(f"{len(computed)} results came back for {len(graphs)} graphs. Run it again.")
    return DeviceAnswers(tuple(computed), tuple(reading.windows), reading.memory, reading.clock_ns)


@dataclass(slots=True)
class _Reading:
    windows: list[TimedWindow] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    clock_ns: int = 0

    def take(self, kind: int, body: bytes) -> None:
        if kind in (STATUS, MEMORY):
            name, key = ("peak_rss_bytes", "VmHWM") if kind == STATUS else ("pss_bytes", "Pss")
            found = kilobyte_fields(body.decode("ascii", "replace"))
            self.memory |= {name: found[key]} if key in found else {}
        elif kind == CLOCK:
            (self.clock_ns,) = struct.unpack("<Q", body)
        elif kind == WINDOW:
            with_graph, round_, stride, warm, inferences, elapsed = struct.unpack_from("<4I2Q", body)
            samples = np.frombuffer(body, "<u4", offset=32)
            self.windows.append(TimedWindow(SCOPES[with_graph], round_, stride, warm, inferences, elapsed, samples))
        else:
            raise MeasurementError(f"the results have a record of kind {kind}, which this version does not know.")


def _computed(body: bytes, runtime: Runtime, graph: GraphInputs) -> Computed:
    _, status, prepare_ns, run_ns = struct.unpack_from("<IIQQ", body)
    if status:
        return Computed((), STATUS_WORDS.get(status, f"status {status}"), prepare_ns, run_ns)
    values, outputs = np.frombuffer(body, "<f4", offset=24), []
    for output, rows in zip(
        runtime.artifact.signature.outputs, runtime.prepare(graph)["rows"].tolist()[2:], strict=True
    ):
        size = rows * output.channels
        if size > values.size:
            raise InvalidInput("the results have fewer values than the graph has rows. Run it again.")
        outputs.append(values[:size].reshape(rows, output.channels))
        values = values[size:]
    return Computed(tuple(outputs), "", prepare_ns, run_ns)
