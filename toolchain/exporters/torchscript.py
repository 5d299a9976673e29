"""Graph → TorchScript: a traced, frozen module that needs nothing but torch to load, as .pt and as lite .ptl."""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch

from toolchain.errors import ExportError
from toolchain.exporters.edge_list import EdgeList
from toolchain.exporters.emission import Emission
from toolchain.exporters.feed_module import FeedModule, Lowering
from toolchain.exporters.fixed_feeds import FixedFeeds
from toolchain.exporters.lowerings import Lowering as Aggregation
from toolchain.exporters.lowerings import choose_lowering
from toolchain.exporters.quantized_module import is_quantized
from toolchain.exporters.sparse_input import Features, check_features, chosen_features, features_fact
from toolchain.exporters.torchscript_int8 import PackedModule
from toolchain.exporters.torchscript_lowerings import DENSE_RATIO, StoredAdjacency, SwitchingEdgeList
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph

MODEL_FILE = "model.pt"
LITE_FILE = "model.ptl"

_CLASS_MODULE = re.compile(rb"__torch__\.toolchain\.exporters\.\w+(\.___torch_mangle_\d+)?")
_CLASS_FILE = re.compile(r"__torch__/toolchain/exporters/\w+(/___torch_mangle_\d+)?")


def emit(
    graph: Graph, *, lite: bool = False, lowering: str = "auto", engine: str = "qnnpack", wide_linear: str = "digits",
    sparse_features: bool | str = False, fixed_graph: GraphInputs | None = None,
) -> Emission:  # fmt: skip
    """Write a deployable Graph as TorchScript. Any number of nodes, edges and graphs.

    Args:
        lite: also write model.ptl for the lite interpreter of Android and iOS.
        lowering: of aggregations: "auto" multiplies with a dense adjacency where N^2 <= 16 E and adds along the edges
            otherwise; "edges" always adds along the edges.
        engine: quantized kernels that int8 weights are packed for. qnnpack runs on Arm and x86; fbgemm and x86 are
            faster on x86, but without VNNI their 16-bit sums saturate.
        wide_linear: how a Linear reads an int16 value, see `PackedModule`.
        sparse_features: take x as its entries other than 0: "values", or True or "binary" where all of them are 1. Not of a
            quantized Graph, whose packed weights have no rows to add.
        fixed_graph: store the arrays of these edges: then x is the only input.

    Raises:
        ExportError: an unknown lowering, engine or wide_linear, or something reads whole rows of sparse features.
    """
    features = chosen_features(sparse_features)
    check_features(graph, features)
    if features is not Features.DENSE and is_quantized(graph):
        raise ExportError(
            f"{graph.name}: is quantized, and torch's packed int8 weights read whole rows of features. Export it with dense "
            "features, or the float graph."
        )
    facts = {"lowering": lowering, **features_fact(features)}
    fixed = FixedFeeds.of(graph, fixed_graph)
    structure = _lowering(graph, lowering, features, fixed)
    with _quantized_engine(engine):
        if is_quantized(graph):
            facts |= {"engine": engine, "wide_linear": wide_linear}
            module: FeedModule = PackedModule(graph, structure, wide_linear=wide_linear, fixed=fixed)
        else:
            module = FeedModule(graph, structure, features=features, fixed=fixed)
        model = canonical_archive(freeze(module)._c.save_to_buffer({}))
        extra = {LITE_FILE: _lite(model)} if lite else {}
    return Emission(model, MODEL_FILE, module.feeds, facts=facts, extra_files=extra)


@contextmanager
def _quantized_engine(name: str) -> Iterator[None]:
    """Make an engine the process-wide one while weights are packed for it."""
    engines = torch.backends.quantized
    if name not in engines.supported_engines:
        raise ExportError(f"engine {name!r} is unknown to this torch. Engines: {', '.join(engines.supported_engines)}.")
    before, engines.engine = engines.engine, name
    try:
        yield
    finally:
        engines.engine = before


def _lowering(graph: Graph, name: str, features: Features, fixed: FixedFeeds | None) -> Lowering:
    if name == "auto" and fixed is not None:
        is_dense = choose_lowering(graph, name, fixed) is Aggregation.DENSE
        return partial(StoredAdjacency if is_dense else EdgeList, graph.topologies, features=features)
    if name == "auto":
        return partial(SwitchingEdgeList, graph.topologies, dense_ratio=DENSE_RATIO, features=features)
    if name == "edges":
        return partial(EdgeList, graph.topologies, features=features)
    raise ExportError(f"lowering {name!r} is unknown to torchscript. Lowerings: auto, edges.")


def freeze(module: FeedModule) -> torch.jit.ScriptModule:
    """Trace on the module's examples and inline all constants but halves, of which inlining would make float32."""
    with _expected_warnings_ignored(), torch.no_grad():
        return torch.jit.freeze(torch.jit.trace(module, module.examples, check_trace=False), module.halves)


@contextmanager
def _expected_warnings_ignored() -> Iterator[None]:
    """torch 2.13 deprecates torch.jit as a whole; it is the format that was asked for. Tables of row scales are to be constants."""
    with warnings.catch_warnings():
        constants = ".*results are registered as constants in the trace"
        warnings.filterwarnings("ignore", message=constants, category=torch.jit.TracerWarning)
        message = ".*(torch.jit|Lite Interpreter).* deprecated"
        warnings.filterwarnings("ignore", message=message, category=DeprecationWarning)
        yield


def _lite(model: bytes) -> bytes:
    """The lite-interpreter form of a canonical archive; made from it, so that the same class name is in both."""
    with _expected_warnings_ignored():
        return canonical_archive(torch.jit.load(io.BytesIO(model))._save_to_buffer_for_lite_interpreter())


def canonical_archive(data: bytes) -> bytes:
    """Rewrite a TorchScript archive so that it depends on the model alone.

    Left out are the debug records, which hold source paths of the exporting machine. The module's class gets a constant
    name, as torch numbers its classes through the process. Members stay aligned to 64 bytes, as torch writes them, so
    that tensors can be mapped.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as target:
        for member in source.infolist():
            if member.filename.endswith((".debug_pkl", ".data/serialization_id")):
                continue
            content = source.read(member)
            if member.filename.endswith(("data.pkl", ".py")):  # both name classes as plain text
                content = _CLASS_MODULE.sub(rb"__torch__.pocketgnn", content)
            entry = zipfile.ZipInfo(_CLASS_FILE.sub("__torch__/pocketgnn", member.filename), (1980, 1, 1, 0, 0, 0))
            entry.compress_type = member.compress_type  # torch compresses its code and stores its tensors
            header = buffer.tell() + 30 + len(entry.filename) + 4  # local header, name, and the head of our extra field
            entry.extra = b"FB" + (-header % 64).to_bytes(2, "little") + b"Z" * (-header % 64)
            target.writestr(entry, content)
    return buffer.getvalue()
