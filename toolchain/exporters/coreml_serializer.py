"""package_files: a CoreMlProgram → the files of an .mlpackage. coremltools checks every operation's types and shapes on the way."""

from __future__ import annotations

import io
import json
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools.converters.mil.mil import Builder, Function, Program, get_new_symbol, types

from toolchain.errors import ExportError
from toolchain.exporters.coreml_program import CoreMlProgram, Operation, Ref
from toolchain.exporters.emission import Bounds
from toolchain.feeds import Feed

TARGET = ct.target.iOS17  # the first whose gather and scatter state that no index is out of range
PACKAGE = "model.mlpackage"
_ITEMS = "com.apple.CoreML"
_TYPES = {"float32": (types.fp32, np.float32), "int32": (types.int32, np.int32)}


def package_files(
    program: CoreMlProgram, feeds: Sequence[Feed], bounds: Bounds, metadata: Mapping[str, str]
) -> list[tuple[str, bytes]]:
    """Paths and bytes of the package's files, the specification first; the same for the same calls.

    Args:
        feeds: the inputs, in order.
        bounds: the largest sizes of the inputs.

    Raises:
        ExportError: coremltools refuses the program.
    """
    with _quiet():
        try:
            converted = ct.convert(
                _mil_program(program, feeds),
                source="milinternal",
                convert_to="mlprogram",
                inputs=[_tensor_type(feed, bounds) for feed in feeds],
                minimum_deployment_target=TARGET,
                pass_pipeline=ct.PassPipeline.EMPTY,
                skip_model_load=True,
            )
        except (ValueError, TypeError, NotImplementedError) as error:
            raise ExportError(
                f"coremltools {ct.__version__} refuses the program ({error}). Report the model."
            ) from error
    specification = converted.get_spec()
    specification.description.metadata.userDefined.clear()  # it holds the day of the export
    specification.description.metadata.userDefined.update(metadata)
    contents = {"model.mlmodel": specification.SerializeToString(deterministic=True)}
    weights = Path(converted.weights_dir)
    contents |= {f"weights/{file.name}": file.read_bytes() for file in sorted(weights.iterdir())}
    files = [(f"{PACKAGE}/Data/{_ITEMS}/{path}", data) for path, data in contents.items()]
    return [*files, (f"{PACKAGE}/Manifest.json", _package_manifest())]


def _mil_program(program: CoreMlProgram, feeds: Sequence[Feed]) -> Program:
    """The operations as coremltools holds them; each is checked when it is added."""
    symbols: dict[str, Any] = {}

    def size(feed: Feed, dim: str | int) -> Any:
        name = f"E{feed.topology}" if dim == "E" else str(dim)
        return dim if isinstance(dim, int) else symbols.setdefault(name, get_new_symbol())

    inputs = {
        feed.name: Builder.placeholder(
            shape=[size(feed, dim) for dim in feed.dims], dtype=_TYPES[feed.dtype][0], name=feed.name
        )
        for feed in feeds
    }
    made = Program()
    with Function(inputs, opset_version=TARGET) as function:
        results = dict(function.inputs)
        for operation in program.operations:
            results[operation.name] = _appended(operation, results)
        function.set_outputs(
            [Builder.identity(x=results[ref.name], name=name) for name, ref in program.outputs.items()]
        )
    made.add_function("main", function)
    return made


def _appended(operation: Operation, results: Mapping[str, Any]) -> Any:
    def resolved(argument: Any) -> Any:
        if isinstance(argument, list):
            return [resolved(element) for element in argument]
        return results[argument.name] if isinstance(argument, Ref) else argument

    arguments = {name: resolved(argument) for name, argument in operation.arguments.items()}
    return getattr(Builder, operation.kind)(name=operation.name, **arguments)


def _tensor_type(feed: Feed, bounds: Bounds) -> Any:
    largest: dict[str, Callable[[], int | None]] = {
        "N": lambda: bounds.nodes,
        "N+1": lambda: None if bounds.nodes is None else bounds.nodes + 1,
        "E": lambda: bounds.edges,
        "G": lambda: bounds.graphs,
    }

    def size(dim: str | int) -> Any:
        if isinstance(dim, int):
            return dim
        upper = largest[dim]()
        if upper is None:
            raise ExportError(f"{feed.name}: Core ML needs a largest size of every input. State all bounds.")
        return ct.RangeDim(2 if dim == "N+1" else 1, upper)

    shape = tuple(size(dim) for dim in feed.dims)
    return ct.TensorType(feed.name, shape=shape, dtype=_TYPES[feed.dtype][1])


def _package_manifest() -> bytes:
    """Manifest.json: which file is what. Its identifiers follow from the names, so that they are the same in every package."""
    items = {
        name: {"author": _ITEMS, "description": text, "name": name, "path": f"{_ITEMS}/{name}"}
        for name, text in (
            ("model.mlmodel", "CoreML Model Specification"),
            ("weights", "CoreML Model Weights"),
        )
    }
    identifiers = {name: str(uuid.uuid5(uuid.NAMESPACE_URL, f"{_ITEMS}/{name}")) for name in items}
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": {identifiers[name]: item for name, item in items.items()},
        "rootModelIdentifier": identifiers["model.mlmodel"],
    }
    return (
        json.dumps(manifest, indent=4, sort_keys=True) + "\n"
    ).encode()  # as coremltools writes it when it opens one


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the progress bars and notes of coremltools."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
