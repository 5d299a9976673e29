"""Swift literals: names, strings, and the contract of a model file as the packages' Swift states it."""

from __future__ import annotations

import json

from toolchain.artifact import Artifact
from toolchain.c_artifact import output_topologies
from toolchain.exporters.packages.packaged_model import PackagedModel


def contract_literal(model: PackagedModel, artifact: Artifact) -> str:
    """A `Contract`; what an artifact does not bound is `Int.max`."""
    contract, sample = artifact.contract, model.sample
    outputs = "".join(
        f"        OutputInfo(name: {string(output.name)}, domain: .{output.domain}, channels: {output.channels}, "
        f"addsSelfLoops: {boolean(spec is not None and spec.self_loops.adds)}),\n"
        for output, spec in zip(artifact.signature.outputs, output_topologies(model.artifact), strict=True)
    )
    fixed = "nil"
    if contract.fixed_graph:
        rows = ", ".join(str(len(output)) for output in sample.outputs)
        fixed = f"FixedGraph(nodes: {sample.inputs.num_nodes}, edges: {sample.inputs.num_edges}, rows: [{rows}])"
    bounds = (contract.max_nodes, contract.max_edges, contract.max_graphs, contract.max_degree)
    nodes, edges, graphs, degree = ("Int.max" if bound is None else str(bound) for bound in bounds)
    return f"""\
Contract(
    name: {string(model.name)},
    features: {contract.features},
    edgeFeatures: {contract.edge_features or 0},
    edgeWeight: {boolean(contract.edge_weight)},
    maxNodes: {nodes},
    maxEdges: {edges},
    maxGraphs: {graphs},
    maxDegree: {degree},
    sparseFeatures: {boolean(bool(artifact.provenance.get("sparse_features")))},
    fixedGraph: {fixed},
    outputs: [
{outputs}    ]
)"""


def camel(name: str) -> str:
    """A_NAME or a_name as aName."""
    first, *rest = name.lower().split("_")
    return first + "".join(part.capitalize() for part in rest)


def boolean(value: bool) -> str:
    return str(value).lower()


def string(text: str) -> str:
    """A Swift string literal: JSON's, without a way into an interpolation, as every backslash of JSON's is its own."""
    return json.dumps(text, ensure_ascii=False)
