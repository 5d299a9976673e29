"""read_table: a TOML table in, a frozen dataclass out; every key must be there, and none more."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from toolchain.errors import RecipeError

Table = TypeVar("Table")


def read_toml(path: Path, otherwise: str) -> dict[str, Any]:
    """The content of a file.

    Args:
        otherwise: what there is instead, for the message of a file that is missing.

    Raises:
        RecipeError: it is not there, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise RecipeError(f"{path}: no such file. {otherwise}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not readable as TOML ({error}).") from error


def read_table(cls: type[Table], data: Mapping[str, Any], path: Path) -> Table:
    """A dataclass from a table; `name` is that of the file, and no key.

    Raises:
        RecipeError: with the key that is unknown, missing or of another type.
    """
    if "name" in data:
        raise RecipeError(f"{path}: unknown key name; a target is called as its file.")
    made: Table = _read(cls, {"name": path.stem, **data}, path, "")
    return made


def _read(cls: type, data: dict[str, Any], path: Path, prefix: str) -> Any:
    """A dataclass from a table; every key must be there and none more."""
    known = {field.name for field in fields(cls)}
    for key in sorted(set(data) - known):
        raise RecipeError(
            f"{path}: unknown key {prefix}{key}. Keys: {', '.join(sorted(known - ({'name'} if not prefix else set())))}."
        )
    types, values = get_type_hints(cls), {}
    for field in fields(cls):
        if field.name not in data:
            raise RecipeError(f"{path}: key {prefix}{field.name} is missing, expected {_words(types[field.name])}.")
        values[field.name] = _value(types[field.name], data[field.name], path, f"{prefix}{field.name}")
    return cls(**values)


def _value(type_: Any, value: Any, path: Path, key: str) -> Any:
    wrong = RecipeError(f"{path}: {key} is {value!r}, expected {_words(type_)}.")
    if is_dataclass(type_):
        if not isinstance(value, dict):
            raise wrong
        return _read(type_, value, path, f"{key}.")  # type: ignore[arg-type]  # a class, since it comes from type hints
    if type_ is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type_ in (str, int, float):
        if not isinstance(value, type_) or isinstance(value, bool):
            raise wrong
        return value
    if not isinstance(value, list) or not all(isinstance(item, get_args(type_)[0]) for item in value):
        raise wrong
    return tuple(value)


def _words(type_: type | UnionType) -> str:
    if is_dataclass(type_):
        return "a table"
    return {str: "a text", int: "a whole number", float: "a number"}.get(type_, "a list of texts")  # type: ignore[arg-type]
