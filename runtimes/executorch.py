"""ExecuTorch artifacts in the runtime of the executorch wheel: XNNPACK and the portable kernels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from runtimes.operators import register_in_executorch
from runtimes.runtime import Array, Runtime
from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError, OutsideContract, require
from toolchain.inputs import GraphInputs

# ScalarType numbers of ExecuTorch's MethodMeta, which are torch's.
_SCALAR_TYPES = {3: "int32", 4: "int64", 6: "float32"}


class ExecuTorchRuntime(Runtime):
    """A .pte program. `threads` sets the size of ExecuTorch's thread pool, of which a process has one.

    Raises:
        ArtifactError: ExecuTorch cannot load the file, or it disagrees with the manifest.
    """

    name = "executorch"

    def __init__(self, artifact: Artifact, *, threads: int = 1) -> None:
        super().__init__(artifact, threads=threads)
        self._torch = require("torch", "executorch")
        # The extension module itself: executorch.runtime imports all of executorch.exir, which takes seconds and 130 MB.
        bindings = require("executorch.extension.pybindings._portable_lib", "executorch")
        if artifact.provenance.get("lowering") == "spmm":
            register_in_executorch(Path(bindings.__file__))
        if bindings._threadpool_get_thread_count() != threads:
            bindings._unsafe_reset_threadpool(threads)  # unsafe while a method runs; none does here
        path = artifact.model_path
        try:
            self._program = bindings._load_program(str(path))
            self._method = self._program.load_method("forward")
        except (RuntimeError, KeyError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ArtifactError(f"{path}: ExecuTorch cannot load it ({reason}). Export the model again.") from error
        _check_signature(artifact, self._method.method_meta())

    def prepare(self, inputs: GraphInputs | Array) -> dict[str, Array]:
        edge_outputs = any(output.domain == "edge" for output in self.artifact.signature.outputs)
        if edge_outputs and isinstance(inputs, GraphInputs) and inputs.num_edges == 0:
            raise OutsideContract(
                "edge_index: no edges, but this model returns edge values. ExecuTorch needs at least one edge."
            )
        return super().prepare(inputs)

    def run_feeds(self, feeds: Mapping[str, Array]) -> tuple[Array, ...]:
        tensors = [self._torch.from_numpy(feeds[feed.name]) for feed in self.artifact.signature.inputs]
        results = self._method(tensors)
        # The results lie in the program's own memory, which the next run overwrites.
        return tuple(np.array(result.numpy()) for result in results)

    def close(self) -> None:
        del self._method, self._program


def _check_signature(artifact: Artifact, metadata: Any) -> None:
    path, signature = artifact.model_path, artifact.signature
    for what, given, listed in (
        ("takes", metadata.num_inputs(), len(signature.inputs)),
        ("returns", metadata.num_outputs(), len(signature.outputs)),
    ):
        if given != listed:
            raise ArtifactError(f"{path}: {what} {given} arrays, the manifest lists {listed}. Export the model again.")
    for index, feed in enumerate(signature.inputs):
        tensor = metadata.input_tensor_meta(index)
        dtype = _SCALAR_TYPES.get(tensor.dtype(), str(tensor.dtype()))
        if dtype != feed.dtype or len(tensor.sizes()) != len(feed.dims):
            raise ArtifactError(
                f"{path}: input {index} is {dtype} with {len(tensor.sizes())} axes, the manifest says {feed.name} is "
                f"{feed.dtype} with {len(feed.dims)}. Export the model again."
            )
