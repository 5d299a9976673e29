"""Graph → ExecuTorch: a .pte for XNNPACK, or for the portable kernels alone, with dynamic sizes up to stated bounds."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch.export import Dim

from toolchain.errors import ExportError, require
from toolchain.exporters.emission import Bounds, Emission
from toolchain.exporters.executorch_int8 import XnnpackInt8Module
from toolchain.exporters.executorch_module import ExecuTorchModule
from toolchain.exporters.executorch_spmm import SparseProduct
from toolchain.exporters.feed_module import FeedModule, Lowering
from toolchain.exporters.fixed_feeds import FixedFeeds
from toolchain.exporters.neighbour_lists import DenseAdjacency, IndexPut, NeighbourLists, ScatterAdd
from toolchain.exporters.quantized_module import is_quantized
from toolchain.feeds import Feed, FeedKind
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph

MODEL_FILE = "model.pte"
BACKENDS = ("xnnpack", "portable")
SCATTER_RATIO = 16  # places of a neighbour list that cost as much as one edge of scatter_add
STOCK_LOWERINGS = {
    "neighbours": NeighbourLists, "dense": DenseAdjacency, "scatter": ScatterAdd, "index-put": IndexPut,
}  # fmt: skip
LOWERINGS = {**STOCK_LOWERINGS, "spmm": SparseProduct}  # "spmm": with an operator that the runtime has to be given


def emit(
    graph: Graph,
    *,
    backend: str = "xnnpack",
    bounds: Bounds | None = None,
    lowering: str = "auto",
    wide_linear: str = "auto",
    fixed_graph: GraphInputs | None = None,
) -> Emission:
    """Write a deployable Graph for ExecuTorch. Its memory is planned for a graph of the size of the bounds.

    float16 weights make the file smaller and several times slower: XNNPACK takes weights of a float32 product as float32 constants
    only, so ExecuTorch's own kernels widen them and multiply in every run (`device_benchmarks.fixed_graph_study` has both).

    Args:
        backend: "xnnpack" delegates products and elementwise ops to XNNPACK; "portable" uses ExecuTorch's own kernels.
        bounds: the largest graph that the file must take. Bounds that this model does not need are dropped.
        lowering: of sums over neighbours: "neighbours" pads each node's neighbours to the largest degree; "scatter" adds
            along the edges; "index-put" does so with a quarter of its memory by a slower kernel; "dense" multiplies with an
            [N, N] adjacency; "auto" takes "scatter" where the bounds allow hubs so large that the padding outweighs its slow
            kernel, and "neighbours" otherwise; "spmm" is one operator that needs no memory for messages, and that
            `runtimes` compiles when it loads the file.
        wide_linear: how a Linear reads an int16 value, see `XnnpackInt8Module`.
        fixed_graph: store the arrays of these edges: then x is the only input, and memory is planned for its size.

    Raises:
        ExportError: an unknown backend or lowering, or ExecuTorch cannot take the module.
    """
    if backend not in BACKENDS:
        raise ExportError(f"backend {backend!r} is unknown to executorch. Backends: {', '.join(BACKENDS)}.")
    if lowering not in ("auto", *LOWERINGS):
        raise ExportError(f"lowering {lowering!r} is unknown to executorch. Lowerings: auto, {', '.join(LOWERINGS)}.")
    fixed = FixedFeeds.of(graph, fixed_graph)
    bounds = (bounds or Bounds()) if fixed is None else fixed.bounds
    lowering = cheapest_lowering(bounds) if lowering == "auto" else lowering
    structure: Lowering = partial(LOWERINGS[lowering], graph.topologies)
    facts = {"backend": backend, "lowering": lowering}
    if not is_quantized(graph):
        module: FeedModule = ExecuTorchModule(graph, structure, fixed=fixed)
    elif backend == "xnnpack":
        module = XnnpackInt8Module(graph, structure, wide_linear=wide_linear, fixed=fixed)
        facts["wide_linear"] = wide_linear
    else:
        raise ExportError(
            f"{graph.name}: is quantized, but ExecuTorch's portable kernels have no int8 product. "
            "Use backend='xnnpack', or export the float graph."
        )
    bounds = _needed(bounds, module.feeds)
    model, counts = to_pte(module, bounds, backend)
    return Emission(model, MODEL_FILE, module.feeds, bounds, facts | counts)


def cheapest_lowering(bounds: Bounds) -> str:
    """The lowering of sums for graphs of a size.

    Measured on one x86 core, 3-layer GCN: a place of a neighbour list takes 0.08 to 0.17 us, an edge of scatter_add 2 us.
    """
    if bounds.nodes is None or bounds.edges is None or bounds.degree is None:
        return "neighbours"
    return "scatter" if bounds.nodes * bounds.degree > SCATTER_RATIO * bounds.edges else "neighbours"


def to_pte(module: FeedModule, bounds: Bounds, backend: str) -> tuple[bytes, dict[str, int]]:
    """Export with one dynamic size per named axis, lower to the backend, and serialize; the file, and `operator_counts` of it."""
    require_exir()
    sizes = planned_sizes(module, bounds)
    axes = [
        [sizes[axis_name(feed, dim)] + is_offset(dim) if isinstance(dim, str) else dim for dim in feed.dims]
        for feed in module.feeds
    ]
    examples = tuple(
        torch.zeros(shape, dtype=getattr(torch, f.dtype)) for f, shape in zip(module.feeds, axes, strict=True)
    )
    # "N" alone would be a function to sympy, which reads the name of a size that another is derived from.
    dims = {name: Dim(f"size_{name}", max=size) for name, size in sizes.items() if size > 1}
    dynamic = tuple(
        {
            i: dims[name] + 1 if is_offset(dim) else dims[name]
            for i, dim in enumerate(feed.dims)
            if (name := axis_name(feed, dim)) in dims
        }
        for feed in module.feeds
    )
    name = module.graph.name
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # executorch 1.4 copies torch 2.13's tree specs by their deprecated class, which warns once per model and op.
            warnings.filterwarnings("ignore", message=".*LeafSpec", category=FutureWarning)
            program = torch.export.export(module, examples, dynamic_shapes={"tensors": dynamic}, strict=False)
            edge = to_edge(program, backend)
            counts = operator_counts(edge.exported_program().graph_module)
            lowered = edge.to_executorch()
    except (RuntimeError, ValueError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ExportError(
            f"{name}: executorch cannot express it ({reason}). Try another lowering or backend."
        ) from error
    _check_program(name, lowered.executorch_program.execution_plan[0], axes)
    return bytes(lowered.buffer), counts


def require_exir() -> Any:
    """ExecuTorch's compiler, imported without the warnings of what it imports."""
    with _import_warnings_ignored():
        return require("executorch.exir", "executorch")


