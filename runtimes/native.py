"""C artifacts, compiled on this machine and called in process.

Loading one compiles and runs the C code in it, so load only artifacts whose author you trust with that.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np

from runtimes import c_interface
from runtimes.compiler import build_library, find_compiler, load_library
from runtimes.runtime import Array, Runtime
from toolchain.artifact import Artifact
from toolchain.c_artifact import c_name, c_sources, edge_types, output_topologies
from toolchain.errors import ArtifactError, InvalidInput, OutsideContract
from toolchain.inputs import GraphInputs
from toolchain.topology import SelfLoops, TopologySpec

_EXPORT_FILE = "pocketgnn_export.c"
_LARGEST_INDEX = 65_535  # node numbers are uint16


class NativeRuntime(Runtime):
    """A shared library built from the artifact's files; `run_feeds` is one call of the model's run function.

    A model runs on one thread, whatever `threads` says: a graph of the size that it is made for leaves no work to share.
    Several threads may each run feeds of their own at the same time; the interpreter lock is released meanwhile.

    Attributes:
        build: compiler, version and flags, for those who publish measurements.
    """

    name = "native"

    def __init__(self, artifact: Artifact, *, threads: int = 1) -> None:
        super().__init__(artifact, threads=threads)
        name, sources, compiler = c_name(artifact), c_sources(artifact), find_compiler()
        if _EXPORT_FILE in sources:
            raise ArtifactError(f"{artifact.path / _EXPORT_FILE}: a name that is not the artifact's. Export it again.")
        library = load_library(
            build_library({**sources, _EXPORT_FILE: c_interface.export_source(name).encode()}, compiler)
        )
        find = getattr(library, c_interface.MODEL_FUNCTION)
        find.restype = ctypes.POINTER(c_interface.Model)
        self._library = library  # keeps the functions below alive
        self._model: Any = find().contents
        self.build = str(compiler)
        _check_model(artifact, self._model)
        self._prepare, self._run = self._model.prepare, self._model.run
        self._arena_words = -(-self._model.required_bytes() // 8)
        self._edge_topology = output_topologies(artifact)

    def prepare(self, inputs: GraphInputs | Array) -> dict[str, Array]:
        """Check a graph, sort its edges in the model's arena, and lay out its features.

        Returns:
            The arrays of `run_feeds`: x [N, F] float32, or x_pointer [N + 1] uint32 and x_index uint16 where the model was
            exported with sparse features; edge_attr [E, D] float32 if the model reads it; arena, the model's memory with the
            prepared graph in it, uint8; rows, int64: nodes, edges as given, then the rows of each output.

        Raises:
            OutsideContract: the graph is not one that this artifact was built for.
            InvalidInput: its edge weights cannot be normalized, or its features are not binary where they must be.
        """
        graph = self.checked(inputs)
        feeds = self._features(graph)
        arena = np.empty(self._arena_words, np.uint64).view(np.uint8)
        if self._fixed is not None:
            status = self._prepare(None, _address(arena), arena.nbytes)
        else:
            edges = graph.edge_index.astype(np.uint16)
            batch = None if graph.batch is None else graph.batch.astype(np.uint16)
            types = None if graph.edge_type is None else edge_types(graph.edge_type)
            given = c_interface.Graph(
                graph.num_nodes, graph.num_edges, graph.num_graphs, _address(edges[0]), _address(edges[1]),
                _address(batch), _address(graph.edge_weight), _address(types),
            )  # fmt: skip
            status = self._prepare(ctypes.addressof(given), _address(arena), arena.nbytes)
        if status != c_interface.OK:
            self._refuse_graph(status, graph)
        feeds["arena"] = arena
        feeds["rows"] = np.array([graph.num_nodes, graph.num_edges, *self._output_rows(graph)], np.int64)
        return feeds

    def run_feeds(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        """Run the model on the arrays of `prepare`, which stay as they are and can be run again."""
        call = feeds.call if isinstance(feeds, _Feeds) else None
        if call is None or not call.is_of(feeds):
            call = self._call(feeds)
            if isinstance(feeds, _Feeds):
                feeds.call = call
        status = self._run(call.features_address, call.arena_address, call.arena_bytes, call.outputs_address)
        if status != c_interface.OK:
            raise InvalidInput(
                f"the model refused its arrays: {c_interface.STATUS.get(status, f'status {status}')}. "
                "Pass what prepare() returned."
            )
        return tuple([array.copy() for array in call.results])

    def _features(self, graph: GraphInputs) -> _Feeds:
        feeds = _Feeds()
        if self._model.reads_sparse_features:
            feeds["x_pointer"], feeds["x_index"] = _sparse(graph)
        else:
            feeds["x"] = graph.x
        if self._model.edge_features:
            assert graph.edge_attr is not None  # the contract was checked
            feeds["edge_attr"] = graph.edge_attr
        return feeds

    def _output_rows(self, graph: GraphInputs) -> list[int]:
        rows = {"node": graph.num_nodes, "graph": graph.num_graphs}
        return [
            rows[output.domain] if topology is None else _num_edges(topology, graph)
            for output, topology in zip(self.artifact.signature.outputs, self._edge_topology, strict=True)
        ]

    def _call(self, feeds: Mapping[str, Array]) -> _Call:
        """The C structs for arrays whose types and sizes were checked, so that no call reads beyond them."""
        signature, model = self.artifact.signature, self._model
        rows = feeds["rows"].tolist() if "rows" in feeds else []
        if len(rows) != 2 + len(signature.outputs) or min(rows) < 0:
            raise InvalidInput("rows: not the numbers of rows that prepare() returned.")
        num_nodes, num_edges, *output_rows = rows
        expected: dict[str, tuple[type, tuple[int | None, ...]]] = {"arena": (np.uint8, (8 * self._arena_words,))}
        if model.reads_sparse_features:
            expected |= {"x_pointer": (np.uint32, (num_nodes + 1,)), "x_index": (np.uint16, (None,))}
        else:
            expected["x"] = (np.float32, (num_nodes, model.features))
        if model.edge_features:
            expected["edge_attr"] = (np.float32, (num_edges, model.edge_features))
        for name, (dtype, shape) in expected.items():
            array = feeds.get(name)
            if array is None or array.dtype != dtype or not array.flags.c_contiguous or not _fits(array.shape, shape):
                found = "missing" if array is None else f"{array.dtype} {list(array.shape)}"
                raise InvalidInput(
                    f"{name}: {found}, expected contiguous {np.dtype(dtype)} of shape {list(shape)}. Pass what prepare() returned."
                )
        if model.reads_sparse_features and feeds["x_pointer"].max() > feeds["x_index"].size:
            raise InvalidInput("x_pointer: points beyond x_index. Pass what prepare() returned.")
        shapes = tuple((n, output.channels) for n, output in zip(output_rows, signature.outputs, strict=True))
        return _Call.of({name: feeds[name] for name in ("rows", *expected)}, shapes)

    def _refuse_graph(self, status: int, graph: GraphInputs) -> NoReturn:
        """Say in the host's own words what C refused: its checks are the same, and know the numbers."""
        contract = self.artifact.contract
        topologies = graph.prepare(contract.topologies).topologies  # raises InvalidInput for weights
        contract.check_edges(max((t.num_edges for t in topologies), default=0))
        contract.check_degree(max((int(t.in_degree.max()) for t in topologies), default=0))
        raise OutsideContract(
            f"the model refused the graph: {c_interface.STATUS.get(status, f'status {status}')} ({graph.num_nodes} nodes, "
            f"{graph.num_edges} edges, {graph.num_graphs} graphs)."
        )


