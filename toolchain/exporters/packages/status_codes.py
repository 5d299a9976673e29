"""Why a model refuses a graph, as its own gnn.h says it: what Kotlin and Swift make their enumerations of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

_ENTRY = re.compile(r"\bGNN_ERROR_(\w+) = (\d+),?\s*/\* (.+?) \*/")


@dataclass(frozen=True, slots=True)
class StatusCode:
    """One refusal: GNN_ERROR_<name> = code, and what it means."""

    name: str
    code: int
    meaning: str


def status_codes(sources: Mapping[str, bytes]) -> tuple[StatusCode, ...]:
    """Every value of gnn_status but GNN_OK, in the header's order."""
    found = _ENTRY.findall(sources["gnn.h"].decode())
    assert found, "gnn.h: no gnn_status"
    return tuple(StatusCode(name, int(code), meaning) for name, code, meaning in found)
