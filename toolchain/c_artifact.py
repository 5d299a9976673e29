"""What is inside an artifact of format "c": its checked sources, the name of its functions, the rows of its outputs."""

from __future__ import annotations

import hashlib
import re

import numpy as np

from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError
from toolchain.topology import TopologySpec

FORMAT = "c"
INTERFACE = "gnn.h"  # the header whose structs an application shares with the model; every artifact has the one it was made with
INTERFACE_VERSION = 2  # of the structs that this version's programs and ctypes are written for
MAX_RELATIONS = (
    65535  # relations that C tells apart: an edge_type is a uint16, and its largest number stands for the others
)
_VERSION = re.compile(rb"^#define GNN_INTERFACE_VERSION (\d{1,9})\b", re.MULTILINE)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def c_sources(artifact: Artifact) -> dict[str, bytes]:
    """Every .c and .h file of the artifact by plain name, with the bytes whose sha256 is in the manifest.

    The bytes are hashed after they were read, so what is compiled later is what was checked.

    Raises:
        ArtifactError: not a C artifact, a file changed after the artifact was loaded, or its structs are of another version.
    """
    if artifact.format != FORMAT:
        raise ArtifactError(
            f"{artifact.path}: format {artifact.format!r}, expected {FORMAT!r}. Export the model with --to {FORMAT}."
        )
    sources: dict[str, bytes] = {}
    for name, entry in sorted(artifact.files.items()):
        if name.endswith((".c", ".h")):
            if "/" in name:
                raise ArtifactError(
                    f"{artifact.path}: {name!r} is not a plain file of the folder. Export the model again."
                )
            sources[name] = (artifact.path / name).read_bytes()
            if hashlib.sha256(sources[name]).hexdigest() != entry["sha256"]:
                raise ArtifactError(f"{artifact.path / name}: changed since the artifact was loaded. Load it again.")
    found = _VERSION.search(sources.get(INTERFACE, b""))
    version = int(found[1]) if found else "none, as before version 2"
    if version != INTERFACE_VERSION:
        raise ArtifactError(
            f"{artifact.path / INTERFACE}: version of the C interface {version}, this version of pocketgnn builds programs for "
            f"{INTERFACE_VERSION}. Export the model again."
        )
    return sources


def edge_types(given: np.ndarray) -> np.ndarray:
    """The edge_type of a graph as C takes it, [E] uint16; a relation that no C model reads is the largest number."""
    return given.clip(max=MAX_RELATIONS).astype(np.uint16)


def c_name(artifact: Artifact) -> str:
    """The <name> in gnn_<name>_run, as the exporter recorded it.

    Raises:
        ArtifactError: the manifest has none, or one that is no C identifier.
    """
    name = artifact.provenance.get("name_in_c")
    if not isinstance(name, str) or _IDENTIFIER.fullmatch(name) is None:
        raise ArtifactError(
            f"{artifact.path}: provenance.name_in_c is {name!r}, expected a C identifier. Export the model again."
        )
    return name


def output_topologies(artifact: Artifact) -> tuple[TopologySpec | None, ...]:
    """The topology whose edges the rows of each output are; None for rows of nodes and graphs.

    Raises:
        ArtifactError: an output has rows per edge, and the manifest does not say of which topology.
    """
    topologies, outputs = artifact.contract.topologies, artifact.signature.outputs
    stated = artifact.provenance.get("output_topologies")
    if stated is None and len({spec.self_loops for spec in topologies}) == 1:
        stated = [0] * len(outputs)  # all have equally many edges
    try:
        return tuple(
            topologies[stated[place]] if output.domain == "edge" else None  # type: ignore[index]  # TypeError is caught
            for place, output in enumerate(outputs)
        )
    except (TypeError, IndexError, KeyError):
        raise ArtifactError(
            f"{artifact.path}: an output has rows per edge, and provenance.output_topologies does not say of which topology. "
            "Export the model again."
        ) from None