class _Feeds(dict[str, Array]):
    """The arrays of one prepared graph, with the C call that was made of them."""

    __slots__ = ("call",)

    def __init__(self) -> None:
        super().__init__()
        self.call: _Call | None = None


@dataclass(slots=True)
class _Call:
    """Arguments of one run: the structs, and the arrays that they point into.

    Results are written to the same arrays at each run and copied out, which costs less than to pass new ones to C.
    """

    arrays: tuple[tuple[str, Array], ...]
    results: tuple[Array, ...]
    structs: tuple[Any, ...]  # kept alive for their addresses
    features_address: int
    outputs_address: int
    arena_address: int | None
    arena_bytes: int

    @classmethod
    def of(cls, feeds: Mapping[str, Array], shapes: tuple[tuple[int, int], ...]) -> _Call:
        names = ("x", "x_pointer", "x_index", "edge_attr")
        features = c_interface.Features(*(_address(feeds.get(name)) for name in names))
        results = tuple(np.zeros(shape, np.float32) for shape in shapes)
        values = (ctypes.c_void_p * len(shapes))(*map(_address, results))
        outputs = c_interface.Outputs(ctypes.addressof(values), None, None)
        arena = feeds["arena"]
        return cls(
            tuple(feeds.items()), results, (features, outputs, values), ctypes.addressof(features),
            ctypes.addressof(outputs), _address(arena), arena.nbytes,
        )  # fmt: skip

    def is_of(self, feeds: Mapping[str, Array]) -> bool:
        """Whether the feeds are still the same arrays."""
        return all(feeds.get(name) is array for name, array in self.arrays)


