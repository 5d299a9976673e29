"""export: a Graph in, an Artifact folder out, whatever the format."""

from __future__ import annotations

import hashlib
import inspect
import io
import zipfile
from collections.abc import Iterable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

import numpy as np

from toolchain.artifact import FIXED_GRAPH, Artifact, GraphContract
from toolchain.errors import ExportError
from toolchain.exporters.emission import Emission, signature_of
from toolchain.exporters.sparse_input import Features, chosen_features
from toolchain.inputs import GraphInputs
from toolchain.ir import DType, Graph, check_graph, verify
from toolchain.ir.ops import Const, Linear, Propagate, Quantize, Role
from toolchain.passes import deployable
from toolchain.passes.codebook_removal import remove_codebooks
from toolchain.passes.propagate_ordering import with_features_transformed_first

# format → (module, function). A function takes (graph, **options) and returns an Emission.
EXPORTERS: dict[str, tuple[str, str]] = {
    "torchscript": ("toolchain.exporters.torchscript", "emit"),
    "onnx": ("toolchain.exporters.onnx", "emit"),
    "executorch": ("toolchain.exporters.executorch", "emit"),
    "litert": ("toolchain.exporters.litert", "emit"),
    "coreml": ("toolchain.exporters.coreml", "emit"),
    "c": ("toolchain.exporters.c.emitter", "emit"),
}
STORES_CODEBOOKS = ("c",)  # formats that store shared weights as indices; the others get the plain weights
PLANS_MEMORY = ("c", "executorch", "coreml")  # formats whose file is built for a largest graph


def export(
    graph: Graph,
    format: str,
    path: str | Path,
    *,
    overwrite: bool = False,
    fixed_graph: GraphInputs | None = None,
    seed: int | None = None,
    parity: dict[str, Any] | None = None,
    **options: Any,
) -> Artifact:
    """Write a Graph as an artifact of one format. The same graph and options give the same bytes.

    Args:
        graph: float or quantized; BatchNorm is folded and propagation fused here if that was not done before.
        format: a key of `EXPORTERS`.
        path: folder to write. It appears complete or not at all.
        fixed_graph: store these edges, their weights and features in the model file, so that x is its only input.
        seed: recorded in the provenance.
        parity: summary of a parity check to record in the manifest.
        options: passed to the exporter: bounds, lowering, backend, ...

    Raises:
        ExportError: unknown format or option, or the backend cannot express a value.
        ArtifactError: the folder exists and `overwrite` is off.
    """
    check_graph(graph)
    if format not in EXPORTERS:
        raise ExportError(f"format {format!r} is unknown. Formats: {', '.join(sorted(EXPORTERS))}.")
    check_options(format, options)
    ready = verify(deployable(with_features_transformed_first(graph) if _is_sparse(options) else graph))
    module, function = EXPORTERS[format]
    if fixed_graph is not None:
        options["fixed_graph"] = fixed_graph
    if ready.has_halves and _is_sparse(options):
        raise ExportError(
            f"{graph.name}: has float16 weights, and a Linear on sparse features adds rows of float32 ones. Leave sparse_features "
            "out, or export the float32 graph."
        )
    emitted = ready if format in STORES_CODEBOOKS else remove_codebooks(ready)
    emission: Emission = getattr(import_module(module), function)(emitted, **options)
    contents = {emission.file_name: emission.model, **emission.extra_files}
    if fixed_graph is not None:
        contents[FIXED_GRAPH] = _fixed_graph_bytes(fixed_graph)
    artifact = Artifact(
        path=Path(path),
        format=format,
        precision=emission.precision or precision_of(ready),
        model_file=emission.file_name,
        signature=signature_of(ready, emission),
        contract=_contract(ready, emission, fixed_graph),
        quantization=_quantization(ready),
        provenance=_provenance(ready, emission, seed),
        parity=parity,
    )
    return Artifact.save(artifact, contents, overwrite=overwrite)


def _is_sparse(options: dict[str, Any]) -> bool:
    """Whether the file takes the entries of features: then aggregation comes after the first Linear."""
    return chosen_features(options.get("sparse_features", False)) is not Features.DENSE


