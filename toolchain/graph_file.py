"""A Graph in a file, between two commands: an uncompressed zip of graph.json and one .npy per constant, no pickle.

Reading is strict: unknown ops, attributes or members are errors, and `verify` runs before a Graph is handed out.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
import types
import typing
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from toolchain.errors import ArtifactError, PocketGnnError
from toolchain.ir import Graph, TensorType, Value, verify
from toolchain.ir.graph import frozen
from toolchain.ir.ops import ALL_OPS, Op
from toolchain.output_path import check_parent
from toolchain.topology import TopologySpec

SCHEMA_VERSION = 1
SUFFIX = ".pgnn"
MAX_JSON_BYTES = 64 * 2**20
_OPS = {op.__name__: op for op in ALL_OPS}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest time a zip can state: the same Graph gives the same bytes


@dataclass(frozen=True, slots=True)
class SavedGraph:
    """A Graph and the steps that made it, such as ("lowering", "pruning", "quantization")."""

    graph: Graph
    steps: tuple[str, ...]


def save_graph(graph: Graph, steps: Sequence[str], path: str | Path, *, overwrite: bool = False) -> Path:
    """Write a Graph; the file appears complete or not at all.

    Raises:
        ArtifactError: the file exists and `overwrite` is off.
    """
    target = Path(path)
    check_target(target, overwrite)
    names = list(graph.constants)
    document = {
        "schema_version": SCHEMA_VERSION, "steps": list(steps), "name": graph.name, "outputs": list(graph.outputs),
        "topologies": [spec.to_json() for spec in graph.topologies], "constants": names,
        "values": [
            {"op": type(v.op).__name__, "attributes": _encode_fields(v.op), "inputs": list(v.inputs),
             "type": _encode(v.type), "scope": v.scope} for v in graph.values
        ],
    }  # fmt: skip
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        text = json.dumps(document, ensure_ascii=False, allow_nan=False)
        archive.writestr(zipfile.ZipInfo("graph.json", _EPOCH), text.encode())
        for number, name in enumerate(names):
            member = io.BytesIO()
            np.lib.format.write_array(member, np.asarray(graph.constants[name]), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{number}.npy", _EPOCH), member.getvalue())
    write_atomically(target, buffer.getvalue())
    return target


def check_target(target: Path, overwrite: bool) -> None:
    """What `save_graph` refuses, for a caller with much to do before it.

    Raises:
        ArtifactError: the file exists and `overwrite` is off, it is a folder, or nothing can be written to its place.
    """
    if target.is_dir():
        raise ArtifactError(f"{target}: is a folder, expected the name of a file. Choose another name.")
    if target.exists() and not overwrite:
        raise ArtifactError(f"{target}: already exists. Choose another name, or pass --overwrite (overwrite=True).")
    check_parent(target)


def load_graph(path: str | Path) -> SavedGraph:
    """Read and check a Graph file.

    Raises:
        ArtifactError: the file is missing, damaged, of another version, or holds anything that a Graph does not.
    """
    path = Path(path)
    if not path.is_file():
        raise ArtifactError(f"{path}: no such file. Pass a {SUFFIX} file that prune or quantize wrote.")
    try:
        with zipfile.ZipFile(path) as archive:
            return _read(archive)
    except (
        zipfile.BadZipFile,
        OSError,
        EOFError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        RuntimeError,
    ) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ArtifactError(
            f"{path}: not a readable Graph file ({reason}). Make it again with prune or quantize."
        ) from error
    except PocketGnnError as error:
        raise ArtifactError(f"{path}: holds no valid Graph ({error}). Make it again with prune or quantize.") from error


def _read(archive: zipfile.ZipFile) -> SavedGraph:
    members = archive.infolist()
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("compressed members; a Graph file stores them as they are")
    info = archive.getinfo("graph.json")
    if info.file_size > MAX_JSON_BYTES:
        raise ValueError(f"graph.json of {info.file_size} bytes, at most {MAX_JSON_BYTES} are read")
    document = json.loads(archive.read(info))
    expected = {"schema_version", "steps", "name", "outputs", "topologies", "constants", "values"}
    if not isinstance(document, dict) or document.get("schema_version") != SCHEMA_VERSION or set(document) != expected:
        raise ValueError(f"not schema version {SCHEMA_VERSION}, or unknown keys")
    names = document["constants"]
    listed = ["graph.json", *(f"{number}.npy" for number in range(len(names)))]
    if [member.filename for member in members] != listed or len(set(names)) != len(names):
        raise ValueError("its members are not the constants that graph.json lists")
    constants = {
        name: frozen(np.lib.format.read_array(io.BytesIO(archive.read(f"{number}.npy")), allow_pickle=False))
        for number, name in enumerate(names)
    }
    graph = Graph(
        tuple(_value(position, entry) for position, entry in enumerate(document["values"])),
        tuple(int(o) for o in document["outputs"]),
        tuple(TopologySpec.from_json(spec) for spec in document["topologies"]),
        MappingProxyType(constants),
        str(document["name"]),
    )
    return SavedGraph(verify(graph), tuple(str(step) for step in document["steps"]))


def _value(position: int, entry: Mapping[str, Any]) -> Value:
    if set(entry) != {"op", "attributes", "inputs", "type", "scope"}:
        raise ValueError(f"value {position} has the keys {sorted(entry)}")
    if entry["op"] not in _OPS:
        raise ValueError(f"value {position}: op {entry['op']!r} is unknown")
    op = _decode_fields(_OPS[entry["op"]], entry["attributes"])
    return Value(
        position, op, tuple(int(i) for i in entry["inputs"]), _decode(TensorType, entry["type"]), str(entry["scope"])
    )


def _encode_fields(item: Any) -> dict[str, Any]:
    return {f.name: _encode(getattr(item, f.name)) for f in fields(item)}


def _encode(item: Any) -> Any:
    if isinstance(item, Enum):
        return item.value
    if is_dataclass(item):
        return _encode_fields(item)
    if isinstance(item, tuple):
        return [_encode(element) for element in item]
    return item


def _decode_fields(cls: type[Any], data: Mapping[str, Any]) -> Any:
    """An op, a type or quantization parameters from their fields: no other, and each that has no default."""
    hints = typing.get_type_hints(cls)
    names = [f.name for f in fields(cls)]
    needed = {f.name for f in fields(cls) if f.default is MISSING}
    if not needed <= set(data) <= set(names):
        raise ValueError(f"{cls.__name__} has the attributes {names}, found {sorted(data)}")
    return cls(**{name: _decode(hints[name], item) for name, item in data.items()})


def _decode(hint: Any, data: Any) -> Any:
    """JSON as the annotated type says; anything else is a ValueError."""
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        options = [option for option in typing.get_args(hint) if option is not type(None)]
        return None if data is None else _decode(options[0], data)
    if origin is tuple:
        if not isinstance(data, list):
            raise ValueError(f"{data!r} where a list was expected")
        return tuple(_decode(typing.get_args(hint)[0], element) for element in data)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(data)
    if is_dataclass(hint):
        return _decode_fields(typing.cast(type[Op], hint), data)
    if hint is float and isinstance(data, int | float) and not isinstance(data, bool):
        return float(data)
    if type(data) is not hint:
        raise ValueError(f"{data!r} where {hint.__name__} was expected")
    return data


def write_atomically(target: Path, content: bytes) -> None:
    """Write beside the target, then rename: a reader sees the old file or the new one."""
    target.parent.mkdir(parents=True, exist_ok=True)
    descriptor, staging = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(staging, 0o644)
        os.replace(staging, target)
    except BaseException:
        os.unlink(staging)
        raise
