"""emit: a deployable Graph as model.c and model.h, with the kernels that it calls."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from toolchain.errors import ExportError
from toolchain.exporters.c import literals, steps, topologies
from toolchain.exporters.c.blocks import block_rows
from toolchain.exporters.c.header import header
from toolchain.exporters.c.packing import PACKINGS, WORTH_BYTES
from toolchain.exporters.c.program import Program
from toolchain.exporters.c.schedule import schedule
from toolchain.exporters.c.source import arena_offsets, source
from toolchain.exporters.c.steps_edges import largest_degree
from toolchain.exporters.emission import Bounds, Emission
from toolchain.exporters.sparse_input import Features, check_features, chosen_features
from toolchain.feeds import Feed, FeedKind
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.ir.ops import Const, Input, Role

MAX_NODES = 65_535  # node numbers are uint16
MAX_EDGES = 2**31 - 1
DEFAULT_BOUNDS = Bounds(nodes=1024, edges=8192, graphs=64, degree=None)


def emit(
    graph: Graph,
    bounds: Bounds = DEFAULT_BOUNDS,
    *,
    fixed_graph: GraphInputs | None = None,
    sparse_features: bool | str = False,
    packed_weights: str = "auto",
) -> Emission:
    """Write a deployable Graph as C.

    Args:
        bounds: largest graph; the arena is sized for it. A degree bound that integer sums cannot hold is lowered.
        fixed_graph: store these prepared edges as constants: then only features are given at run time.
        sparse_features: True or "binary": the model's input is binary and given as the positions of its ones.
        packed_weights: how weights from codebooks and pruned ones are stored, with the same results: "plain"; "smallest", as
            indices or without their zeros wherever that takes fewer bytes, which costs time; "auto", as "smallest" where it
            takes less than three quarters of the bytes and saves more than the code that unpacks them.

    Raises:
        ExportError: a bound is missing or too large, an option is unknown, an accumulator could leave int32, or an op has no
            kernel.
    """
    bounds = _checked(graph, bounds, fixed_graph)
    features = chosen_features(sparse_features)
    if features is Features.VALUES:
        raise ExportError("sparse_features 'values': C reads features of 0 and 1 only. Use 'binary' or dense features.")
    check_features(graph, features)
    if packed_weights not in PACKINGS:
        raise ExportError(f"packed_weights {packed_weights!r} is unknown. Expected one of {', '.join(PACKINGS)}.")

    def written(packing: str) -> Program:
        assert bounds.degree is not None
        name = literals.identifier(graph.name)
        made = Program(graph, name, bounds, schedule(graph), bounds.degree, features is Features.BINARY, packing)
        write_stages(made)
        return made

    program = written(packed_weights)
    if packed_weights == "auto" and any(
        isinstance(v.op, Const) and (v.op.codebook or v.op.pruned) for v in graph.values
    ):
        plain = written("plain")
        program = program if program.constant_bytes + WORTH_BYTES < plain.constant_bytes else plain
    where = (
        topologies.layout(program)
        if fixed_graph is None
        else topologies.Layout(16, {}, 16 + 4 * (bounds.graphs or 0) + 8)
    )
    offsets, arena_bytes = arena_offsets(program, where, fixed_graph is not None)
    note = f"{graph.name}: a graph neural network as C, written by pocketgnn. Do not edit: export the model again."
    text = source(program, where, offsets, fixed_graph, note)
    files = {"model.h": header(program, arena_bytes, note).encode(), **kernel_files(program.kernels)}
    return Emission(
        model=text.encode(),
        file_name="model.c",
        inputs=_feeds(graph),
        bounds=bounds,
        facts={
            "name_in_c": program.name,
            "arena_bytes": arena_bytes,
            "constant_bytes": program.constant_bytes,
            "sparse_features": features is Features.BINARY,
            "output_topologies": [graph.values[output].type.topology for output in graph.outputs],
        },
        extra_files=files,
    )


def write_stages(program: Program) -> None:
    """Append every stage: what precedes the loop, the values of a block, what is collected or handed out."""
    for stage in program.schedule.stages:
        program.open(stage, block_rows(program, stage))
        for value in stage.values:
            steps.before(program, value)
        program.enter_loop()
        for value in stage.values:
            steps.compute(program, value)
            for output in (i for i, number in enumerate(program.graph.outputs) if number == value.id):
                place = program.place(value)
                arguments = ("outputs", f"{output}u", "first", "rows", f"{value.type.channels}u", place.rows)
                program.call("gnn_output", *arguments, scope=value.scope)
            for collected in stage.collects:
                if collected.inputs[0] == value.id:
                    steps.collect(program, collected)
        program.leave_loop()


def kernel_files(names: set[str]) -> dict[str, bytes]:
    """Sources of kernels and all headers, by file name, as they are in runtimes/c."""
    spec = find_spec("runtimes")  # located, not imported: the exporter ships these files but runs none of them
    if spec is None or not spec.submodule_search_locations:
        raise ExportError("the package 'runtimes', which holds the C kernels, is not installed beside 'toolchain'.")
    folder = Path(spec.submodule_search_locations[0]) / "c"
    files = sorted((folder / "include").glob("gnn*.h")) + [folder / "src" / f"{name}.c" for name in sorted(names)]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ExportError(f"{folder}: {', '.join(missing)} missing; install pocketgnn again.")
    return {file.name: file.read_bytes() for file in files}


def _checked(graph: Graph, bounds: Bounds, fixed: GraphInputs | None) -> Bounds:
    if fixed is not None:
        prepared = fixed.prepare(graph.topologies)
        degree = max((int(t.in_degree.max()) for t in prepared.topologies), default=0)
        edges = max((t.num_edges for t in prepared.topologies), default=0)
        bounds = Bounds(fixed.num_nodes, edges, fixed.num_graphs, degree)
    for name, value, limit in (
        ("nodes", bounds.nodes, MAX_NODES), ("edges", bounds.edges, MAX_EDGES), ("graphs", bounds.graphs, MAX_NODES)
    ):  # fmt: skip
        if value is None or not (0 if name == "edges" else 1) <= value <= limit:
            raise ExportError(
                f"max_{name}: {value}, expected a number up to {limit}: C has its memory planned at export."
            )
    assert bounds.edges is not None
    degree = bounds.edges if bounds.degree is None else bounds.degree
    possible = [d for v in graph.values if (d := largest_degree(graph, v)) is not None]
    if fixed is not None and min([degree, *possible]) < degree:
        raise ExportError(
            f"a node of the fixed graph has {degree} in-edges; the integer sums of this model hold {min(possible)}. Quantize "
            "with this graph among the calibration graphs."
        )
    return replace(bounds, degree=max(1, min([degree, *possible])))


def _feeds(graph: Graph) -> tuple[Feed, ...]:
    """The arrays beside the edges that a run takes."""
    kinds = {Role.X: FeedKind.X, Role.EDGE_ATTR: FeedKind.EDGE_ATTR, Role.EDGE_WEIGHT: FeedKind.EDGE_WEIGHT}
    return tuple(
        Feed(
            v.op.role.value,
            kinds[v.op.role],
            v.type.topology,
            dims=("E" if v.type.topology is not None else "N", v.type.channels),
        )
        for v in graph.inputs
        if isinstance(v.op, Input)
    )