def to_edge(program: torch.export.ExportedProgram, backend: str) -> Any:
    """Lower an exported program to a backend; `.to_executorch().buffer` is the file."""
    exir = require_exir()
    with _import_warnings_ignored():
        delegates = [xnnpack_partitioner()] if backend == "xnnpack" else []
    return exir.to_edge_transform_and_lower(program, partitioner=delegates)


def operator_counts(lowered: torch.fx.GraphModule) -> dict[str, int]:
    """Operators of a lowered program, and how many of them a delegate computes: no sizes, and no parts of tuples."""
    from executorch.exir.dialects.edge._ops import EdgeOpOverload
    from executorch.exir.lowered_backend_module import LoweredBackendModule

    def count(module: torch.fx.GraphModule) -> int:
        return sum(isinstance(node.target, EdgeOpOverload) for node in module.graph.nodes)

    parts = [
        module.original_module.graph_module for module in lowered.children() if isinstance(module, LoweredBackendModule)
    ]
    delegated = sum(map(count, parts))
    return {"operators": count(lowered) + delegated, "delegated_operators": delegated}


def planned_bytes(pte: bytes) -> int:
    """Bytes of the buffers that a .pte file has its caller set aside for inputs, outputs and values between them."""
    with _import_warnings_ignored():
        serialization = require("executorch.exir._serialize._program", "executorch")
    plan = serialization.deserialize_pte_binary(pte).program.execution_plan[0]
    return int(sum(plan.non_const_buffer_sizes))


