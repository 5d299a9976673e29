"""A Swift package: the model as a C target, its Swift class, a recorded run, XCTest self-tests and benchmarks, an example."""

from __future__ import annotations

from toolchain.exporters.packages.ios_coreml import coreml_files, resources_of
from toolchain.exporters.packages.packaged_model import PackagedModel
from toolchain.exporters.packages.project_tree import project_tree
from toolchain.exporters.packages.recorded_arrays import recorded_arrays
from toolchain.exporters.packages.sample import FLOAT_TOLERANCE
from toolchain.exporters.packages.status_codes import status_codes
from toolchain.exporters.packages.swift_literals import camel, contract_literal, string

_CORE_ML = "operations, types and shapes checked by coremltools; values by an interpreter of them. **Never run by Core ML: no Mac**"
_CORE_ML_USAGE = (
    "- `CoreMLModel` takes the same calls as `Model` and computes with Core ML on iOS 17 and macOS 14: "
    "`let model = try await CoreMLModel.load()`.\n"
)


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
        "resources": "".join(f', .copy("Resources/{name}")' for c in model.companions for name in resources_of(c)),
        "core_ml": _CORE_ML if model.companions else "not in this package",
        "core_ml_usage": _CORE_ML_USAGE if model.companions else "",
    }
    recorded = f"Sources/{module}Recorded/recorded"
    beside: dict[str, str | bytes] = {}
    for companion in model.companions:
        beside |= coreml_files(model, companion, values)
    return {
        **project_tree("ios", values),
        **beside,
        f"Sources/{module}/Status.swift": _status_file(model),
        f"Sources/{module}/ModelContract.swift": _contract_file(model),
        **{f"{recorded}/{name}": data for name, data in recorded_arrays(model).items()},
    }


def _status_file(model: PackagedModel) -> str:
    codes = status_codes(model.sources)
    cases = "\n".join(f"    case {camel(code.name)} = {code.code}" for code in codes)
    meanings = "\n".join(f"        case .{camel(code.name)}: return {string(code.meaning)}" for code in codes)
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
    return f"/// From the manifest.\nlet modelContract = {contract_literal(model, model.artifact)}\n"


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
