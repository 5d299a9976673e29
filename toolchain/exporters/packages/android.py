"""An Android project: a module with the native model and its Kotlin class, one per other runtime, a benchmark, an app."""

from __future__ import annotations

from dataclasses import dataclass

from toolchain.artifact import MANIFEST
from toolchain.exporters.packages.android_kotlin import contract_file, model_file, status_file
from toolchain.exporters.packages.packaged_model import VERSION, Companion, PackagedModel, is_float
from toolchain.exporters.packages.project_tree import project_tree
from toolchain.exporters.packages.recorded_arrays import recorded_arrays
from toolchain.exporters.packages.sample import CONTRACTED_TOLERANCE, FLOAT_TOLERANCE

KOTLIN = "/kotlin/"


@dataclass(frozen=True, slots=True)
class AndroidRuntime:
    """A runtime of other model files on Android: its module and class here, its library on Maven Central.

    Attributes:
        needs_context: the class opens files, not assets.
    """

    module: str
    class_name: str
    library: str
    version: str
    needs_context: bool = False

    @property
    def constant(self) -> str:
        """The file as the class knows it."""
        return f"{self.module.upper()}_FILE"


RUNTIMES: dict[str, AndroidRuntime] = {
    "onnx": AndroidRuntime("onnx", "OnnxModel", "com.microsoft.onnxruntime:onnxruntime-android", "1.27.0"),
    "executorch": AndroidRuntime(
        "executorch", "ExecuTorchModel", "org.pytorch:executorch-android", "1.4.0", needs_context=True
    ),
    "litert": AndroidRuntime("litert", "LiteRtModel", "com.google.ai.edge.litert:litert", "2.3.0"),
}


def project_files(model: PackagedModel) -> dict[str, str | bytes]:
    """Everything beside the sources, by path. Integer models must agree bit for bit: the flags forbid contraction."""
    package = f"org.pocketgnn.{model.library}"
    runtimes = [(RUNTIMES[companion.artifact.format], companion) for companion in model.companions]
    values = _values(model, package, [runtime for runtime, _ in runtimes])
    texts = project_tree("android", values)
    for runtime, companion in runtimes:
        texts |= project_tree("android_runtime", {**values, "runtime": runtime.module})
        texts |= project_tree(f"android_{runtime.module}", values)
        kotlin = f"{runtime.module}/src/main/kotlin/{runtime.class_name.removesuffix('Model')}File.kt"
        texts[kotlin] = model_file(model, companion, package, runtime.constant, _asset(model, companion))
    if runtimes:
        texts |= project_tree("android_feeds", values)
    main = "model/src/main/kotlin"
    texts |= {
        f"{main}/Status.kt": status_file(model, package),
        f"{main}/ModelContract.kt": contract_file(model, package),
    }
    folder = package.replace(".", "/")
    files: dict[str, str | bytes] = {path.replace(KOTLIN, f"{KOTLIN}{folder}/"): text for path, text in texts.items()}
    for runtime, companion in runtimes:
        assets = f"{runtime.module}/src/main/assets"
        files[f"{assets}/{_asset(model, companion)}"] = companion.model_bytes()
        files[f"{assets}/{model.library}/{runtime.module}-{MANIFEST}"] = (
            companion.artifact.path / MANIFEST
        ).read_bytes()
    recorded = f"recorded/src/main/resources/{model.library}"
    return files | {f"{recorded}/{name}": data for name, data in recorded_arrays(model).items()}


def _asset(model: PackagedModel, companion: Companion) -> str:
    return f"{model.library}/{companion.artifact.model_file}"


def _values(model: PackagedModel, package: str, runtimes: list[AndroidRuntime]) -> dict[str, str]:
    modules = ("model", *(runtime.module for runtime in runtimes), "recorded", "benchmark", "app")
    inputs = model.sample.inputs
    constructors = {"c": "Model()"} | {
        companion.artifact.format: f"{runtime.class_name}({'it' if runtime.needs_context else 'it.assets'})"
        for runtime, companion in zip(runtimes, model.companions, strict=True)
    }
    return {
        "library": model.library,
        "macro": model.macro,
        "package": package,
        "class_path": package.replace(".", "/"),
        "version": VERSION,
        "modules": ", ".join(f'":{module}"' for module in modules),
        "sources": "\n".join(f"  {model.library}/{name}" for name in model.c_files),
        "versions": "".join(f'{runtime.module} = "{runtime.version}"\n' for runtime in runtimes),
        "libraries": "".join(
            f'{runtime.module} = {{ module = "{runtime.library}", version.ref = "{runtime.module}" }}\n'
            for runtime in runtimes
        ),
        "benchmark_modules": "".join(
            f'    androidTestImplementation(project(":{runtime.module}"))\n' for runtime in runtimes
        ),
        "models": "".join(
            f'            "{format_}" to {{ {constructor} }},\n' for format_, constructor in constructors.items()
        ),
        "tolerances": ", ".join(f'"{name}" to {share!r}f' for name, share in _tolerances(model).items()),
        "nodes": str(inputs.num_nodes),
        "graphs": str(inputs.num_graphs),
        "features": str(model.artifact.contract.features),
        "title": model.title,
        "how": model.agreement,
        "usage": _usage(model),
        "runtime_rows": "".join(
            f"| `:{runtime.module}` | `{runtime.class_name}`: as `Model`, run by `{runtime.library}:{runtime.version}` |\n"
            for runtime in runtimes
        ),
    }


def _usage(model: PackagedModel) -> str:
    """Three lines of Kotlin for the README."""
    contract, output = model.artifact.contract, model.artifact.signature.outputs[0]
    attributes = ", edgeAttr" if contract.edge_features else ""
    run = f"val scores = model.run(x{attributes})[0]  // scores[row, channel]; a row per {output.domain}"
    if contract.fixed_graph:
        return f"Model().use {{ model ->  // the edges are part of the model\n    {run}\n}}"
    weight = ", weight" if contract.edge_weight else ""
    prepare = f"model.prepare(EdgeList(nodes, source, target{weight}))  // edges in any order, as in edge_index"
    return f"Model().use {{ model ->\n    {prepare}\n    {run}\n}}"


def _tolerances(model: PackagedModel) -> dict[str, float]:
    """Largest difference of each file's outputs from the record, as a share of the largest magnitude; 0: bit for bit.

    The kernels of other runtimes differ between processors: their integers may move by a code.
    """
    others = {
        companion.artifact.format: FLOAT_TOLERANCE if is_float(companion.artifact) else CONTRACTED_TOLERANCE
        for companion in model.companions
    }
    return {"c": FLOAT_TOLERANCE if model.is_float else 0.0, **others}
