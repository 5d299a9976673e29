"""write_package: a C artifact and a recorded run in, a project folder out. It appears complete or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath

from toolchain.artifact import MANIFEST, Artifact
from toolchain.errors import ArtifactError, ExportError
from toolchain.exporters.packages.packaged_model import Companion, PackagedModel
from toolchain.exporters.packages.sample import Sample


@dataclass(frozen=True, slots=True)
class PackageKind:
    """How a kind of package is made. In paths, {library} and {module} are those of the model.

    Attributes:
        writer: module with project_files(model) -> {path in the project: text or bytes}.
        sources: folder of the C files.
        manifest: where the artifact's manifest goes.
        companions: formats of other files of the same model that it can carry.
    """

    writer: str
    sources: str = "src"
    manifest: str = f"extras/{MANIFEST}"
    companions: tuple[str, ...] = ()


PACKAGES: dict[str, PackageKind] = {
    "cmake": PackageKind("toolchain.exporters.packages.cmake"),
    "arduino": PackageKind("toolchain.exporters.packages.arduino"),
    "zephyr": PackageKind("toolchain.exporters.packages.zephyr"),
    "android": PackageKind(
        "toolchain.exporters.packages.android",
        sources="model/src/main/cpp",
        manifest=f"model/src/main/assets/{{library}}/{MANIFEST}",
        companions=("onnx", "executorch", "litert"),
    ),
    "ios": PackageKind(
        "toolchain.exporters.packages.ios",
        sources="Sources/C{module}",
        manifest=f"Sources/{{module}}/Resources/{MANIFEST}",
        companions=("coreml",),
    ),
}


_APPS = ("android", "ios")  # with classes of their own for a graph


def write_package(
    artifact: Artifact, kind: str, path: str | Path, sample: Sample, companions: Sequence[Companion] = ()
) -> Path:
    """Write a project that builds the model of a C artifact and tests it against a recorded run.

    The same artifacts and sample give the same bytes.

    Args:
        kind: a key of `PACKAGES`.
        path: folder to write; it must not exist.
        sample: a graph that the model takes, and what it computed for it.
        companions: files of the same model in other formats, for kinds that carry them.

    Raises:
        ExportError: unknown kind, a sample that does not belong to the artifact, or a companion that the kind cannot carry.
        ArtifactError: the folder exists, or the artifact is not of format "c" or changed since it was loaded.
    """
    if kind not in PACKAGES:
        raise ExportError(f"package {kind!r} is unknown. Packages: {', '.join(sorted(PACKAGES))}.")
    for given in (artifact, *(companion.artifact for companion in companions)):
        if kind in _APPS and given.contract.edge_type and not given.contract.fixed_graph:
            raise ExportError(
                f"{given.path}: reads edge_type, which the classes of an app do not take. Export with a fixed graph, or take "
                "the package for cmake, whose gnn_graph has edge_type."
            )
    target = Path(path)
    if target.exists() or target.is_symlink():
        raise ArtifactError(f"{target}: already exists. Choose another folder, or delete it first.")
    check_companions(kind, [companion.artifact for companion in companions])
    model = PackagedModel.of(artifact, sample, companions)
    layout = PACKAGES[kind]
    sources, manifest = (
        text.format(library=model.library, module=model.module) for text in (layout.sources, layout.manifest)
    )
    files: Mapping[str, str | bytes] = import_module(layout.writer).project_files(model)
    contents = {
        **{f"{sources}/{model.library}/{name}": data for name, data in model.sources.items()},
        f"{sources}/{model.library}.h": model.umbrella_header.encode(),
        manifest: (artifact.path / MANIFEST).read_bytes(),
        **{name: data.encode() if isinstance(data, str) else data for name, data in files.items()},
    }
    _write_tree(target, contents)
    return target


def check_companions(kind: str, artifacts: Sequence[Artifact]) -> None:
    """Refuse what a kind of package cannot carry beside the C model, before anything is run.

    Raises:
        ExportError: names the artifact and what the kind can carry.
    """
    formats = [artifact.format for artifact in artifacts]
    for artifact in artifacts:
        allowed = PACKAGES[kind].companions
        if artifact.format not in allowed:
            raise ExportError(
                f"{artifact.path}: a package for {kind} carries no file of format {artifact.format!r} beside the C model. "
                f"It can carry: {', '.join(allowed) or 'none'}."
            )
        if formats.count(artifact.format) > 1:
            raise ExportError(f"{artifact.path}: a second file of format {artifact.format!r}. Give one of each format.")
        if artifact.provenance.get("lowering") == "spmm":
            raise ExportError(
                f"{artifact.path}: lowering 'spmm' needs an operator that is compiled where the file is loaded, which no app "
                "does. Export it with another lowering."
            )
        if artifact.contract.fixed_graph:
            raise ExportError(
                f"{artifact.path}: the edges are part of it, which in an app is for C models only. Export it without a fixed "
                "graph, or package the C model alone."
            )


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
