"""load: an artifact folder → the Runtime of its format, after its bytes were checked."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from runtimes.runtime import Runtime
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError

# format → (module, class); imported at call time, so that a board needs only the library it uses
RUNTIMES: dict[str, tuple[str, str]] = {
    "torchscript": ("runtimes.torchscript", "TorchScriptRuntime"),
    "onnx": ("runtimes.onnxruntime", "OnnxRuntime"),
    "executorch": ("runtimes.executorch", "ExecuTorchRuntime"),
    "litert": ("runtimes.litert", "LiteRtRuntime"),
    "c": ("runtimes.native", "NativeRuntime"),
}
# formats that no library runs here, and what to do with them
RUN_ELSEWHERE = {
    "coreml": "Core ML runs on Apple's systems only: put it into a Swift package beside the C model (pocketgnn package "
    "C_ARTIFACT --for ios --with COREML_ARTIFACT), whose self-test runs it there.",
}


def load(path: str | Path | Artifact, *, threads: int = 1) -> Runtime:
    """Check an artifact's sha256 sums and contract, and open it in its runtime.

    Args:
        threads: threads the runtime may use for one inference.

    Raises:
        ArtifactError: the folder is damaged, or of an unknown format.
        MissingDependency: the runtime's library is not installed.
    """
    artifact = Artifact.load(path.path if isinstance(path, Artifact) else path)
    if artifact.format in RUN_ELSEWHERE:
        raise ArtifactError(f"{artifact.path}: format {artifact.format!r}. {RUN_ELSEWHERE[artifact.format]}")
    if artifact.format not in RUNTIMES:
        raise ArtifactError(
            f"{artifact.path}: format {artifact.format!r}, this version runs {', '.join(sorted(RUNTIMES))}."
        )
    module, name = RUNTIMES[artifact.format]
    return getattr(import_module(module), name)(artifact, threads=threads)
