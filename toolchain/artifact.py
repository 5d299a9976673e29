"""Artifact: a folder with the model file and manifest.json, written atomically and checked byte for byte when loaded."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from toolchain.errors import ArtifactError, OutsideContract
from toolchain.feeds import Feed
from toolchain.inputs import GraphInputs
from toolchain.output_path import check_parent
from toolchain.topology import TopologySpec

SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
FIXED_GRAPH = "graph.npz"
MAX_MANIFEST_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Output:
    """One output of a model: float32 rows per node, edge or graph."""

    name: str
    domain: str  # "node", "edge" or "graph"
    channels: int


@dataclass(frozen=True, slots=True)
class Signature:
    """What the model file takes and returns, in order."""

    inputs: tuple[Feed, ...]
    outputs: tuple[Output, ...]


@dataclass(frozen=True, slots=True)
class GraphContract:
    """The graphs that a model file is right for.

    Attributes:
        topologies: how each edge set follows from edge_index (self-loops, normalization): prepared on the host.
        features, edge_features: columns of x and edge_attr (None: not read).
        edge_weight, edge_type: whether they are read. Edges of a relation that the model does not choose count for nothing.
        max_nodes, max_edges, max_graphs, max_degree: bounds of the file (None: unbounded). max_edges counts prepared
            edges, added self-loops included, of the largest topology; max_degree those at one node.
        fixed_graph: the edges are stored in the artifact (graph.npz) and only x is given at run time.
    """

    topologies: tuple[TopologySpec, ...]
    features: int
    edge_features: int | None = None
    edge_weight: bool = False
    max_nodes: int | None = None
    max_edges: int | None = None
    max_graphs: int | None = None
    max_degree: int | None = None
    fixed_graph: bool = False
    edge_type: bool = False

    def check(self, inputs: GraphInputs) -> None:
        """Refuse a graph that this contract does not cover.

        Raises:
            OutsideContract: names the quantity, its value and the bound.
        """
        if inputs.x.shape[1] != self.features:
            raise OutsideContract(f"x: {inputs.x.shape[1]} features per node, the model takes {self.features}.")
        if self.edge_weight and inputs.edge_weight is None:
            raise OutsideContract("edge_weight: missing, but the model reads it. Pass edge_weight of shape [E].")
        if self.edge_type and inputs.edge_type is None:
            raise OutsideContract("edge_type: missing, but the model reads it. Pass edge_type of shape [E].")
        if self.edge_features is not None:
            if inputs.edge_attr is None:
                raise OutsideContract(
                    f"edge_attr: missing, but the model reads it. Pass edge_attr of shape [E, {self.edge_features}]."
                )
            if inputs.edge_attr.shape[1] != self.edge_features:
                raise OutsideContract(
                    f"edge_attr: {inputs.edge_attr.shape[1]} columns, the model takes {self.edge_features}."
                )
        for name, count, bound in (
            ("nodes", inputs.num_nodes, self.max_nodes),
            ("graphs", inputs.num_graphs, self.max_graphs),
        ):
            if bound is not None and count > bound:
                raise OutsideContract(
                    f"{count} {name}, this file was built for at most {bound}. Export again with max_{name}={count}."
                )

    def check_edges(self, num_edges: int) -> None:
        """Refuse more prepared edges than the file was built for."""
        if self.max_edges is not None and num_edges > self.max_edges:
            raise OutsideContract(
                f"{num_edges} edges (self-loops included), this file was built for at most {self.max_edges}. "
                f"Export again with max_edges={num_edges}."
            )

    def check_degree(self, degree: int) -> None:
        """Refuse a node with more prepared edges than the file was built for."""
        if self.max_degree is not None and degree > self.max_degree:
            raise OutsideContract(
                f"a node has {degree} edges (self-loops included), this file was built for at most {self.max_degree}. "
                f"Export again with max_degree={degree}."
            )

    def to_json(self) -> dict[str, object]:
        return {
            "topologies": [spec.to_json() for spec in self.topologies],
            "features": self.features, "edge_features": self.edge_features, "edge_weight": self.edge_weight,
            "max_nodes": self.max_nodes, "max_edges": self.max_edges, "max_graphs": self.max_graphs,
            "max_degree": self.max_degree,
            "fixed_graph": self.fixed_graph, "edge_type": self.edge_type,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> GraphContract:
        specs = tuple(TopologySpec.from_json(spec) for spec in data["topologies"])
        return replace(cls(**{**data, "topologies": ()}), topologies=specs)


@dataclass(frozen=True, slots=True)
class Artifact:
    """An exported model on disk.

    Attributes:
        path: the folder.
        format: "torchscript", "onnx", "executorch", ...
        precision: "float32", "float16", "dynamic-int8" or "static-int8".
        model_file: the file that the runtime opens. Core ML's model is a package, a folder inside: its specification.
        files: sha256 and size of every file beside the manifest, by path in the folder.
        quantization: scale and zero point of every integer value and weight, by value name.
        provenance: tool and library versions, seed, options, source scopes. No dates: the same inputs give the same bytes.
        parity: summary of the parity check made at export, or None.
    """

    path: Path
    format: str
    precision: str
    model_file: str
    signature: Signature
    contract: GraphContract
    files: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    quantization: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] | None = None

    @property
    def model_path(self) -> Path:
        return self.path / self.model_file

    @property
    def model_bytes(self) -> int:
        """What the model takes on a device: its file or package, or the compiled constants where the file is source text."""
        if "constant_bytes" in self.provenance:
            return int(self.provenance["constant_bytes"])
        return sum(int(self.files[name]["bytes"]) for name in self.model_files)

    @property
    def model_files(self) -> tuple[str, ...]:
        """The model file, or every file of the package that it is in."""
        package, *inside = PurePosixPath(self.model_file).parts
        return tuple(name for name in sorted(self.files) if name.startswith(f"{package}/")) if inside else (package,)

    def to_json(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "format": self.format,
            "precision": self.precision,
            "model_file": self.model_file,
            "files": {name: dict(entry) for name, entry in sorted(self.files.items())},
            "signature": {
                "inputs": [feed.to_json() for feed in self.signature.inputs],
                "outputs": [
                    {"name": o.name, "domain": o.domain, "channels": o.channels} for o in self.signature.outputs
                ],
            },
            "contract": self.contract.to_json(),
            "quantization": dict(self.quantization),
            "provenance": dict(self.provenance),
            "parity": None if self.parity is None else dict(self.parity),
        }

    @staticmethod
    def check_target(target: Path, overwrite: bool) -> None:
        """What `save` refuses, for a caller with much to do before it.

        Raises:
            ArtifactError: the folder exists and `overwrite` is off, it is not an artifact, or nothing can be written there.
        """
        if target.exists() or target.is_symlink():
            if not overwrite:
                raise ArtifactError(
                    f"{target}: already exists. Choose another folder, or pass --overwrite (overwrite=True)."
                )
            if not (target / MANIFEST).is_file():
                raise ArtifactError(
                    f"{target}: exists and is not an artifact folder, so it is not overwritten. Choose another folder."
                )
        check_parent(target)

    @classmethod
    def save(cls, artifact: Artifact, contents: Mapping[str, bytes], *, overwrite: bool = False) -> Artifact:
        """Write the folder: all files and the manifest appear at once, or nothing does.

        Args:
            artifact: everything but `files`, which is computed here.
            contents: bytes of each file by path in the folder.

        Raises:
            ArtifactError: the folder exists and `overwrite` is off, or it exists and is not an artifact.
        """
        target = Path(artifact.path)
        cls.check_target(target, overwrite)
        files = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in contents.items()
        }
        complete = replace(artifact, path=target, files=files)
        text = json.dumps(complete.to_json(), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            staging.chmod(0o755)
            for name, data in (*contents.items(), (MANIFEST, text.encode())):
                assert _is_inside(name), name
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                with open(staging / name, "wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(stream.fileno())
            _swap(staging, target)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
        return complete

    @classmethod
    def load(cls, path: str | Path) -> Artifact:
        """Read and check a folder: schema, plain file names, sizes, sha256.

        Raises:
            ArtifactError: names the file and what is wrong with it.
        """
        folder = Path(path)
        manifest = folder / MANIFEST
        if not manifest.is_file() or manifest.is_symlink():
            raise ArtifactError(
                f"{folder}: no {MANIFEST} in it, so it is not an artifact. Pass the folder that export wrote."
            )
        if manifest.stat().st_size > MAX_MANIFEST_BYTES:
            raise ArtifactError(
                f"{manifest}: {manifest.stat().st_size} bytes, a manifest has at most {MAX_MANIFEST_BYTES}."
            )
        try:
            data = json.loads(manifest.read_text(encoding="utf-8"))
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{manifest}: not readable as JSON ({error}). Export the model again.") from error
        if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION:
            found = data.get("schema_version") if isinstance(data, dict) else None
            raise ArtifactError(
                f"{manifest}: schema version {found!r}, this version reads {SCHEMA_VERSION}. Export the model again."
            )
        try:
            artifact = _parse(folder, data)
            _check_files(artifact)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(
                f"{manifest}: malformed ({type(error).__name__}: {error}). Export the model again."
            ) from error
        return artifact


def _parse(folder: Path, data: dict[str, Any]) -> Artifact:
    unknown = set(data) - set(Artifact(folder, "", "", "", Signature((), ()), GraphContract((), 0)).to_json())
    if unknown:
        raise ValueError(f"unknown keys {sorted(unknown)}")
    signature = Signature(
        tuple(Feed.from_json(feed) for feed in data["signature"]["inputs"]),
        tuple(Output(**output) for output in data["signature"]["outputs"]),
    )
    return Artifact(
        folder, data["format"], data["precision"], data["model_file"], signature, GraphContract.from_json(data["contract"]),
        data["files"], data["quantization"], data["provenance"], data["parity"],
    )  # fmt: skip


def _check_files(artifact: Artifact) -> None:
    if artifact.model_file not in artifact.files:
        raise ArtifactError(f"{artifact.path}: the manifest names {artifact.model_file!r} but lists no such file.")
    for name, entry in artifact.files.items():
        path = artifact.path / name
        if not _is_inside(name) or _has_link(artifact.path, name):
            raise ArtifactError(f"{artifact.path}: {name!r} is not a plain file of the folder; refusing to follow it.")
        if not path.is_file():
            raise ArtifactError(f"{path}: missing, the manifest lists it. Copy the whole folder, or export again.")
        size = path.stat().st_size
        if size != entry["bytes"]:
            raise ArtifactError(
                f"{path}: {size} bytes, the manifest says {entry['bytes']}: truncated or changed. Copy it again."
            )
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if digest != entry["sha256"]:
            raise ArtifactError(
                f"{path}: sha256 {digest[:16]}…, the manifest says {str(entry['sha256'])[:16]}…: damaged or changed. Copy it again."
            )


def _is_inside(name: str) -> bool:
    """Whether a name is a path of plain names below the folder, written in the one way that there is."""
    path = PurePosixPath(name)
    return name == str(path) and name != "." and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _has_link(folder: Path, name: str) -> bool:
    """Whether a file, or a folder on the way to it, is a symbolic link."""
    parts = PurePosixPath(name).parts
    return any(folder.joinpath(*parts[: depth + 1]).is_symlink() for depth in range(len(parts)))


def _swap(staging: Path, target: Path) -> None:
    """Put `staging` where `target` is; an older folder is moved aside first and put back if that fails."""
    if not target.exists():
        os.rename(staging, target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
    os.rename(target, aside / "old")
    try:
        os.rename(staging, target)
    except BaseException:
        os.rename(aside / "old", target)
        os.rmdir(aside)
        raise
    shutil.rmtree(aside, ignore_errors=True)
