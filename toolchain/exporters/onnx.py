"""Graph → ONNX, written straight from the Graph, for any number of nodes, edges and graphs."""

from __future__ import annotations

from toolchain.errors import require
from toolchain.exporters.emission import Emission, outputs_of
from toolchain.exporters.feed_names import FeedNames
from toolchain.exporters.fixed_feeds import FixedFeeds
from toolchain.exporters.lowerings import DENSE_UP_TO_NODES, Lowering, choose_lowering
from toolchain.exporters.sparse_input import check_features, chosen_features, features_fact
from toolchain.feeds import FeedKind
from toolchain.inputs import GraphInputs
from toolchain.ir import Graph

_ROW_SYMBOLS = {"node": "N", "graph": "G"}


def emit(
    graph: Graph, *, lowering: str = "auto", dense_up_to_nodes: int = DENSE_UP_TO_NODES, sparse_weights: bool = False,
    sparse_features: bool | str = False, fixed_graph: GraphInputs | None = None,
) -> Emission:  # fmt: skip
    """Write a Graph as an ONNX file. The same graph and options give the same bytes.

    Args:
        lowering: "auto", "dense", "scatter" or "spmm" (see `toolchain.exporters.lowerings`). A file of "spmm" needs an
            operator that `runtimes` compiles when it loads the file: onnxruntime on a machine with a C compiler.
        dense_up_to_nodes: largest graph that "auto" aggregates as a dense product.
        sparse_weights: store float weights of more than two thirds zeros as sparse initializers, which makes the file smaller.
            onnxruntime fills them up when it loads the file, so memory and speed stay as they are. Off by default, because
            other readers may not know them: the type inference of the onnx package 1.23 takes no sparse operand.
        sparse_features: take x as its entries other than 0: "values", or True or "binary" where all of them are 1.
        fixed_graph: store the arrays of these edges: then x is the only input, and "auto" chooses at once.

    Raises:
        ExportError: the lowering is unknown or cannot express the model, or something reads whole rows of sparse features.
        MissingDependency: the onnx package is not installed.
    """
    require("onnx", "onnx")
    from toolchain.exporters import onnx_rows  # noqa: F401  # adds its ops to emit
    from toolchain.exporters.onnx_ops import Site
    from toolchain.exporters.onnx_quantized import emit_value
    from toolchain.exporters.onnx_values import Values
    from toolchain.exporters.onnx_writer import OPSET, OnnxWriter

    fixed, features = FixedFeeds.of(graph, fixed_graph), chosen_features(sparse_features)
    chosen = choose_lowering(graph, lowering, fixed, has_spmm=True)
    check_features(graph, features)
    writer = OnnxWriter(sparse_weights)
    feeds = FeedNames(
        graph.topologies, name=lambda feed: feed.name, features=features, fixed=fixed, constant=writer.constant
    )

    def body(lowered: Lowering) -> tuple[str, ...]:
        feeds.lowering = lowered
        values = Values(graph, writer)
        for value in graph.values:
            emit_value(Site(graph, value, feeds, lowered, values, writer))
        return tuple(values.real(o) for o in graph.outputs)

    def is_small() -> str:
        """Whether the dense lowering's inputs were given."""
        names = [feed.name for feed in feeds.declared(None) if feed.kind is FeedKind.ADJACENCY]
        return writer.is_not_empty(names[0])

    if chosen is Lowering.AUTO:
        results = writer.select(is_small, lambda: body(Lowering.DENSE), lambda: body(Lowering.SCATTER))
    else:
        results = body(chosen)
    outputs = outputs_of(graph)
    declared = feeds.declared(dense_up_to_nodes if chosen is Lowering.AUTO else None)
    model = writer.serialize(
        graph.name,
        declared,
        {output.name: result for output, result in zip(outputs, results, strict=True)},
        {
            output.name: (_rows(graph, o, fixed), output.channels)
            for output, o in zip(outputs, graph.outputs, strict=True)
        },
        {"pocketgnn.lowering": chosen.value},
    )
    return Emission(
        model, "model.onnx", declared, facts={"opset": OPSET, "lowering": chosen.value, **features_fact(features)}
    )


def _rows(graph: Graph, output: int, fixed: FixedFeeds | None) -> str | int:
    type = graph.values[output].type
    if fixed is not None:
        return fixed.rows(type)
    return _ROW_SYMBOLS.get(type.domain.value, f"E{type.topology}")
