"""TorchScript artifacts in torch's own interpreter. Needs torch alone: neither torch_geometric nor torch_scatter."""

from __future__ import annotations

import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

from runtimes.runtime import Array, Runtime
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError, require


class TorchScriptRuntime(Runtime):
    """A TorchScript file. `threads` sets torch's intra-op threads, which torch keeps once for the whole process.

    Raises:
        ArtifactError: the file is not a TorchScript archive, torch cannot load it, or it disagrees with the manifest.
    """

    name = "torchscript"

    def __init__(self, artifact: Artifact, *, threads: int = 1) -> None:
        super().__init__(artifact, threads=threads)
        self._torch = torch = require("torch", "torch")
        torch.set_num_threads(threads)
        _check_archive(artifact)
        self._module = _load(artifact, torch)
        _check_schema(artifact, self._module)

    def run_feeds(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        torch = self._torch
        tensors = [torch.from_numpy(feeds[feed.name]) for feed in self.artifact.signature.inputs]
        with torch.inference_mode():
            results = self._module(*tensors)
        return tuple(result.numpy() for result in results)

    def close(self) -> None:
        del self._module


def _load(artifact: Artifact, torch: Any) -> Any:
    """The module; int8 weights are packed for the engine that they were exported for."""
    path, engines = artifact.model_path, torch.backends.quantized
    engine = artifact.provenance.get("engine")
    if engine is not None and engine not in engines.supported_engines:
        supported = ", ".join(engines.supported_engines)
        raise ArtifactError(
            f"{path}: exported for the quantized engine {engine!r}, this torch has {supported}. "
            "Export again with engine= one of these."
        )
    before = engines.engine
    try:
        if engine is not None:  # packing happens while loading, for the engine that is the process-wide one just then
            engines.engine = engine
        with warnings.catch_warnings():  # torch 2.13 deprecates torch.jit as a whole; it is the format of this artifact
            warnings.filterwarnings("ignore", message=".*torch.jit.* deprecated", category=DeprecationWarning)
            # torch.jit.load reads tensors and its own code format; it does not unpickle Python objects, and there is no
            # retry with torch.load, which would.
            module = torch.jit.load(str(path), map_location="cpu").eval()
            # Weights that are stored as float16 become float32 here, once instead of in every run.
            return torch.jit.freeze(module) if artifact.precision == "float16" else module
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise ArtifactError(f"{path}: torch cannot load it ({reason}). Export the model again.") from error
    finally:
        engines.engine = before


def _check_archive(artifact: Artifact) -> None:
    """A TorchScript archive is a zip with code; a checkpoint of torch.save, which may hold any pickle, has none."""
    path = artifact.model_path
    members = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    if not any(name.endswith("/constants.pkl") for name in members) or not any("/code/" in name for name in members):
        raise ArtifactError(f"{path}: not a TorchScript archive (a checkpoint is none). Export the model again.")


def _check_schema(artifact: Artifact, module: Any) -> None:
    schema = module.forward.schema
    taken = len(schema.arguments) - 1  # without self
    expected = len(artifact.signature.inputs)
    if taken != expected:
        raise ArtifactError(
            f"{artifact.model_path}: takes {taken} inputs, the manifest lists {expected}. Export the model again."
        )
    returned = schema.returns[0].type
    given = len(returned.elements()) if returned.kind() == "TupleType" else 1
    if given != len(artifact.signature.outputs):
        raise ArtifactError(
            f"{artifact.model_path}: returns {given} outputs, the manifest lists {len(artifact.signature.outputs)}. "
            "Export the model again."
        )
