"""write_package: a C artifact and a recorded run in, a project folder out. It appears complete or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path, PurePosixPath

from toolchain.artifact import MANIFEST, Artifact
from toolchain.errors import ArtifactError, ExportError
from toolchain.exporters.packages.packaged_model import PackagedModel
from toolchain.exporters.packages.sample import Sample

# kind → module with project_files(model) -> {path in the project: content}
PACKAGES: dict[str, str] = {
    "cmake": "toolchain.exporters.packages.cmake",
    "arduino": "toolchain.exporters.packages.arduino",
    "zephyr": "toolchain.exporters.packages.zephyr",
}


def write_package(artifact: Artifact, kind: str, path: str | Path, sample: Sample) -> Path:
    """Write a project that builds the model of a C artifact and tests it against a recorded run.

    The same artifact and sample give the same bytes.

    Args:
        kind: a key of `PACKAGES`.
        path: folder to write; it must not exist.
        sample: a graph that the model takes, and what it computed for it.

    Raises:
        ExportError: unknown kind, or a sample that does not belong to the artifact.
        ArtifactError: the folder exists, or the artifact is not of format "c" or changed since it was loaded.
    """
    if kind not in PACKAGES:
        raise ExportError(f"package {kind!r} is unknown. Packages: {', '.join(sorted(PACKAGES))}.")
    target = Path(path)
    if target.exists() or target.is_symlink():
        raise ArtifactError(f"{target}: already exists. Choose another folder, or delete it first.")
    model = PackagedModel.of(artifact, sample)
    texts: Mapping[str, str] = import_module(PACKAGES[kind]).project_files(model)
    contents = {
        **{f"src/{model.library}/{name}": data for name, data in model.sources.items()},
        f"src/{model.library}.h": model.umbrella_header.encode(),
        f"extras/{MANIFEST}": (artifact.path / MANIFEST).read_bytes(),
        **{name: text.encode() for name, text in texts.items()},
    }
    _write_tree(target, contents)
    return target


def _write_tree(target: Path, contents: Mapping[str, bytes]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        staging.chmod(0o755)
        for name, data in contents.items():
            relative = PurePosixPath(name)
            assert not relative.is_absolute() and ".." not in relative.parts, name
            (staging / relative.parent).mkdir(parents=True, exist_ok=True)
            with open(staging / relative, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        os.rename(staging, target)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
