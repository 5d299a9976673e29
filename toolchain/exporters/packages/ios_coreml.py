"""What a Swift package holds more with a Core ML file: the file, its inputs in Swift, its record, its class and its tests."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath

from toolchain.artifact import MANIFEST
from toolchain.errors import ExportError
from toolchain.exporters.packages.packaged_model import Companion, PackagedModel
from toolchain.exporters.packages.project_tree import project_tree
from toolchain.exporters.packages.recorded_arrays import array_file
from toolchain.exporters.packages.sample import CONTRACTED_TOLERANCE, FLOAT_TOLERANCE
from toolchain.exporters.packages.swift_literals import boolean, camel, contract_literal, string
from toolchain.feeds import Feed, FeedKind, build_feeds
from toolchain.topology import LoopAttributes, TopologySpec

# inputs that the Swift of the package computes: those that the exporter asks for
KINDS = (
    FeedKind.X, FeedKind.EDGE_ATTR, FeedKind.EDGE_WEIGHT, FeedKind.SOURCE, FeedKind.TARGET, FeedKind.ROW_POINTER,
    FeedKind.COEFFICIENT, FeedKind.ADJACENCY, FeedKind.SOURCE_SCALE, FeedKind.TARGET_SCALE, FeedKind.GRAPH_INDEX,
    FeedKind.POOL_MATRIX, FeedKind.INVERSE_COUNT,
)  # fmt: skip


def resources_of(companion: Companion) -> tuple[str, str]:
    """The package that Core ML opens, and its manifest of this project."""
    return PurePosixPath(companion.artifact.model_file).parts[0], f"coreml-{MANIFEST}"


def coreml_files(model: PackagedModel, companion: Companion, values: Mapping[str, str]) -> dict[str, str | bytes]:
    """Files by path in the Swift package.

    Raises:
        ExportError: the record of the C model cannot stand for the file's, or the recorded graph is too large for it.
    """
    _check_same_model(model, companion)
    artifact, inputs = companion.artifact, model.sample.inputs
    prepared = inputs.prepare(artifact.contract.topologies)
    artifact.contract.check(inputs)
    artifact.contract.check_edges(max((topology.num_edges for topology in prepared.topologies), default=0))
    precise = artifact.provenance["coreml_precision"] == "float32"
    tolerance = repr(FLOAT_TOLERANCE if precise else CONTRACTED_TOLERANCE)
    resources = f"Sources/{model.module}/Resources"
    feeds = build_feeds(artifact.signature.inputs, prepared)
    recorded = dict(array_file(f"coreml/inputs/{name}", array) for name, array in feeds.items())
    return {
        **project_tree("ios_coreml", {**values, "coreml_tolerance": tolerance}),
        f"Sources/{model.module}/CoreML/CoreMLFile.swift": _file_constants(model, companion),
        **{f"{resources}/{name}": data for name, data in companion.model_contents().items()},
        f"{resources}/{resources_of(companion)[1]}": (artifact.path / MANIFEST).read_bytes(),
        **{f"Sources/{model.module}Recorded/recorded/{name}": data for name, data in recorded.items()},
    }


def _check_same_model(model: PackagedModel, companion: Companion) -> None:
    """Core ML runs nowhere but on Apple's systems, so what the C model computed is the record of both."""
    path = companion.artifact.path
    if not model.is_float:
        raise ExportError(
            f"{path}: goes beside a float32 C model only, whose recorded outputs its self-test repeats; this one is "
            f"{model.artifact.precision}. Export the float graph to c."
        )
    digests = {artifact.provenance.get("graph_sha256") for artifact in (model.artifact, companion.artifact)}
    if len(digests) != 1 or None in digests:
        raise ExportError(
            f"{path}: was not exported from the Graph of {model.artifact.path}. Export both from one Graph."
        )


def _file_constants(model: PackagedModel, companion: Companion) -> str:
    artifact = companion.artifact
    topologies = "".join(f"    {_topology(spec)},\n" for spec in artifact.contract.topologies)
    feeds = "".join(f"    {_feed(feed)},\n" for feed in artifact.signature.inputs)
    return f"""\
/// From the manifest.
let coreMLContract = {contract_literal(model, artifact)}

let coreMLTopologies: [TopologySpec] = [
{topologies}]

let coreMLFeeds: [Feed] = [
{feeds}]
"""


def _topology(spec: TopologySpec) -> str:
    return (
        f"TopologySpec(selfLoops: .{camel(spec.self_loops.name)}, normalization: .{camel(spec.normalization.name)}, "
        f"weighted: {boolean(spec.weighted)}, loopWeight: {spec.loop_weight!r}, "
        f"meanLoopAttributes: {boolean(spec.loop_attributes is LoopAttributes.MEAN)}, reversed: {boolean(spec.reversed)})"
    )


def _feed(feed: Feed) -> str:
    assert feed.kind in KINDS and feed.loops and feed.nodes_at_most is None and feed.nodes_above is None, feed
    differing = {
        "topology": (feed.topology, None),
        "mean": (feed.reduce == "mean", False),
        "factors": (feed.factors, True),
        "minRows": (feed.min_rows, 0),
    }
    given = (f", {key}: {str(value).lower()}" for key, (value, usual) in differing.items() if value != usual)
    return f"Feed(name: {string(feed.name)}, kind: .{camel(feed.kind.name)}{''.join(given)})"
