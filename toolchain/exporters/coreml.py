"""Graph → Core ML: an .mlpackage with an ML Program, written op by op from the Graph, for any sizes up to stated bounds."""

from __future__ import annotations

import logging
from dataclasses import replace

from toolchain.errors import ExportError, require
from toolchain.exporters.coreml_program import CoreMlProgram, Ref
from toolchain.exporters.emission import Bounds, Emission, outputs_of
from toolchain.exporters.feed_names import FeedNames
from toolchain.exporters.fixed_feeds import FixedFeeds
from toolchain.exporters.lowerings import Lowering, choose_lowering
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph
from toolchain.ir.ops import Aggregate, Propagate, Reduce

logger = logging.getLogger("pocketgnn")

PRECISIONS = ("float32", "float16")
LARGEST_HALF = 65_504


def emit(
    graph: Graph, *, bounds: Bounds | None = None, lowering: str = "auto", precision: str | None = None,
    fixed_graph: GraphInputs | None = None,
) -> Emission:  # fmt: skip
    """Write a float Graph as a Core ML package for iOS 17, macOS 14 and newer. The same graph and options give the same bytes.

    Args:
        bounds: the largest graph that the file must take; Core ML wants a largest size of every input.
        lowering: "auto", "dense" or "scatter" (see `toolchain.exporters.lowerings`). "auto" is "scatter".
        precision: of weights and values inside: "float32", or "float16", which Apple's neural engine needs. What goes in
            and comes out is float32 in both. None: float16 of a Graph with float16 weights. A value beyond 65,504 is infinite in
            float16, a sum over many neighbours too: the log warns of it.
        fixed_graph: store the arrays of these edges: then x is the only input, and its size the only one.

    Raises:
        ExportError: the Graph is quantized, the lowering or precision is unknown, or Core ML cannot express an op.
        MissingDependency: coremltools is not installed.
    """
    logging.getLogger("coremltools").setLevel(logging.ERROR)  # it warns of libraries that only Apple's machines have
    require("coremltools", "coreml")
    from toolchain.exporters.coreml_ops import emit as emit_op
    from toolchain.exporters.coreml_serializer import package_files
    from toolchain.exporters.coreml_site import Site

    if precision is None:
        precision = "float16" if graph.has_halves else "float32"
    if precision not in PRECISIONS:
        raise ExportError(f"precision {precision!r} is unknown to coreml. Precisions: {', '.join(PRECISIONS)}.")
    _require_float(graph)
    fixed = FixedFeeds.of(graph, fixed_graph)
    limits = replace(bounds or Bounds(), degree=None) if fixed is None else fixed.bounds
    if precision == "float16":
        _warn_of_sums(graph, ((bounds or Bounds()).degree or limits.edges) if fixed is None else limits.degree)
    chosen = choose_lowering(graph, lowering, fixed)
    chosen = Lowering.SCATTER if chosen is Lowering.AUTO else chosen
    program = CoreMlProgram(precision)
    feeds = FeedNames(
        graph.topologies, name=program.input, index_dtype="int32", lowering=chosen, min_edges=1, fixed=fixed,
        constant=program.constant,
    )  # fmt: skip  # Core ML has no empty array
    refs: dict[int, Ref] = {}
    for value in graph.values:
        refs[value.id] = emit_op(value.op, Site(graph, value, feeds, chosen, refs, program))
    for output, o in zip(outputs_of(graph), graph.outputs, strict=True):
        program.output(output.name, refs[o])
    declared = feeds.declared(None)
    facts = {"lowering": chosen.value, "coreml_precision": precision}
    model, *others = package_files(program, declared, limits, {f"pocketgnn.{k}": v for k, v in facts.items()})
    return Emission(model[1], model[0], declared, limits, facts, dict(others), precision)


def _warn_of_sums(graph: Graph, degree: int | None) -> None:
    """Log how small the values must be that a node with `degree` in-edges adds up."""
    if degree is None or not any(
        isinstance(v.op, Propagate | Aggregate) and v.op.reduce not in (Reduce.MAX, Reduce.MIN) for v in graph.values
    ):
        return
    logger.warning(
        "%s: computed in float16, in which numbers above 65,504 are infinite: a sum over %s in-edges is one where their mean is "
        "above %.4g. Compare it on the device on graphs with hubs, or export with precision='float32' (--set precision=float32).",
        graph.name, f"{degree:,}", LARGEST_HALF / degree,
    )  # fmt: skip


def _require_float(graph: Graph) -> None:
    integer = next((v for v in graph.values if v.type.dtype.is_integer), None)
    if integer is not None:
        raise ExportError(
            f"{graph.name}: is quantized (%{integer.id} is {integer.type}), and a Core ML file here holds floats only. "
            "Export the float graph, with precision='float16' (--set precision=float16) for half the bytes."
        )
