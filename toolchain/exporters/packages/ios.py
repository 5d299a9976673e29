"""A Swift package: the model as a C target, its Swift class, a recorded run, XCTest self-tests and benchmarks, an example."""

from __future__ import annotations

import json

from toolchain.c_artifact import output_topologies
from toolchain.exporters.packages.packaged_model import PackagedModel
from toolchain.exporters.packages.project_tree import project_tree
from toolchain.exporters.packages.recorded_arrays import recorded_arrays
from toolchain.exporters.packages.sample import FLOAT_TOLERANCE
from toolchain.exporters.packages.status_codes import status_codes


def project_files(model: PackagedModel) -> dict[str, str | bytes]:
    """Everything beside the sources, by path. Integer models must agree bit for bit: clang does not fuse what gnn_float.h says."""
    module, inputs = model.module, model.sample.inputs
    values = {
        "library": model.library,
        "module": module,
        "kernels": "\n".join(f'    "{name.removesuffix(".c")}",' for name in model.c_files if name != "model.c"),
        "tolerance": repr(FLOAT_TOLERANCE) if model.is_float else "0",
        "nodes": str(inputs.num_nodes),
        "graphs": str(inputs.num_graphs),
        "features": str(model.artifact.contract.features),
        "title": model.title,
        "how": model.agreement,
        "usage": _usage(model),
    }
    recorded = f"Sources/{module}Recorded/recorded"
    return {
        **project_tree("ios", values),
        f"Sources/{module}/Status.swift": _status_file(model),
        f"Sources/{module}/ModelContract.swift": _contract_file(model),
        **{f"{recorded}/{name}": data for name, data in recorded_arrays(model).items()},
    }


def _status_file(model: PackagedModel) -> str:
    codes = status_codes(model.sources)
    cases = "\n".join(f"    case {_camel(code.name)} = {code.code}" for code in codes)
    meanings = "\n".join(f"        case .{_camel(code.name)}: return {_string(code.meaning)}" for code in codes)
    return f"""\
/// Why the native code refuses a graph: the values of `gnn_status` in `gnn.h`.
public enum Status: Int, Sendable {{
{cases}

    public var meaning: String {{
        switch self {{
{meanings}
        }}
    }}
}}
"""


def _contract_file(model: PackagedModel) -> str:
    contract, sample = model.artifact.contract, model.sample
    outputs = "".join(
        f"        OutputInfo(name: {_string(output.name)}, domain: .{output.domain}, channels: {output.channels}, "
        f"addsSelfLoops: {_bool(spec is not None and spec.self_loops.adds)}),\n"
        for output, spec in zip(model.artifact.signature.outputs, output_topologies(model.artifact), strict=True)
    )
    fixed = "nil"
    if contract.fixed_graph:
        rows = ", ".join(str(len(output)) for output in sample.outputs)
        fixed = f"FixedGraph(nodes: {sample.inputs.num_nodes}, edges: {sample.inputs.num_edges}, rows: [{rows}])"
    return f"""\
/// From the manifest.
let modelContract = Contract(
    name: {_string(model.name)},
    features: {contract.features},
    edgeFeatures: {contract.edge_features or 0},
    edgeWeight: {_bool(contract.edge_weight)},
    maxNodes: {contract.max_nodes},
    maxEdges: {contract.max_edges},
    maxGraphs: {contract.max_graphs},
    maxDegree: {contract.max_degree},
    sparseFeatures: {_bool(model.has_sparse_features)},
    fixedGraph: {fixed},
    outputs: [
{outputs}    ]
)
"""


def _usage(model: PackagedModel) -> str:
    """Three lines of Swift for the README."""
    contract, output = model.artifact.contract, model.artifact.signature.outputs[0]
    attributes = ", edgeAttr: edgeAttr" if contract.edge_features else ""
    run = f"let scores = try model.run(x{attributes})[0]  // scores[row, channel]; a row per {output.domain}"
    if contract.fixed_graph:
        return f"let model = try Model()  // the edges are part of the model\n{run}"
    weight = ", weight: weight" if contract.edge_weight else ""
    edges = f"EdgeList(nodes: nodes, source: source, target: target{weight})"
    return f"let model = try Model()\ntry model.prepare({edges})  // edges in any order, as in edge_index\n{run}"


def _camel(name: str) -> str:
    first, *rest = name.lower().split("_")
    return first + "".join(part.capitalize() for part in rest)


def _bool(value: bool) -> str:
    return str(value).lower()


def _string(text: str) -> str:
    """A Swift string literal: JSON's, without a way into an interpolation, as every backslash of JSON's is its own."""
    return json.dumps(text, ensure_ascii=False)
