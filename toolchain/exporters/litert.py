"""Graph → LiteRT (TensorFlow Lite): a .tflite written straight from the Graph, for any number of nodes, edges and graphs."""

from __future__ import annotations

import numpy as np

from toolchain.errors import ExportError, require
from toolchain.exporters.emission import Emission, outputs_of
from toolchain.exporters.feed_names import FeedNames
from toolchain.exporters.fixed_feeds import FixedFeeds
from toolchain.exporters.lowerings import Lowering, choose_lowering
from toolchain.exporters.sparse_input import check_features, chosen_features, features_fact
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph

MODEL_FILE = "model.tflite"


def emit(
    graph: Graph, *, lowering: str = "auto", compat: str = "litert", sparse_features: bool | str = False,
    fixed_graph: GraphInputs | None = None,
) -> Emission:  # fmt: skip
    """Write a Graph as a .tflite file. The same graph and options give the same bytes.

    Args:
        lowering: "auto", "dense" or "scatter" (see `toolchain.exporters.lowerings`). "auto" is "scatter"; "dense", for
            files that only see graphs of some 50 nodes, saves up to 3 us there.
        compat: "litert", or "tflite-runtime" for a file that also tflite-runtime 2.14 computes rightly, with dynamic int8
            in two operators more a Linear and without 4-bit weights.
        sparse_features: take x as its entries other than 0: "values", or True or "binary" where all of them are 1.
        fixed_graph: store the arrays of these edges: then x is the only input.

    Raises:
        ExportError: the lowering is unknown or cannot express the model, `compat` is unknown, or something reads whole rows of
            sparse features.
        MissingDependency: ai-edge-litert or flatbuffers is not installed.
    """
    require("flatbuffers", "litert")
    require("ai_edge_litert.schema_py_generated", "litert")
    from toolchain.exporters import litert_rows  # noqa: F401  # adds its ops to emit
    from toolchain.exporters.litert_quantized import emit_value
    from toolchain.exporters.litert_site import Compat, Site
    from toolchain.exporters.litert_values import Values
    from toolchain.exporters.litert_writer import LiteRtWriter

    if compat not in (known.value for known in Compat):
        raise ExportError(f"compat {compat!r} is unknown. Runtimes: {', '.join(repr(k.value) for k in Compat)}.")
    fixed = FixedFeeds.of(graph, fixed_graph)
    chosen = choose_lowering(graph, lowering, fixed)
    chosen = Lowering.SCATTER if chosen is Lowering.AUTO else chosen
    features = chosen_features(sparse_features)
    check_features(graph, features)
    writer = LiteRtWriter()

    def stored(array: np.ndarray) -> int:
        if not array.size:
            raise ExportError(
                f"{graph.name}: the fixed graph has no edges, and LiteRT stores no empty array. Export without it."
            )
        return writer.constant(array)

    feeds = FeedNames(
        graph.topologies, name=writer.input, index_dtype="int32", lowering=chosen, features=features, fixed=fixed,
        constant=stored,
    )  # fmt: skip
    values = Values(graph, writer)
    for value in graph.values:
        emit_value(Site(graph, value, feeds, chosen, values, writer, Compat(compat)))
    for output, o in zip(outputs_of(graph), graph.outputs, strict=True):
        writer.output(output.name, values.real(o))
    model = writer.serialize(graph.name, {"pocketgnn": f"lowering={chosen.value} compat={compat}"})
    facts = {
        "lowering": chosen.value,
        "compat": compat,
        "operators": writer.operator_versions,
        **features_fact(features),
    }
    return Emission(model, MODEL_FILE, feeds.declared(None), facts=facts)
