"""Strict schemas: what recipes are checked against, and how pydantic's errors become place, fact and expectation."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict

STRICT = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
"""A mapping with exactly the stated keys and types; unknown keys are errors."""


def problem(error: Any, prefix: str = "") -> str:
    """One pydantic error as place, fact and expectation."""
    place = ".".join([*([prefix] if prefix else []), *map(str, error["loc"])])
    if error["type"] == "extra_forbidden":
        return f"{place}: unknown key"
    message = error["msg"].removeprefix("Value error, ")
    given = "" if error["type"] in ("missing", "value_error") else f" (given {error['input']!r})"
    return f"{place}: {message}{given}" if place else message