def check_options(format: str, options: Iterable[str]) -> None:
    """Refuse options that an exporter does not have, before anything is done for it.

    Raises:
        ExportError: names the option and those that there are.
    """
    module, function = EXPORTERS[format]
    _, *known = inspect.signature(getattr(import_module(module), function)).parameters
    for name in options:
        if name not in known:
            raise ExportError(f"{name}: no option of format {format}, which has {', '.join(known)}.")


def precision_of(graph: Graph) -> str:
    """ "float32", "float16" (weights), "dynamic-int8" (integer weights, float values) or "static-int8" (integer values)."""
    if any(isinstance(v.op, Quantize) for v in graph.values):
        return "static-int8"
    weights = [graph.values[v.inputs[1]] for v in graph.values if isinstance(v.op, Linear)]
    if any(w.type.dtype is DType.I8 for w in weights):
        return "dynamic-int8"
    return "float16" if graph.has_halves else "float32"


def _contract(graph: Graph, emission: Emission, fixed_graph: GraphInputs | None) -> GraphContract:
    widths = {v.op.role: v.type.channels for v in graph.inputs}  # type: ignore[attr-defined]  # Input by construction
    bounds = emission.bounds
    return GraphContract(
        topologies=graph.topologies,
        features=widths[Role.X],
        edge_features=widths.get(Role.EDGE_ATTR),
        edge_weight=Role.EDGE_WEIGHT in widths or any(graph.topologies[t].weighted for t in _used_topologies(graph)),
        max_nodes=bounds.nodes if bounds else None,
        max_edges=bounds.edges if bounds else None,
        max_graphs=bounds.graphs if bounds else None,
        max_degree=bounds.degree if bounds else None,
        fixed_graph=fixed_graph is not None,
        edge_type=any(graph.topologies[t].relation is not None for t in _used_topologies(graph)),
    )


def _used_topologies(graph: Graph) -> set[int]:
    used = {v.op.topology for v in graph.values if isinstance(v.op, Propagate)}
    return used | {v.type.topology for v in graph.values if v.type.topology is not None}


def _quantization(graph: Graph) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for value in graph.values:
        q = value.type.qparams
        if q is None or value.type.dtype is DType.I32:  # a bias scale is the product of two listed scales
            continue
        name = value.op.name if isinstance(value.op, Const) else f"%{value.id}"
        entries[name] = {
            "dtype": value.type.dtype.value, "bits": q.bits, "scale": list(q.scale), "zero_point": q.zero_point,
            "scope": value.scope,
        }  # fmt: skip
    return entries


def _provenance(graph: Graph, emission: Emission, seed: int | None) -> dict[str, Any]:
    libraries = (
        "pocketgnn",
        "numpy",
        "torch",
        "torch-geometric",
        "onnx",
        "onnxruntime",
        "executorch",
        "ai-edge-litert",
        "coremltools",
    )
    return {
        "name": graph.name,
        "graph_sha256": graph_sha256(graph),
        "scopes": sorted({v.scope for v in graph.values if v.scope}),
        "seed": seed,
        "versions": {library: version for library in libraries if (version := library_version(library)) is not None},
        **emission.facts,
    }


def graph_sha256(graph: Graph) -> str:
    """Digest of a Graph's text and constants; the manifest has that of the deployable Graph which was exported."""
    digest = hashlib.sha256(str(graph).encode())
    for name in sorted(graph.constants):
        digest.update(name.encode() + b"\0" + graph.constants[name].tobytes())
    return digest.hexdigest()


def library_version(library: str) -> str | None:
    """Version of an installed library, or None."""
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None


def _fixed_graph_bytes(graph: GraphInputs) -> bytes:
    """An .npz with a constant timestamp, so that the same graph gives the same bytes (np.savez stamps the time)."""
    arrays = {
        "num_nodes": np.int64(graph.num_nodes), "num_graphs": np.int64(graph.num_graphs), "edge_index": graph.edge_index,
        "edge_weight": graph.edge_weight, "edge_attr": graph.edge_attr, "batch": graph.batch,
        "edge_type": graph.edge_type,
    }  # fmt: skip
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            if array is None:
                continue
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), member.getvalue())
    return buffer.getvalue()