def _address(array: Array | None) -> int | None:
    return None if array is None else array.__array_interface__["data"][0]


def _fits(shape: tuple[int, ...], stated: tuple[int | None, ...]) -> bool:
    return len(shape) == len(stated) and all(s is None or n == s for n, s in zip(shape, stated, strict=True))


def _sparse(graph: GraphInputs) -> tuple[Array, Array]:
    """Where binary features are 1, row by row: x_pointer [N + 1] uint32, x_index [ones] uint16."""
    x = graph.sparse_x
    return x.pointer.astype(np.uint32), x.ones().astype(np.uint16)


def _num_edges(spec: TopologySpec, graph: GraphInputs) -> int:
    """Edges of a prepared topology: those of its relation, self-loops as its rule says."""
    source, target = graph.edge_index
    if spec.relation is not None and graph.edge_type is not None:
        is_of = graph.edge_type == spec.relation
        source, target = source[is_of], target[is_of]
    if spec.self_loops is SelfLoops.KEEP:
        return len(source)
    kept = len(source) - int((source == target).sum())
    return kept + graph.num_nodes if spec.self_loops.adds else kept


def _check_model(artifact: Artifact, model: Any) -> None:
    """Compare the library's descriptor with the manifest."""
    contract, outputs = artifact.contract, artifact.signature.outputs
    found = {
        "name": model.name.decode(errors="replace") if model.name else None,
        "max_nodes": model.max_nodes, "max_edges": model.max_edges, "max_graphs": model.max_graphs,
        "max_degree": model.max_degree, "features": model.features, "edge_features": model.edge_features,
        "edge_weight": bool(model.reads_edge_weight), "fixed_graph": bool(model.has_fixed_graph),
        "edge_type": bool(model.reads_edge_type),
        "outputs": [(model.outputs[i].domain, model.outputs[i].channels) for i in range(model.num_outputs)],
    }  # fmt: skip
    stated = {
        "name": c_name(artifact),
        "max_nodes": contract.max_nodes, "max_edges": contract.max_edges, "max_graphs": contract.max_graphs,
        "max_degree": contract.max_degree, "features": contract.features, "edge_features": contract.edge_features or 0,
        "edge_weight": contract.edge_weight and not contract.fixed_graph, "fixed_graph": contract.fixed_graph,
        "edge_type": contract.edge_type and not contract.fixed_graph,
        "outputs": [(c_interface.DOMAINS.index(output.domain), output.channels) for output in outputs],
    }  # fmt: skip
    for key, expected in stated.items():
        if found[key] != expected:
            raise ArtifactError(
                f"{artifact.model_path}: its {key} is {found[key]}, the manifest says {expected}. "
                "The file does not belong to this manifest; export the model again."
            )
    if model.max_nodes > _LARGEST_INDEX:
        raise ArtifactError(
            f"{artifact.model_path}: max_nodes is {model.max_nodes}, node numbers end at {_LARGEST_INDEX}."
        )
