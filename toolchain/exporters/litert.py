"""Graph → LiteRT (TensorFlow Lite): a .tflite written straight from the Graph, for any number of nodes, edges and graphs."""

from __future__ import annotations

from toolchain.errors import require
from toolchain.exporters.emission import Emission, outputs_of
from toolchain.exporters.feed_names import FeedNames
from toolchain.exporters.lowerings import Lowering, choose_lowering
from toolchain.ir import Graph

MODEL_FILE = "model.tflite"


def emit(graph: Graph, *, lowering: str = "auto") -> Emission:
    """Write a Graph as a .tflite file. The same graph and options give the same bytes.

    Args:
        lowering: "auto", "dense" or "scatter" (see `toolchain.exporters.lowerings`). "auto" is "scatter" wherever that can
            express the model: dense products are faster below some twenty nodes only, and by less than they add to the file.

    Raises:
        ExportError: the lowering is unknown or cannot express the model.
        MissingDependency: ai-edge-litert or flatbuffers is not installed.
    """
    require("flatbuffers", "litert")
    require("ai_edge_litert.schema_py_generated", "litert")
    from toolchain.exporters.litert_ops import emit as emit_op
    from toolchain.exporters.litert_site import Site
    from toolchain.exporters.litert_values import Values
    from toolchain.exporters.litert_writer import LiteRtWriter
    from toolchain.ir.ops import Const

    chosen = choose_lowering(graph, lowering)
    chosen = Lowering.SCATTER if chosen is Lowering.AUTO else chosen
    writer = LiteRtWriter()
    feeds = FeedNames(graph.topologies, name=writer.input, index_dtype="int32", lowering=chosen)
    values = Values(graph, writer)
    for value in graph.values:
        if not isinstance(value.op, Const):
            values.store(value.id, emit_op(value.op, Site(graph, value, values, writer, feeds, chosen)))
    for output, o in zip(outputs_of(graph), graph.outputs, strict=True):
        writer.output(output.name, values.real(o))
    model = writer.serialize(graph.name, {"pocketgnn.lowering": chosen.value})
    facts = {"lowering": chosen.value, "operators": writer.operator_versions}
    return Emission(model, MODEL_FILE, feeds.declared(None), facts=facts)