@contextmanager
def _import_warnings_ignored() -> Iterator[None]:
    """torchao, which executorch imports, logs warnings about CUDA kernels that nothing here uses."""
    loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    before = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def xnnpack_partitioner() -> Any:
    """XNNPACK's partitioner, with int8 for products alone.

    It would also make int8 ops of additions, products of two values and concatenations between dequantized operands. Those
    failed to load, aborted the process or were off by half the output on our graphs (executorch 1.4), so they stay float.
    """
    package = "executorch.backends.xnnpack.partition"
    partitioner = require(f"{package}.xnnpack_partitioner", "executorch").XnnpackPartitioner()
    gemm = require(f"{package}.config.gemm_configs", "executorch").GEMMConfig
    float_only = [require(f"{package}.config.xnnpack_config", "executorch").ConfigPrecisionType.FP32]
    for config in partitioner.target_partitioner_configs.values():
        if not isinstance(config, gemm) and not config.target_name.startswith(("quantize", "dequantize", "choose")):
            config.set_enabled_precision_types(float_only)
    return partitioner


def is_offset(dim: str | int) -> bool:
    """Whether an axis is one longer than the size that it is named after."""
    return dim == "N+1"


def axis_name(feed: Feed, dim: str | int) -> str:
    """The size that an axis shares with others: N and G with all, E within a topology, K at one end of its edges."""
    if is_offset(dim):
        return "N"
    if dim == "K" and feed.kind in (FeedKind.OUT_EDGES, FeedKind.OUT_MASK):
        return f"K{feed.topology}out"
    return f"{dim}{feed.topology}" if dim in ("E", "K") else str(dim)


def planned_sizes(module: FeedModule, bounds: Bounds) -> dict[str, int]:
    """The largest value of each named size: its bound, or a little more.

    The example has these sizes too. While lowering, torch compares sizes with each other and with channel counts, takes
    the example's answer for granted and tightens its ranges by it: an example of 11 nodes beside 16 channels made the
    planned memory end at 15 nodes (torch 2.13, executorch 1.4). At the upper bounds no answer can lower one. No two
    sizes may be equal by chance, so they are told apart by adding 1.
    """
    limits = {"N": bounds.nodes, "E": bounds.edges, "G": bounds.graphs, "K": bounds.degree}
    taken = {width for value in module.graph.values for width in value.type.shape}
    sizes: dict[str, int] = {}
    for feed in module.feeds:
        for dim in feed.dims:
            name = axis_name(feed, dim)
            if not isinstance(dim, str) or name in sizes:
                continue
            size = limits[dim.removesuffix("+1")]
            assert size is not None, f"{feed.name}: no bound on {dim}"
            while size > 1 and size in taken:
                size += 1
            sizes[name] = size
            taken.add(size)
    return sizes


def _check_program(name: str, plan: Any, axes: list[list[int]]) -> None:
    """Refuse a program that would fail when it is loaded or given a graph of the size of its bounds."""
    planned = [list(plan.values[index].val.sizes) for index in plan.inputs]
    if planned != axes:
        raise ExportError(
            f"{name}: executorch planned memory for inputs {planned} instead of {axes}. Report this model."
        )
    stray = sorted({op.name for op in plan.operators if op.name.startswith("quantized_decomposed::")})
    if stray:
        raise ExportError(
            f"{name}: XNNPACK left {', '.join(stray)}, for which the runtime has no kernels. Report this model."
        )


def _needed(bounds: Bounds, feeds: tuple[Feed, ...]) -> Bounds:
    """The bounds on axes that some feed has."""
    axes = {dim for feed in feeds for dim in feed.dims}
    unused = {name: None for name, axis in (("edges", "E"), ("graphs", "G"), ("degree", "K")) if axis not in axes}
    return replace(bounds, **unused)
