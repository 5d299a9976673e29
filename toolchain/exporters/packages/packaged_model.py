"""What every kind of package needs to know about a model: its names, its files, the recorded run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from toolchain.artifact import Artifact
from toolchain.c_artifact import FORMAT, c_name, c_sources
from toolchain.errors import ArtifactError, ExportError
from toolchain.exporters.packages.sample import Sample

VERSION = "1.0.0"


@dataclass(frozen=True, slots=True, eq=False)
class Companion:
    """The same model in another format, and what that file computed for the graph of the recorded run."""

    artifact: Artifact
    outputs: tuple[np.ndarray, ...]

    def model_bytes(self) -> bytes:
        """The model file, checked against the manifest after it was read.

        Raises:
            ArtifactError: it changed after the artifact was loaded.
        """
        return self.model_contents()[self.artifact.model_file]

    def model_contents(self) -> dict[str, bytes]:
        """The same of every file of a model that is a package, by path.

        Raises:
            ArtifactError: one changed after the artifact was loaded.
        """
        contents = {}
        for name in self.artifact.model_files:
            contents[name] = (self.artifact.path / name).read_bytes()
            if hashlib.sha256(contents[name]).hexdigest() != self.artifact.files[name]["sha256"]:
                raise ArtifactError(
                    f"{self.artifact.path / name}: changed since the artifact was loaded. Load it again."
                )
        return contents


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A C artifact on its way into a project.

    Attributes:
        name: <name> in gnn_<name>_run.
        sources: the artifact's C files by plain name, checked; they are packed unchanged.
        sample: the recorded run that the self-test repeats.
        companions: other files of the same model.
    """

    artifact: Artifact
    name: str
    sources: Mapping[str, bytes]
    sample: Sample
    companions: tuple[Companion, ...] = ()

    @classmethod
    def of(cls, artifact: Artifact, sample: Sample, companions: Sequence[Companion] = ()) -> PackagedModel:
        """Read the artifact's files and check that the sample is one of its runs."""
        sources = c_sources(artifact)
        for packed, outputs in ((artifact, sample.outputs), *((c.artifact, c.outputs) for c in companions)):
            _check_outputs(packed, sample, outputs)
        return cls(artifact, c_name(artifact), sources, sample, tuple(companions))

    @property
    def library(self) -> str:
        """Name of the library, its folder and its header: gnn_<name>."""
        return f"gnn_{self.name}"

    @property
    def macro(self) -> str:
        """Prefix of the model's macros: GNN_<NAME>."""
        return f"GNN_{self.name.upper()}"

    @property
    def module(self) -> str:
        """Name in languages that write types in camel case: Gnn<Name>."""
        return "Gnn" + "".join(part[:1].upper() + part[1:] for part in self.name.split("_"))

    @property
    def title(self) -> str:
        """One line about the model, for descriptions."""
        contract = self.artifact.contract
        graph = "on a fixed graph" if contract.fixed_graph else (
            f"for graphs of up to {contract.max_nodes} nodes and {contract.max_edges} edges"
        )  # fmt: skip
        return f"Graph neural network {self.name} ({self.artifact.precision}) {graph}."

    @property
    def agreement(self) -> str:
        """How closely every machine repeats a run, where compilers may not fuse products and sums."""
        return "within 1e-5 of the largest magnitude" if self.is_float else "bit for bit"  # FLOAT_TOLERANCE

    @property
    def c_files(self) -> tuple[str, ...]:
        """Names of the C files, model.c first."""
        return tuple(sorted((n for n in self.sources if n.endswith(".c")), key=lambda n: (n != "model.c", n)))

    @property
    def umbrella_header(self) -> str:
        """The header that applications include; its name has the model in it, since every model has a model.h."""
        guard = f"{self.macro}_LIBRARY_H"
        return f'#ifndef {guard}\n#define {guard}\n#include "{self.library}/model.h"\n#endif\n'

    @property
    def has_float_sums(self) -> bool:
        """Whether floats are multiplied and added in one kernel; single operations are the same for every compiler."""
        single = ("gnn_check_finite_f32.c", "gnn_edge_attr_f32.c", "gnn_binary_f32.c")
        return any(name.endswith("_f32.c") and name not in single for name in self.sources)

    @property
    def is_float(self) -> bool:
        return is_float(self.artifact)

    @property
    def has_sparse_features(self) -> bool:
        """Whether it takes the places of ones instead of rows of features."""
        return bool(self.artifact.provenance.get("sparse_features"))

    @property
    def recorded_outputs(self) -> dict[str, tuple[np.ndarray, ...]]:
        """What the file of each format computed, "c" first."""
        return {FORMAT: self.sample.outputs, **{c.artifact.format: c.outputs for c in self.companions}}


def is_float(artifact: Artifact) -> bool:
    """Whether a file computes in floats, whose sums differ between compilers and processors."""
    return artifact.precision in ("float32", "float16")


def _check_outputs(artifact: Artifact, sample: Sample, outputs: tuple[np.ndarray, ...]) -> None:
    stated = [(output.domain, output.channels) for output in artifact.signature.outputs]
    rows = {"node": sample.inputs.num_nodes, "graph": sample.inputs.num_graphs}
    fits = len(stated) == len(outputs) and all(
        array.ndim == 2 and array.shape[1] == channels and array.shape[0] == rows.get(domain, array.shape[0])
        for array, (domain, channels) in zip(outputs, stated, strict=False)
    )
    if not fits:
        found = [list(array.shape) for array in outputs]
        raise ExportError(f"sample: outputs of shapes {found} are not those of {artifact.path}. Record it again.")
