"""A Swift package: the model as a C target, its Swift class, a recorded run, XCTest self-tests and benchmarks, an example."""

from __future__ import annotations

import json

from toolchain.c_artifact import output_topologies
from toolchain.exporters.packages.packaged_model import PackagedModel
from toolchain.exporters.packages.project_tree import project_tree
from toolchain.exporters.packages.recorded_arrays import recorded_arrays
from toolchain.exporters.packages.sample import FLOAT_TOLERANCE
from toolchain.exporters.packages.status_codes import status_codes
from toolchain.topology import SelfLoops


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
    }
    recorded = f"Sources/{module}Recorded/recorded"
    return {
        **project_tree("ios", values),
        f"Sources/{module}/Status.swift": _status_file(model),
        f"Sources/{module}/ModelContract.swift": _contract_file(model),
        "README.md": _readme(model),
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
        f"addsSelfLoops: {_bool(spec is not None and spec.self_loops is not SelfLoops.KEEP)}),\n"
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


def _readme(model: PackagedModel) -> str:
    library, module = model.library, model.module
    how = "within 1e-5 of the largest magnitude" if model.is_float else "bit for bit"
    return f"""\
# {module}

{model.title} A Swift package: the model as C99 and a Swift class around it; it needs no other runtime, file or network.

## Test and measure

```
swift test                                        # self-test: the recorded graph, every output {how}
swift test -c release --filter ModelBenchmarks    # seconds of 1000 runs, and of 1000 preparations
swift run {module}Example
```

On a device or simulator: open the folder in Xcode, choose it as the destination, and test (Product > Test, Release for the benchmarks), or
`xcodebuild test -scheme {library}-Package -destination 'platform=iOS Simulator,name=iPhone 16'`.

## In an app

File > Add Package Dependencies > Add Local, or in a manifest `.package(path: "{library}")` with the product `{module}`.

```swift
import {module}

{_usage(model)}
```

- Every refusal throws a `ModelError` that says what was given and what was expected. `model.contract` has the sizes.
- `prepare` once per graph, `run` per set of features. An instance is not `Sendable`; give each task its own. Keep it off the main actor
  with large graphs.
- iOS 15 and macOS 12 or newer. The privacy manifest says that nothing is tracked or collected, and no API needs a reason.
- Several models fit into one app: the kernels that they share get names of each package's own.

## What was checked when this kind of package was made

| | |
|---|---|
| C target, Swift module, example | built by Swift 6.0 on Linux, debug and release |
| self-tests and benchmarks | run by XCTest on Linux |
| C for devices | every source compiles to a Mach-O object for aarch64-ios; no shared kernel keeps its common name |
| Xcode, simulator, devices | **Not checked: no Mac** |
| Core ML | not in this package |
"""


def _usage(model: PackagedModel) -> str:
    contract = model.artifact.contract
    attributes = ", edgeAttr: edgeAttr" if contract.edge_features else ""
    run = f"let scores = try model.run(x{attributes})[0]  // scores[row, channel]; a row per {model.artifact.signature.outputs[0].domain}"
    if contract.fixed_graph:
        return f"let model = try Model()  // the edges are part of the model\n{run}"
    weight = ", weight: weight" if contract.edge_weight else ""
    return f"""\
let model = try Model()
try model.prepare(EdgeList(nodes: nodes, source: source, target: target{weight}))  // edges in any order, as in edge_index
{run}"""


def _camel(name: str) -> str:
    first, *rest = name.lower().split("_")
    return first + "".join(part.capitalize() for part in rest)


def _bool(value: bool) -> str:
    return str(value).lower()


def _string(text: str) -> str:
    """A Swift string literal: JSON's, without a way into an interpolation, as every backslash of JSON's is its own."""
    return json.dumps(text, ensure_ascii=False)
