"""What is inside an artifact of format "c": its sources, read and checked at once, and the name that its functions carry."""

from __future__ import annotations

import hashlib
import re

from toolchain.artifact import Artifact
from toolchain.errors import ArtifactError

FORMAT = "c"
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def c_sources(artifact: Artifact) -> dict[str, bytes]:
    """Every .c and .h file of the artifact by plain name, with the bytes whose sha256 is in the manifest.

    The bytes are hashed after they were read, so what is compiled later is what was checked.

    Raises:
        ArtifactError: not a C artifact, or a file changed after the artifact was loaded.
    """
    if artifact.format != FORMAT:
        raise ArtifactError(
            f"{artifact.path}: format {artifact.format!r}, expected {FORMAT!r}. Export the model with --to {FORMAT}."
        )
    sources: dict[str, bytes] = {}
    for name, entry in sorted(artifact.files.items()):
        if name.endswith((".c", ".h")):
            sources[name] = (artifact.path / name).read_bytes()
            if hashlib.sha256(sources[name]).hexdigest() != entry["sha256"]:
                raise ArtifactError(f"{artifact.path / name}: changed since the artifact was loaded. Load it again.")
    return sources


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
