"""The Kotlin files of an Android project that are made of a model's manifests: status codes, contracts, inputs of model files."""

from __future__ import annotations

import json

from toolchain.artifact import Artifact
from toolchain.c_artifact import output_topologies
from toolchain.errors import ExportError
from toolchain.exporters.packages.packaged_model import Companion, PackagedModel
from toolchain.exporters.packages.status_codes import status_codes
from toolchain.feeds import OF_ENTRIES, Feed
from toolchain.topology import LoopAttributes, TopologySpec


def status_file(model: PackagedModel, package: str) -> str:
    """Status.kt: an enumeration of gnn_status."""
    entries = ",\n".join(
        f"    {code.name}({code.code}, {_string(code.meaning)})" for code in status_codes(model.sources)
    )
    return f"""\
package {package}

/** Why the native code refuses a graph: the values of `gnn_status` in `gnn.h`. */
public enum class Status(public val code: Int, public val meaning: String) {{
{entries},
}}
"""


def contract_file(model: PackagedModel, package: str) -> str:
    """ModelContract.kt: the contract of the C model."""
    return (
        f"package {package}\n\n/** From the manifest. */\ninternal val CONTRACT = {_contract(model, model.artifact)}\n"
    )


def model_file(model: PackagedModel, companion: Companion, package: str, constant: str, asset: str) -> str:
    """<Format>File.kt: the contract, topologies and inputs of a companion."""
    artifact = companion.artifact
    topologies = ",\n        ".join(_topology(spec) for spec in artifact.contract.topologies)
    feeds = ",\n        ".join(_feed(feed) for feed in artifact.signature.inputs)
    return f"""\
package {package}

/** From the manifest. */
internal val {constant} = ModelFile(
    asset = {_string(asset)},
    sha256 = {_string(str(artifact.files[artifact.model_file]["sha256"]))},
    contract = {_contract(model, artifact).replace(chr(10), chr(10) + "    ")},
    topologies = listOf(
        {topologies},
    ),
    feeds = listOf(
        {feeds},
    ),
)
"""


def _contract(model: PackagedModel, artifact: Artifact) -> str:
    contract = artifact.contract
    adds_loops = [spec is not None and spec.self_loops.adds for spec in output_topologies(model.artifact)]
    outputs = "".join(
        f"        OutputInfo({_string(output.name)}, Domain.{output.domain.upper()}, {output.channels}, {_literal(adds)}),\n"
        for output, adds in zip(artifact.signature.outputs, adds_loops, strict=True)
    )
    fixed = "null"
    if contract.fixed_graph:
        inputs, rows = model.sample.inputs, ", ".join(str(len(output)) for output in model.sample.outputs)
        fixed = f"FixedGraph(nodes = {inputs.num_nodes}, edges = {inputs.num_edges}, rows = listOf({rows}))"
    fields = {
        "name": _string(model.name),
        "features": _literal(contract.features),
        "edgeFeatures": _literal(contract.edge_features or 0),
        "edgeWeight": _literal(contract.edge_weight),
        "maxNodes": _literal(contract.max_nodes),
        "maxEdges": _literal(contract.max_edges),
        "maxGraphs": _literal(contract.max_graphs),
        "maxDegree": _literal(contract.max_degree),
        "sparseFeatures": _literal(bool(artifact.provenance.get("sparse_features"))),
        "fixedGraph": fixed,
    }
    lines = "".join(f"    {key} = {value},\n" for key, value in fields.items())
    return f"Contract(\n{lines}    outputs = listOf(\n{outputs}    ),\n)"


def _topology(spec: TopologySpec) -> str:
    return (
        f"TopologySpec(SelfLoops.{spec.self_loops.name}, Normalization.{spec.normalization.name}, "
        f"weighted = {_literal(spec.weighted)}, loopWeight = {spec.loop_weight!r}f, "
        f"meanLoopAttributes = {_literal(spec.loop_attributes is LoopAttributes.MEAN)}, reversed = {_literal(spec.reversed)})"
    )


def _feed(feed: Feed) -> str:
    if feed.kind in OF_ENTRIES:
        raise ExportError(
            f"{feed.name}: the inputs of an Android project are computed from whole rows of features. Export the file that goes "
            "beside the C model with dense features."
        )
    plain = Feed(feed.name, feed.kind)
    differing = {
        "topology": (feed.topology, plain.topology),
        "mean": (feed.reduce == "mean", False),
        "loops": (feed.loops, plain.loops),
        "factors": (feed.factors, plain.factors),
        "nodesAtMost": (feed.nodes_at_most, plain.nodes_at_most),
        "nodesAbove": (feed.nodes_above, plain.nodes_above),
        "minRows": (feed.min_rows, plain.min_rows),
    }
    always = (
        _string(feed.name),
        f"FeedKind.{feed.kind.name}",
        f"ElementType.{feed.dtype.upper()}",
        str(len(feed.dims)),
    )
    given = (f"{key} = {_literal(value)}" for key, (value, default) in differing.items() if value != default)
    return f"Feed({', '.join((*always, *given))})"


def _literal(value: bool | int | None) -> str:
    return "null" if value is None else str(value).lower()


def _string(text: str) -> str:
    """A Kotlin string literal: JSON's, with the sign that starts a template escaped."""
    return json.dumps(text).replace("$", "\\$")
